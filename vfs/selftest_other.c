/*
 * selftest_other.c - the lock self-test on systems where it is not written yet: says so.
 */
#include <sqlite3.h>

#include "holdfast.h"

int holdfast_selftest(const char *sidecar, int level, holdfast_selftest_report *report)
{
  (void)sidecar;
  (void)level;
  (void)report;
  return SQLITE_NOTFOUND;
}

int holdfast_selftest_hosts(const char *prefix, int as, int smb, int wait_s, holdfast_selftest_report *report)
{
  (void)prefix, (void)as, (void)smb, (void)wait_s, (void)report;
  return SQLITE_NOTFOUND;
}
