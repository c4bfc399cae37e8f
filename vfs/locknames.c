/*
 * locknames.c - from locked bytes to SQLite's names for them.
 *
 * A rollback lock is a level: RESERVED includes SHARED, EXCLUSIVE includes all. The kernel joins neighbouring
 * ranges of one owner, so a range is asked which bytes it covers and not compared with SQLite's own calls.
 */
#include "locknames.h"

enum {
  PENDING_BYTE = 0x40000000,
  RESERVED_BYTE = PENDING_BYTE + 1,
  SHARED_FIRST = PENDING_BYTE + 2,
  SHARED_LAST = SHARED_FIRST + 509,
  SHM_FIRST = 120,
  SHM_LAST = 128
};
enum { PENDING_BIT = 1, RESERVED_BIT = 2, SHARED_BIT = 4, READ_SHIFT = 4 };

const char *hf_lock_name(int lock)
{
  static const char *const names[HF_LOCKS] = {
      "SHARED",    "RESERVED",  "PENDING",   "EXCLUSIVE", "WAL_WRITE", "WAL_CKPT", "WAL_RECOVER",
      "WAL_READ0", "WAL_READ1", "WAL_READ2", "WAL_READ3", "WAL_READ4", "DMS",      "OTHER"};

  return lock >= 0 && lock < HF_LOCKS ? names[lock] : "?";
}

static bool covers(const hf_range *range, int64_t first, int64_t last)
{
  return range->first <= last && range->last >= first;
}

static void add_shm(hf_owned *io, const hf_range *range)
{
  uint16_t *mask = range->write ? &io->write : &io->read;

  for (int byte = SHM_FIRST; byte <= SHM_LAST; byte++)
    if (covers(range, byte, byte)) *mask |= (uint16_t)(1u << (HF_LOCK_WAL_WRITE + byte - SHM_FIRST));
}

static void add_database(hf_owned *io, const hf_range *range)
{
  unsigned bits = 0;

  if (!covers(range, PENDING_BYTE, SHARED_LAST)) return;
  if (range->first < PENDING_BYTE) { /* a lock on the whole file: some other program's idea of exclusion */
    *(range->write ? &io->write : &io->read) |= 1u << HF_LOCK_OTHER;
    return;
  }
  if (covers(range, PENDING_BYTE, PENDING_BYTE)) bits |= PENDING_BIT;
  if (covers(range, RESERVED_BYTE, RESERVED_BYTE)) bits |= RESERVED_BIT;
  if (covers(range, SHARED_FIRST, SHARED_LAST)) bits |= SHARED_BIT;
  io->level_bytes |= (uint8_t)(range->write ? bits : bits << READ_SHIFT);
}

void hf_owned_add(hf_owned *io, bool shm, const hf_range *range)
{
  if (shm)
    add_shm(io, range);
  else
    add_database(io, range);
}

/* A read lock on PENDING is a reader on its way in and stops nobody for long; SQLite never read-locks
 * RESERVED. */
void hf_owned_finish(hf_owned *io)
{
  unsigned write = io->level_bytes & 7u, read = io->level_bytes >> READ_SHIFT;

  if (write & SHARED_BIT)
    io->write |= 1u << HF_LOCK_EXCLUSIVE;
  else if (write & PENDING_BIT)
    io->write |= 1u << HF_LOCK_PENDING;
  else if (write & RESERVED_BIT)
    io->write |= 1u << HF_LOCK_RESERVED;
  else if (read & SHARED_BIT)
    io->read |= 1u << HF_LOCK_SHARED;
  if (read & RESERVED_BIT) io->read |= 1u << HF_LOCK_OTHER;
  io->level_bytes = 0;
}
