/*
 * pool_storm.c - many threads wait, give up, are cancelled and are closed out at the same time: nobody is
 * forgotten, and never do more threads hold a lane than it has connections.
 *
 *   pool_storm [ROUNDS]     in an empty directory; 10,000 rounds without an argument, HF_LONG=1: 200,000
 *                           and 10,000 closes during waits instead of 400
 *
 * A round is one acquire of one thread: with a long wait, a short one, or none, with a cancel object or
 * without. A lost wake-up shows as a long wait that ends with HOLDFAST_TIMEOUT although the connections went
 * round all the time. Uses nothing but holdfast.h, so that tests/proc/tsan.sh can build it, too.
 */
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "holdfast.h"

enum {
  THREADS = 8,
  CANCELS = 3,
  READERS = 2,
  LONG_MS = 20000,
  CLOSE_ROUNDS = 400,
  CLOSE_ROUNDS_LONG = 10000
};

static atomic_int wrong, holders[3], rounds_left;
static atomic_long got, timeouts, cancelled, fired, closed_out, lost;
static atomic_bool stop;
static holdfast_cancel *cancels[CANCELS];

static void complain(const char *what, int code)
{
  if (atomic_fetch_add(&wrong, 1) < 20) printf("WRONG: %s: code %d (%s)\n", what, code, holdfast_errmsg());
}

static uint32_t random_below(uint32_t *state, uint32_t limit)
{
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state % limit;
}

static void nap_us(uint32_t us)
{
  struct timespec length = {0, (long)us * 1000};
  nanosleep(&length, NULL);
}

/* ---------------------------------------------------------------- storms of waits, timeouts and cancels */

typedef struct worker {
  pthread_t thread;
  holdfast_pool *pool;
  bool one_lane; /* both lanes share one connection */
  uint32_t random;
} worker;

static void hold(worker *me, int mode, holdfast_lease *lease)
{
  int lane = me->one_lane ? HOLDFAST_WRITE : mode, most = lane == HOLDFAST_READ ? READERS : 1;

  if (atomic_fetch_add(&holders[lane], 1) + 1 > most) complain("more holders than connections", lane);
  if (!holdfast_lease_db(lease)) complain("a lease without a connection", 0);
  if (random_below(&me->random, 8) == 0) nap_us(random_below(&me->random, 200));
  atomic_fetch_sub(&holders[lane], 1);
  if (holdfast_release(lease) != 0) complain("release", 0);
}

static void one_round(worker *me)
{
  holdfast_options options = {.struct_size = sizeof options, .tag = "storm"};
  int mode = random_below(&me->random, 2) ? HOLDFAST_READ : HOLDFAST_WRITE, rc;
  holdfast_lease *lease = NULL;

  switch (random_below(&me->random, 4)) {
  case 0: options.wait_ms = HOLDFAST_NO_WAIT; break;
  case 1: options.wait_ms = 1; break;
  default: options.wait_ms = LONG_MS;
  }
  if (random_below(&me->random, 2)) options.cancel = cancels[random_below(&me->random, CANCELS)];
  rc = holdfast_acquire_with(me->pool, mode, &options, &lease);
  switch (rc) {
  case 0:
    atomic_fetch_add(&got, 1);
    hold(me, mode, lease);
    break;
  case HOLDFAST_TIMEOUT:
    atomic_fetch_add(&timeouts, 1);
    if (options.wait_ms == LONG_MS) {
      atomic_fetch_add(&lost, 1);
      complain("a long wait was forgotten", rc);
    }
    break;
  case HOLDFAST_CANCELLED:
    atomic_fetch_add(&cancelled, 1);
    if (!options.cancel) complain("cancelled without being asked", rc);
    break;
  default: complain("acquire", rc);
  }
}

static void *work(void *arg)
{
  while (atomic_fetch_sub(&rounds_left, 1) > 0) one_round(arg);
  return NULL;
}

static void *fire(void *arg)
{
  uint32_t random = (uint32_t)(uintptr_t)arg | 1;

  while (!atomic_load(&stop)) {
    holdfast_cancel *one = cancels[random_below(&random, CANCELS)];
    holdfast_cancel_fire(one);
    atomic_fetch_add(&fired, 1);
    nap_us(random_below(&random, 50));
    holdfast_cancel_reset(one);
    nap_us(random_below(&random, 200));
  }
  return NULL;
}

static void storm(const char *path, int readers, int handoff_us, int rounds, uint32_t seed)
{
  holdfast_pool_config config = {.struct_size = sizeof config, .readers = readers, .handoff_us = handoff_us};
  holdfast_stats stats = {.struct_size = sizeof stats};
  worker workers[THREADS];
  holdfast_pool *pool;
  pthread_t storms[2];
  int rc = holdfast_pool_open(path, &config, &pool);

  if (rc) {
    complain("open", rc);
    return;
  }
  for (int i = 0; i < CANCELS; i++)
    if (holdfast_cancel_new(&cancels[i])) complain("cancel_new", 0);
  atomic_store(&rounds_left, rounds);
  atomic_store(&stop, false);
  for (int i = 0; i < 2; i++)
    pthread_create(&storms[i], NULL, fire, (void *)(uintptr_t)(seed + 77 + (uint32_t)i));
  for (int i = 0; i < THREADS; i++) {
    workers[i] =
        (worker){.pool = pool, .one_lane = readers == HOLDFAST_OFF, .random = seed * 31 + (uint32_t)i + 1};
    pthread_create(&workers[i].thread, NULL, work, &workers[i]);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(workers[i].thread, NULL);
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++) pthread_join(storms[i], NULL);
  if (holdfast_pool_stats(pool, &stats)) complain("stats", 0);
  if (stats.write.in_use || stats.read.in_use || stats.write.waiting || stats.read.waiting)
    complain("somebody is still there", stats.write.in_use + stats.read.in_use);
  for (int i = 0; i < CANCELS; i++) holdfast_cancel_free(cancels[i]);
  rc = holdfast_pool_close(pool, 1000);
  if (rc) complain("close", rc);
}

/* ---------------------------------------------------------------- closed while others wait */

typedef struct waiter {
  pthread_t thread;
  holdfast_pool *pool;
  atomic_int *arrived;
} waiter;

static void *wait_for_close(void *arg)
{
  waiter *me = arg;
  holdfast_lease *lease;
  int rc;

  atomic_fetch_add(me->arrived, 1);
  rc = holdfast_acquire(me->pool, HOLDFAST_WRITE, LONG_MS, &lease);
  if (rc == HOLDFAST_CLOSED)
    atomic_fetch_add(&closed_out, 1);
  else if (rc == 0) /* on a slow machine the lease was back before the close began */
    holdfast_release(lease);
  else
    complain("a wait that the close should have ended", rc);
  return NULL;
}

/* The close must come while they wait, so a lease is out, and it is given back by another thread after. */
static void *give_back_later(void *arg)
{
  nap_us(500);
  if (holdfast_release(arg)) complain("release in close", 0);
  return NULL;
}

static void *take_for_close(void *arg)
{
  holdfast_lease **out = arg;
  holdfast_pool *pool = (holdfast_pool *)*out;

  if (holdfast_acquire(pool, HOLDFAST_WRITE, LONG_MS, out)) complain("acquire before close", 0);
  return NULL;
}

static void close_while_waiting(int waiters_count)
{
  waiter waiters[THREADS];
  atomic_int arrived = 0;
  holdfast_pool *pool;
  holdfast_lease *lease;
  holdfast_stats stats = {.struct_size = sizeof stats};
  pthread_t other;

  if (holdfast_pool_open(":memory:", NULL, &pool)) {
    complain("open", 0);
    return;
  }
  lease = (holdfast_lease *)pool;
  pthread_create(&other, NULL, take_for_close, &lease);
  pthread_join(other, NULL);
  for (int i = 0; i < waiters_count; i++) {
    waiters[i] = (waiter){.pool = pool, .arrived = &arrived};
    pthread_create(&waiters[i].thread, NULL, wait_for_close, &waiters[i]);
  }
  do { /* a call that came after the close would be the caller's mistake */
    holdfast_pool_stats(pool, &stats);
    nap_us(20);
  } while (stats.write.waiting < waiters_count);
  pthread_create(&other, NULL, give_back_later, lease);
  if (holdfast_pool_close(pool, LONG_MS)) complain("close", 0);
  pthread_join(other, NULL);
  for (int i = 0; i < waiters_count; i++) pthread_join(waiters[i].thread, NULL);
}

int main(int argc, char **argv)
{
  int rounds = argc > 1 ? atoi(argv[1]) : getenv("HF_LONG") ? 200000 : 10000;
  const char *given = getenv("HF_SEED");
  int closes = getenv("HF_LONG") ? CLOSE_ROUNDS_LONG : CLOSE_ROUNDS;
  uint32_t seed = given ? (uint32_t)strtoul(given, NULL, 0) : (uint32_t)time(NULL) ^ (uint32_t)getpid();

  printf("seed %u (HF_SEED)\n", seed);
  storm(":memory:", HOLDFAST_OFF, 0, rounds, seed);
  storm("storm.db", READERS, 0, rounds, seed + 1);
  storm("strict.db", READERS, HOLDFAST_OFF, rounds, seed + 2);
  for (int i = 0; i < closes; i++) close_while_waiting(1 + i % (THREADS - 1));
  printf("%ld leases, %ld timeouts, %ld cancelled by %ld shots, %ld closed out, %ld forgotten, %d wrong\n",
         got, timeouts, cancelled, fired, closed_out, lost, wrong);
  if (!got || !timeouts || !cancelled || !closed_out) complain("too little happened: see the counts", 0);
  return wrong ? 1 : 0;
}
