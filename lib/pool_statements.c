/*
 * pool_statements.c - prepared statements that stay with their connection.
 *
 * A hash table by text and a list by use; the oldest goes when there are too many. What was handed out since
 * the lease began is in a list of its own, so that a release touches those only.
 */
#include <stdlib.h>
#include <string.h>

#include "pool.h"

/* Older libraries do not have it: without it SQLite does not know that the statement will be kept. */
#if SQLITE_VERSION_NUMBER >= 3020000
#pragma weak sqlite3_prepare_v3
#endif

static int prepare(sqlite3 *db, const char *sql, sqlite3_stmt **stmt, const char **tail)
{
#if SQLITE_VERSION_NUMBER >= 3020000
  if (sqlite3_prepare_v3) return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, tail);
#endif
  return sqlite3_prepare_v2(db, sql, -1, stmt, tail);
}

static uint32_t hash_of(const char *sql)
{
  uint32_t hash = 2166136261u;

  for (; *sql; sql++) hash = (hash ^ (unsigned char)*sql) * 16777619u;
  return hash;
}

static hf_statement **bucket_of(hf_statements *cache, uint32_t hash)
{
  return &cache->bucket[hash % HF_HASHES];
}

static hf_statement *find(hf_statements *cache, const char *sql, uint32_t hash)
{
  for (hf_statement *one = *bucket_of(cache, hash); one; one = one->next)
    if (one->hash == hash && strcmp(one->sql, sql) == 0) return one;
  return NULL;
}

/* ---------------------------------------------------------------- by use */

static void unlink_use(hf_statements *cache, hf_statement *one)
{
  if (one->newer)
    one->newer->older = one->older;
  else
    cache->newest = one->older;
  if (one->older)
    one->older->newer = one->newer;
  else
    cache->oldest = one->newer;
}

static void link_newest(hf_statements *cache, hf_statement *one)
{
  one->newer = NULL;
  one->older = cache->newest;
  if (one->older)
    one->older->newer = one;
  else
    cache->oldest = one;
  cache->newest = one;
}

static void destroy(hf_statement *one)
{
  (void)sqlite3_finalize(one->stmt); /* repeats the error of the last step, which the caller had */
  free(one);
}

static void forget(hf_statements *cache, hf_statement *one)
{
  hf_statement **link = bucket_of(cache, one->hash);

  while (*link != one) link = &(*link)->next;
  *link = one->next;
  unlink_use(cache, one);
  cache->count--;
  destroy(one);
}

/* One that is out in this lease stays: the list may be longer than its limit until the release. */
static void make_room(hf_statements *cache)
{
  hf_statement *one = cache->oldest;

  while (one && cache->count > cache->max) {
    hf_statement *newer = one->newer;
    if (!one->out) forget(cache, one);
    one = newer;
  }
}

/* ---------------------------------------------------------------- in and out */

static int add(hf_statements *cache, sqlite3 *db, const char *sql, uint32_t hash, bool keep,
               hf_statement **out)
{
  size_t length = strlen(sql) + 1;
  hf_statement *made = calloc(1, sizeof *made + length);
  const char *tail = NULL;
  int rc;

  if (!made) return SQLITE_NOMEM;
  rc = prepare(db, sql, &made->stmt, &tail);
  if (rc == SQLITE_OK && (!made->stmt || (tail && tail[strspn(tail, " \t\r\n;")]))) rc = SQLITE_ERROR;
  if (rc) {
    destroy(made);
    return rc;
  }
  memcpy(made->sql, sql, length);
  made->hash = hash;
  if (keep) {
    made->next = *bucket_of(cache, hash);
    *bucket_of(cache, hash) = made;
    link_newest(cache, made);
    cache->count++;
  } else {
    made->next = cache->extra;
    cache->extra = made;
  }
  *out = made;
  return SQLITE_OK;
}

static void hand_out(hf_statements *cache, hf_statement *one)
{
  if (!one->out) {
    one->out = true;
    one->used = cache->used;
    cache->used = one;
  }
  if (cache->newest == one) return;
  unlink_use(cache, one);
  link_newest(cache, one);
}

int holdfast_prepare(holdfast_lease *lease, const char *sql, sqlite3_stmt **out)
{
  hf_statements *cache;
  hf_statement *one;
  uint32_t hash;
  bool kept;
  int rc;

  if (!lease || !sql || !out) return hf_fail(HOLDFAST_MISUSE, "holdfast_prepare: an argument is NULL");
  if (hf_forked(lease->pool)) return hf_fail_forked();
  cache = &lease->statements;
  hash = hash_of(sql);
  one = find(cache, sql, hash);
  kept = !one && cache->max > 0;
  if (one && !sqlite3_stmt_busy(one->stmt)) {
    atomic_fetch_add_explicit(&lease->pool->statements_hit, 1, memory_order_relaxed);
    if (one->out) {
      (void)sqlite3_reset(one->stmt); /* repeats the error of the last step, which the caller had */
      (void)sqlite3_clear_bindings(one->stmt);
    }
    hand_out(cache, one);
    *out = one->stmt;
    return 0;
  }
  atomic_fetch_add_explicit(&lease->pool->statements_missed, 1, memory_order_relaxed);
  rc = add(cache, lease->db, sql, hash, kept, &one);
  if (rc) return hf_fail_sqlite(lease->pool, lease->db, rc, sql);
  if (kept) {
    hand_out(cache, one);
    make_room(cache);
  }
  *out = one->stmt;
  return 0;
}

void hf_statements_put_back(hf_statements *cache, int *busy)
{
  while (cache->extra) {
    hf_statement *gone = cache->extra;
    *busy += sqlite3_stmt_busy(gone->stmt) != 0;
    cache->extra = gone->next;
    destroy(gone);
  }
  while (cache->used) {
    hf_statement *one = cache->used;
    *busy += sqlite3_stmt_busy(one->stmt) != 0;
    (void)sqlite3_reset(one->stmt);
    (void)sqlite3_clear_bindings(one->stmt);
    one->out = false;
    cache->used = one->used;
  }
  make_room(cache);
}

void hf_statements_free(hf_statements *cache)
{
  int ignored = 0, max = cache->max;
  hf_statement *older;

  hf_statements_put_back(cache, &ignored);
  for (hf_statement *one = cache->newest; one; one = older) {
    older = one->older;
    destroy(one);
  }
  *cache = (hf_statements){.max = max};
}
