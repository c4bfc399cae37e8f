/*
 * pool.h - what the files of the pool share: a pool, its two lanes, and its connections. A connection and the
 * lease of it are one structure: a lease costs no memory.
 *
 * Mutexes, in the order in which they may be taken:
 * 1. hf_registry.mutex (pool_registry.c): which pools this process has. Never held across a call of SQLite.
 * 2. holdfast_cancel.mutex: what is to be stopped with it.
 * 3. holdfast_pool.mutex: the queue, who has which connection, counters. Never held across a call of SQLite
 *    that can wait; it is held around sqlite3_interrupt() and a look at another thread's connection, because
 *    `db` changes only under it.
 * 4. holdfast_lease.note: the text of the statement that began last. A leaf.
 * Apart from these: hf_keeper.work is held by the keeper while it is in SQLite, and by a fork (pool_fork.c).
 *
 * A connection belongs to the thread that has its lease: that thread alone uses `db`, the cache of statements
 * and what is marked so below.
 */
#ifndef HF_POOL_H
#define HF_POOL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "holdfast.h"

enum { HF_TAG = 64, HF_SQL = 160, HF_NAME = 64, HF_READERS = 64, HF_TEXT = 512, HF_HASHES = 64 };
#define HF_MS 1000000LL
#define HF_S  1000000000LL

/* ---------------------------------------------------------------- counting */

/* Four steps for each doubling: an answer is at most a quarter too high. */
enum { HF_STEPS = 4, HF_BUCKETS = 64 * HF_STEPS };
typedef struct hf_histogram {
  int64_t count, sum, max;
  uint32_t bucket[HF_BUCKETS];
} hf_histogram;

void hf_histogram_add(hf_histogram *to, int64_t ns, int64_t weight); /* it stands for so many */
int64_t hf_histogram_at(const hf_histogram *from, int per_mille);

/* ---------------------------------------------------------------- statements */

typedef struct hf_statement {
  struct hf_statement *next;          /* in its bucket, or in the list of extra ones */
  struct hf_statement *newer, *older; /* by use */
  struct hf_statement *used;          /* handed out since the lease began */
  sqlite3_stmt *stmt;
  uint32_t hash;
  bool out;
  char sql[];
} hf_statement;

typedef struct hf_statements {
  hf_statement *bucket[HF_HASHES];
  hf_statement *newest, *oldest;
  hf_statement *used, *extra; /* extra: not kept, because the kept one was being stepped */
  int count, max;
} hf_statements;

void hf_statements_put_back(hf_statements *cache, int *busy); /* *busy += those in mid-step */
void hf_statements_free(hf_statements *cache);

/* ---------------------------------------------------------------- lanes and connections */

enum { HF_BEGIN, HF_BEGIN_IMMEDIATE, HF_COMMIT, HF_ROLLBACK, HF_SCOPES };
typedef enum hf_state { HF_EMPTY, HF_IDLE, HF_LEASED } hf_state;
typedef struct hf_lane hf_lane;

/* Why the SQL of a lease shall end. */
enum { HF_STOP_NOT, HF_STOP_CANCEL, HF_STOP_CLOSE, HF_STOP_AGE };

struct holdfast_lease {
  holdfast_pool *pool;
  hf_lane *lane;

  /* under pool->mutex */
  hf_state state;
  holdfast_lease *next; /* idle */
  uint64_t serial;      /* of the lease, never used again */
  uint64_t thread;      /* hf_thread() of its holder */
  int64_t since_ns;
  int mode; /* HOLDFAST_READ or _WRITE */
  bool age_said;
  char tag[HF_TAG];

  sqlite3 *db;           /* changes under the mutex, by the holder; used by the holder without it */
  atomic_int stop;       /* HF_STOP_... */
  atomic_bool leak_said; /* set by the keeper */

  atomic_bool napping; /* it waits for a lock in SQLite: it reads nothing */
  atomic_bool opening; /* its connection is being set up: nor does it now */

  /* the holder's */
  unsigned epoch; /* of the file that `db` has open */
  int64_t deadline_ns, wait_ns, busy_since_ns;
  bool own_reader;                /* the lock that it waits for is this thread's own read transaction */
  sqlite3_stmt *scope[HF_SCOPES]; /* pool_scope.c */
  hf_statements statements;
  holdfast_cancel *cancel;
  holdfast_lease *cancel_next, *cancel_prev; /* under cancel->mutex */

  pthread_mutex_t note; /* guards the next two; only the holder writes them */
  uint64_t sql_serial;
  char sql[HF_SQL];
};

/* What a call of acquire wants. */
typedef struct hf_want {
  int mode;
  bool polite;     /* lets everybody pass who waits: checks and backups between their slices */
  bool main;       /* the write lane, though writes are off */
  uint64_t thread; /* hf_thread() */
  int64_t now_ns;  /* when the call began */
  int64_t wait_ns; /* at most; 0 = not at all */
  const char *tag;
  holdfast_cancel *cancel;
} hf_want;

typedef struct hf_waiter {
  struct hf_waiter *next, *prev;
  pthread_cond_t wake;
  holdfast_pool *pool;
  const hf_want *want;
  holdfast_lease *given;                       /* handed over */
  bool woken;                                  /* told that a connection is free: one wake-up is under way */
  int64_t first_ns;                            /* since when it is the first in the queue */
  struct hf_waiter *cancel_next, *cancel_prev; /* under cancel->mutex */
} hf_waiter;

struct hf_lane {
  int mode;
  int capacity;
  holdfast_lease *connections; /* [capacity] */
  holdfast_lease *idle;        /* open, last used first */
  int open, out;               /* out: leased, also while it is being opened or closed */
  hf_waiter *head, *tail;
  int waiting;
  int64_t acquired, given, timeouts, cancelled, reentrant; /* given: back */
  hf_histogram wait, hold;
};

/* ---------------------------------------------------------------- the pool */

typedef struct hf_config {
  holdfast_pool_config given; /* completed; its strings are the caller's and not used */
  char name[HF_NAME];
  char *vfs;
  int flags, readers; /* readers: 0 = none */
  int64_t wait_ns, handoff_ns, leak_ns, read_age_ns, checkpoint_ns,
      check_ns; /* 0 = never, but for handoff_ns */
  int journal, statements, checkpoint_frames, wal_limit_mib, check;
  int (*on_connect)(sqlite3 *db, int lane, void *arg);
  void *on_connect_arg;
} hf_config;

typedef struct hf_keeper {
  pthread_t thread;
  pthread_cond_t wake; /* with pool->mutex */
  pthread_cond_t done; /* a checkpoint has ended */
  bool started, stop;
  bool awake;              /* it looks at the pool by itself, every so often: no need to wake it */
  bool wanted;             /* a checkpoint */
  uint64_t asked, reached; /* checkpoints by number */
  holdfast_checkpoint last;
  int last_rc;
  int64_t frames_since_ns;           /* when the frames that are not checkpointed began to wait, 0 = none */
  int settled_frames;                /* the log had so many when all were copied; -1 = not known */
  int64_t again_ns;                  /* when to try again, 0 = when there is a reason */
  bool pinned, pin_said;             /* the last one was not complete; that was told */
  int64_t pin_first_ns, pin_same_ns; /* since when it comes no nearer; since when it is the same one */
  int pin_copied;
  uint64_t pin_serial; /* whose lease was in the way, 0 = somebody outside */
  uint64_t acquired;   /* serial number at the last tick */
  int idle_ticks;
  int64_t tick_ns;
  pthread_mutex_t work; /* held while the thread is in SQLite */
  sqlite3 *db;          /* the keeper's; changes under pool->mutex, because others interrupt it */
  unsigned epoch;
} hf_keeper;

struct holdfast_pool {
  unsigned generation; /* of the process that opened it */
  hf_config config;
  char *name;  /* as SQLite is given it: a path or a URI */
  char *path;  /* real path; "" for a memory database */
  bool memory; /* no file, nobody else can have it */
  bool uri, network;

  /* under the registry's mutex */
  holdfast_pool *next;
  int references;
  bool ready; /* set up; `failed` else says with what it ended */
  int failed;
  uint64_t device, inode;
  bool inode_counts; /* numbers are stable and known */

  pthread_mutex_t mutex;
  pthread_cond_t left; /* a lease came back, or a waiter left, while closing */
  bool closing, zombie;
  int waiters; /* calls that wait, or have not left quite yet */
  bool quarantined;
  holdfast_health_run *checking; /* its step is running on the main connection */
  atomic_uint epoch;             /* of the file: another one since it was moved or replaced */
  bool ready_once;               /* the database was there: it is not created any more */
  uint64_t serial;
  hf_lane write, read;
  hf_lane *reads; /* &read, or &write in a pool of one connection */
  holdfast_event_fn on_event;
  void *on_event_arg;
  int64_t opened, discarded, reopened, unclean, leaks, reads_ended, commits, rollbacks;
  int64_t checkpoints, checkpoints_partial, checkpoints_busy;
  hf_keeper keeper;
  char journal[12], check[12];

  pthread_mutex_t telling; /* one event at a time; recursive; never with another of ours held */
  atomic_int wal_frames;
  atomic_int nudge_at; /* so many frames wake the keeper; the writer's and the keeper's */
  _Atomic int64_t lock_waits, statements_hit, statements_missed;
  _Atomic int64_t met_ns; /* when its writer last waited for a lock of SQLite, 0 = long ago */
  int64_t turn_ns;        /* since when it has not; the write lease's */
};

/* pool_process.c: which process and which thread is this */
void hf_process_start(void);
unsigned hf_process(void);
uint64_t hf_thread(void);
int64_t hf_now(void);        /* CLOCK_MONOTONIC, ns */
int64_t hf_now_coarse(void); /* never later, at most some milliseconds earlier, and quicker */
int hf_cond_init(pthread_cond_t *cond);
int hf_cond_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t ns); /* 0 or ETIMEDOUT */
static inline bool hf_forked(const holdfast_pool *pool)
{
  return pool->generation != hf_process();
}

/* pool_error.c: note the thread's text and return the code */
int hf_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
int hf_fail_sqlite(const holdfast_pool *pool, sqlite3 *db, int rc, const char *what);
int hf_fail_forked(void);

/* pool_config.c */
int hf_config_read(const holdfast_pool_config *given, const char *path, hf_config *out);
int hf_config_conflict(const holdfast_pool *pool, const holdfast_pool_config *given);
void hf_config_free(hf_config *config);

/*
 * pool_queue.c: a connection of a lane, which may not be open (`db` is NULL) or have the wrong file
 * (`epoch`): hf_connection_usable() follows. hf_queue_give() gives it back in whatever state it is.
 */
int hf_queue_init(holdfast_pool *pool);
void hf_queue_free(holdfast_pool *pool);
int hf_queue_take(holdfast_pool *pool, const hf_want *want, holdfast_lease **out);
bool hf_queue_give(holdfast_lease *lease);   /* false: not with this connection, it was ended for its age */
void hf_queue_wake_all(holdfast_pool *pool); /* pool->mutex is held */
const holdfast_lease *hf_longest(const hf_lane *lane);    /* pool->mutex is held; NULL = none is out */
void hf_copy_sql(const holdfast_lease *lease, char *out); /* HF_SQL bytes; pool->mutex is held */
static inline hf_lane *hf_lane_of(holdfast_pool *pool, int mode)
{
  return mode == HOLDFAST_WRITE ? &pool->write : pool->reads;
}
static inline const char *hf_lane_word(int mode)
{
  return mode == HOLDFAST_WRITE ? "write" : "read";
}

/* pool_lease.c */
int hf_acquire(holdfast_pool *pool, const hf_want *want, holdfast_lease **out);
int hf_want_of(const holdfast_pool *pool, int mode, const holdfast_options *options, hf_want *out);
int hf_release(holdfast_lease *lease);
bool hf_is_reading(sqlite3 *db);
bool hf_is_writing(sqlite3 *db);
void hf_lease_freeze(holdfast_lease *lease, bool freeze);
void hf_lease_stop(holdfast_lease *lease, int why); /* its SQL shall end; any thread */
/* What SQLite answered, or HOLDFAST_CANCELLED or _CLOSED where that was hf_lease_stop()'s doing. */
int hf_lease_explain(const holdfast_lease *lease, int rc, const char *what);

/* pool_connection.c */
int hf_connection_usable(holdfast_lease *lease);
void hf_connection_close(holdfast_lease *lease, bool stale);
int hf_connection_text(sqlite3 *db, const char *sql, char *out, int size); /* first column of the first row */
void hf_connection_plain_close(sqlite3 *db, bool stale);

/* pool_check.c */
void hf_check_at_open(holdfast_lease *lease);
void hf_quarantine(holdfast_pool *pool, bool on, const char *why);
void hf_evidence(holdfast_pool *pool, sqlite3 *db, int copies_max, int64_t bytes_max); /* 0 = the defaults */

/* pool_registry.c */
holdfast_pool *hf_registry_enter(holdfast_pool *mine); /* the pool of that file, which may be `mine` */
int hf_registry_wait(holdfast_pool *pool,
                     int64_t until); /* until it is set up: 0, its failure, or HOLDFAST_TIMEOUT */
void hf_registry_ready(holdfast_pool *pool, int failed);
bool hf_registry_leave(holdfast_pool *pool); /* true: that was the last reference */
void hf_registry_gone(holdfast_pool *pool);  /* after it left: its keeper has stopped */
bool hf_registry_moved(holdfast_pool *pool); /* its name leads to another file than it has open; a stat() */
void hf_registry_identify(holdfast_pool *pool);
int hf_registry_references(holdfast_pool *pool);

/* pool_file.c: names and what they lead to */
char *hf_path_of(const char *name);     /* the path in a name that SQLite takes, "" = in memory; malloc() */
char *hf_file_real(const char *path);   /* real path, also of a file that does not exist yet; malloc() */
bool hf_file_network(const char *path); /* a mount where WAL cannot work and inode numbers may change */

/* pool_keeper.c, pool_checkpoint.c */
int hf_keeper_start(holdfast_pool *pool);
void hf_keeper_stop(holdfast_pool *pool);
void hf_keeper_wake(holdfast_pool *pool);  /* pool->mutex is held: leases are out, look after them */
void hf_keeper_nudge(holdfast_pool *pool); /* pool->mutex is held: a checkpoint is due */
void hf_keeper_finish(holdfast_pool *pool, int64_t bound_ns); /* a last checkpoint */
void hf_keeper_before_fork(holdfast_pool *pool);
void hf_keeper_after_fork(holdfast_pool *pool);
void hf_checkpoint_drop(holdfast_pool *pool, bool stale); /* `work` is held */

/* pool_event.c */
typedef struct hf_said {
  int kind, lane, code;
  int64_t age_ms;
  char tag[HF_TAG], sql[HF_SQL];
} hf_said;
void hf_event(holdfast_pool *pool, const hf_said *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* pool_open.c */
void hf_pool_reopen(holdfast_pool *pool, unsigned epoch,
                    int code);         /* the file that `epoch` means is another now */
void hf_pool_end(holdfast_pool *pool); /* everything is back: close and free it all */

#endif
