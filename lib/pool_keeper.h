/*
 * pool_keeper.h - between the keeper and its checkpoints.
 */
#ifndef HF_POOL_KEEPER_H
#define HF_POOL_KEEPER_H

#include "pool.h"

/* pool->mutex is held by the callers of these two. */
void hf_checkpoint_turn(
    holdfast_pool *pool); /* one checkpoint, and who is in its way; gives the mutex up meanwhile */
const holdfast_lease *hf_keeper_oldest_reader(holdfast_pool *pool, int64_t since);

void hf_checkpoint_close(holdfast_pool *pool); /* the keeper's connection */

#endif
