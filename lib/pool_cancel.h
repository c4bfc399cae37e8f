/*
 * pool_cancel.h - what the queue and the leases tell a cancel object. Every function takes NULL.
 */
#ifndef HF_POOL_CANCEL_H
#define HF_POOL_CANCEL_H

#include "pool.h"

bool hf_cancel_fired(const holdfast_cancel *cancel);
void hf_cancel_join_wait(holdfast_cancel *cancel, hf_waiter *waiter);
void hf_cancel_leave_wait(holdfast_cancel *cancel, hf_waiter *waiter);
void hf_cancel_join(holdfast_cancel *cancel, holdfast_lease *lease);
void hf_cancel_leave(holdfast_lease *lease);

#endif
