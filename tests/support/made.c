/*
 * made.c - see made.h.
 */
#include "made.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "files.h"

#define MADE_TABLE "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);"
#define MADE_FILL                                                                                            \
  "WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d) "                           \
  "INSERT INTO t SELECT i, printf('row %%05d, held fast by holdfast', i) FROM n;"

static void must(peer *p, const char *sql)
{
  if (peer_sql(p, 0, sql) == SQLITE_OK) return;
  printf("%s: %s\n", sql, peer_text(p));
  check_broken("a database could not be made");
}

void made_wal(const char *path, int rows, int page_size)
{
  peer *p = peer_start(SHIM_NO, NULL);
  char sql[400];
  int batch = rows > 10 ? rows / 10 : rows;

  db_remove(path);
  if (peer_open(p, 0, path, 0)) check_broken(path);
  if (page_size > 0) {
    (void)snprintf(sql, sizeof sql, "PRAGMA page_size = %d", page_size);
    must(p, sql);
  }
  must(p, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; " MADE_TABLE);
  for (int first = 1; first <= rows; first += batch) { /* several commits: frames of several transactions */
    int last = first + batch - 1 < rows ? first + batch - 1 : rows;
    (void)snprintf(sql, sizeof sql, MADE_FILL, first, last);
    must(p, sql);
  }
  peer_kill(p); /* a close would bring the rows into the file */
  if (strcmp(db_header_mode(path), "2,2") != 0 || !db_beside(path, "-wal"))
    check_broken("no WAL database was made");
}

void made_rollback(const char *path, int rows)
{
  peer *p = peer_start(SHIM_NO, NULL);
  char sql[400];

  db_remove(path);
  if (peer_open(p, 0, path, 0)) check_broken(path);
  must(p, MADE_TABLE);
  (void)snprintf(sql, sizeof sql, MADE_FILL, 1, rows);
  must(p, sql);
  (void)peer_end(p);
}

const char *made_answer(int rows)
{
  static char text[100];
  long long sum = (long long)rows * (rows + 1) / 2;

  (void)snprintf(text, sizeof text, "%d|%lld|%d|%d\nok", rows, sum, rows, rows);
  return text;
}
