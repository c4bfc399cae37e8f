/*
 * made.h - databases in a known state, and the question whether one still holds what it held.
 *
 * Table t(id INTEGER PRIMARY KEY, v TEXT), rows 1..n, v = 30 characters that depend on id.
 */
#ifndef HFT_MADE_H
#define HFT_MADE_H

#include <stdbool.h>

#include "peer.h"

enum { MADE_ROWS = 1000 };

/* A WAL database whose rows are all only in its -wal: made by a plain process that is then killed. The file
 * itself has one page. Leaves path, path-wal and path-shm behind. page_size 0 = SQLite's own. */
void made_wal(const char *path, int rows, int page_size);
/* A rollback database with the same rows, closed. */
void made_rollback(const char *path, int rows);

/* SQL that answers made_answer(rows) on an undamaged database. */
#define MADE_ASK                                                                                             \
  "SELECT count(*), sum(id), count(DISTINCT v), sum(v = printf('row %05d, held fast by holdfast', id)) "     \
  "FROM t; PRAGMA integrity_check"
const char *made_answer(int rows);

#endif
