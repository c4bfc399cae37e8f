/*
 * demo.h - what the files of `holdfast demo` share.
 *
 * Two programs, "gateway" and "dashboard", work on one board of tasks: processes that are forked here and
 * know nothing of each other but the file. demo_work.c is what both do, whatever side is played; a side
 * (demo_plain.c, demo_pool.c) is only how they get at the database and how they look after it. All that is
 * counted lies in memory that they share with the command, and no counter goes through SQLite.
 */
#ifndef DEMO_H
#define DEMO_H

#include <limits.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DEMO_PROGRAMS = 2, DEMO_TASKS_MAX = 1 << 21, DEMO_COPY_BYTES_MAX = 32 << 20, DEMO_TEXT = 200 };

/* What a program was told of a task, one byte for each. */
enum { TASK_UNKNOWN = 0, TASK_CREATED = 1, TASK_CLAIMED = 2, TASK_DONE = 3 };

/* What one program saw. Written by its threads, read by the command at any time. */
typedef struct demo_log {
  atomic_long created, commits; /* acknowledged by SQLite */
  atomic_long reads, checks, not_checked, looks;
  atomic_long alarms,
      alarms_unchecked; /* "corrupt!", and how many of them said so of a check that did not run */
  atomic_long copies, copied_bytes, copies_left_out; /* the last: after DEMO_COPY_BYTES_MAX */
  atomic_long errors, breaches, given_twice;
  atomic_long wait_ns_max;
  atomic_int has_error, has_alarm;
  char first_error[DEMO_TEXT], first_alarm[DEMO_TEXT];
  int ended_by; /* signal, or 0; written by the command */
} demo_log;

/* What is found on the board afterwards, by plain SQLite in a process of its own. */
typedef struct demo_audit {
  bool done;
  long found;    /* acknowledged tasks that are there in the state that was acknowledged */
  int integrity; /* CHECK_OK, CHECK_ALARM: damaged, CHECK_NOT_DONE */
  char mode[16]; /* journal mode */
  char said[DEMO_TEXT];
} demo_audit;

typedef struct demo_shared {
  atomic_int stop;
  atomic_int inside; /* number of the program in a write transaction now, 0 = none (see demo_work.c) */
  demo_log log[DEMO_PROGRAMS];
  demo_audit audit;
  long ran_ms;
  char note[DEMO_TEXT];                             /* what holdfast says of the file */
  bool careless;                                    /* the programs look at the file by open, read, close */
  atomic_uchar told[DEMO_PROGRAMS][DEMO_TASKS_MAX]; /* by maker and number */
} demo_shared;

typedef struct demo_program demo_program;
struct holdfast_lease;
struct holdfast_pool;

/* A connection for one transaction. lease is NULL where there is no pool. */
typedef struct demo_connection {
  sqlite3 *db;
  struct holdfast_lease *lease;
} demo_connection;

typedef int demo_step(demo_connection *c, void *arg); /* SQLITE_OK, else the transaction is rolled back */

enum { CHECK_OK, CHECK_ALARM, CHECK_NOT_DONE };

typedef struct demo_side {
  const char *name, *title;
  int (*open)(demo_program *p);                              /* once in each program */
  int (*write)(demo_program *p, demo_step *step, void *arg); /* OK only after COMMIT */
  int (*read)(demo_program *p, demo_step *step, void *arg);
  /* Looks whether the board is healthy. *code is the SQLite code of a check that did not run, else 0. */
  int (*check)(demo_program *p, int *code, char *said, size_t size);
  void (*close)(demo_program *p);
} demo_side;
extern const demo_side demo_plain, demo_pool;

struct demo_program {
  const demo_side *side;
  const char *path;
  const char *name; /* "gateway" */
  int who;          /* 0, 1 */
  demo_shared *shared;
  demo_log *log;
  struct holdfast_pool *pool; /* demo_pool.c's */
  char said[DEMO_TEXT];       /* of the last failure; the writing thread's */
};

/* demo_board.c: the board's tables and steps. */
int board_create_tables(demo_connection *c, void *unused); /* a demo_step */
int board_prepare(demo_connection *c, const char *sql, sqlite3_stmt **out);
void board_put(demo_connection *c, sqlite3_stmt *statement);
typedef struct board_task {
  int who;          /* the program that acts */
  long number;      /* create: of the new task */
  sqlite3_int64 id; /* claim: out; 0 = nothing is open */
  int maker;        /* claim: out */
} board_task;
int board_create(demo_connection *c, board_task *t);
int board_claim(demo_connection *c, board_task *t);
int board_complete(demo_connection *c, board_task *t);
int board_poll(demo_connection *c, void *unused);
void board_audit(const char *path, demo_shared *shared);

/* demo_work.c: what a program does. Runs in its process; returns when stopped. */
void demo_work(demo_program *p);
void demo_failed(demo_program *p, int rc, const char *said);
int64_t demo_now_ns(void);

/* demo_files.c: the folder of the demo and all that it makes there. */
typedef struct demo_place {
  char folder[PATH_MAX], board[PATH_MAX + 16];
} demo_place;
int place_make(demo_place *place, const char *dir); /* 0, or an errno; EEXIST: it is there already */
void place_empty(const demo_place *place);          /* away with the board and its copies */
int place_remove(const demo_place *place);          /* the folder too; 0 or an errno */
long place_copy(const char *board, const char *name, long number); /* beside the board; bytes, or -1 */
long place_copies(const demo_place *place); /* copies that lie there, counted in the folder */

/* demo_crew.c: plays one side. 0, or an errno; EINTR after a signal, from crew_listen() on. */
void crew_listen(void);
int crew_play(const demo_side *side, const demo_place *place, long seconds, bool quiet, demo_shared *shared);

/* demo_show.c: the result. */
typedef struct demo_result {
  const demo_side *side;
  demo_shared *shared;
  long copies; /* counted in the folder */
} demo_result;
bool demo_worked(const demo_result *r); /* a task was created */
bool demo_clean(const demo_result *r);  /* nothing at all went wrong */
void demo_table(const demo_result *plain, const demo_result *pool, const char *dir, long seconds);
void demo_json(const demo_result *plain, const demo_result *pool, const char *dir, long seconds, int code);

#endif
