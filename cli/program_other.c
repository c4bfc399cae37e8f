/*
 * program_other.c - where nothing is known about preloading: `holdfast exec` says so and runs nothing.
 */
#include <stdio.h>

#include "program.h"

int program_find(const char *name, char *path, size_t size)
{
  snprintf(path, size, "%s", name);
  return 0;
}

bool program_reachable(const char *path, char *why, size_t size)
{
  (void)path;
  snprintf(why, size, "this system is not supported, only Linux with glibc is");
  return false;
}

bool program_preload(char *path, size_t size)
{
  snprintf(path, size, "holdfast-preload.so (not made for this system)");
  return false;
}
