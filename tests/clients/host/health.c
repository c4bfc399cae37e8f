/*
 * health.c - the check with one SQLite version after the other: health EXTENSION DATABASE LIBRARY...
 *
 * DATABASE was made by a newer SQLite and uses what the older ones cannot read: they must say that they could
 * not check it. Everything else each library makes for itself, damages from outside and asks about.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define ASK(kind)                                                                                            \
  "SELECT verdict || '|' || ifnull(reason, '') FROM holdfast_health('" kind "', 60000, 'main', 1)"

static void expect(lib *one, sqlite3 *db, const char *what, const char *sql, const char *wanted)
{
  char text[TEXT_MAX];
  int rc = db_ask(one, db, sql, text);

  if (rc) (void)snprintf(text, sizeof text, "error %d: %s", rc, one->call.errmsg(db));
  (void)check_text(one, what, text, wanted);
}

static void must(lib *one, sqlite3 *db, const char *sql)
{
  expect(one, db, sql, sql, "");
}

/* From outside, as a disk does it. */
static void overwrite(const char *path, long page)
{
  char noise[4096];
  pid_t child = fork();

  if (child == 0) {
    int fd = open(path, O_WRONLY);
    memset(noise, 0xA5, sizeof noise);
    _exit(fd < 0 || pwrite(fd, noise, sizeof noise, (page - 1) * 4096) != sizeof noise);
  }
  if (waitpid(child, NULL, 0) != child) abort();
}

static void fill(lib *one, sqlite3 *db)
{
  must(one, db,
       "PRAGMA page_size = 4096; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX tv ON t(v)");
  must(one, db,
       "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "
       "INSERT INTO t SELECT i, hex(randomblob(20)) FROM n");
}

static void whole(lib *one, sqlite3 *db)
{
  for (int i = 0; i < 2; i++) {
    expect(one, db, "whole, quick", ASK("quick"), "ok|");
    expect(one, db, "whole, full", ASK("full"), "ok|");
    expect(one, db, "whole, fk", ASK("fk"), "ok|");
    expect(one, db, "whole, fts", ASK("fts"), "ok|");
  }
  expect(one, db, "in a transaction", "BEGIN; SELECT count(*) FROM t; " ASK("full"), "not_checked|cached");
  must(one, db, "COMMIT");
}

static void damaged(lib *one, const char *mode, char *path, size_t size)
{
  char text[TEXT_MAX], sql[200];
  sqlite3 *db, *events = db_open(one, ":memory:", NULL);

  (void)snprintf(path, size, "health-%s-%s.db", one->version, mode);
  (void)unlink(path);
  db = db_open(one, path, NULL);
  (void)snprintf(sql, sizeof sql, "PRAGMA journal_mode = %s", mode);
  expect(one, db, "mode", sql, mode);
  fill(one, db);
  (void)db_ask(one, db, "PRAGMA wal_checkpoint(TRUNCATE)", text);
  whole(one, db);
  (void)db_ask(one, db,
               "SELECT sum(length(v)) FROM t NOT INDEXED; SELECT count(*) FROM t INDEXED BY tv WHERE v > ''",
               text); /* all in the cache */
  overwrite(path, 30);
  expect(one, db, "the control: the page is still in the cache", "PRAGMA integrity_check", "ok");
  expect(one, db, "damaged, quick", ASK("quick"), "damaged|");
  expect(one, db, "damaged, full", ASK("full"), "damaged|");
  (void)snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM holdfast_events WHERE kind = 'damaged' AND path LIKE '%%%s'", path);
  expect(one, events, "events", sql, "1");
  db_close(one, events);
  db_close(one, db);
}

static void newer(lib *one, const char *path)
{
  char number[20];
  sqlite3 *db = db_open(one, path, NULL);
  int major = 0, minor = 0;

  (void)sscanf(one->version, "%d.%d", &major, &minor);
  (void)snprintf(number, sizeof number, "%d", minor);
  if (minor < 37) {
    /* The table cannot be asked there: SQLite reads the schema first. */
    char text[TEXT_MAX];
    int rc = db_ask(one, db, "PRAGMA holdfast_health = full", text);
    (void)check(one, rc != SQLITE_OK || strstr(text, "\"not_checked\"") != NULL, "a newer schema: %s", text);
    (void)check(one, strstr(text, "damaged") == NULL, "a newer schema is called damaged: %s", text);
  } else {
    expect(one, db, "a newer schema that it can read", ASK("full"), "ok|");
  }
  db_close(one, db);
}

int main(int argc, char **argv)
{
  if (argc < 4) return 64;
  for (int i = 3; i < argc; i++) {
    lib one = {0};
    char path[100];
    lib_open(&one, argv[i]);
    if (lib_load(&one, argv[1])) continue;
    damaged(&one, "delete", path, sizeof path);
    damaged(&one, "wal", path, sizeof path);
    newer(&one, argv[2]);
  }
  return check_summary();
}
