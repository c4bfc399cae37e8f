/*
 * holders_other.c - systems without /proc: who holds a lock cannot be seen.
 */
#include <stdlib.h>
#include <string.h>

#include "holders.h"

void hf_scan_locks(const hf_target *targets, int count, bool users, hf_scan *out)
{
  (void)targets, (void)count, (void)users;
  memset(out, 0, sizeof *out);
  out->no_proc = true;
}

void hf_scan_identity(const char *path, hf_identity *out)
{
  (void)path;
  out->known = false;
}

void hf_process_of(int64_t pid, hf_process *out)
{
  (void)pid;
  memset(out, 0, sizeof *out);
}
