/*
 * interleave.c - see interleave.h. Only the thread that runs touches the state; semaphores hand it over.
 */
#include "interleave.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>

#include "check.h"

enum { CHANGES_MAX = 16 };

static struct {
  int count, changes;
  long points, change_at[CHANGES_MAX];
  int priority[INTERLEAVE_MAX], lowest;
  bool ended[INTERLEAVE_MAX];
  sem_t turn[INTERLEAVE_MAX], all_ended;
  interleave_body *body[INTERLEAVE_MAX];
  void *arg[INTERLEAVE_MAX];
} run;

static _Thread_local int self = -1;

uint64_t interleave_state(uint32_t seed)
{
  return ((uint64_t)seed << 1 | 1) * 0x9e3779b97f4a7c15ull; /* never zero */
}

uint32_t interleave_random(uint64_t *state, uint32_t limit)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return (uint32_t)((*state >> 32) * limit >> 32);
}

/* The thread that may run: -1 when all have ended. */
static int best(void)
{
  int found = -1;

  for (int i = 0; i < run.count; i++)
    if (!run.ended[i] && (found < 0 || run.priority[i] > run.priority[found])) found = i;
  return found;
}

static void take_turn(sem_t *turn)
{
  while (sem_wait(turn)) {
  } /* only a signal ends it early */
}

static void hand_over(int to)
{
  int from = self;

  if (to == from) return;
  (void)sem_post(&run.turn[to]); /* cannot overflow: one turn in all */
  take_turn(&run.turn[from]);
}

void interleave_wait(void)
{
  if (self < 0) return;
  run.points++;
  run.priority[self] = --run.lowest;
  hand_over(best());
}

void interleave_point(void)
{
  if (self < 0) return;
  for (int i = 0; i < run.changes; i++) {
    if (run.change_at[i] != run.points) continue;
    interleave_wait();
    return;
  }
  run.points++;
}

static void *thread_main(void *arg)
{
  int next;

  self = (int)(intptr_t)arg;
  take_turn(&run.turn[self]);
  run.body[self](run.arg[self]);
  run.ended[self] = true;
  next = best();
  (void)sem_post(next < 0 ? &run.all_ended : &run.turn[next]); /* as above */
  return NULL;
}

static void prepare(int changes, long length, uint64_t *state)
{
  run.points = 0;
  run.lowest = 0;
  run.changes = changes < CHANGES_MAX ? changes : CHANGES_MAX;
  for (int i = 0; i < run.changes; i++) run.change_at[i] = interleave_random(state, (uint32_t)length);
  for (int i = 0; i < run.count; i++) {
    int other = (int)interleave_random(state, (uint32_t)i + 1);
    run.priority[i] = run.priority[other]; /* a random order: 1 .. count */
    run.priority[other] = i + 1;
    run.ended[i] = false;
  }
}

long interleave_run(int count, interleave_body *const *body, void *const *arg, int changes, long length,
                    uint32_t seed)
{
  pthread_t thread[INTERLEAVE_MAX];
  uint64_t state = interleave_state(seed);

  if (count > INTERLEAVE_MAX) check_broken("too many threads to interleave");
  run.count = count;
  prepare(changes, length, &state);
  if (sem_init(&run.all_ended, 0, 0)) check_broken("sem_init");
  for (int i = 0; i < count; i++) {
    run.body[i] = body[i];
    run.arg[i] = arg[i];
    if (sem_init(&run.turn[i], 0, 0)) check_broken("sem_init");
  }
  for (int i = 0; i < count; i++)
    if (pthread_create(&thread[i], NULL, thread_main, (void *)(intptr_t)i)) check_broken("pthread_create");
  (void)sem_post(&run.turn[best()]); /* as above */
  take_turn(&run.all_ended);
  for (int i = 0; i < count; i++) {
    (void)pthread_join(thread[i], NULL); /* it has ended or is about to */
    (void)sem_destroy(&run.turn[i]);     /* nobody waits */
  }
  (void)sem_destroy(&run.all_ended); /* nobody waits */
  return run.points;
}
