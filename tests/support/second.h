/*
 * second.h - a second SQLite library in this process: a copy of the first one's file, loaded under another
 * name and with symbols of its own, as a wheel, a gem or a plugin brings one.
 */
#ifndef HFT_SECOND_H
#define HFT_SECOND_H

#include <sqlite3.h>
#include <stddef.h>

/* Copies and loads it; at most once in a process. With `shim` the holdfast.so is loaded into it, by its own
 * load_extension. Ends the program as skipped when SQLite is not a shared library here. */
void second_load(int shim);

/* Before it is loaded: a close() of ours goes below whatever shim comes. `run` is called with the descriptor
 * before each close() of the second library. */
void second_watch_closes(void (*run)(int fd));

/* The second library's functions. Its connections must never reach the first one's. */
int second_open(const char *path, sqlite3 **db);
int second_open_readonly(const char *path, sqlite3 **db);
int second_sql(sqlite3 *db, const char *sql, char *out,
               size_t size); /* first column of the last row; the code */
int second_close(sqlite3 *db);

#endif
