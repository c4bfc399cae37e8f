/*
 * proctext_other.c - no /proc to read: says so.
 */
#include <sqlite3.h>

#include "advice.h"

int holdfast_mount_of_text(const char *path, holdfast_mount *out)
{
  if (!path || !path[0] || !out || out->struct_size < sizeof *out) return SQLITE_MISUSE;
  return SQLITE_NOTFOUND;
}

int hf_nfs_recovers_locks(void)
{
  return 0;
}
