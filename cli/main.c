/*
 * main.c - finds the subcommand; help, version and errors of usage.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "cli.h"
#include "holdfast.h"

static const command *const commands[] = {&command_doctor, &command_check,   &command_locks,
                                          &command_top,    &command_convert, &command_salvage,
                                          &command_exec,   &command_demo,    NULL};

static const char help_end[] = "Exit codes, the same everywhere:\n"
                               "  0  fine\n"
                               "  1  a warning, or something was not checked\n"
                               "  2  unsafe, or damaged\n"
                               "  3  it could not be done\n"
                               "  64 wrong arguments\n"
                               "\n"
                               "`holdfast help COMMAND` tells more; holdfast(1) tells all.\n";

static const command *find(const char *name)
{
  for (int i = 0; commands[i]; i++) {
    if (!strcmp(commands[i]->name, name)) return commands[i];
  }
  return NULL;
}

int usage_error(const char *name, const char *format, ...)
{
  char text[512];
  va_list args;

  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  fputs("holdfast: ", stderr);
  out_text(stderr, text);
  fprintf(stderr, "\nTry `holdfast help%s%s`.\n", name ? " " : "", name ? name : "");
  return EXIT_USAGE;
}

long seconds_from(const char *text, long low, long high)
{
  char *end;
  long value;

  errno = 0;
  value = strtol(text, &end, 10);
  if (errno || end == text || *end || value < low || value > high) return -1;
  return value;
}

static int show_help(const char *name)
{
  const command *c = name ? find(name) : NULL;

  if (name && !c) return usage_error(NULL, "no such command: %s", name);
  if (c) {
    fputs(c->help, stdout);
    return EXIT_FINE;
  }
  printf("holdfast keeps SQLite databases whole where SQLite alone cannot.\n\nUsage:\n");
  for (int i = 0; commands[i]; i++) printf("  holdfast %-8s %s\n", commands[i]->name, commands[i]->summary);
  printf("  holdfast %-8s %s\n\n", "help", "[COMMAND]  this text, or that of a command");
  fputs(help_end, stdout);
  return EXIT_FINE;
}

static int dispatch(int argc, char **argv)
{
  const command *c;

  if (argc < 2) return usage_error(NULL, "which command?");
  if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
    printf("holdfast %s (SQLite %s)\n", holdfast_version(), sqlite3_libversion());
    return EXIT_FINE;
  }
  if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
    if (argc > 3) return usage_error(NULL, "help takes one command");
    return show_help(argc > 2 ? argv[2] : NULL);
  }
  c = find(argv[1]);
  if (!c) return usage_error(NULL, "no such command: %s", argv[1]);
  for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return show_help(c->name);
  }
  return c->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
  int code = dispatch(argc, argv);

  /* Output that nobody got is not success: a full disk behind `> file` shows here. */
  if (fflush(stdout) != 0 || ferror(stdout)) {
    perror("holdfast: cannot write the output");
    return EXIT_FAILED;
  }
  return code;
}
