/*
 * pool_wait.h - waiting for SQLite's locks.
 */
#ifndef HF_POOL_WAIT_H
#define HF_POOL_WAIT_H

#include "pool.h"

int hf_wait_for_lock(holdfast_lease *lease, int count); /* SQLite's busy handler: 1 = try again */
void hf_wait_give_way(holdfast_lease *lease);           /* before a transaction */

#endif
