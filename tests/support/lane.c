/*
 * lane.c - see lane.h.
 */
#include "lane.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KINDS = 32, PATIENCE_MS = 20000 };

static struct {
  pthread_mutex_t mutex;
  int count[KINDS];
  char text[KINDS][512];
} heard = {.mutex = PTHREAD_MUTEX_INITIALIZER};

holdfast_pool *lane_pool(const char *path, const holdfast_pool_config *config)
{
  holdfast_pool_config plain = {.struct_size = sizeof plain, .readers = 2, .check = HOLDFAST_CHECK_NONE};
  holdfast_pool *pool;

  if (holdfast_pool_open(path, config ? config : &plain, &pool) == 0) return pool;
  fprintf(stderr, "%s: %s\n", path, holdfast_errmsg());
  exit(1);
}

int lane_sql(holdfast_lease *lease, void *arg)
{
  return sqlite3_exec(holdfast_lease_db(lease), arg, NULL, NULL, NULL);
}

int lane_exec(holdfast_pool *pool, int mode, const char *sql)
{
  holdfast_lease *lease;
  int rc = holdfast_acquire(pool, mode, 0, &lease);

  if (rc) return rc;
  rc = sqlite3_exec(holdfast_lease_db(lease), sql, NULL, NULL, NULL);
  (void)holdfast_release(lease);
  return rc;
}

long lane_number(holdfast_pool *pool, const char *sql)
{
  holdfast_lease *lease;
  sqlite3_stmt *stmt;
  long number = -1;

  if (holdfast_acquire(pool, HOLDFAST_READ, 0, &lease)) return -1;
  if (holdfast_prepare(lease, sql, &stmt) == 0 && sqlite3_step(stmt) == SQLITE_ROW)
    number = (long)sqlite3_column_int64(stmt, 0);
  if (number >= 0) sqlite3_reset(stmt);
  (void)holdfast_release(lease);
  return number;
}

void lane_nap(int ms)
{
  struct timespec length = {ms / 1000, (long)(ms % 1000) * 1000000};
  nanosleep(&length, NULL);
}

static void *take(void *arg)
{
  lane_other *other = arg;

  other->rc = holdfast_acquire_with(other->pool, other->mode, &other->options, &other->lease);
  if (other->rc) snprintf(other->text, sizeof other->text, "%s", holdfast_errmsg());
  return NULL;
}

static int load(holdfast_pool *pool, int mode)
{
  holdfast_stats stats = {.struct_size = sizeof stats};
  const holdfast_lane_stats *lane = mode == HOLDFAST_WRITE ? &stats.write : &stats.read;

  (void)holdfast_pool_stats(pool, &stats);
  return lane->waiting + lane->in_use;
}

void lane_take(lane_other *other, holdfast_pool *pool, int mode, const holdfast_options *options)
{
  int before = load(pool, mode);

  *other =
      (lane_other){.pool = pool, .mode = mode, .options = {.struct_size = sizeof *options}, .running = true};
  if (options) other->options = *options;
  if (pthread_create(&other->thread, NULL, take, other)) exit(1);
  for (int i = 0; i < PATIENCE_MS && load(pool, mode) == before; i++) lane_nap(1);
}

int lane_result(lane_other *other)
{
  if (other->running) pthread_join(other->thread, NULL);
  other->running = false;
  return other->rc;
}

void lane_wait_for(holdfast_pool *pool, int mode, int waiting)
{
  holdfast_stats stats = {.struct_size = sizeof stats};
  const holdfast_lane_stats *lane = mode == HOLDFAST_WRITE ? &stats.write : &stats.read;

  for (int i = 0; i < PATIENCE_MS; i++) {
    (void)holdfast_pool_stats(pool, &stats);
    if (lane->waiting == waiting) return;
    lane_nap(1);
  }
}

static void hear(const holdfast_pool_event *event, void *arg)
{
  (void)arg;
  pthread_mutex_lock(&heard.mutex);
  heard.count[event->kind % KINDS]++;
  snprintf(heard.text[event->kind % KINDS], sizeof heard.text[0], "%s", event->text);
  pthread_mutex_unlock(&heard.mutex);
}

void lane_listen(holdfast_pool *pool)
{
  pthread_mutex_lock(&heard.mutex);
  memset(heard.count, 0, sizeof heard.count);
  memset(heard.text, 0, sizeof heard.text);
  pthread_mutex_unlock(&heard.mutex);
  (void)holdfast_pool_on_event(pool, hear, NULL);
}

int lane_events(int kind)
{
  int count;

  pthread_mutex_lock(&heard.mutex);
  count = heard.count[kind % KINDS];
  pthread_mutex_unlock(&heard.mutex);
  return count;
}

const char *lane_text(int kind)
{
  return heard.text[kind % KINDS];
}

bool lane_hears(int kind, int ms)
{
  for (int i = 0; i < ms && !lane_events(kind); i++) lane_nap(1);
  return lane_events(kind) > 0;
}
