/*
 * mount_other.c - systems on which holdfast cannot tell what a path lies on.
 *
 * Says so: no facts, and the verdict of a type that is not known, which `assume` overrides.
 */
#include <errno.h>
#include <string.h>

#include "mount.h"

int hf_mount_facts_of(const char *path, hf_mount_facts *out)
{
  (void)path;
  (void)out;
  return ENOSYS;
}

int hf_mount_verdict(const char *path, int assume, hf_mount_facts *facts, hf_verdict *out)
{
  hf_mount_facts none;

  (void)path;
  memset(&none, 0, sizeof none);
  hf_verdict_of(&none, assume, out);
  if (facts) *facts = none;
  return 0;
}
