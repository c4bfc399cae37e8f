/*
 * exec.c - `holdfast exec -- PROGRAM...`: sets the environment in which the loader puts holdfast-preload.so
 * into the program, and becomes the program. What happens inside is in preload/.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "cli.h"
#include "holdfast.h"
#include "program.h"

static const char help[] =
    "holdfast exec [OPTION...] -- PROGRAM [ARGUMENT...]\n"
    "\n"
    "Runs an unchanged program with holdfast: every SQLite that starts inside it, its own or a shared one, "
    "gets\n"
    "the shim before it opens a database. Programs that this one starts are covered, too. `PRAGMA holdfast` "
    "in\n"
    "the program answers one row where it worked.\n"
    "\n"
    "  --report         one line at the end of each program that used SQLite: which libraries, how many "
    "databases\n"
    "  --require        a SQLite that cannot be reached ends the program (exit code 3) before it opens a "
    "database\n"
    "  --no-children    only this program, not those that it starts\n"
    "  --anyway         run it, too, when it is known beforehand that it cannot be reached\n"
    "  --mode, --assume, --journal, --strict, --walguard, --log VALUE\n"
    "                   as HOLDFAST_MODE and so on in the environment, for this program\n"
    "\n"
    "Not to be reached: programs that are linked statically, that use musl, or that run with other rights\n"
    "(setuid); and a SQLite that was built without loadable extensions: one line says so when it starts.\n"
    "\n"
    "Exit codes: the program's own. 3 it cannot be reached, and was not run; 64 usage; 126 it cannot be "
    "run,\n"
    "127 there is no such program.\n";

enum { PATH_BYTES = 4096 };

typedef struct wish {
  bool report, require, alone, anyway;
} wish;

/* One of holdfast's own variables. The names of the options are those of the settings. */
static bool set(const char *option, const char *value)
{
  char name[32] = "HOLDFAST_";
  size_t used = strlen(name);

  for (const char *p = option; *p && used + 1 < sizeof name; p++) name[used++] = (char)(*p - 'a' + 'A');
  name[used] = 0;
  return setenv(name, value, 1) == 0;
}

/* The program may change its directory before it writes the first line. */
static bool set_log(const char *value)
{
  char here[PATH_BYTES], path[2 * PATH_BYTES];

  if (!*value || *value == '/' || !strcmp(value, "stderr") || !strcmp(value, "none"))
    return set("log", value);
  if (!getcwd(here, sizeof here)) return false;
  snprintf(path, sizeof path, "%s/%s", here, value);
  return set("log", path);
}

/* What the library reads in HOLDFAST_EXEC. The process keeps its number when it becomes the program. */
static bool set_wishes(const wish *w)
{
  char list[64] = "";
  size_t used = 0;

  if (w->report) used += (size_t)snprintf(list, sizeof list, "report=%ld,", (long)getpid());
  if (w->require) used += (size_t)snprintf(list + used, sizeof list - used, "require,");
  if (w->alone) used += (size_t)snprintf(list + used, sizeof list - used, "alone,");
  if (!used) return unsetenv("HOLDFAST_EXEC") == 0;
  list[used - 1] = 0;
  return setenv("HOLDFAST_EXEC", list, 1) == 0;
}

/* First in LD_PRELOAD, before what the user has there; once, when one exec runs another. */
static bool set_preload(const char *library)
{
  const char *old = getenv("LD_PRELOAD");
  size_t length = strlen(library), size;
  bool ok;
  char *list;

  if (old && !strncmp(old, library, length) && (!old[length] || strchr(": ", old[length]))) return true;
  size = length + (old ? strlen(old) : 0) + 2;
  list = malloc(size);
  if (!list) return false;
  snprintf(list, size, "%s%s%s", library, old && *old ? ":" : "", old ? old : "");
  ok = setenv("LD_PRELOAD", list, 1) == 0;
  free(list);
  return ok;
}

static int prepare(const char *program, const wish *w)
{
  char library[PATH_BYTES] = "", why[512] = "";

  if (!program_reachable(program, why, sizeof why)) {
    fputs("holdfast: ", stderr);
    out_text(stderr, program);
    fprintf(stderr, " cannot be reached: %s. %s\n", why,
            w->anyway ? "It runs without holdfast." : "It was not run; --anyway runs it without holdfast.");
    return w->anyway ? EXIT_FINE : EXIT_FAILED;
  }
  if (!program_preload(library, sizeof library)) {
    fputs("holdfast: cannot read ", stderr);
    out_text(stderr, library);
    fputs(": is holdfast installed whole? HOLDFAST_LIB=FILE names holdfast-preload.so\n", stderr);
    return EXIT_FAILED;
  }
  if (strpbrk(library, ": ")) { /* the loader divides the list there, and knows no escape */
    fputs("holdfast: ", stderr);
    out_text(stderr, library);
    fputs(" cannot be preloaded: its path has a space or a colon\n", stderr);
    return EXIT_FAILED;
  }
  if (set_wishes(w) && set_preload(library)) return EXIT_FINE;
  perror("holdfast: cannot set the environment");
  return EXIT_FAILED;
}

static int become(char **argv, const wish *w)
{
  char path[PATH_BYTES] = "";
  int code = program_find(argv[0], path, sizeof path);

  if (code == 0)
    code = prepare(path, w);
  else {
    fputs("holdfast: ", stderr);
    out_text(stderr, argv[0]);
    fputs(code == 126 ? ": cannot be run: permission denied\n" : ": not found\n", stderr);
  }
  if (code) return code;
  execvp(path, argv); /* not execv(): a script without a first line is the shell's, as ever */
  code = errno == ENOENT ? 127 : 126;
  fputs("holdfast: ", stderr);
  out_text(stderr, path);
  fprintf(stderr, ": cannot be run: %s\n", strerror(errno));
  return code;
}

static int run(int argc, char **argv)
{
  static const struct option options[] = {{"report", no_argument, NULL, 'r'},
                                          {"require", no_argument, NULL, 'q'},
                                          {"no-children", no_argument, NULL, 'c'},
                                          {"anyway", no_argument, NULL, 'a'},
                                          {"mode", required_argument, NULL, 's'},
                                          {"assume", required_argument, NULL, 's'},
                                          {"journal", required_argument, NULL, 's'},
                                          {"strict", required_argument, NULL, 's'},
                                          {"walguard", required_argument, NULL, 's'},
                                          {"log", required_argument, NULL, 'l'},
                                          {NULL, 0, NULL, 0}};
  wish w = {0};
  int c, which = 0;

  opterr = 0;
  while ((c = getopt_long(argc, argv, "+", options, &which)) != -1) {
    bool ok = true;
    switch (c) {
    case 'r': w.report = true; break;
    case 'q': w.require = true; break;
    case 'c': w.alone = true; break;
    case 'a': w.anyway = true; break;
    case 's': ok = set(options[which].name, optarg); break;
    case 'l': ok = set_log(optarg); break;
    default: return usage_error("exec", "unknown option, or its value is missing: %s", argv[optind - 1]);
    }
    if (!ok) {
      perror("holdfast: cannot set the environment");
      return EXIT_FAILED;
    }
  }
  if (optind >= argc) return usage_error("exec", "which program?");
  /* Reads the settings as the program will, and says what is wrong with them. */
  if (holdfast_register(NULL) == SQLITE_MISUSE) return EXIT_USAGE;
  return become(argv + optind, &w);
}

const command command_exec = {"exec", "-- PROGRAM...  run an unchanged program with holdfast", run, help};
