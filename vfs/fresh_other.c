/*
 * fresh_other.c - systems where nobody has shown yet how to ask a server past the client's caches: says so.
 */
#include <errno.h>

#include "vfs.h"

int hf_fresh_exists(const char *path, bool smb, bool directory_is_fresh, bool *exists)
{
  (void)path, (void)smb, (void)directory_is_fresh, (void)exists;
  return ENOTSUP;
}

int hf_fresh_announce(const char *path)
{
  (void)path;
  return ENOTSUP;
}
