/*
 * boot.c - makes holdfast the default VFS of SQLite's own test programs.
 *
 * SQLite calls boot_holdfast() (-DSQLITE_EXTRA_INIT) at the end of every sqlite3_initialize(), so
 * holdfast is there again after a sqlite3_shutdown(), and in every process that a test starts. With
 * HF_SUITE_BARE set nothing is registered: the same programs then run on SQLite's own VFS, which is
 * what a failure is compared with.
 */
#include <stdlib.h>

int holdfast_register(const char *unused);
int boot_holdfast(const char *unused);

int boot_holdfast(const char *unused)
{
  if (getenv("HF_SUITE_BARE")) return 0;
  return holdfast_register(unused);
}
