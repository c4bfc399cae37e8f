/*
 * crowd.h - processes that write at the same time, and the count afterwards.
 *
 * A member is a forked process. Each run of a writer has a number of its own and inserts rows (who = that
 * number, n = 1, 2, 3 ...). It notes "started n" and "committed n" in memory that outlives it, so that a
 * writer can be killed at any moment and the count stays exact: of each writer the rows 1..k must be there,
 * k = what it saw committed, or one more where it was killed or told of an error in mid-commit.
 */
#ifndef HFT_CROWD_H
#define HFT_CROWD_H

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { CROWD_WRITERS = 1000 };

typedef struct crowd_log {
  atomic_long started, committed, busy;
  atomic_int error; /* the extended code that ended the writer; 0 = none */
} crowd_log;

typedef struct crowd_count {
  int writers, failed;   /* that wrote; that ended with an error */
  int first_error;       /* code of one of the failed, 0 = none */
  long committed, found; /* rows: acknowledged, seen in the table itself (not in an index) */
  long lost, extra;      /* acknowledged and not there; there though nobody can have written them */
  char integrity[400];
} crowd_count;

/* Before the first member: forgets all earlier ones. */
void crowd_start(void);
void crowd_stop(void); /* members see crowd_stopped() from now on */
bool crowd_stopped(void);
int crowd_writer(void); /* a new writer's number; ends the program when there are too many */
crowd_log *crowd_log_of(int who);

/* Forks; with a shim it is loaded before body. The member exits with what body returns. */
pid_t crowd_fork(int shim, int (*body)(int who), int who);
/* Waits for a member, at most a minute after which it is killed. Exit code, or 128 + signal. */
int crowd_wait(pid_t pid);
void crowd_sleep(long ms); /* lets the members work; never a step between processes */

/* Bodies and their parts. */
int crowd_insert_until_stop(int who); /* opens SCENE_DB, writes until stopped or an error; 0 */
/* `rows` more rows, or with -1 until stopped. "Busy" ends it only where the rows are counted (SQLITE_BUSY
 * then). Returns the last code. */
int crowd_insert(sqlite3 *db, int who, long rows);

/* Looks with a fresh plain process. To be called when no member lives. Prints what is wrong. */
void crowd_audit(crowd_count *out);
/* lost == 0, extra == 0, nobody failed, integrity ok */
bool crowd_exact(const crowd_count *count);

#endif
