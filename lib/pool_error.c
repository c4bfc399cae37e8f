/*
 * pool_error.c - codes as texts, and the long text of a thread's last failure.
 *
 * The text is the thread's own, so it can be asked for without a lock and after the pool is gone.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

static pthread_key_t texts;
static bool have_texts;

static void start(void)
{
  have_texts = pthread_key_create(&texts, free) == 0;
}

static char *text_of_thread(bool make)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  char *text;

  (void)pthread_once(&once, start);
  if (!have_texts) return NULL;
  text = pthread_getspecific(texts);
  if (text || !make) return text;
  text = calloc(1, HF_TEXT);
  if (text && pthread_setspecific(texts, text) != 0) {
    free(text);
    text = NULL;
  }
  return text;
}

const char *holdfast_errmsg(void)
{
  const char *text = text_of_thread(false);
  return text ? text : "";
}

const char *holdfast_strerror(int code)
{
  switch (code) {
  case HOLDFAST_TIMEOUT: return "the wait for a connection or a lock ended";
  case HOLDFAST_FORKED: return "the pool belongs to the process that this one was forked from";
  case HOLDFAST_REENTRANT: return "this thread holds what it asks for";
  case HOLDFAST_CLOSED: return "the pool is closed";
  case HOLDFAST_QUARANTINED: return "the database is damaged: writes are off";
  case HOLDFAST_MISUSE: return "bad argument, or a call at the wrong time";
  case HOLDFAST_CANCELLED: return "cancelled";
  case HOLDFAST_CONFLICT: return "the pool of this file is open with another configuration";
  default: return code < 0 ? "unknown code" : sqlite3_errstr(code);
  }
}

int hf_fail(int code, const char *format, ...)
{
  char *text = text_of_thread(true);
  va_list list;

  if (!text) return code; /* holdfast_strerror() still has something to say */
  va_start(list, format);
  (void)vsnprintf(text, HF_TEXT, format, list);
  va_end(list);
  return code;
}

/* `db` may be NULL or closed half way: sqlite3_errmsg() takes that. */
int hf_fail_sqlite(const holdfast_pool *pool, sqlite3 *db, int rc, const char *what)
{
  return hf_fail(rc, "pool %s: %s: %s (code %d)", pool->config.name, what,
                 db ? sqlite3_errmsg(db) : sqlite3_errstr(rc), rc);
}

/* Nothing of the pool is looked at: its mutex may be locked by a thread that does not exist here. */
int hf_fail_forked(void)
{
  return hf_fail(HOLDFAST_FORKED,
                 "this pool was opened before a fork, by the parent: open it again in the child");
}
