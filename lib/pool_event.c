/*
 * pool_event.c - telling what happened: to the program's function, or to SQLite's log when it has none.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pool.h"

static const char *word_of(int kind)
{
  switch (kind) {
  case HOLDFAST_POOL_LEAK: return "leak";
  case HOLDFAST_POOL_RETURNED: return "returned";
  case HOLDFAST_POOL_UNCLEAN: return "unclean";
  case HOLDFAST_POOL_DISCARDED: return "discarded";
  case HOLDFAST_POOL_PINNED: return "pinned";
  case HOLDFAST_POOL_READ_ENDED: return "read-ended";
  case HOLDFAST_POOL_REOPENED: return "reopened";
  case HOLDFAST_POOL_JOURNAL: return "journal";
  case HOLDFAST_POOL_CHECKED: return "checked";
  case HOLDFAST_POOL_QUARANTINED: return "quarantined";
  case HOLDFAST_POOL_LIFTED: return "lifted";
  case HOLDFAST_POOL_LEFT: return "left";
  default: return "?";
  }
}

void hf_event(holdfast_pool *pool, const hf_said *what, const char *format, ...)
{
  char text[HF_TEXT];
  holdfast_pool_event event = {.struct_size = sizeof event,
                               .kind = what->kind,
                               .lane = what->lane,
                               .code = what->code,
                               .age_ms = what->age_ms,
                               .word = word_of(what->kind),
                               .pool = pool->config.name,
                               .path = pool->path,
                               .tag = what->tag,
                               .sql = what->sql,
                               .text = text};
  int length = snprintf(text, sizeof text, "pool %s: ", pool->config.name);
  va_list list;

  va_start(list, format);
  (void)vsnprintf(text + length, sizeof text - (size_t)length, format, list);
  va_end(list);
  pthread_mutex_lock(&pool->telling);
  if (pool->on_event)
    pool->on_event(&event, pool->on_event_arg);
  else
    sqlite3_log(SQLITE_WARNING, "holdfast: %s", text);
  pthread_mutex_unlock(&pool->telling);
}

int holdfast_pool_on_event(holdfast_pool *pool, holdfast_event_fn fn, void *arg)
{
  if (!pool) return hf_fail(HOLDFAST_MISUSE, "holdfast_pool_on_event: pool is NULL");
  if (hf_forked(pool)) return hf_fail_forked();
  pthread_mutex_lock(&pool->telling);
  pool->on_event = fn;
  pool->on_event_arg = arg;
  pthread_mutex_unlock(&pool->telling);
  return 0;
}
