/*
 * pool_check.c - the look at the database when a pool opens, and the quarantine.
 *
 * On the pool's own main connection, never on another: a probe connection sees locks and half states and
 * calls them damage (F5). What could not be checked is "not_checked", which is neither ok nor damaged. Damage
 * is believed when a second look, past the cache, sees it, too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

enum { OPS_BETWEEN_LOOKS = 4000, BYTES_PER_MS = 256 * 1024 };

typedef enum hf_look { LOOK_OK, LOOK_DAMAGED, LOOK_NOT } hf_look;

static int out_of_time(void *until)
{
  return hf_now() > *(int64_t *)until;
}

/* Old versions look at the clock between tables only: what is too big from the start is not begun. */
static bool too_big(sqlite3 *db, int64_t budget_ns, char *why, int size)
{
  char pages[24] = "0", bytes[24] = "0";
  long long total;

  if (hf_connection_text(db, "PRAGMA main.page_count", pages, sizeof pages) ||
      hf_connection_text(db, "PRAGMA main.page_size", bytes, sizeof bytes))
    return false; /* the check itself will say what is wrong */
  total = strtoll(pages, NULL, 10) * strtoll(bytes, NULL, 10);
  if (total <= budget_ns / HF_MS * BYTES_PER_MS) return false;
  snprintf(why, (size_t)size, "%lld MiB are too much for %lld ms", total >> 20,
           (long long)(budget_ns / HF_MS));
  return true;
}

static hf_look look(sqlite3 *db, char *found, int size)
{
  char answer[HF_SQL] = "";
  int rc = hf_connection_text(db, "PRAGMA main.quick_check(1)", answer, sizeof answer);

  switch (rc & 0xff) {
  case SQLITE_OK:
    if (strcmp(answer, "ok") == 0) return LOOK_OK;
    snprintf(found, (size_t)size, "%s", answer);
    return LOOK_DAMAGED;
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB: snprintf(found, (size_t)size, "%s", sqlite3_errmsg(db)); return LOOK_DAMAGED;
  case SQLITE_INTERRUPT: snprintf(found, (size_t)size, "it took too long"); return LOOK_NOT;
  default: snprintf(found, (size_t)size, "%s", sqlite3_errmsg(db)); return LOOK_NOT;
  }
}

static hf_look look_twice(holdfast_lease *lease, char *found, int size)
{
  int64_t until = hf_now() + lease->pool->config.check_ns;
  hf_look first;

  if (too_big(lease->db, lease->pool->config.check_ns, found, size)) return LOOK_NOT;
  sqlite3_progress_handler(lease->db, OPS_BETWEEN_LOOKS, out_of_time, &until);
  first = look(lease->db, found, size);
  if (first == LOOK_DAMAGED) {
    (void)sqlite3_db_release_memory(lease->db); /* the second look reads the file and not the cache */
    until = hf_now() + lease->pool->config.check_ns;
    if (look(lease->db, found, size) != LOOK_DAMAGED) first = LOOK_NOT;
  }
  sqlite3_progress_handler(lease->db, 0, NULL, NULL);
  return first;
}

void hf_quarantine(holdfast_pool *pool, bool on, const char *why)
{
  hf_said said = {.kind = on ? HOLDFAST_POOL_QUARANTINED : HOLDFAST_POOL_LIFTED, .lane = HOLDFAST_WRITE};
  bool was;

  pthread_mutex_lock(&pool->mutex);
  was = pool->quarantined;
  pool->quarantined = on;
  hf_queue_wake_all(pool);
  pthread_mutex_unlock(&pool->mutex);
  if (was != on) hf_event(pool, &said, on ? "writes are off: %s" : "writes are on again: %s", why);
}

void hf_check_at_open(holdfast_lease *lease)
{
  holdfast_pool *pool = lease->pool;
  hf_said said = {.kind = HOLDFAST_POOL_CHECKED, .lane = HOLDFAST_WRITE};
  char found[HF_SQL] = "switched off";
  hf_look seen = LOOK_NOT;
  const char *word;

  if (pool->config.check == HOLDFAST_CHECK_QUICK) seen = look_twice(lease, found, sizeof found);
  word = seen == LOOK_OK ? "ok" : seen == LOOK_DAMAGED ? "damaged" : "not_checked";
  pthread_mutex_lock(&pool->mutex);
  snprintf(pool->check, sizeof pool->check, "%s", word);
  pthread_mutex_unlock(&pool->mutex);
  if (seen == LOOK_OK || pool->config.check != HOLDFAST_CHECK_QUICK) return;
  hf_event(pool, &said, "the check at open says %s: %s", word, found);
  if (seen == LOOK_DAMAGED) hf_quarantine(pool, true, found);
}
