/*
 * neighbours_other.c - systems where a process cannot list its descriptors: nothing is known, nothing is kept
 * open.
 */
#include "neighbours.h"

atomic_bool hf_neighbour_ever;
atomic_int hf_parked_count;

int hf_neighbour_maps(const char *path)
{
  (void)path;
  return 0;
}
