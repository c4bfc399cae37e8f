/*
 * kit.h - what the cases of the lab need: agents at the other end of a pipe, and looks at files.
 *
 * Knows no SQLite. A case that cannot go on (an agent that does not start or answer) ends the
 * program with a message and exit code 1, which the lab counts as failed.
 */
#ifndef LAB_KIT_H
#define LAB_KIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct kit_agent {
  pid_t pid;
  int to, from; /* its stdin, its stdout */
} kit_agent;

/* Start an agent. shim NULL: plain SQLite. client NULL: on this machine. */
kit_agent kit_start(const char *shim, const char *client);
/* The same in two steps: to start it, and to wait until it is loaded. */
kit_agent kit_spawn(const char *shim, const char *client);
void kit_ready(const kit_agent *agent);

/* The one agent of plain SQLite on this machine, with `path` open until the next call. */
const kit_agent *kit_plain(const char *path);

/* Send one command (without waiting), and wait for its answer. The answer lives until the next kit_hear(). */
void kit_tell(const kit_agent *agent, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *kit_hear(const kit_agent *agent);

/* Both. */
const char *kit_ask(const kit_agent *agent, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* kit_ask() for steps that only prepare: ends the case if the answer is not "ok". */
void kit_must(const kit_agent *agent, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Stop an agent: at its own end of input, or with SIGKILL. Waits for it, so that its files are closed. */
void kit_stop(kit_agent *agent);
void kit_kill(kit_agent *agent);

/* Wait for an agent that is to die by a signal of its own; ends the case if it answers instead. */
void kit_must_die(kit_agent *agent);

/* A setting of the environment: NULL when it is absent or empty; needed: or the case is skipped; a number. */
const char *kit_setting(const char *name);
const char *kit_need(const char *name);
long kit_number(const char *name);

/* "ok X" -> X; an error is shortened to its code, which is what the table has room for. */
const char *kit_short(const char *answer);

bool kit_exists(const char *path, const char *suffix);
/* A checksum over the contents; 0 when the file is absent. Plain reads: no lock of another process is
 * touched. */
uint64_t kit_sum(const char *path, const char *suffix);

void kit_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
