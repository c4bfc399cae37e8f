/*
 * probe.c - says which VFS the test programs of this folder really use.
 *
 * Prints one line: SQLite's version, the default VFS, and what an open database answers to
 * SQLITE_FCNTL_VFSNAME. The suite's result means nothing when that is not the VFS under test.
 */
#include <sqlite3.h>
#include <stdio.h>

int main(void)
{
  sqlite3 *db = NULL;
  char *name = NULL;
  sqlite3_vfs *vfs;
  int rc = sqlite3_open("probe.db", &db);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS t(x)", NULL, NULL, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_VFSNAME, &name);
  vfs = sqlite3_vfs_find(NULL);
  printf("SQLite %s default %s file %s rc %d\n", sqlite3_libversion(), vfs ? vfs->zName : "none",
         name ? name : "none", rc);
  sqlite3_free(name);
  (void)sqlite3_close(db); /* a database that did not open is closed as well */
  return rc != SQLITE_OK;
}
