/*
 * locks_slow.c - a wait that takes too long is said once, with who is in the way, and again when it is over:
 * writers that wait for a writer, plain or not, stopped or not, in another process or in the same one; F9, a
 * reader that keeps a writer from finishing; F12, a reader that pins the WAL. Switched off, nothing is said.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "scene.h"

#define SAID "SELECT group_concat(detail, char(10)) FROM holdfast_events WHERE kind='slow-lock'"
#define FEW  "HOLDFAST_SLOW_LOCK_MS=150"

static peer *waiter_of(const char *env)
{
  peer *p = peer_start(SHIM_YES, env);

  CHECK_INT("open", peer_open(p, 0, SCENE_DB, 0), SQLITE_OK);
  CHECK_INT("a connection that can always ask", peer_open(p, 1, ":memory:", 0), SQLITE_OK);
  scene_must(p, "SELECT count(*) FROM t; PRAGMA busy_timeout=400");
  return p;
}

/* "LOCK of pid N (NAME, STATE)" */
static const char *held_by(const char *lock, pid_t pid, const char *state)
{
  static char text[200];
  char name[64] = "";
  FILE *file = fopen("/proc/self/comm", "re");

  if (!file || !fgets(name, sizeof name, file)) check_broken("/proc/self/comm");
  (void)fclose(file);
  name[strcspn(name, "\n")] = 0;
  (void)snprintf(text, sizeof text, "%s of pid %d (%s, %s)", lock, (int)pid, name, state);
  return text;
}

static int lines(const char *text)
{
  int n = *text != 0;
  for (; *text; text++) n += *text == '\n';
  return n;
}

static void another_process(const char *mode, const char *lock, int shim, bool stopped)
{
  peer *waiter, *holder;
  int status = 0;

  check_scene("%s of another process, %s%s", lock, shim ? "with holdfast" : "plain",
              stopped ? ", stopped" : "");
  scene_make(mode, NULL);
  waiter = waiter_of(FEW);
  holder = scene_peer(shim);
  CHECK_STR("nobody waits for nothing", peer_ask(waiter, 0, "INSERT INTO t(who) VALUES(1)"), "");
  CHECK_STR("so nothing is said", peer_ask(waiter, 1, SAID), "");
  scene_must(holder, "BEGIN IMMEDIATE");
  if (stopped) {
    CHECK_INT("SIGSTOP", kill(peer_pid(holder), SIGSTOP), 0);
    while (waitpid(peer_pid(holder), &status, WUNTRACED) > 0 && !WIFSTOPPED(status)) continue;
  }
  CHECK_STR("it waits in vain", peer_ask(waiter, 0, "BEGIN IMMEDIATE"), "error 5: database is locked");
  CHECK_HAS("who is in the way", peer_ask(waiter, 1, SAID),
            held_by(lock, peer_pid(holder), stopped ? "stopped" : "running"));
  CHECK_HAS("what it waits for", peer_ask(waiter, 1, SAID), "has waited for");
  CHECK_STR("it waits again", peer_ask(waiter, 0, "BEGIN IMMEDIATE"), "error 5: database is locked");
  CHECK_INT("and the same is not said again so soon", lines(peer_ask(waiter, 1, SAID)), 1);
  if (stopped) CHECK_INT("SIGCONT", kill(peer_pid(holder), SIGCONT), 0);
  CHECK_INT("the holder's end", peer_end(holder), 0);
  CHECK_INT("the waiter's end", peer_end(waiter), 0);
}

/* The holder is a connection of the same process: its statement, handle and thread are known. */
static void same_process(const char *mode, const char *lock)
{
  char want[100];
  peer *p;

  check_scene("%s of the same process", lock);
  scene_make(mode, NULL);
  p = waiter_of(FEW);
  CHECK_INT("a second connection", peer_open(p, 2, SCENE_DB, 0), SQLITE_OK);
  CHECK_STR("holds it", peer_ask(p, 2, "BEGIN; INSERT INTO t(who) VALUES(42)"), "");
  CHECK_STR("it waits in vain", peer_ask(p, 0, "BEGIN IMMEDIATE"), "error 5: database is locked");
  (void)snprintf(want, sizeof want, "connection 2, thread %d, for ", (int)peer_pid(p));
  CHECK_HAS("handle and thread", peer_ask(p, 1, SAID), want);
  CHECK_HAS("statement", peer_ask(p, 1, SAID), " ms: INSERT INTO t(who) VALUES(42)");
  CHECK_INT("the end", peer_end(p), 0);
}

static void *wait_for_it(void *db)
{
  char text[200];
  return sql_text(db, "PRAGMA busy_timeout=20000; BEGIN IMMEDIATE; COMMIT", text, sizeof text) ? "error"
                                                                                               : NULL;
}

static pthread_t waiting;
static int wait_begin(sqlite3 **db, char *out, size_t size)
{
  (void)out, (void)size;
  return pthread_create(&waiting, NULL, wait_for_it, db[0]) ? SQLITE_ERROR : SQLITE_OK;
}
static int wait_end(sqlite3 **db, char *out, size_t size)
{
  void *what;
  (void)db, (void)out, (void)size;
  (void)pthread_join(waiting, &what);
  return what ? SQLITE_ERROR : SQLITE_OK;
}

static void granted(void)
{
  peer *waiter, *holder;
  bool said = false;

  check_scene("a wait that ends well");
  scene_make("delete", NULL);
  waiter = waiter_of(FEW);
  holder = scene_peer(SHIM_NO);
  scene_must(holder, "PRAGMA busy_timeout=10000; BEGIN IMMEDIATE"); /* the waiter reads between its tries */
  CHECK_INT("waiting", peer_call(waiter, wait_begin), SQLITE_OK);
  for (int i = 0; i < 5000 && !said; i++) {
    said = strstr(peer_ask(waiter, 1, SAID), "has waited for RESERVED") != NULL;
    (void)usleep(1000);
  }
  CHECK_TRUE("it is said while it waits", said);
  scene_must(holder, "COMMIT");
  CHECK_INT("granted", peer_call(waiter, wait_end), SQLITE_OK);
  CHECK_HAS("it is said that it is over", peer_ask(waiter, 1, SAID), "was granted RESERVED after ");
  CHECK_INT("the holder's end", peer_end(holder), 0);
  CHECK_INT("the waiter's end", peer_end(waiter), 0);
}

/* F9 */
static void reader_blocks_writer(int shim)
{
  peer *waiter, *reader;

  check_scene("F9: a reader keeps a writer from finishing, %s", shim ? "with holdfast" : "plain");
  scene_make("delete", NULL);
  waiter = waiter_of(FEW);
  reader = scene_peer(shim);
  scene_must(reader, "BEGIN; SELECT count(*) FROM t");
  CHECK_STR("it cannot commit", peer_ask(waiter, 0, "INSERT INTO t(who) VALUES(1)"),
            "error 5: database is locked");
  CHECK_HAS("what it waits for", peer_ask(waiter, 1, SAID), "has waited for EXCLUSIVE");
  CHECK_HAS("the reader is named", peer_ask(waiter, 1, SAID), held_by("SHARED", peer_pid(reader), "running"));
  CHECK_INT("the reader's end", peer_end(reader), 0);
  CHECK_INT("the waiter's end", peer_end(waiter), 0);
}

/* F12 */
static void reader_pins_wal(int shim, const char *env, bool expected)
{
  peer *writer, *reader;
  const char *text = "";

  check_scene("F12: a reader pins the WAL, %s, %s", shim ? "with holdfast" : "plain", env);
  scene_make("wal", "INSERT INTO t(who) VALUES(1)");
  writer = waiter_of(env);
  reader = scene_peer(shim);
  scene_must(writer, "INSERT INTO t(who) VALUES(1)"); /* what the reader then sees is in the WAL */
  scene_must(reader, "BEGIN; SELECT count(*) FROM t");
  scene_must(writer, "PRAGMA wal_autocheckpoint=1");
  for (int i = 0; i < 40 && !strstr(text, "could not"); i++) {
    scene_must(writer, "INSERT INTO t(who) VALUES(1)");
    (void)usleep(10000); /* the reader stays as long as that, all in all */
    text = peer_ask(writer, 1, SAID);
  }
  if (expected) {
    CHECK_HAS("it is said", text, "could not get past WAL_READ");
    CHECK_HAS("how large the WAL is", text, "the -wal has ");
    CHECK_HAS("the reader is named", text, held_by("WAL_READ1", peer_pid(reader), "running"));
  } else {
    CHECK_STR("nothing is said", text, "");
  }
  CHECK_INT("the reader's end", peer_end(reader), 0);
  CHECK_INT("the writer's end", peer_end(writer), 0);
}

static void switched_off(void)
{
  peer *waiter, *holder;

  check_scene("switched off");
  scene_make("delete", NULL);
  waiter = waiter_of("HOLDFAST_SLOW_LOCK_MS=0");
  holder = scene_peer(SHIM_NO);
  scene_must(holder, "BEGIN IMMEDIATE");
  CHECK_STR("it waits in vain", peer_ask(waiter, 0, "BEGIN IMMEDIATE"), "error 5: database is locked");
  CHECK_STR("nothing is said", peer_ask(waiter, 1, SAID), "");
  CHECK_INT("the holder's end", peer_end(holder), 0);
  CHECK_INT("the waiter's end", peer_end(waiter), 0);
}

int main(void)
{
  another_process("delete", "RESERVED", SHIM_NO, false);
  another_process("delete", "RESERVED", SHIM_YES, true);
  another_process("wal", "WAL_WRITE", SHIM_NO, true);
  another_process("wal", "WAL_WRITE", SHIM_YES, false);
  same_process("delete", "RESERVED");
  same_process("wal", "WAL_WRITE");
  granted();
  reader_blocks_writer(SHIM_NO);
  reader_blocks_writer(SHIM_YES);
  reader_pins_wal(SHIM_NO, FEW, true);
  reader_pins_wal(SHIM_YES, FEW, true);
  reader_pins_wal(SHIM_YES, "HOLDFAST_SLOW_LOCK_MS=60000", false);
  switched_off();
  return check_done();
}
