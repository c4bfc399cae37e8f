/*
 * smb_linux.c - SQLite's record locks on an SMB mount.
 *
 * SQLite holds a read lock on the SHARED range and turns it into a write lock in place. SMB cannot convert a
 * lock: the server refuses, and SQLite says "database is locked" for ever. Here the conversion is
 * release-then-take, done only while PENDING is held for writing, when nobody else may enter. Rules (each one
 * cost somebody data): R1  One lock-only descriptor for each inode and library. No read or write ever goes
 * through it: I/O silently opens a dead handle again, a lock call fails, and that is how a loss is noticed.
 * Its locks are OFD locks, so no close() elsewhere drops them. R2  Upgrade: W PENDING if not held, U SHARED,
 * W SHARED; refused: R SHARED again, and PENDING back if it was ours. Downgrade: U SHARED, R SHARED, while
 * PENDING is still held. A re-take that fails: EIO until all is unlocked. R3  RESERVED is tested by taking
 * and releasing a read lock. cifs answers F_GETLK by taking the lock that was asked about: two testers would
 * see each other, and both take a hot journal for a live one. R4  Sizes are asked of the server. R6  An
 * unlock that fails with EIO: the descriptor is closed (which ends its locks) and opened again.
 *
 * Mutexes: `table` guards the lists; a record's own mutex guards its locks and its descriptor and is held
 * across calls to the server. Order: table, then record; table is not held across calls to the server.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "slots.h"

enum { PENDING, RESERVED, SHARED, RANGES, DEVICES = 64 };
static const struct {
  off_t start, length;
} range_of[RANGES] = {{0x40000000, 1}, {0x40000001, 1}, {0x40000002, 510}};

typedef struct record {
  struct record *next;
  dev_t device;
  ino_t inode;
  int slot, users; /* users: descriptors of SQLite that have locked through it, under `table` */
  pthread_mutex_t mutex;
  int fd; /* lock-only, -1 = none yet */
  bool writable, own_pending, lost;
  pid_t pid;          /* of the process whose locks these are: a fork child has none of them */
  short held[RANGES]; /* F_UNLCK, F_RDLCK or F_WRLCK */
} record;

typedef struct user {
  struct user *next;
  record *of;
  int slot, fd;
} user;

static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static record *records;
static user *users;
static atomic_bool known[HF_SLOTS];
static _Atomic uint64_t devices[DEVICES];
static atomic_int device_count;

bool hf_smb_known(int slot)
{
  return atomic_load_explicit(&known[slot], memory_order_acquire);
}

bool hf_smb_device(uint64_t device)
{
  int count = atomic_load_explicit(&device_count, memory_order_acquire);
  for (int i = 0; i < count; i++)
    if (atomic_load_explicit(&devices[i], memory_order_relaxed) == device) return true;
  return false;
}

bool hf_smb_add_device(int slot, uint64_t device)
{
  bool there;

  pthread_mutex_lock(&table);
  there = hf_smb_device(device);
  if (!there && device_count < DEVICES) {
    atomic_store(&devices[device_count], device);
    atomic_fetch_add(&device_count, 1);
    there = true;
  }
  if (there) atomic_store(&known[slot], true);
  pthread_mutex_unlock(&table);
  return there;
}

/* ---------------------------------------------------------------- the lock-only descriptor */

static bool same_file(int fd, const record *of)
{
  struct stat st;
  return fstat(fd, &st) == 0 && st.st_dev == of->device && st.st_ino == of->inode;
}

/* Numbers of anonymous devices are used again after an unmount: look once whether it is SMB now. */
static bool is_smb(int fd)
{
  struct statfs fs;
  if (fstatfs(fd, &fs)) return false;
  uint32_t magic = (uint32_t)fs.f_type;
  return magic == 0xFF534D42u || magic == 0xFE534D42u;
}

/* A descriptor of its own for the file behind `fd`, whatever its name is by now. -1 and errno on failure. */
static int open_again(int fd, const record *of, bool writable)
{
  char path[40];
  int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (writable ? O_RDWR : O_RDONLY), got, high, error;

  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  got = open(path, flags);
  if (got >= 0 && got <= 2) { /* a program that closed its standard streams must not print into a database */
    high = fcntl(got, F_DUPFD_CLOEXEC, 3);
    error = errno;
    close(got);
    errno = error;
    got = high;
  }
  if (got >= 0 && !same_file(got, of)) {
    close(got);
    errno = ESTALE;
    return -1;
  }
  return got;
}

static int set(int fd, short type, off_t start, off_t length)
{
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  return fcntl(fd, F_OFD_SETLK, &lock);
}

static int set_range(record *at, int range, short type)
{
  int rc = set(at->fd, type, range_of[range].start, range_of[range].length);
  if (rc == 0) at->held[range] = type;
  return rc;
}

static void forget_locks(record *at)
{
  for (int i = 0; i < RANGES; i++) at->held[i] = F_UNLCK;
  at->own_pending = at->lost = false;
}

/* Have a descriptor that can take `type`. A second one takes copies of the read locks before the first goes.
 */
static int ready(record *at, int fd, bool fd_writable)
{
  int got;

  if (at->pid !=
      getpid()) { /* forked: what is inherited belongs to the parent, whose locks live on without us */
    if (at->fd >= 0) close(at->fd);
    at->fd = -1;
    at->pid = getpid();
    forget_locks(at);
  }
  if (at->fd >= 0 && (at->writable || !fd_writable)) return 0;
  got = open_again(fd, at, fd_writable);
  if (got < 0) return -1;
  for (int i = 0; i < RANGES; i++) {
    if (at->held[i] != F_RDLCK) continue;
    if (set(got, F_RDLCK, range_of[i].start, range_of[i].length)) {
      int error = errno;
      close(got);
      errno = error;
      return -1;
    }
  }
  if (at->fd >= 0) close(at->fd);
  at->fd = got;
  at->writable = fd_writable;
  return 0;
}

/* ---------------------------------------------------------------- conversions */

/* R6. Closing ends every lock of the descriptor; what should have stayed is lost. */
static int unlock_failed(record *at, int fd, bool all)
{
  bool kept = false;

  for (int i = 0; i < RANGES; i++) kept = kept || at->held[i] != F_UNLCK;
  close(at->fd);
  at->fd = -1;
  forget_locks(at);
  if (all || !kept) return 0;
  at->lost = true;
  at->fd = open_again(fd, at, at->writable);
  errno = EIO;
  return -1;
}

static int unlock_range(record *at, int range, int fd, bool all)
{
  if (at->held[range] == F_UNLCK) return 0;
  if (set_range(at, range, F_UNLCK) == 0) return 0;
  at->held[range] = F_UNLCK;
  return unlock_failed(at, fd, all);
}

static int lost(record *at)
{
  at->lost = true;
  at->held[SHARED] = F_UNLCK;
  errno = EIO;
  return -1;
}

static void drop_own_pending(record *at, int fd)
{
  int error = errno;

  if (at->own_pending) (void)unlock_range(at, PENDING, fd, false); /* failing, it marks the record as lost */
  at->own_pending = false;
  errno = error;
}

/* R2, upward. */
static int upgrade_shared(record *at, int fd)
{
  int error;

  if (at->held[PENDING] != F_WRLCK) { /* the rollback of a hot journal comes without PENDING */
    if (at->held[PENDING] == F_RDLCK && unlock_range(at, PENDING, fd, false)) return -1;
    if (set_range(at, PENDING, F_WRLCK)) return -1;
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
static int downgrade_shared(record *at, int fd)
{
  if (unlock_range(at, SHARED, fd, false)) return -1;
  if (set_range(at, SHARED, F_RDLCK)) return lost(at);
  drop_own_pending(at, fd);
  return 0;
}

static int lock_range(record *at, int range, short type, int fd)
{
  short held = at->held[range];

  if (held == type) return 0;
  if (range == SHARED && held == F_RDLCK && type == F_WRLCK) return upgrade_shared(at, fd);
  if (range == SHARED && held == F_WRLCK && type == F_RDLCK) return downgrade_shared(at, fd);
  if (held != F_UNLCK && unlock_range(at, range, fd, false)) return -1;
  return set_range(at, range, type);
}

/* Everything that lies within [start, start+length); length 0 means to the end of the world. */
static int unlock_span(record *at, off_t start, off_t length, int fd)
{
  bool all = start == 0 && length == 0;
  int rc = 0;

  if (at->fd < 0) return 0;
  for (int range = RANGES - 1; range >= 0; range--) {
    off_t from = range_of[range].start, to = from + range_of[range].length;
    if (from < start || (length && to > start + length)) continue;
    if (unlock_range(at, range, fd, all)) rc = -1;
    if (range == PENDING) at->own_pending = false;
    if (at->fd < 0) break; /* all locks ended with the descriptor */
  }
  if (all) at->lost = false;
  return rc;
}

/* R3. */
static int test(record *at, struct flock *lock)
{
  off_t start = lock->l_start;
  int range = -1, error;

  for (int i = 0; i < RANGES; i++)
    if (range_of[i].start == start) range = i;
  lock->l_type = F_UNLCK;
  if (range >= 0 && at->held[range] != F_UNLCK) return 0; /* one's own lock is in nobody's way */
  if (set(at->fd, F_RDLCK, start, lock->l_len) == 0) {
    if (set(at->fd, F_UNLCK, start, lock->l_len) == 0) return 0;
    return -1;
  }
  error = errno;
  if (error != EACCES && error != EAGAIN) return -1;
  lock->l_type = F_WRLCK;
  lock->l_pid = 0;
  return 0;
}

static int change(record *at, const struct flock *lock, int fd, bool fd_writable)
{
  if (lock->l_type == F_UNLCK) return unlock_span(at, lock->l_start, lock->l_len, fd);
  if (at->lost) {
    errno = EIO;
    return -1;
  }
  if (lock->l_type == F_WRLCK && !fd_writable) {
    errno = EBADF;
    return -1;
  }
  for (int i = 0; i < RANGES; i++)
    if (lock->l_start == range_of[i].start && lock->l_len == range_of[i].length)
      return lock_range(at, i, lock->l_type, fd);
  errno = EINVAL; /* no lock of SQLite's rollback mode; shared memory does not exist here */
  return -1;
}

/* ---------------------------------------------------------------- records and their users */

static user *find_user(int slot, int fd)
{
  for (user *one = users; one; one = one->next)
    if (one->slot == slot && one->fd == fd) return one;
  return NULL;
}

/* The user entry was of a file that somebody else closed: its number came back from open() for another file.
 */
static void release_user(user *gone)
{
  record *of = gone->of;

  for (user **link = &users; *link; link = &(*link)->next)
    if (*link == gone) {
      *link = gone->next;
      break;
    }
  free(gone);
  if (--of->users) return;
  for (record **link = &records; *link; link = &(*link)->next)
    if (*link == of) {
      *link = of->next;
      break;
    }
  if (of->fd >= 0) {
    if (of->pid == getpid()) (void)set(of->fd, F_UNLCK, 0, 0); /* a fork child may still hold a copy */
    close(of->fd);
  }
  pthread_mutex_destroy(&of->mutex);
  free(of);
}

static record *find_record(int slot, const struct stat *st)
{
  for (record *one = records; one; one = one->next)
    if (one->slot == slot && one->device == st->st_dev && one->inode == st->st_ino) return one;
  return NULL;
}

static record *new_record(int slot, const struct stat *st)
{
  record *made = calloc(1, sizeof *made);

  if (!made) return NULL;
  made->device = st->st_dev;
  made->inode = st->st_ino;
  made->slot = slot;
  made->fd = -1;
  made->pid = getpid();
  pthread_mutex_init(&made->mutex, NULL);
  forget_locks(made);
  made->next = records;
  records = made;
  return made;
}

/* The record of this descriptor's file, made when it is the first. Call with `table` held. */
static record *attach(int slot, int fd, const struct stat *st)
{
  user *one = find_user(slot, fd);
  record *of;

  if (one && one->of->device == st->st_dev && one->of->inode == st->st_ino) return one->of;
  if (one) release_user(one);
  if (!is_smb(fd)) return NULL;
  one = calloc(1, sizeof *one);
  if (!one) return NULL;
  of = find_record(slot, st);
  if (!of) of = new_record(slot, st);
  if (!of) {
    free(one);
    return NULL;
  }
  *one = (user){users, of, slot, fd};
  users = one;
  of->users++;
  return of;
}

int hf_smb_lock(int slot, int fd, const struct stat *st, int cmd, struct flock *lock, bool *handled)
{
  bool fd_writable = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
  record *at;
  int rc;

  pthread_mutex_lock(&table);
  at = attach(slot, fd, st);
  pthread_mutex_unlock(&table);
  if (!at) return 0; /* not SMB any more, or no memory: as stock SQLite does it */
  *handled = true;
  /* SQLite holds the inode's own mutex here and closes no descriptor of it meanwhile, so the record stays. */
  pthread_mutex_lock(&at->mutex);
  rc = lock->l_type == F_UNLCK && cmd != F_GETLK && at->pid == getpid() ? 0 : ready(at, fd, fd_writable);
  if (rc == 0) rc = cmd == F_GETLK ? test(at, lock) : change(at, lock, fd, fd_writable);
  int error = errno;
  pthread_mutex_unlock(&at->mutex);
  errno = error;
  return rc;
}

void hf_smb_closing(int slot, int fd)
{
  user *one;

  pthread_mutex_lock(&table);
  one = find_user(slot, fd);
  if (one) release_user(one);
  pthread_mutex_unlock(&table);
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
