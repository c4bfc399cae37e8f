/*
 * cli.h - what the files of the `holdfast` command share.
 *
 * One file for each subcommand; main.c only finds the right one. The command decides nothing that a
 * program could not ask the library.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stdio.h>

/* The same for every subcommand; `holdfast help` shows them. */
enum { EXIT_FINE = 0, EXIT_WARNING = 1, EXIT_UNSAFE = 2, EXIT_FAILED = 3, EXIT_USAGE = 64 };

typedef struct command {
  const char *name;
  const char *summary;
  int (*run)(int argc, char **argv); /* argv[0] is the name of the subcommand */
  const char *help;
} command;

extern const command command_doctor, command_check, command_locks, command_top, command_convert,
    command_salvage, command_exec, command_demo;

/* main.c: say what is wrong with the arguments and where help is. Returns EXIT_USAGE. */
int usage_error(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* main.c: whole seconds between low and high, or -1. */
long seconds_from(const char *text, long low, long high);

/* out.c: text for people. Control characters are shown as \xNN, so that a name cannot write to the terminal.
 */
void out_text(FILE *to, const char *text);
typedef enum { TONE_PLAIN, TONE_GOOD, TONE_WARN, TONE_BAD, TONE_DIM } tone;
void out_toned(tone t, const char *text); /* colours only when standard output is a terminal */

/*
 * out.c: JSON for programs, on standard output. The keys are ours and need no escape. A value of any bytes
 * becomes valid JSON: what is not UTF-8 becomes U+FFFD.
 */
typedef struct json {
  int depth;
  bool any[8]; /* has this level an element yet? */
} json;
void json_begin(json *j, const char *key, char bracket); /* key NULL inside an array */
void json_end(json *j, char bracket);
void json_text(json *j, const char *key, const char *text); /* NULL is null */
void json_number(json *j, const char *key, long long number);
void json_real(json *j, const char *key, double number);
void json_flag(json *j, const char *key, int yes_no_unknown); /* 1 true, 0 false, -1 null */

#endif
