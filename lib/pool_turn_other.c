/*
 * pool_turn_other.c - no order among processes on this system: SQLite's locks alone decide.
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
