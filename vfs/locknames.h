/*
 * locknames.h - what the bytes that SQLite locks mean.
 *
 * Pure: numbers in, names out. holders_<os>.c finds the locks, this says what they are.
 */
#ifndef HF_LOCKNAMES_H
#define HF_LOCKNAMES_H

#include <stdbool.h>
#include <stdint.h>

/* In the order in which people are shown them. The levels of the database file include those below them. */
enum {
  HF_LOCK_SHARED,
  HF_LOCK_RESERVED,
  HF_LOCK_PENDING,
  HF_LOCK_EXCLUSIVE,
  HF_LOCK_WAL_WRITE,
  HF_LOCK_WAL_CKPT,
  HF_LOCK_WAL_RECOVER,
  HF_LOCK_WAL_READ0, /* to HF_LOCK_WAL_READ0 + 4 */
  HF_LOCK_DMS = HF_LOCK_WAL_READ0 + 5,
  HF_LOCK_OTHER, /* a lock that SQLite's unix VFS does not take, on bytes that it uses */
  HF_LOCKS
};
const char *hf_lock_name(int lock); /* "SHARED", "WAL_READ3", ... */

/* One lock as the kernel tells it. */
typedef struct hf_range {
  bool write;
  int64_t first, last; /* bytes; last = INT64_MAX: to the end and beyond */
} hf_range;

/* All that one owner holds on a database and its -shm: bit n of `read` or `write` = lock number n. */
typedef struct hf_owned {
  uint16_t read, write;
  uint8_t level_bytes; /* PENDING, RESERVED, SHARED: held for writing (bits 0 to 2), for reading (4 to 6) */
} hf_owned;

/* Add a lock; ranges that no SQLite looks at change nothing. */
void hf_owned_add(hf_owned *io, bool shm, const hf_range *range);
/* When all were added: the level of the database file, of which an owner has one. */
void hf_owned_finish(hf_owned *io);

#endif
