/*
 * pool_cancel.c - stopping waits and SQL from another thread.
 *
 * A cancel object knows the waits and the leases that were started with it. Both join before they look
 * whether it was fired, and firing sets the mark before it walks the lists: one of the two sees the other.
 */
#include <stdlib.h>

#include "pool_cancel.h"

struct holdfast_cancel {
  pthread_mutex_t mutex;
  atomic_bool fired;
  unsigned generation;
  hf_waiter *waiters;
  holdfast_lease *leases;
};

int holdfast_cancel_new(holdfast_cancel **out)
{
  holdfast_cancel *made;

  if (!out) return hf_fail(HOLDFAST_MISUSE, "holdfast_cancel_new: out is NULL");
  made = calloc(1, sizeof *made);
  if (!made || pthread_mutex_init(&made->mutex, NULL) != 0) {
    free(made);
    return hf_fail(SQLITE_NOMEM, "no memory for a cancel object");
  }
  hf_process_start();
  made->generation = hf_process();
  *out = made;
  return 0;
}

void holdfast_cancel_free(holdfast_cancel *cancel)
{
  if (!cancel) return;
  if (cancel->generation == hf_process()) (void)pthread_mutex_destroy(&cancel->mutex);
  free(cancel);
}

void holdfast_cancel_reset(holdfast_cancel *cancel)
{
  if (cancel) atomic_store(&cancel->fired, false);
}

void holdfast_cancel_fire(holdfast_cancel *cancel)
{
  if (!cancel || cancel->generation != hf_process()) return;
  pthread_mutex_lock(&cancel->mutex);
  atomic_store(&cancel->fired, true);
  for (hf_waiter *one = cancel->waiters; one; one = one->cancel_next) {
    pthread_mutex_lock(&one->pool->mutex);
    pthread_cond_signal(&one->wake);
    pthread_mutex_unlock(&one->pool->mutex);
  }
  for (holdfast_lease *one = cancel->leases; one; one = one->cancel_next) hf_lease_stop(one, HF_STOP_CANCEL);
  pthread_mutex_unlock(&cancel->mutex);
}

bool hf_cancel_fired(const holdfast_cancel *cancel)
{
  return cancel && atomic_load(&cancel->fired);
}

void hf_cancel_join_wait(holdfast_cancel *cancel, hf_waiter *waiter)
{
  if (!cancel) return;
  pthread_mutex_lock(&cancel->mutex);
  waiter->cancel_prev = NULL;
  waiter->cancel_next = cancel->waiters;
  if (waiter->cancel_next) waiter->cancel_next->cancel_prev = waiter;
  cancel->waiters = waiter;
  pthread_mutex_unlock(&cancel->mutex);
}

void hf_cancel_leave_wait(holdfast_cancel *cancel, hf_waiter *waiter)
{
  if (!cancel) return;
  pthread_mutex_lock(&cancel->mutex);
  if (waiter->cancel_next) waiter->cancel_next->cancel_prev = waiter->cancel_prev;
  if (waiter->cancel_prev)
    waiter->cancel_prev->cancel_next = waiter->cancel_next;
  else
    cancel->waiters = waiter->cancel_next;
  pthread_mutex_unlock(&cancel->mutex);
}

void hf_cancel_join(holdfast_cancel *cancel, holdfast_lease *lease)
{
  if (!cancel) return;
  pthread_mutex_lock(&cancel->mutex);
  lease->cancel = cancel;
  lease->cancel_prev = NULL;
  lease->cancel_next = cancel->leases;
  if (lease->cancel_next) lease->cancel_next->cancel_prev = lease;
  cancel->leases = lease;
  pthread_mutex_unlock(&cancel->mutex);
}

void hf_cancel_leave(holdfast_lease *lease)
{
  holdfast_cancel *cancel = lease->cancel;

  if (!cancel) return;
  pthread_mutex_lock(&cancel->mutex);
  if (lease->cancel_next) lease->cancel_next->cancel_prev = lease->cancel_prev;
  if (lease->cancel_prev)
    lease->cancel_prev->cancel_next = lease->cancel_next;
  else
    cancel->leases = lease->cancel_next;
  lease->cancel = NULL;
  pthread_mutex_unlock(&cancel->mutex);
}
