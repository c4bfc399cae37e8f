/*
 * pool_wait.c - taking turns with other processes: how long to sleep when SQLite finds a lock taken, and when
 * to leave one free.
 *
 * The deadline is the lease's: what the queue has used up is not given again. A wait that begins after it has
 * as long again, because a lease may be kept for many transactions. Sleeps are short and random, and become
 * shorter the longer it takes: who has waited long looks more often than who has just come. SQLite's own
 * handler does the reverse, and one process then gets all the turns.
 */
#include <string.h>
#include <time.h>

#include "pool_cancel.h"
#include "pool_wait.h"

/* The first tries are for locks that are held for microseconds; then from 3 ms down to 250 us, half again as
 * long at most, when one has waited for more than the turn of a few others. */
enum { SOON_NS = 50000, SOON = 3, LONG_NS = 3000000, SHORT_NS = 250000, PATIENT_NS = 150000000 };
/* How long others leave one alone, how long they are left the lock, how long they are remembered. */
enum { TURN_NS = 40000000, WAY_NS = 5000000, MEMORY_NS = 1000000000 };

static uint32_t random_of_thread(void)
{
  static __thread uint32_t state __attribute__((tls_model("initial-exec")));

  if (!state) state = (uint32_t)hf_now() | 1;
  state ^= state << 13; /* xorshift */
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

static int64_t nap(int count, int64_t waited)
{
  int64_t most = LONG_NS;

  if (count < SOON) return SOON_NS << count;
  while (most > SHORT_NS && waited > PATIENT_NS) {
    most /= 2;
    waited /= 2;
  }
  if (most < SHORT_NS) most = SHORT_NS;
  return most / 2 + (int64_t)(random_of_thread() % (uint32_t)most);
}

/* Without WAL a writer waits for all readers. One that this thread holds itself would never end. */
static bool waits_for_itself(const holdfast_lease *lease)
{
  holdfast_pool *pool = lease->pool;
  bool found = false;

  if (lease->mode != HOLDFAST_WRITE) return false;
  pthread_mutex_lock(&pool->mutex);
  for (int i = 0; i < pool->read.capacity && strcmp(pool->journal, "wal") != 0; i++) {
    const holdfast_lease *one = &pool->read.connections[i];
    if (one->state == HF_LEASED && one->thread == lease->thread && one->db && hf_is_reading(one->db))
      found = true;
  }
  pthread_mutex_unlock(&pool->mutex);
  return found;
}

/*
 * A writer that goes on at once after its commit is nearly always quicker than those who look for their turn
 * now and then. So who has met others at the lock within the last second, and has written for a while since,
 * leaves it free for as long as they nap.
 */
void hf_wait_give_way(holdfast_lease *lease)
{
  holdfast_pool *pool = lease->pool;
  int64_t met = atomic_load_explicit(&pool->met_ns, memory_order_relaxed), now;
  struct timespec way = {.tv_nsec = WAY_NS};

  if (!met || lease->mode != HOLDFAST_WRITE) return;
  now = hf_now_coarse();
  if (now - met > MEMORY_NS) {
    atomic_store_explicit(&pool->met_ns, 0, memory_order_relaxed);
  } else if (now - pool->turn_ns > TURN_NS) {
    (void)nanosleep(&way, NULL); /* a signal makes it shorter, nothing else */
    pool->turn_ns = now;
  }
}

int hf_wait_for_lock(holdfast_lease *lease, int count)
{
  int64_t now = hf_now(), until, length;
  struct timespec sleep;

  if (count == 0) {
    lease->busy_since_ns = now;
    atomic_fetch_add_explicit(&lease->pool->lock_waits, 1, memory_order_relaxed);
    lease->own_reader = waits_for_itself(lease);
  }
  if (lease->mode == HOLDFAST_WRITE) {
    atomic_store_explicit(&lease->pool->met_ns, now, memory_order_relaxed);
    lease->pool->turn_ns = now;
  }
  if (lease->own_reader) return 0;
  if (atomic_load_explicit(&lease->stop, memory_order_relaxed) || hf_cancel_fired(lease->cancel)) return 0;
  until =
      lease->busy_since_ns < lease->deadline_ns ? lease->deadline_ns : lease->busy_since_ns + lease->wait_ns;
  if (now >= until) return 0;
  length = nap(count, now - lease->busy_since_ns);
  if (length > until - now) length = until - now;
  sleep = (struct timespec){.tv_sec = (time_t)(length / HF_S), .tv_nsec = (long)(length % HF_S)};
  atomic_store_explicit(&lease->napping, true, memory_order_relaxed);
  (void)nanosleep(&sleep, NULL); /* a signal makes it shorter, nothing else */
  atomic_store_explicit(&lease->napping, false, memory_order_relaxed);
  return 1;
}
