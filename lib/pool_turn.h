/*
 * pool_turn.h - the order among pools of several processes that write to one database.
 */
#ifndef HF_POOL_TURN_H
#define HF_POOL_TURN_H

#include "pool.h"

/* The holder of the write lane: before a transaction begins and after it has ended. */
void hf_turn_take(holdfast_lease *lease);
void hf_turn_give(holdfast_lease *lease);
void hf_turn_close(holdfast_pool *pool); /* before the writing connection is closed */

#endif
