/*
 * f19_wal_reset.c - F19, SQLite's WAL-reset bug, on the schedule that loses data every time.
 *
 * Two processes, a checkpointer and a writer. The log is copied into the database; the checkpointer begins
 * another checkpoint and is held where it has copied the wal-index header; the writer commits, which restarts
 * the log, and the checkpointer goes on. Each variant of that is run with both plain, with both under a shim
 * whose guard is switched off or that only observes (each run must lose commits or damage the file), and with
 * the shim on either side and on both (no run may).
 *
 * A third process, plain, looks at the result. What it must see comes from the same statements on another
 * file, without any race.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "holdfast.h"
#include "peer.h"
#include "wrapvfs.h"

#define SOUND      "(SELECT group_concat(integrity_check) FROM pragma_integrity_check)"
#define ANSWER_SQL "SELECT count(*), sum(n * id), " SOUND " FROM t"
#define UPDATE(id) "UPDATE t SET n=n+1 WHERE id=" #id
#define LATER      UPDATE(5) ";" UPDATE(6) ";" UPDATE(7) ";" UPDATE(8)
#define GROW(rows)                                                                                           \
  "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<" #rows ") "                        \
  "INSERT INTO t(n, pad) SELECT 20, zeroblob(400) FROM c"

enum { RUNS = 3, LONG_RUNS = 40, TEXT = 600 };

/* Rows have a page each, so an update of n rows is a log of n frames. */
typedef struct variant {
  const char *name;
  int rows, frames;   /* in the table; in the log that is copied, M */
  int sign;           /* of K - M, where K is the frames of the new log when the checkpointer goes on */
  bool fill;          /* the writer goes on until the new log has M frames, too */
  const char *before; /* the writer, before the checkpoint begins */
  const char *mode;   /* of the checkpoint */
  const char *window; /* the writer, while the checkpointer is held */
  const char *later;  /* and when that is through */
} variant;

static const variant variants[] = {
    {"K < M, more commits later", 40, 20, -1, false, "", "PASSIVE", UPDATE(1), LATER},
    {"K < M, the log grows beyond M later", 40, 20, -1, false, "", "PASSIVE", UPDATE(1), LATER ";" GROW(60)},
    {"K = M, the file grows", 40, 30, 0, true, "", "PASSIVE", GROW(10), LATER},
    {"K > M", 40, 10, 1, false, "", "PASSIVE", GROW(60), LATER},
    {"M in two segments of the wal-index", 4200, 4200, -1, false, "", "PASSIVE", UPDATE(4190), LATER},
    {"FULL, which finds a writer and goes on as PASSIVE", 40, 20, -1, false, "BEGIN IMMEDIATE;" UPDATE(1),
     "FULL", UPDATE(2) ";COMMIT", LATER},
};
enum { VARIANTS = sizeof variants / sizeof variants[0] };

/* ---------------------------------------------------------------- holding the checkpointer */

static int held_pipe[2], go_pipe[2]; /* made before any fork */
static bool armed, checkpointing;    /* in the checkpointer's process */

/* xUnfetch is the call between the copy of a changed header and everything that a checkpoint does with it. */
static void hold(const wrap_call *call)
{
  char byte = 'h';

  if (armed && call->op == WRAP_SHM_LOCK && call->a == 1) checkpointing = call->flags & SQLITE_SHM_LOCK;
  if (!armed || !checkpointing || call->op != WRAP_UNFETCH) return;
  armed = false;
  if (write(held_pipe[1], &byte, 1) != 1 || read(go_pipe[0], &byte, 1) != 1) _exit(4);
}

static void hook_below(void)
{
  static const wrap_rules hook = {.name = "hook", .before = hold};

  if (wrapvfs_register(&hook, 1) != SQLITE_OK) _exit(5);
}

static int arm(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  armed = true;
  checkpointing = false;
  return SQLITE_OK;
}

static int disarm(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  armed = false;
  return SQLITE_OK;
}

typedef struct checkpoint {
  peer *by;
  const char *mode;
  int rc;
  pthread_t thread;
} checkpoint;

static void *checkpoint_main(void *arg)
{
  checkpoint *c = arg;
  char sql[60], byte = 'e';

  (void)snprintf(sql, sizeof sql, "PRAGMA wal_checkpoint(%s)", c->mode); /* fits */
  c->rc = peer_sql(c->by, 0, sql);
  if (write(held_pipe[1], &byte, 1) != 1) check_broken("a pipe");
  return NULL;
}

/* 'h' = it is held, 'e' = it has ended. */
static char next_state(void)
{
  struct pollfd wait = {.fd = held_pipe[0], .events = POLLIN};
  char byte;

  if (poll(&wait, 1, 60 * 1000) != 1 || read(held_pipe[0], &byte, 1) != 1)
    check_broken("the checkpointer hangs");
  return byte;
}

/* ---------------------------------------------------------------- one run */

/* Frames in the log, from the wal-index. This process runs no SQLite, so it may open the file. */
static unsigned frames_now(void)
{
  unsigned frames = 0;
  size_t size;
  char *index = file_read("a.db-shm", &size);

  if (!index || size < 136) check_broken("a.db-shm");
  memcpy(&frames, index + 16, sizeof frames);
  free(index);
  return frames;
}

static void must(peer *p, int slot, const char *sql)
{
  if (peer_sql(p, slot, sql) == SQLITE_OK) return;
  printf("    %s: %s\n", sql, peer_text(p));
  check_broken("a statement that cannot fail");
}

static void make(peer *by, const char *path, const variant *v)
{
  char sql[TEXT];

  db_remove(path);
  if (peer_open(by, 0, path, 0)) check_broken(path);
  (void)snprintf(sql, sizeof sql, /* fits */
                 "PRAGMA synchronous=OFF; PRAGMA page_size=512; PRAGMA journal_mode=WAL;"
                 "CREATE TABLE t(id INTEGER PRIMARY KEY, n, pad);"
                 "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<%d) "
                 "INSERT INTO t SELECT x, 10, zeroblob(400) FROM c",
                 v->rows);
  must(by, 0, sql);
  if (peer_close(by, 0)) check_broken("close");
}

static void fill_log(const variant *v, char *sql, size_t size)
{
  (void)snprintf(sql, size, "UPDATE t SET n=n+1 WHERE id<=%d", v->frames); /* fits */
}

typedef struct team {
  const char *name;
  int checkpointer_shim, writer_shim;
  const char *env;
  bool loses;
  peer *checkpointer, *writer, *plain;
  int lost, not_held, not_as_named, not_caught_up;
} team;

/* The new log gets as many frames as the old one had: K = M. Rows of a page each again. */
static const char *fill_up(const variant *v, char *sql, size_t size)
{
  unsigned have = frames_now();

  if (have >= (unsigned)v->frames) have -= (unsigned)v->frames; /* the log was not restarted */
  (void)snprintf(sql, size, "UPDATE t SET n=n+1 WHERE id<=%d", v->frames - (int)have); /* fits */
  return sql;
}

static int sign_of(int number)
{
  return (number > 0) - (number < 0);
}

/* Plays the variant on a.db. False when the writer was told of a damage. `filled`: what `fill` came to. */
static bool play(team *t, const variant *v, char *filled, size_t size)
{
  checkpoint c = {.by = t->checkpointer, .mode = v->mode};
  char sql[TEXT], want[40];
  bool good = true;

  fill_log(v, sql, sizeof sql);
  must(t->checkpointer, 0, "SELECT count(*) FROM t");
  must(t->writer, 0, sql);
  (void)snprintf(want, sizeof want, "0|%d|%d", v->frames, v->frames); /* fits */
  CHECK_STR("all of the log is copied", peer_ask(t->writer, 0, "PRAGMA wal_checkpoint"), want);
  must(t->writer, 0, v->before);
  if (peer_call(t->checkpointer, arm)) check_broken("arm");
  if (pthread_create(&c.thread, NULL, checkpoint_main, &c)) check_broken("pthread_create");
  if (next_state() == 'h') {
    good = peer_sql(t->writer, 0, v->window) == SQLITE_OK;
    if (v->fill) good = good && peer_sql(t->writer, 0, fill_up(v, filled, size)) == SQLITE_OK;
    if (t->loses && sign_of((int)frames_now() - v->frames) != v->sign) t->not_as_named++;
    if (write(go_pipe[1], "g", 1) != 1 || next_state() != 'e') check_broken("a pipe");
  } else {
    t->not_held++;
  }
  if (pthread_join(c.thread, NULL)) check_broken("pthread_join");
  if (c.rc) good = false;
  if (peer_call(t->checkpointer, disarm)) check_broken("disarm");
  return peer_sql(t->writer, 0, v->later) == SQLITE_OK && good;
}

/* What the same statements come to without a race. */
static void expect(team *t, const variant *v, const char *filled, char *out, size_t size)
{
  char sql[TEXT];

  make(t->plain, "b.db", v);
  if (peer_open(t->plain, 0, "b.db", 0)) check_broken("b.db");
  must(t->plain, 0, "PRAGMA synchronous=OFF");
  fill_log(v, sql, sizeof sql);
  must(t->plain, 0, sql);
  must(t->plain, 0, v->before);
  must(t->plain, 0, v->window);
  must(t->plain, 0, filled);
  must(t->plain, 0, v->later);
  (void)snprintf(out, size, "%s", peer_ask(t->plain, 0, ANSWER_SQL)); /* fits */
  if (peer_close(t->plain, 0)) check_broken("close");
}

static void look(peer *plain, char *answer, size_t size)
{
  if (peer_open(plain, 0, "a.db", 0)) check_broken("a.db");
  must(plain, 0, "PRAGMA synchronous=OFF");
  (void)snprintf(answer, size, "%s", peer_ask(plain, 0, ANSWER_SQL)); /* cut = different */
  (void)peer_close(plain, 0);                                         /* of a damaged file it may say so */
}

/* A checkpoint that was stopped has lost nothing but time: the next one copies all. */
static bool caught_up(team *t)
{
  unsigned frames = frames_now();
  char want[40];

  (void)snprintf(want, sizeof want, "0|%u|%u", frames, frames); /* fits */
  return strcmp(peer_ask(t->checkpointer, 0, "PRAGMA wal_checkpoint"), want) == 0;
}

static void one_run(team *t, const variant *v)
{
  char before_close[TEXT], after_close[TEXT], want[TEXT], filled[TEXT] = "";
  const char *settings = "PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0";
  bool good;

  make(t->plain, "a.db", v);
  if (peer_open(t->checkpointer, 0, "a.db", 0) || peer_open(t->writer, 0, "a.db", 0)) check_broken("a.db");
  must(t->checkpointer, 0, settings);
  must(t->writer, 0, settings);
  good = play(t, v, filled, sizeof filled);
  look(t->plain, before_close, sizeof before_close);
  if (!t->loses && !caught_up(t)) t->not_caught_up++;
  (void)peer_close(t->writer, 0); /* of a damaged file they may say so */
  (void)peer_close(t->checkpointer, 0);
  look(t->plain, after_close, sizeof after_close);
  expect(t, v, filled, want, sizeof want);
  if (good && strcmp(before_close, want) == 0 && strcmp(after_close, want) == 0) return;
  if (t->lost++ == 0)
    printf("    %s: \"%.70s\", when all have closed it \"%.70s\", want \"%.70s\"\n", v->name, before_close,
           after_close, want);
}

/* ---------------------------------------------------------------- all runs */

static void play_team(team *t, int runs)
{
  t->checkpointer = peer_start_in(t->checkpointer_shim, t->env, hook_below);
  t->writer = peer_start(t->writer_shim, t->env);
  t->plain = peer_start(SHIM_NO, NULL);
  for (int i = 0; i < VARIANTS; i++) {
    check_scene("%s: %s", t->name, variants[i].name);
    t->lost = t->not_held = t->not_as_named = t->not_caught_up = 0;
    for (int run = 0; run < runs; run++) one_run(t, &variants[i]);
    printf("%s: %s: lost in %d of %d runs\n", t->name, variants[i].name, t->lost, runs);
    CHECK_INT("runs in which the checkpointer was not held", t->not_held, 0);
    CHECK_INT("runs in which the log was not restarted as the name says", t->not_as_named, 0);
    CHECK_INT("runs that lost something", t->lost, t->loses ? runs : 0);
    CHECK_INT("runs in which the next checkpoint did not copy all", t->not_caught_up, 0);
  }
  CHECK_INT("end of the checkpointer", peer_end(t->checkpointer), 0);
  CHECK_INT("end of the writer", peer_end(t->writer), 0);
  CHECK_INT("end of the third", peer_end(t->plain), 0);
}

static bool has_the_bug(void)
{
  holdfast_bug bug = {.struct_size = sizeof bug};

  for (int i = 0; holdfast_known_bug(sqlite3_libversion_number(), i, &bug) == SQLITE_OK; i++)
    if (strcmp(bug.id, "wal-reset") == 0) return true;
  return false;
}

int main(void)
{
  team teams[] = {
      {.name = "both plain", .loses = true},
      {.name = "the guard switched off",
       .checkpointer_shim = SHIM_YES,
       .writer_shim = SHIM_YES,
       .env = "HOLDFAST_WALGUARD=off",
       .loses = true},
      {.name = "only observed",
       .checkpointer_shim = SHIM_YES,
       .writer_shim = SHIM_YES,
       .env = "HOLDFAST_MODE=observe",
       .loses = true},
      {.name = "checkpointer with the shim", .checkpointer_shim = SHIM_YES},
      {.name = "writer with the shim", .writer_shim = SHIM_YES},
      {.name = "both with the shim", .checkpointer_shim = SHIM_YES, .writer_shim = SHIM_YES},
  };

  (void)shim_path(); /* skips when there is none */
  if (!has_the_bug()) check_skip("this SQLite does not have the WAL-reset bug: nothing could be lost");
  if (pipe2(held_pipe, O_CLOEXEC) || pipe2(go_pipe, O_CLOEXEC)) check_broken("pipe");
  for (size_t i = 0; i < sizeof teams / sizeof teams[0]; i++)
    play_team(&teams[i], getenv("HF_LONG") ? LONG_RUNS : RUNS);
  return check_done();
}
