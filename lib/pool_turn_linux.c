/*
 * pool_turn_linux.c - the order among processes.
 */
#include "pool_turn.h"

void hf_turn_take(holdfast_lease *lease)
{
  (void)lease;
}
void hf_turn_give(holdfast_lease *lease)
{
  (void)lease;
}
void hf_turn_close(holdfast_pool *pool)
{
  (void)pool;
}
