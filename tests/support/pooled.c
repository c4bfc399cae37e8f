/*
 * pooled.c - see pooled.h.
 */
#include "pooled.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scene.h"

/* Nobody cuts the power here, and a disk that syncs makes a test slow. The long form does it all. */
static int without_sync(sqlite3 *db, int lane, void *unused)
{
  (void)lane, (void)unused;
  return scene_long() ? SQLITE_OK : sqlite3_exec(db, "PRAGMA synchronous=OFF", NULL, NULL, NULL);
}

holdfast_pool *pooled_open(const holdfast_pool_config *config)
{
  holdfast_config shim = {.struct_size = sizeof shim, .log = "none"};
  holdfast_pool_config c = {.struct_size = sizeof c, .journal = HOLDFAST_JOURNAL_AS_IT_IS};
  holdfast_pool *pool = NULL;
  int rc = holdfast_init(&shim);

  if (config) c = *config;
  if (!c.on_connect) c.on_connect = without_sync;
  if (rc == SQLITE_OK) rc = holdfast_pool_open(SCENE_DB, &c, &pool);
  if (rc == SQLITE_OK) return pool;
  printf("no pool: %d, %s: %s\n", rc, holdfast_strerror(rc), holdfast_errmsg());
  (void)fflush(stdout);
  exit(4);
}

static int run_sql(holdfast_lease *lease, void *arg)
{
  sqlite3_stmt *s = NULL;
  int rc = holdfast_prepare(lease, arg, &s);

  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int pooled_sql(holdfast_pool *pool, const char *sql)
{
  return holdfast_write(pool, run_sql, (void *)(size_t)sql);
}

typedef struct question {
  const char *sql;
  long number;
} question;

static int ask_number(holdfast_lease *lease, void *arg)
{
  question *q = arg;
  sqlite3_stmt *s = NULL;
  int rc = holdfast_prepare(lease, q->sql, &s);

  if (rc != SQLITE_OK) return rc;
  rc = sqlite3_step(s);
  if (rc != SQLITE_ROW) return rc == SQLITE_DONE ? SQLITE_NOTFOUND : rc;
  q->number = (long)sqlite3_column_int64(s, 0);
  return SQLITE_OK;
}

long pooled_number(holdfast_pool *pool, const char *sql)
{
  question q = {sql, -1};

  (void)holdfast_read(pool, ask_number, &q); /* -1 tells */
  return q.number;
}

static int check_on_lease(holdfast_lease *lease, void *unused)
{
  sqlite3_stmt *s = NULL;
  int rc = holdfast_prepare(lease, "PRAGMA integrity_check(1)", &s);

  (void)unused;
  if (rc != SQLITE_OK) return rc;
  rc = sqlite3_step(s);
  if (rc != SQLITE_ROW) return rc;
  return strcmp((const char *)sqlite3_column_text(s, 0), "ok") ? SQLITE_CORRUPT : SQLITE_OK;
}

int pooled_check(holdfast_pool *pool)
{
  return holdfast_read(pool, check_on_lease, NULL);
}

typedef struct row {
  int who;
  long n;
} row;

static int insert_row(holdfast_lease *lease, void *arg)
{
  const row *r = arg;
  sqlite3_stmt *s = NULL;
  int rc = holdfast_prepare(lease, "INSERT INTO t(who,n,v) VALUES(?1,?2,hex(randomblob(40)))", &s);

  if (rc == SQLITE_OK) rc = sqlite3_bind_int(s, 1, r->who);
  if (rc == SQLITE_OK) rc = sqlite3_bind_int64(s, 2, r->n);
  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int pooled_insert(holdfast_pool *pool, int who)
{
  crowd_log *log = crowd_log_of(who);
  row r = {who, atomic_load(&log->committed) + 1};
  int rc;

  atomic_store(&log->started, r.n);
  rc = holdfast_write(pool, insert_row, &r);
  if (rc == SQLITE_OK)
    atomic_store(&log->committed, r.n);
  else if (rc != HOLDFAST_TIMEOUT)
    atomic_store(&log->error, rc);
  return rc;
}
