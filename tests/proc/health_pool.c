/*
 * health_pool.c - the check of a pool: verdicts while writers work, quarantine and its lifting, one event and
 * one copy for each incident, also when several processes meet it at the same moment.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "damage.h"
#include "files.h"
#include "holdfast.h"

enum { PAGE = 4096, AT_PAGE = 2, PROCESSES = 4 };

static atomic_int told[16];

static void on_event(const holdfast_pool_event *event, void *arg)
{
  (void)arg;
  atomic_fetch_add(&told[event->kind], 1);
}

static holdfast_pool *open_pool(const char *path)
{
  holdfast_pool_config config = {.struct_size = sizeof config, .check = HOLDFAST_CHECK_NONE};
  holdfast_pool *pool = NULL;

  if (holdfast_pool_open(path, &config, &pool) != 0) {
    printf("%s\n", holdfast_errmsg());
    check_broken(path);
  }
  (void)holdfast_pool_on_event(pool, on_event, NULL);
  for (int i = 0; i < 16; i++) atomic_store(&told[i], 0);
  return pool;
}

static const char *verdict(holdfast_pool *pool, int kind)
{
  static char text[400];
  holdfast_health_options options = {.struct_size = sizeof options, .kind = kind};
  holdfast_health_report report = {.struct_size = sizeof report};
  int rc = holdfast_health_check(pool, &options, &report);

  if (rc)
    (void)snprintf(text, sizeof text, "code %d: %s", rc, holdfast_errmsg());
  else
    (void)snprintf(text, sizeof text, "%s|%d", holdfast_word("verdict", report.verdict), report.unchanged);
  return text;
}

static const char *last(holdfast_pool *pool)
{
  holdfast_health_report report = {.struct_size = sizeof report};
  int rc = holdfast_health_last(pool, &report);

  return rc ? holdfast_strerror(rc) : holdfast_word("verdict", report.verdict);
}

static int insert(holdfast_lease *lease, void *arg)
{
  (void)arg;
  return sqlite3_exec(holdfast_lease_db(lease), "INSERT INTO a(k, v) VALUES(1, 'one more')", NULL, NULL,
                      NULL);
}

static int count(holdfast_lease *lease, void *arg)
{
  (void)arg;
  return sqlite3_exec(holdfast_lease_db(lease), "SELECT count(*) FROM c", NULL, NULL, NULL);
}

/* Every process writes to the file from outside: this one has it open. */
static void outside(const char *path, const void *bytes)
{
  pid_t child = fork();

  if (child == 0) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    _exit(fd < 0 || pwrite(fd, bytes, PAGE, (off_t)PAGE * (AT_PAGE - 1)) != PAGE);
  }
  if (child < 0 || waitpid(child, NULL, 0) != child) check_broken("fork");
}

static void good_page(const char *path, char *page)
{
  size_t size;
  char *all = file_read(path, &size);

  if (!all || size < (size_t)PAGE * AT_PAGE) check_broken(path);
  memcpy(page, all + (size_t)PAGE * (AT_PAGE - 1), PAGE);
  free(all);
}

static int copies(const char *path)
{
  char name[200];
  int n = 0;

  for (int i = 1; i < 10; i++) {
    (void)snprintf(name, sizeof name, "%s-evidence-%d", path, i);
    n += file_exists(name);
  }
  return n;
}

static void settle(void)
{
  struct timespec rest = {0, 80000000}; /* a write just before a check makes the next "unchanged" unsure */
  (void)nanosleep(&rest, NULL);
}

static void story(const char *mode)
{
  char path[40], good[PAGE], noise[PAGE];
  holdfast_pool *pool;

  check_scene("%s: a life with a pool", mode);
  (void)snprintf(path, sizeof path, "%s.db", mode);
  damage_base(path, mode, PAGE);
  good_page(path, good);
  seed_fill(noise, sizeof noise);
  pool = open_pool(path);
  CHECK_STR("nobody has checked", last(pool), "not_checked");
  CHECK_INT("a write", holdfast_write(pool, insert, NULL), 0);
  CHECK_INT("a checkpoint", holdfast_pool_checkpoint(pool, 0, NULL), 0);
  good_page(path, good); /* by this very process, with the file open: the locks are holdfast's */
  settle();
  CHECK_STR("quick", verdict(pool, HOLDFAST_HEALTH_QUICK), "ok|0");
  CHECK_STR("full", verdict(pool, HOLDFAST_HEALTH_FULL), "ok|0");
  CHECK_STR("full, nothing has changed", verdict(pool, HOLDFAST_HEALTH_FULL), "ok|1");
  CHECK_STR("quick, nothing has changed", verdict(pool, HOLDFAST_HEALTH_QUICK), "ok|1");
  CHECK_STR("foreign keys", verdict(pool, HOLDFAST_HEALTH_FK), "ok|0");
  CHECK_STR("last", last(pool), "ok");
  CHECK_INT("a write", holdfast_write(pool, insert, NULL), 0);
  CHECK_STR("last, after a write", last(pool), "stale");
  CHECK_STR("full, after a write", verdict(pool, HOLDFAST_HEALTH_FULL), "ok|0");
  CHECK_INT("a checkpoint", holdfast_pool_checkpoint(pool, 0, NULL), 0);

  good_page(path, good);
  outside(path, noise);
  CHECK_STR("damaged", verdict(pool, HOLDFAST_HEALTH_QUICK), "damaged|0");
  CHECK_STR("damaged still", verdict(pool, HOLDFAST_HEALTH_FULL), "damaged|0");
  CHECK_STR("last", last(pool), "damaged");
  CHECK_INT("a write", holdfast_write(pool, insert, NULL), HOLDFAST_QUARANTINED);
  CHECK_INT("a read of something else", holdfast_read(pool, count, NULL), 0);
  CHECK_INT("told of the quarantine", atomic_load(&told[HOLDFAST_POOL_QUARANTINED]), 1);
  CHECK_INT("told of damage and of the copy", atomic_load(&told[HOLDFAST_POOL_CHECKED]), 2);
  CHECK_INT("copies", copies(path), 1);

  outside(path, good);
  CHECK_STR("whole, but quick does not lift it", verdict(pool, HOLDFAST_HEALTH_QUICK), "ok|0");
  CHECK_INT("a write", holdfast_write(pool, insert, NULL), HOLDFAST_QUARANTINED);
  CHECK_STR("whole", verdict(pool, HOLDFAST_HEALTH_FULL), "ok|0");
  CHECK_INT("told", atomic_load(&told[HOLDFAST_POOL_LIFTED]), 1);
  CHECK_INT("a write", holdfast_write(pool, insert, NULL), 0);
  CHECK_INT("a checkpoint", holdfast_pool_checkpoint(pool, 0, NULL), 0);

  for (int i = 2; i < 6; i++) { /* more incidents than copies */
    good_page(path, good);
    outside(path, noise);
    CHECK_STR("damaged again", verdict(pool, HOLDFAST_HEALTH_QUICK), "damaged|0");
    CHECK_INT("copies", copies(path), i < 3 ? i : 3);
    outside(path, good);
    CHECK_STR("whole again", verdict(pool, HOLDFAST_HEALTH_FULL), "ok|0");
  }
  CHECK_INT("end", holdfast_pool_close(pool, 0), 0);
}

/* However many copies there may be: together they have no more bytes than the user allows. */
static void limited_bytes(void)
{
  enum { TRIES = 4 };
  holdfast_health_options options = {.struct_size = sizeof options, .kind = HOLDFAST_HEALTH_QUICK};
  holdfast_health_report report = {.struct_size = sizeof report};
  char good[PAGE], noise[PAGE];
  holdfast_pool *pool;
  size_t size = 0;

  check_scene("bytes of the copies");
  damage_base("bytes.db", "delete", PAGE);
  good_page("bytes.db", good);
  free(file_read("bytes.db", &size));
  seed_fill(noise, sizeof noise);
  pool = open_pool("bytes.db");
  const struct {
    int64_t bytes;
    int copies;
  } tries[TRIES] = {
      {(int64_t)size - 1, 0}, {(int64_t)size, 1}, {(int64_t)size * 2 - 1, 1}, {(int64_t)size * 2, 2}};
  for (int i = 0; i < TRIES; i++) {
    outside("bytes.db", noise);
    settle();
    options.evidence_bytes = tries[i].bytes;
    CHECK_INT("a check", holdfast_health_check(pool, &options, &report), 0);
    CHECK_INT("its verdict", report.verdict, HOLDFAST_HEALTH_DAMAGED);
    CHECK_INT("copies", copies("bytes.db"), tries[i].copies);
    outside("bytes.db", good);
    settle();
    CHECK_STR("whole again", verdict(pool, HOLDFAST_HEALTH_FULL), "ok|0");
  }
  CHECK_INT("end", holdfast_pool_close(pool, 0), 0);
}

/* The first check of most pools is the one at open. */
static void damaged_before(void)
{
  holdfast_pool_config config = {.struct_size = sizeof config};
  holdfast_health_report report = {.struct_size = sizeof report};
  holdfast_pool *pool = NULL;
  unsigned long long before;
  char noise[PAGE];

  check_scene("damaged when the pool opens it");
  damage_base("before.db", "wal", PAGE); /* else the pool would make it WAL first */
  seed_fill(noise, sizeof noise);
  file_patch("before.db", (long)PAGE * (AT_PAGE - 1), noise, PAGE);
  before = db_print("before.db");
  for (int i = 0; i < 2; i++) {
    CHECK_INT("open", holdfast_pool_open("before.db", &config, &pool), 0);
    CHECK_INT("a write", holdfast_write(pool, insert, NULL), HOLDFAST_QUARANTINED);
    CHECK_INT("last", holdfast_health_last(pool, &report), 0);
    CHECK_INT("verdict", report.verdict, HOLDFAST_HEALTH_DAMAGED);
    CHECK_STR("damaged still", verdict(pool, HOLDFAST_HEALTH_FULL), "damaged|0");
    CHECK_INT("copies", copies("before.db"), 1);
    CHECK_INT("end", holdfast_pool_close(pool, 0), 0);
  }
  CHECK_TRUE("the files are as they were", db_print("before.db") == before);
}

/* ---------------------------------------------------------------- several processes */

static void at_the_same_moment(void)
{
  char noise[PAGE];
  pid_t child[PROCESSES];
  int go[2], status;

  check_scene("%d processes meet the damage at once", PROCESSES);
  damage_base("all.db", "delete", PAGE);
  seed_fill(noise, sizeof noise);
  file_patch("all.db", (long)PAGE * (AT_PAGE - 1), noise, PAGE);
  if (pipe2(go, O_CLOEXEC)) check_broken("pipe");
  (void)fflush(stdout);
  for (int i = 0; i < PROCESSES; i++) {
    child[i] = fork();
    if (child[i] == 0) {
      holdfast_pool *pool = open_pool("all.db");
      char letter;
      (void)close(go[1]);
      if (read(go[0], &letter, 1) != 0) _exit(9); /* until the parent closes its end */
      _exit(strcmp(verdict(pool, HOLDFAST_HEALTH_QUICK), "damaged|0") != 0);
    }
  }
  (void)close(go[1]);
  for (int i = 0; i < PROCESSES; i++) {
    CHECK_TRUE("a process", waitpid(child[i], &status, 0) == child[i]);
    CHECK_INT("its end", status, 0);
  }
  CHECK_INT("copies", copies("all.db"), 1);
}

/* ---------------------------------------------------------------- beside writers */

static atomic_bool stop;
static atomic_long written;

static void *writes(void *arg)
{
  while (!atomic_load(&stop))
    if (holdfast_write(arg, insert, NULL) == 0) atomic_fetch_add(&written, 1);
  return NULL;
}

static void beside_writers(void)
{
  holdfast_pool *pool;
  pthread_t thread[2];
  int ok = 0, asked = 0;

  check_scene("beside two writing threads");
  damage_base("busy.db", "wal", 0);
  pool = open_pool("busy.db");
  for (int i = 0; i < 2; i++)
    if (pthread_create(&thread[i], NULL, writes, pool)) check_broken("thread");
  while (atomic_load(&written) < 50) sched_yield();
  for (int i = 0; i < 10; i++) {
    const char *answer = verdict(pool, i % 2 ? HOLDFAST_HEALTH_FULL : HOLDFAST_HEALTH_QUICK);
    asked++;
    ok += strncmp(answer, "ok", 2) == 0;
    CHECK_TRUE("ok or not checked", strncmp(answer, "ok", 2) == 0 || strncmp(answer, "not_checked", 11) == 0);
  }
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++) (void)pthread_join(thread[i], NULL);
  printf("%d of %d checks came to their end beside %ld writes\n", ok, asked, atomic_load(&written));
  CHECK_TRUE("some came to their end", ok > 0);
  CHECK_INT("writes off", atomic_load(&told[HOLDFAST_POOL_QUARANTINED]), 0);
  CHECK_INT("end", holdfast_pool_close(pool, 0), 0);
}

int main(void)
{
  seed_start();
  if (holdfast_register(NULL) != SQLITE_OK) check_broken("holdfast");
  at_the_same_moment();
  damaged_before();
  limited_bytes();
  story("delete");
  story("wal");
  beside_writers();
  return check_done();
}
