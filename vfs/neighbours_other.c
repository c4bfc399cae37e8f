/*
 * neighbours_other.c - systems where a process cannot list its descriptors: nothing is known, nothing is kept
 * open.
 */
#include "neighbours.h"

int hf_neighbour_maps(const char *path)
{
  (void)path;
  return 0;
}
