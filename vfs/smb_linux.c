/*
 * smb_linux.c - SQLite's record locks on an SMB mount.
 *
 * SQLite holds a read lock on the SHARED range and turns it into a write lock in place. SMB cannot convert a
 * lock: the server refuses, and SQLite says "database is locked" for ever. Here the conversion is
 * release-then-take, done only while PENDING is held for writing, when nobody else may enter. Rules (each one
 * cost somebody data): R1  One lock-only descriptor for each inode and library (records_linux.c). No read or
 * write ever goes through it: I/O silently opens a dead handle again, a lock call fails, and that is how a
 * loss is noticed. R2  Upgrade: W PENDING if not held, U SHARED, W SHARED; refused: R SHARED again, and
 * PENDING back if it was ours. Downgrade: U SHARED, R SHARED, while PENDING is still held. A re-take that
 * fails: EIO until all is unlocked. R3  RESERVED is tested by taking and releasing a read lock. cifs answers
 * F_GETLK by taking the lock that was asked about: two testers would see each other, and both take a hot
 * journal for a live one. R4  Sizes are asked of the server. R6  An unlock that fails with EIO: the
 * descriptor is closed (which ends its locks) and opened again.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "records.h"

enum { PENDING, RESERVED, SHARED, RANGES }; /* the units of rollback mode; there is no -shm here */

static short held(const hf_record *at, int range)
{
  if (at->write_held & 1u << range) return F_WRLCK;
  return at->read_held & 1u << range ? F_RDLCK : F_UNLCK;
}

static void note(hf_record *at, int range, short type)
{
  uint16_t bit = (uint16_t)(1u << range);
  at->read_held = (uint16_t)(type == F_RDLCK ? at->read_held | bit : at->read_held & ~bit);
  at->write_held = (uint16_t)(type == F_WRLCK ? at->write_held | bit : at->write_held & ~bit);
}

static int set_range(hf_record *at, int range, short type)
{
  off_t start, length;
  int rc;

  hf_unit_range(range, &start, &length);
  rc = hf_record_set(at->fd, type, start, length, false);
  if (rc == 0) note(at, range, type);
  return rc;
}

/* ---------------------------------------------------------------- conversions */

/* R6. Closing ends every lock of the descriptor; what should have stayed is lost. */
static int unlock_failed(hf_record *at, int fd, bool all)
{
  bool kept = (at->read_held | at->write_held) != 0;

  close(at->fd);
  at->fd = -1;
  at->read_held = at->write_held = 0;
  at->own_pending = at->lost = false;
  if (all || !kept) return 0;
  at->lost = true;
  at->fd = hf_record_open_again(fd, at, at->writable);
  errno = EIO;
  return -1;
}

static int unlock_range(hf_record *at, int range, int fd, bool all)
{
  if (held(at, range) == F_UNLCK || set_range(at, range, F_UNLCK) == 0) return 0;
  note(at, range, F_UNLCK);
  return unlock_failed(at, fd, all);
}

static int lost(hf_record *at)
{
  at->lost = true;
  note(at, SHARED, F_UNLCK);
  errno = EIO;
  return -1;
}

static void drop_own_pending(hf_record *at, int fd)
{
  int error = errno;

  if (at->own_pending) (void)unlock_range(at, PENDING, fd, false); /* failing, it marks the record as lost */
  at->own_pending = false;
  errno = error;
}

/* R2, upward. */
static int upgrade_shared(hf_record *at, int fd)
{
  int error;

  if (held(at, PENDING) != F_WRLCK) { /* the rollback of a hot journal comes without PENDING */
    if (unlock_range(at, PENDING, fd, false) || set_range(at, PENDING, F_WRLCK)) return -1;
    at->own_pending = true;
  }
  if (unlock_range(at, SHARED, fd, false)) return -1;
  if (set_range(at, SHARED, F_WRLCK) == 0) return 0;
  error = errno;
  if (set_range(at, SHARED, F_RDLCK)) return lost(at);
  drop_own_pending(at, fd);
  errno = error;
  return -1;
}

/* R2, downward. */
static int downgrade_shared(hf_record *at, int fd)
{
  if (unlock_range(at, SHARED, fd, false)) return -1;
  if (set_range(at, SHARED, F_RDLCK)) return lost(at);
  drop_own_pending(at, fd);
  return 0;
}

static int lock_range(hf_record *at, int range, short type, int fd)
{
  short now = held(at, range);

  if (now == type) return 0;
  if (range == SHARED && now == F_RDLCK && type == F_WRLCK) return upgrade_shared(at, fd);
  if (range == SHARED && now == F_WRLCK && type == F_RDLCK) return downgrade_shared(at, fd);
  if (now != F_UNLCK && unlock_range(at, range, fd, false)) return -1;
  return set_range(at, range, type);
}

static int unlock_units(hf_record *at, unsigned units, int fd)
{
  bool all = (units & HF_UNIT_SHARED) && (units & HF_UNIT_PENDING);
  int rc = 0;

  for (int range = RANGES - 1; range >= 0 && at->fd >= 0;
       range--) { /* no descriptor: all locks ended with it */
    if (!(units & 1u << range)) continue;
    if (unlock_range(at, range, fd, all)) rc = -1;
    if (range == PENDING) at->own_pending = false;
  }
  if (all) at->lost = false;
  return rc;
}

/* R3. */
static int test(hf_record *at, struct flock *lock)
{
  unsigned units = hf_units_of(lock->l_start, lock->l_len);
  int error;

  lock->l_type = F_UNLCK;
  if (units & (at->read_held | at->write_held)) return 0; /* one's own lock is in nobody's way */
  if (hf_record_set(at->fd, F_RDLCK, lock->l_start, lock->l_len, false) == 0)
    return hf_record_set(at->fd, F_UNLCK, lock->l_start, lock->l_len, false);
  error = errno;
  if (error != EACCES && error != EAGAIN) return -1;
  lock->l_type = F_WRLCK;
  lock->l_pid = 0;
  return 0;
}

int hf_smb_lock(hf_record *at, int fd, int cmd, struct flock *lock, bool fd_writable)
{
  unsigned units = hf_units_of(lock->l_start, lock->l_len);

  if (cmd == F_GETLK) return test(at, lock);
  if (lock->l_type == F_UNLCK) return unlock_units(at, units, fd);
  if (at->lost) {
    errno = EIO;
    return -1;
  }
  if (lock->l_type == F_WRLCK && !fd_writable) {
    errno = EBADF;
    return -1;
  }
  for (int range = 0; range < RANGES; range++)
    if (units == 1u << range) return lock_range(at, range, lock->l_type, fd);
  errno = EINVAL; /* no lock of SQLite's rollback mode */
  return -1;
}

int hf_smb_fresh_stat(int fd, struct stat *st)
{
  struct statx now;

  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &now)) return -1;
  st->st_size = (off_t)now.stx_size;
  st->st_blocks = (blkcnt_t)now.stx_blocks;
  st->st_nlink = now.stx_nlink;
  st->st_mtim = (struct timespec){now.stx_mtime.tv_sec, now.stx_mtime.tv_nsec};
  st->st_ctim = (struct timespec){now.stx_ctime.tv_sec, now.stx_ctime.tv_nsec};
  return 0;
}
