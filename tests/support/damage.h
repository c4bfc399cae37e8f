/*
 * damage.h - ways in which a database file breaks, each done to a closed or idle file by plain writes.
 *
 * The file is read and written directly: never in a process that has it open through SQLite.
 */
#ifndef HFT_DAMAGE_H
#define HFT_DAMAGE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum damage_kind {
  DAMAGE_PAGE,     /* a b-tree page overwritten with random bytes */
  DAMAGE_INDEX,    /* an entry taken out of an index, everything else in order */
  DAMAGE_CUT_AT,   /* the file cut off between two pages */
  DAMAGE_CUT_IN,   /* ... and inside one */
  DAMAGE_FREELIST, /* the freelist made a circle */
  DAMAGE_HEADER,   /* the first 100 bytes zeroed */
  DAMAGE_SWAP,     /* two b-tree pages swapped */
  DAMAGE_COUNT,    /* a page count in the header that the file does not have */
  DAMAGE_KINDS
} damage_kind;

extern const char *const damage_names[DAMAGE_KINDS];

/* Does the check of this kind ("quick", table by table, or "full") cover it? */
bool damage_seen_by_quick(damage_kind kind);

/*
 * Makes `path`: three tables with indexes, overflow pages, a WITHOUT ROWID table and a freelist, in the given
 * journal mode, everything in the file itself. page_size 0 = SQLite's own.
 */
void damage_base(const char *path, const char *journal_mode, int page_size);

/* Damages `path` at random (seed_next). What was done goes to `what`. */
void damage_do(const char *path, damage_kind kind, char *what, size_t size);

#endif
