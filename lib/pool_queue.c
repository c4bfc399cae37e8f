/*
 * pool_queue.c - who gets which connection, and in what order.
 *
 * Nearly first come, first served: whoever comes while a connection is free takes it, even if somebody waits,
 * as long as the first in the queue has been that for less than handoff_ns (1 ms). After that the connection
 * is handed over: it goes from the one who releases it to the first, and nobody can pass. Strict order would
 * switch threads for each short transaction and halve the throughput; no order at all lets one thread starve.
 *
 * Every waiter sleeps on a condition of its own and exactly one is woken. No wake-up is lost, because of one
 * rule: while a connection is free and somebody waits, the first in the queue is awake, has been signalled,
 * or looks by itself within VAIN_NS. Who keeps it: give() signals the first when it leaves a connection free;
 * whoever leaves the queue, for whatever reason, calls pass_on(); a newcomer looks before it sleeps. The
 * third is for one that was woken and found that somebody had passed: who passes once does it again and
 * again, and to wake it each time would cost as much as the transactions do.
 *
 * Opening and closing connections is left to pool_lease.c, without the mutex.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool_cancel.h"

enum { TIMED_FIRST = 100, TIMED_EVERY = 7 }; /* leases of a lane, see count_hold() */
enum { VAIN_NS = 1000000 };                  /* who was woken in vain sleeps for so long */

/* ---------------------------------------------------------------- connections of a lane */

static int lane_init(holdfast_pool *pool, hf_lane *lane, int mode, int capacity)
{
  lane->mode = mode;
  lane->capacity = capacity;
  lane->connections = calloc((size_t)(capacity ? capacity : 1), sizeof *lane->connections);
  if (!lane->connections) return SQLITE_NOMEM;
  for (int i = 0; i < capacity; i++) {
    lane->connections[i].pool = pool;
    lane->connections[i].lane = lane;
    lane->connections[i].statements.max = pool->config.statements;
    if (pthread_mutex_init(&lane->connections[i].note, NULL) != 0) return SQLITE_NOMEM;
  }
  return 0;
}

int hf_queue_init(holdfast_pool *pool)
{
  int rc = lane_init(pool, &pool->write, HOLDFAST_WRITE, 1);

  pool->reads = pool->config.readers ? &pool->read : &pool->write;
  return rc ? rc : lane_init(pool, &pool->read, HOLDFAST_READ, pool->config.readers);
}

void hf_queue_free(holdfast_pool *pool)
{
  hf_lane *lanes[] = {&pool->write, &pool->read};

  for (int i = 0; i < 2; i++) {
    for (int k = 0; lanes[i]->connections && k < lanes[i]->capacity; k++)
      (void)pthread_mutex_destroy(&lanes[i]->connections[k].note);
    free(lanes[i]->connections);
  }
}

static bool is_free(const hf_lane *lane)
{
  return lane->out < lane->capacity;
}

static void lend(holdfast_lease *lease, const hf_want *want, int64_t now)
{
  holdfast_pool *pool = lease->pool;

  lease->serial = ++pool->serial;
  lease->thread = want->thread;
  lease->since_ns = now;
  lease->mode = want->mode;
  lease->age_said = false;
  atomic_store_explicit(&lease->leak_said, false, memory_order_relaxed);
  lease->deadline_ns = want->now_ns + want->wait_ns;
  lease->wait_ns = want->wait_ns;
  atomic_store_explicit(&lease->stop, HF_STOP_NOT, memory_order_relaxed);
  if (want->tag)
    (void)stpncpy(lease->tag, want->tag, sizeof lease->tag - 1);
  else
    lease->tag[0] = 0;
  lease->lane->acquired++;
  if (!pool->keeper.awake) hf_keeper_wake(pool);
}

static holdfast_lease *take_free(hf_lane *lane, const hf_want *want, int64_t now)
{
  holdfast_lease *lease = lane->idle;

  if (lease) {
    lane->idle = lease->next;
  } else {
    lease = lane->connections;
    while (lease->state != HF_EMPTY) lease++;
  }
  lease->state = HF_LEASED;
  lane->out++;
  lend(lease, want, now);
  return lease;
}

/* ---------------------------------------------------------------- the queue */

static void enqueue(hf_lane *lane, hf_waiter *waiter)
{
  waiter->prev = lane->tail;
  waiter->first_ns = waiter->want->now_ns; /* overwritten unless it is the first at once */
  if (lane->tail)
    lane->tail->next = waiter;
  else
    lane->head = waiter;
  lane->tail = waiter;
  lane->waiting++;
}

static void dequeue(hf_lane *lane, hf_waiter *waiter, int64_t now)
{
  if (waiter->prev) {
    waiter->prev->next = waiter->next;
  } else {
    lane->head = waiter->next;
    if (lane->head) lane->head->first_ns = now;
  }
  if (waiter->next)
    waiter->next->prev = waiter->prev;
  else
    lane->tail = waiter->prev;
  lane->waiting--;
}

static void pass_on(hf_lane *lane)
{
  hf_waiter *head = lane->head;

  if (!head || head->woken || !is_free(lane)) return;
  head->woken = true;
  pthread_cond_signal(&head->wake);
}

void hf_queue_wake_all(holdfast_pool *pool)
{
  for (hf_waiter *one = pool->write.head; one; one = one->next) pthread_cond_signal(&one->wake);
  for (hf_waiter *one = pool->read.head; one; one = one->next) pthread_cond_signal(&one->wake);
}

/* ---------------------------------------------------------------- texts */

const holdfast_lease *hf_longest(const hf_lane *lane)
{
  const holdfast_lease *longest = NULL;

  for (int i = 0; i < lane->capacity; i++) {
    const holdfast_lease *one = &lane->connections[i];
    if (one->state == HF_LEASED && (!longest || one->since_ns < longest->since_ns)) longest = one;
  }
  return longest;
}

void hf_copy_sql(const holdfast_lease *lease, char *out)
{
  holdfast_lease *noted = (holdfast_lease *)lease; /* for its leaf mutex only */

  pthread_mutex_lock(&noted->note);
  if (lease->sql_serial == lease->serial)
    memcpy(out, lease->sql, HF_SQL);
  else
    out[0] = 0;
  pthread_mutex_unlock(&noted->note);
}

/* The mutex is held: who has what is asked for at the moment of the refusal. */
static int explain(holdfast_pool *pool, const hf_lane *lane, const hf_want *want, int code, int64_t now)
{
  const holdfast_lease *longest = hf_longest(lane);
  char who[HF_TAG + HF_SQL + 80] = "", sql[HF_SQL];

  if (longest) {
    hf_copy_sql(longest, sql);
    snprintf(who, sizeof who, "; held for %lld ms by \"%s\"%s%s%s",
             (long long)((now - longest->since_ns) / HF_MS), *longest->tag ? longest->tag : "(no tag)",
             *sql ? " (" : "", sql, *sql ? ")" : "");
  }
  return hf_fail(code, "pool %s, %s lane: %s (after %lld ms; %d of %d connections in use, %d waiting%s)",
                 pool->config.name, hf_lane_word(want->mode), holdfast_strerror(code),
                 (long long)((now - want->now_ns) / HF_MS), lane->out, lane->capacity, lane->waiting, who);
}

static int refuse(holdfast_pool *pool, hf_lane *lane, const hf_want *want, int code, int64_t now)
{
  if (code == HOLDFAST_TIMEOUT) lane->timeouts++;
  if (code == HOLDFAST_CANCELLED) lane->cancelled++;
  if (code == HOLDFAST_REENTRANT) lane->reentrant++;
  return explain(pool, lane, want, code, now);
}

/* ---------------------------------------------------------------- take */

/* Why nobody with this wish gets a connection now, free or not. */
static int closed_to(const holdfast_pool *pool, const hf_want *want)
{
  if (pool->closing) return HOLDFAST_CLOSED;
  if (pool->quarantined && want->mode == HOLDFAST_WRITE && !want->main) return HOLDFAST_QUARANTINED;
  if (hf_cancel_fired(want->cancel)) return HOLDFAST_CANCELLED;
  return 0;
}

static bool holds_one(const hf_lane *lane, uint64_t thread)
{
  for (int i = 0; i < lane->capacity; i++)
    if (lane->connections[i].state == HF_LEASED && lane->connections[i].thread == thread) return true;
  return false;
}

static bool may_pass(const holdfast_pool *pool, const hf_lane *lane, const hf_want *want)
{
  if (!lane->head) return true;
  return !want->polite && want->now_ns - lane->head->first_ns < pool->config.handoff_ns;
}

/* True: the time is up. While `woken` is set nobody signals because of a free connection: this one looks
 * itself. */
static bool sleep_in_queue(holdfast_pool *pool, hf_waiter *me, int64_t until)
{
  int64_t look = me->woken ? hf_now() + VAIN_NS : until;

  if (look >= until) {
    me->woken = false;
    return hf_cond_until(&me->wake, &pool->mutex, until) != 0;
  }
  if (hf_cond_until(&me->wake, &pool->mutex, look)) me->woken = false;
  return false;
}

static int wait_in_queue(holdfast_pool *pool, hf_lane *lane, hf_waiter *me, holdfast_lease **out)
{
  const hf_want *want = me->want;
  int64_t until = want->now_ns + want->wait_ns;
  bool timed_out = false;
  int64_t now;
  int rc = 0;

  enqueue(lane, me);
  if (pool->checking && lane == &pool->write && !want->polite) holdfast_health_yield(pool->checking);
  while (!me->given) {
    rc = closed_to(pool, want);
    if (rc) break;
    if (lane->head == me && is_free(lane)) break;
    if (timed_out) {
      rc = HOLDFAST_TIMEOUT;
      break;
    }
    timed_out = sleep_in_queue(pool, me, until);
  }
  *out = me->given; /* handed over: whatever else happened meanwhile, it is ours and has to be given back */
  if (*out) {
    rc = 0;
  } else {
    now = hf_now();
    dequeue(lane, me, now);
    if (!rc) *out = take_free(lane, want, now);
    pass_on(lane);
  }
  return rc;
}

static int queue_up(holdfast_pool *pool, hf_lane *lane, const hf_want *want, holdfast_lease **out)
{
  hf_waiter me = {.pool = pool, .want = want};
  int64_t now;
  int rc;

  if (hf_cond_init(&me.wake) != 0)
    return hf_fail(SQLITE_NOMEM, "pool %s: no memory to wait", pool->config.name);
  hf_cancel_join_wait(want->cancel, &me);
  pthread_mutex_lock(&pool->mutex);
  pool->waiters++;
  rc = wait_in_queue(pool, lane, &me, out);
  now = hf_now();
  if (rc)
    rc = refuse(pool, lane, want, rc, now);
  else
    hf_histogram_add(&lane->wait, now - want->now_ns, 1);
  pthread_mutex_unlock(&pool->mutex);
  /* The pool may not be freed before the cancel object has forgotten this wait. */
  hf_cancel_leave_wait(want->cancel, &me);
  (void)pthread_cond_destroy(&me.wake);
  pthread_mutex_lock(&pool->mutex);
  if (--pool->waiters == 0 && pool->closing) pthread_cond_broadcast(&pool->left);
  pthread_mutex_unlock(&pool->mutex);
  return rc;
}

int hf_queue_take(holdfast_pool *pool, const hf_want *want, holdfast_lease **out)
{
  hf_lane *lane = hf_lane_of(pool, want->mode);
  int rc;

  pthread_mutex_lock(&pool->mutex);
  rc = closed_to(pool, want);
  if (!rc && is_free(lane) && may_pass(pool, lane, want)) {
    *out = take_free(lane, want, want->now_ns);
    pthread_mutex_unlock(&pool->mutex);
    return 0;
  }
  if (!rc && holds_one(lane, want->thread)) rc = HOLDFAST_REENTRANT;
  if (!rc && want->wait_ns <= 0) rc = HOLDFAST_TIMEOUT;
  if (rc) rc = refuse(pool, lane, want, rc, want->now_ns);
  pthread_mutex_unlock(&pool->mutex);
  return rc ? rc : queue_up(pool, lane, want, out);
}

/* ---------------------------------------------------------------- give */

/*
 * Counts how long it was out, and tells the time where that had to be looked at, else 0. The clock is the
 * dearest part of a lease that nobody waits for. Of those that end within a tick of the coarse clock
 * (milliseconds) the first are timed, then every seventh, which counts for seven: an odd number, so that
 * programs which do the same few things in turns are seen whole.
 */
static int64_t count_hold(hf_lane *lane, const holdfast_lease *lease)
{
  int64_t given = lane->given++, now, weight = 1;

  if (!lane->head && given >= TIMED_FIRST && hf_now_coarse() <= lease->since_ns) {
    if (given % TIMED_EVERY) return 0;
    weight = TIMED_EVERY;
  }
  now = hf_now();
  hf_histogram_add(&lane->hold, now - lease->since_ns, weight);
  return now;
}

bool hf_queue_give(holdfast_lease *lease)
{
  holdfast_pool *pool = lease->pool;
  hf_lane *lane = lease->lane;
  hf_waiter *head;
  bool last = false;
  int64_t now;

  pthread_mutex_lock(&pool->mutex);
  if (lease->db && atomic_load_explicit(&lease->stop, memory_order_relaxed) == HF_STOP_AGE) {
    pthread_mutex_unlock(&pool->mutex);
    return false;
  }
  now = count_hold(lane, lease);
  head = lane->head;
  if (head && !pool->closing && now - head->first_ns >= pool->config.handoff_ns) {
    dequeue(lane, head, now);
    lend(lease, head->want, now);
    head->given = lease;
    pthread_cond_signal(&head->wake);
  } else {
    lane->out--;
    lease->state = lease->db ? HF_IDLE : HF_EMPTY;
    if (lease->db) {
      lease->next = lane->idle;
      lane->idle = lease;
    }
    pass_on(lane);
    if (pool->closing) {
      last = pool->zombie && pool->write.out + pool->read.out == 0;
      pthread_cond_broadcast(&pool->left);
    }
  }
  pthread_mutex_unlock(&pool->mutex);
  if (last) hf_pool_end(pool);
  return true;
}
