/*
 * scene.c - see scene.h.
 */
#include "scene.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "files.h"

const scene_side scene_sides[SCENE_SIDES] = {
    {"plain beside plain", SHIM_NO, SHIM_NO, false},
    {"holdfast beside holdfast", SHIM_YES, SHIM_YES, true},
    {"holdfast beside plain", SHIM_YES, SHIM_NO, true},
};
const char *const scene_modes[SCENE_MODES] = {"delete", "wal"};

bool scene_long(void)
{
  return getenv("HF_LONG") != NULL;
}

int scene_rounds(int quick, int long_run)
{
  return scene_long() ? long_run : quick;
}

void scene_must(peer *p, const char *sql)
{
  if (peer_sql(p, 0, sql) == SQLITE_OK) return;
  printf("\"%.200s\": %s\n", sql, peer_text(p));
  check_broken("a step of a scene that has to work");
}

void scene_make(const char *mode, const char *extra)
{
  peer *p = peer_start(SHIM_NO, NULL);
  char sql[200];

  db_remove(SCENE_DB);
  if (peer_open(p, 0, SCENE_DB, 0)) check_broken(SCENE_DB);
  (void)snprintf(sql, sizeof sql,
                 "PRAGMA synchronous=OFF; PRAGMA journal_mode=%s; CREATE TABLE t(id INTEGER PRIMARY KEY, who "
                 "INT, n INT, v TEXT)",
                 mode);
  scene_must(p, sql);
  if (extra) scene_must(p, extra);
  (void)peer_end(p); /* its steps were checked */
}

peer *scene_peer(int shim)
{
  peer *p = peer_start(shim, NULL);

  if (peer_open(p, 0, SCENE_DB, 0)) check_broken(SCENE_DB);
  scene_must(p, "SELECT count(*) FROM t");
  return p;
}

const char *scene_look(const char *sql)
{
  static char text[2000];
  peer *p = peer_start(SHIM_NO, NULL);

  if (peer_open(p, 0, SCENE_DB, SQLITE_OPEN_READWRITE))
    (void)snprintf(text, sizeof text, "open: %.200s", peer_text(p));
  else
    (void)snprintf(text, sizeof text, "%.1900s", peer_ask(p, 0, sql));
  (void)peer_end(p); /* what it saw is what counts */
  return text;
}

bool scene_gets_in(peer *p)
{
  int rc = peer_sql(p, 0, "BEGIN IMMEDIATE");

  if (rc == SQLITE_OK) {
    scene_must(p, "ROLLBACK");
    return true;
  }
  if ((rc & 0xff) != SQLITE_BUSY) CHECK_STR("the other process hears", peer_text(p), "database is locked");
  return false;
}

static int stray(const char *path)
{
  char bytes[16];
  int fd = open(path, O_RDONLY | O_CLOEXEC);

  if (fd < 0) return SQLITE_CANTOPEN;
  if (read(fd, bytes, sizeof bytes) < 0) return SQLITE_IOERR_READ;
  return close(fd) ? SQLITE_IOERR_CLOSE : SQLITE_OK;
}

int stray_db(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return stray(SCENE_DB);
}

int stray_wal(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return stray(SCENE_DB "-wal");
}

int stray_shm(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return stray(SCENE_DB "-shm");
}

static bool locked(const char *path)
{
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int fd = open(path, O_RDWR | O_CLOEXEC);
  bool yes;

  if (fd < 0) return false; /* not there */
  yes = fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK;
  if (yes)
    printf("%s: bytes %lld+%lld are locked by process %d\n", path, (long long)l.l_start, (long long)l.l_len,
           (int)l.l_pid);
  (void)close(fd); /* this process never has the file open through SQLite */
  return yes;
}

bool scene_locks_left(void)
{
  bool db = locked(SCENE_DB), wal = locked(SCENE_DB "-wal"), shm = locked(SCENE_DB "-shm");

  return db || wal || shm;
}
