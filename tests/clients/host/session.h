/*
 * session.h - the checks of session.c, as host.c calls them.
 */
#ifndef HOST_SESSION_H
#define HOST_SESSION_H

#include "lib.h"

extern const char *host_program; /* the path of this program, for the processes beside it */

/* Databases are taken for a network's when the environment says so; SQLite keeps out of WAL there. */
bool on_network(void);

/* Is `db` under the shim, once, on a base of that name, and of this library? */
void check_covered(lib *one, sqlite3 *db, const char *base);

/* Covered, journal mode, locks in both directions, SQL tables, mmap. `name` begins the database's name. */
void session(lib *one, const char *base, const char *name);

/* Are the files of each library opened by its own VFS? */
void route(lib *libs, int count);

/* Loads the extension in all of them, and runs all of the above, then all libraries in threads. */
void sessions(lib *libs, int count, const char *extension);

#endif
