/*
 * f03_two_wals.c - F3: two generations of the -wal, and the VACUUM that everybody else walks into.
 *
 * As F2, but now a second writer comes and makes a new -wal under the old name. Both commit, each into its
 * own log, and the checkpoint of either side writes old pages over new ones.
 *
 * Second part: a program that runs VACUUM in one thread while another of its threads checks the file by open,
 * read and close, beside a writer that does nothing wrong.
 */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "crowd.h"
#include "files.h"
#include "scene.h"

enum { CHUNKS = 10, CHUNK = 40 };

/* Step: this peer inserts CHUNK rows more. */
static int insert_chunk(sqlite3 **db, char *out, size_t size)
{
  static int who; /* of this peer */

  if (!who) who = crowd_writer();
  (void)out, (void)size;
  return crowd_insert(db[0], who, CHUNK);
}

static void two_writers(const scene_side *side, crowd_count *count)
{
  peer *holder, *passer_by, *second;

  crowd_start();
  scene_make("wal", "CREATE INDEX tv ON t(v)");
  holder = scene_peer(side->holder);
  (void)peer_call(holder, insert_chunk); /* the log knows */
  CHECK_INT("the stray close", peer_call(holder, stray_db), SQLITE_OK);
  passer_by = scene_peer(side->other);
  CHECK_INT("end of the passer-by", peer_end(passer_by), 0);
  second = scene_peer(side->other);
  for (int i = 1; i < CHUNKS; i++) {
    (void)peer_call(holder, insert_chunk);
    (void)peer_call(second, insert_chunk);
  }
  (void)peer_call(second, insert_chunk);
  CHECK_INT("end of the second writer", peer_end(second), 0);
  CHECK_INT("end of the holder", peer_end(holder), 0); /* brings its stale pages into the file */
  crowd_audit(count);
}

static void part_one(void)
{
  int rounds = scene_rounds(3, 25);
  crowd_count c = {0};

  for (int i = 0; i < SCENE_SIDES; i++) {
    int bad = 0;
    check_scene("two writers, %s", scene_sides[i].name);
    for (int r = 0; r < rounds; r++) {
      two_writers(&scene_sides[i], &c);
      bad += !crowd_exact(&c);
      if (scene_sides[i].guarded) CHECK_INT("acknowledged", c.committed, 2 * CHUNKS * CHUNK);
      if (scene_sides[i].guarded) CHECK_TRUE("no lock is left", !scene_locks_left());
    }
    CHECK_INT("bad runs", bad, scene_sides[i].guarded ? 0 : rounds);
    printf("two writers  %-24s %d of %d bad; last: %ld acknowledged, %ld lost, integrity: %.60s\n",
           scene_sides[i].name, bad, rounds, c.committed, c.lost, c.integrity);
  }
}

static void *vacuum_until_stop(void *db)
{
  char out[200];

  while (!crowd_stopped()) (void)sql_text(db, "VACUUM", out, sizeof out); /* busy: again */
  return NULL;
}

static int vacuum_and_stray(int who)
{
  sqlite3 *db = NULL;
  pthread_t thread;

  (void)who;
  if (sqlite3_open_v2(SCENE_DB, &db, SQLITE_OPEN_READWRITE, NULL)) return 4;
  (void)sqlite3_busy_timeout(db, 1000);
  if (pthread_create(&thread, NULL, vacuum_until_stop, db)) return 5;
  while (!crowd_stopped()) {
    (void)stray_db(NULL, NULL, 0); /* -shm may be gone: no matter */
    (void)stray_shm(NULL, NULL, 0);
    (void)usleep(200);
  }
  (void)pthread_join(thread, NULL);
  (void)sqlite3_close(db);
  return 0;
}

/* Tries again at once when it is locked out, and leaves room for the VACUUM after each row. */
static int eager_writer(int who)
{
  sqlite3 *db = NULL;
  int rc = sqlite3_open_v2(SCENE_DB, &db, SQLITE_OPEN_READWRITE, NULL);

  while (!crowd_stopped() && (rc == SQLITE_OK || rc == SQLITE_BUSY)) {
    rc = crowd_insert(db, who, 1);
    (void)usleep(rc == SQLITE_OK ? 500 : 100);
  }
  (void)sqlite3_close(db);
  return 0;
}

static void vacuum_run(const scene_side *side, const char *mode, long ms, crowd_count *count)
{
  pid_t vacuum, writer;

  crowd_start();
  scene_make(mode, "WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM i WHERE x<5000) "
                   "INSERT INTO t(who,v) SELECT 0, hex(randomblob(500)) FROM i; CREATE INDEX tv ON t(v)");
  vacuum = crowd_fork(side->holder, vacuum_and_stray, 0);
  writer = crowd_fork(side->other, eager_writer, crowd_writer());
  crowd_sleep(ms);
  crowd_stop();
  CHECK_INT("end of the VACUUM program", crowd_wait(vacuum), 0);
  CHECK_INT("end of the writer", crowd_wait(writer), 0);
  crowd_audit(count);
}

/* The control is a matter of luck within a run: it goes on until a run is bad. */
static void part_two(const char *mode)
{
  int rounds = scene_rounds(2, 20);
  long ms = scene_rounds(1500, 3000);
  crowd_count c = {0};

  for (int i = 0; i < SCENE_SIDES; i++) {
    int bad = 0, runs = 0, limit = scene_sides[i].guarded ? rounds : scene_rounds(12, 20);
    long committed = 0;
    check_scene("VACUUM loop, %s, %s", mode, scene_sides[i].name);
    while (runs < limit && (scene_sides[i].guarded || scene_long() || bad == 0)) {
      vacuum_run(&scene_sides[i], mode, ms, &c);
      runs++;
      bad += !crowd_exact(&c);
      committed += c.committed;
    }
    if (scene_sides[i].guarded) {
      CHECK_INT("bad runs", bad, 0);
      CHECK_TRUE("the writer wrote", committed > 0);
      CHECK_TRUE("no lock is left", !scene_locks_left());
    } else {
      CHECK_TRUE("the control goes bad", bad > 0);
    }
    printf("VACUUM loop, %-6s %-24s %d of %d runs of %ld ms bad; %ld rows; last: %ld lost, error %d, "
           "integrity: %.60s\n",
           mode, scene_sides[i].name, bad, runs, ms, committed, c.lost, c.first_error, c.integrity);
  }
}

int main(void)
{
  part_one();
  for (int m = 0; m < SCENE_MODES; m++) part_two(scene_modes[m]);
  return check_done();
}
