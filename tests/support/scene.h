/*
 * scene.h - what the failure scenarios (tests/proc/f01 ...) share: one database in a known state, who of two
 * processes has the shim, the stray close, and a look at the result through a fresh plain SQLite.
 *
 * The database is always SCENE_DB in the current directory, so that a step inside a peer needs no argument.
 * Table t(id INTEGER PRIMARY KEY, who INT, n INT, v TEXT), empty.
 */
#ifndef HFT_SCENE_H
#define HFT_SCENE_H

#include <stdbool.h>

#include "peer.h"

#define SCENE_DB "s.db"

/* Who has the shim. `guarded`: the failure must not happen. The first side is the control, with none. */
typedef struct scene_side {
  const char *name;
  int holder, other; /* SHIM_... */
  bool guarded;
} scene_side;
enum { SCENE_SIDES = 3 };
extern const scene_side scene_sides[SCENE_SIDES];

enum { SCENE_MODES = 2 };
extern const char *const scene_modes[SCENE_MODES]; /* "delete", "wal" */

bool scene_long(void);                     /* `make long` */
int scene_rounds(int quick, int long_run); /* as many rounds as this kind of run has */

/* SCENE_DB anew, by a plain process that is gone afterwards. `extra` (may be NULL) is run last. */
void scene_make(const char *mode, const char *extra);
/* A peer with SCENE_DB open in slot 0 and one row read, so that what a connection keeps is there. */
peer *scene_peer(int shim);
/* A step that has to work: ends the program when it does not. */
void scene_must(peer *p, const char *sql);
/* One question, asked by a fresh plain process with a connection of its own. Valid until the next look. */
const char *scene_look(const char *sql);
/* Can this peer become the writer now? It does not wait, and rolls back. Neither yes nor "busy" is a failed
 * comparison. */
bool scene_gets_in(peer *p);

/* Steps: this process opens, reads and closes the file beside SQLite, as a careless check does. */
int stray_db(sqlite3 **db, char *out, size_t size);
int stray_wal(sqlite3 **db, char *out, size_t size);
int stray_shm(sqlite3 **db, char *out, size_t size);

/* Does anybody hold a record lock on the database, its -wal or its -shm? Not while a peer is in the middle of
 * something: meant for the end. */
bool scene_locks_left(void);

#endif
