/*
 * doctor.h - what `holdfast doctor` finds out, and who finds it.
 *
 * The findings lie in memory shared with a child process. The child (look.c) touches the path, which may
 * hang for ever; the parent (doctor.c) waits with a deadline, judges and prints (show.c). After each stage
 * the child writes its letter into a pipe: what was filled in before that is complete.
 */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include <stdbool.h>

#include "holdfast.h"

enum { PATH_BYTES = 4096 }; /* Linux' PATH_MAX, with the ending zero */

enum { /* what the path is */
       KIND_UNKNOWN = 0,
       KIND_FILE,
       KIND_NEW, /* does not exist, its directory does */
       KIND_DIRECTORY,
       KIND_OTHER /* FIFO, socket, device */
};

enum { /* what the first 100 bytes of a file say */
       HEADER_NONE = 0,
       HEADER_EMPTY, /* a database that nothing was written to yet */
       HEADER_ROLLBACK,
       HEADER_WAL,
       HEADER_STRANGE, /* no SQLite header: something else, or encrypted */
       HEADER_UNREADABLE
};

typedef struct journal_facts {
  int header, page_size, error;      /* error: errno of an unreadable file */
  long long size, wal, shm, journal; /* bytes; -1: there is no such file */
  bool hot; /* the rollback journal would be played back, unless its writer is alive */
} journal_facts;

enum { PROBE_NOT_ASKED = 0, PROBE_NOT_SENSIBLE, PROBE_RAN, PROBE_IMPOSSIBLE, PROBE_UNFINISHED };

typedef struct findings {
  /* asked for */
  const char *path;
  bool probe;
  /* stage '/': about to touch this; in the end where the path leads */
  char resolved[PATH_BYTES];
  /* stage 'k' */
  int kind, error;     /* error: errno when the path cannot be reached */
  const char *special; /* KIND_OTHER: "a FIFO", ... */
  /* stage 'm' */
  bool have_mount;
  holdfast_mount mount;
  /* stage 'j' */
  journal_facts journal;
  /* stages 's' (the self-test begins) and 't' */
  int probe_state, probe_error;
  char sidecar[PATH_BYTES];
  holdfast_selftest_report report;
  /* --as: filled in by a second child, with a second host */
  char as; /* 'a', 'b' or 0 */
  int wait_s, hosts_state, hosts_error;
  holdfast_selftest_report hosts;
  /* by the parent */
  bool silent;   /* the deadline passed: it does not answer */
  bool leftover; /* and the sidecar may still be there */
  bool interrupted;
} findings;

/* look.c: the child's work. `report_to` is the pipe. */
void look(findings *f, int report_to);
/* look.c: the other child's work: remove what a killed self-test left. */
void look_remove(findings *f, int report_to);

/* look.c: a third child's: meet the other host. */
void look_hosts(findings *f, int report_to);

/* deadline.c: how a child ended. */
enum { CHILD_DONE, CHILD_DIED, CHILD_SILENT, CHILD_INTERRUPTED, CHILD_NONE };
/* Run work(f, pipe) in a child; gives up when it is silent for `seconds`. *stage gets its last letter. */
int run_with_deadline(void (*work)(findings *, int), findings *f, int seconds, char *stage);

/* show.c */
void show_text(const findings *f, int code);
void show_json(const findings *f, int code);
const char *verdict_word(int code);

#endif
