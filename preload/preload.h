/*
 * preload.h - what the files of holdfast-preload.so share.
 *
 * The library is loaded into a program by LD_PRELOAD (`holdfast exec` does that). It waits until a SQLite
 * inside the program starts up, finds that SQLite's table of functions, and has the shim registered there
 * before the first database is opened. It exports no function of SQLite and replaces none: a SQLite whose
 * symbols are hidden is reached in the same way as a shared one.
 *
 * hooks_linux.c -> reach.c -> object_linux.c, table.c; report.c says what there is to say. Nothing here may
 * take the loader's lock (dladdr, dlsym) while SQLite starts: another thread may hold it and wait for SQLite.
 */
#ifndef PRELOAD_H
#define PRELOAD_H

#include <link.h>
#include <stdbool.h>
#include <stdint.h>

/* The types only: every call goes through a table that was found. */
#define SQLITE_CORE
#include <sqlite3ext.h>

/* A loaded program or library. Valid while its code is running. */
typedef struct pl_object {
  char path[512];
  uintptr_t key, base; /* key: its lowest address, never 0 */
  const ElfW(Phdr) * headers;
  int count;
  unsigned long long unloaded; /* objects that the loader had removed by then */
} pl_object;

enum { PL_SLOTS = 4 };
typedef struct pl_patch {
  int count;
  void **slot[PL_SLOTS];
  void *old[PL_SLOTS];
} pl_patch;

/* object_linux.c */
bool pl_object_at(const void *address, pl_object *out);
bool pl_object_has(const pl_object *object, uintptr_t at, size_t size, unsigned flags); /* PF_R, PF_X */
/* Calls of this object to the function `name` go to `to` until the patch is undone. */
bool pl_object_patch(const pl_object *object, const char *name, void *to, pl_patch *undo);
void pl_object_undo(const pl_object *object, const pl_patch *undo);

/* table.c: the table of functions of the SQLite in this object, NULL = none. `thorough` also looks where only
 * programs at fixed addresses have it, which takes some ms. pl_code_near() says whether that is worth it: is
 * there code of sqlite3_libversion_number() around the caller? */
const sqlite3_api_routines *pl_table_in(const pl_object *object, bool thorough);
bool pl_code_near(const pl_object *object, const void *caller);

/* reach.c: calls from the hooks, with the address that called. */
void pl_reach_ready(const void *caller);    /* SQLite's VFS layer has just started */
void pl_reach_starting(const void *caller); /* a recursive mutex was made: SQLite may be about to start */

/* report.c */
const char *pl_environment(const char *name); /* getenv() that needs nobody's help */
void pl_note_reached(const pl_object *object, const char *version);
void pl_note_started(const sqlite3_api_routines *table); /* connections can be counted from now on */
void pl_note_missed(const pl_object *object, const char *why);

#endif
