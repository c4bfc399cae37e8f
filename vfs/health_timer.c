/*
 * health_timer.c - ends a statement at its deadline, by sqlite3_interrupt() from another thread.
 *
 * A progress handler would not do: the connection has one only, it is the program's, and SQLite before 3.41
 * does not call it while it walks over a table's pages.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "health.h"

int64_t hf_now_ns(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t hf_now_ms(void)
{
  struct timespec t;

  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void wait_until(hf_timer *timer, int64_t deadline_ns)
{
  struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000),
                           .tv_nsec = (long)(deadline_ns % 1000000000)};

  if (deadline_ns)
    (void)pthread_cond_timedwait(&timer->changed, &timer->mutex, &until); /* the caller looks at the clock */
  else
    (void)pthread_cond_wait(&timer->changed, &timer->mutex);
}

/* An interrupt that comes before the statement has begun is forgotten, so it is said again until it is heard.
 */
enum { SAY_AGAIN_NS = 1000000 };

static void *watch(void *arg)
{
  hf_timer *timer = arg;

  pthread_mutex_lock(&timer->mutex);
  while (!timer->ending) {
    if (!timer->armed) {
      wait_until(timer, 0);
    } else if (timer->asked || (timer->deadline_ns && hf_now_ns() >= timer->deadline_ns)) {
      timer->fired = true;
      timer->api->interrupt(timer->db);
      wait_until(timer, hf_now_ns() + SAY_AGAIN_NS);
    } else {
      wait_until(timer, timer->deadline_ns);
    }
  }
  pthread_mutex_unlock(&timer->mutex);
  return NULL;
}

int hf_timer_start(hf_timer *timer, const hf_api *api, sqlite3 *db)
{
  pthread_condattr_t attributes;

  if (timer->running) return SQLITE_OK;
  timer->api = api;
  timer->db = db;
  pthread_mutex_init(&timer->mutex, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&timer->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  if (pthread_create(&timer->thread, NULL, watch, timer) != 0) {
    pthread_cond_destroy(&timer->changed);
    pthread_mutex_destroy(&timer->mutex);
    return SQLITE_NOMEM;
  }
  timer->running = true;
  return SQLITE_OK;
}

void hf_timer_arm(hf_timer *timer, int64_t deadline_ns)
{
  if (!timer->running) return;
  pthread_mutex_lock(&timer->mutex);
  timer->armed = true;
  timer->fired = false;
  timer->deadline_ns = deadline_ns;
  pthread_cond_signal(&timer->changed);
  pthread_mutex_unlock(&timer->mutex);
}

/* An interrupt that came after the statement's end is forgotten by SQLite when the next statement starts. */
bool hf_timer_disarm(hf_timer *timer)
{
  bool fired;

  if (!timer->running) return false;
  pthread_mutex_lock(&timer->mutex);
  fired = timer->fired;
  timer->armed = timer->fired = false;
  pthread_mutex_unlock(&timer->mutex);
  return fired;
}

void hf_timer_step(hf_timer *timer, bool begins)
{
  if (!timer->running) return;
  pthread_mutex_lock(&timer->mutex);
  timer->stepping = begins;
  timer->asked = false;
  pthread_mutex_unlock(&timer->mutex);
}

void hf_timer_ask(hf_timer *timer)
{
  if (!timer->running) return;
  pthread_mutex_lock(&timer->mutex);
  timer->asked = timer->stepping;
  pthread_cond_signal(&timer->changed);
  pthread_mutex_unlock(&timer->mutex);
}

bool hf_timer_asked(hf_timer *timer)
{
  bool asked;

  if (!timer->running) return false;
  pthread_mutex_lock(&timer->mutex);
  asked = timer->asked;
  pthread_mutex_unlock(&timer->mutex);
  return asked;
}

void hf_timer_stop(hf_timer *timer)
{
  if (!timer->running) return;
  pthread_mutex_lock(&timer->mutex);
  timer->ending = true;
  pthread_cond_signal(&timer->changed);
  pthread_mutex_unlock(&timer->mutex);
  (void)pthread_join(timer->thread, NULL);
  pthread_cond_destroy(&timer->changed);
  pthread_mutex_destroy(&timer->mutex);
  timer->running = false;
}
