/*
 * smb_linux.c - SQLite's record locks on an SMB mount, and what the Linux client does with open files there.
 *
 * SQLite holds a read lock on the SHARED range and turns it into a write lock in place. SMB cannot convert a
 * lock: the server refuses, and SQLite says "database is locked" for ever. Here the conversion is
 * release-then-take, done only while PENDING is held for writing, when nobody else may enter. Rules (each one
 * cost somebody data):
 * R1  One lock-only descriptor for each inode and library (records_linux.c). No read or write ever goes
 *     through it: I/O silently opens a dead handle again, while what is asked through this one fails.
 * R2  Upgrade: W PENDING if not held, U SHARED, W SHARED; refused: R SHARED again, and PENDING back if it was
 *     ours. Downgrade: U SHARED, R SHARED, while PENDING is still held. A re-take that fails: EIO until all
 * is unlocked. R3  RESERVED is tested by taking and releasing a read lock. cifs answers F_GETLK by taking the
 * lock that was asked about: two testers would see each other, and both take a hot journal for a live one. R4
 * Sizes are asked of the server, and the database is read and written past the client's cache. R5  POSIX
 * locks, not OFD ones: two processes of one machine that open a file with the same flags are given one handle
 * of the server, and there the unlock of one OFD lock drops everybody's (tests/lab/smb_handles.c). A close
 * elsewhere in the process drops neither kind, because the client asks the handle that is closed. R6  An
 * unlock that fails with EIO: the descriptor is closed (which ends its locks) and opened again. R7  A file
 * that was ever locked is closed at the server when it is closed here, and not a second later. Journals that
 * are about to be deleted have to be, so each file gets an unlock that unlocks nothing.
 * R8  When a dead handle is opened again, the client sends every lock of the inode once more, those of other
 * descriptors and processes too. The server stacks read locks of one handle, one unlock takes one away, and
 * the rest keeps everybody out of EXCLUSIVE for ever. So once a session was lost, our data's descriptors are
 * replaced before a lock is taken; and as other processes' are not in our hands, the lock descriptor is
 * closed when all is unlocked, for a while.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "records.h"
#include "smb.h"

static const int64_t SUSPECT_NS = 60 * 1000000000LL;                 /* R8 */
static const int64_t PENDING_NS = 40000000, PATIENCE_NS = 500000000; /* pending_for_rollback() */

/* A killed process closes its descriptors in their order: its claim after its locks. */
enum { CLAIM_ABOVE = 32 };

enum { PENDING, RESERVED, SHARED, RANGES }; /* the units of rollback mode; there is no -shm here */

/* Far behind every byte that SQLite locks or writes. Samba maps locks up to 2^63 to POSIX ones. */
static const off_t mark_at = (off_t)1 << 61;

/* ---------------------------------------------------------------- the lock descriptor */

int hf_smb_set(int fd, short type, off_t start, off_t length)
{
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  return fcntl(fd, F_SETLK, &lock);
}

/*
 * The client gives two descriptors of one file with the same flags one handle of the server (R5), and a read
 * or write opens a dead handle again without a word: a lock descriptor that shared one with the database's
 * would prove locks that are gone. So it always has O_ASYNC, which at open() means nothing and which nobody
 * who reads or writes a file has. The rest differs from process to process (claim_flags).
 */
static int odd_flags(unsigned set)
{
  static const int sync[] = {0, O_DSYNC, O_SYNC};

  return O_ASYNC | (set & 1 ? O_APPEND : 0) | (set & 2 ? O_NONBLOCK : 0) | (set & 4 ? O_DIRECT : 0) |
         sync[set / 8];
}

/* A name of this machine that ends with the process: no file, and nothing that could be left behind. */
static bool claim(int fd, const hf_record *at, unsigned set)
{
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  int length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "holdfast-smb/%llx/%llx/%u",
                        (unsigned long long)at->device, (unsigned long long)at->inode, set);

  return bind(fd, (const struct sockaddr *)&name,
              (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) == 0;
}

/*
 * Two processes whose lock descriptors shared a handle would be in each other's way when one is killed: it
 * closes its other descriptors of the file first, then the kernel does not remember that there were locks,
 * and they stay at the server until the other one closes the handle. Nobody could write until then.
 */
static void claim_flags(hf_record *at)
{
  unsigned first = (unsigned)getpid() + 7u * (unsigned)at->slot;
  int fd;

  if (at->claim_fd >= 0) return;
  at->flag_set = first % HF_SMB_FLAG_SETS;
  fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  for (unsigned i = 0; fd >= 0 && i < HF_SMB_FLAG_SETS; i++) {
    unsigned set = (first + i) % HF_SMB_FLAG_SETS;
    if (!claim(fd, at, set)) continue;
    at->flag_set = set;
    at->claim_fd = hf_record_move_up(fd, hf_record_high() + CLAIM_ABOVE);
    return;
  }
  if (fd >= 0) close(fd); /* all are taken, or a sandbox has no sockets: one is shared */
}

int hf_smb_open(const char *path, bool writable, hf_record *at)
{
  int flags = O_CLOEXEC | O_NOCTTY | (writable ? O_RDWR : O_RDONLY);

  claim_flags(at);
  return hf_record_move_up(open(path, flags | odd_flags(at->flag_set)), hf_record_high());
}

/*
 * fsync() of a descriptor that can write sends a FLUSH for its own handle, which a server that has dropped
 * the session does not know. A lock call would not do: while one machine alone has the file open, its locks
 * stay in the client, and are granted there whatever the server has forgotten. For a reader there is nothing
 * better.
 */
int hf_smb_prove(int fd, bool writable)
{
  int rc;

  for (int tries = 0; tries < 10; tries++) {
    rc = writable ? fsync(fd) : hf_smb_set(fd, F_RDLCK, mark_at, 1);
    if (rc == 0 && !writable) rc = hf_smb_set(fd, F_UNLCK, mark_at, 1);
    if (rc == 0) return 0;
    if (errno != EAGAIN && errno != EINTR) break;
  }
  return errno;
}

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
  rc = hf_smb_set(at->fd, type, start, length);
  if (rc == 0) note(at, range, type);
  return rc;
}

/* ---------------------------------------------------------------- after a session was lost (R8) */

/* The same file under the same number, by a handle of the session that is now. */
static void replace(int fd)
{
  int flags = fcntl(fd, F_GETFL), fresh;
  char path[40];

  if (flags < 0) return;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  fresh = open(path, (flags & (O_ACCMODE | O_DIRECT)) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fresh < 0) return; /* then its next read opens the old one again */
  (void)dup3(fresh, fd, O_CLOEXEC);
  close(fresh);
}

/* Nothing may be locked. Rare, so the descriptors are looked for. */
static void renew_data(hf_record *at)
{
  DIR *list = at->stale_data ? opendir("/proc/self/fd") : NULL;
  const struct dirent *one;
  struct stat st;

  at->stale_data = false;
  if (!list) return;
  while ((one = readdir(list)) != NULL) {
    int fd = atoi(one->d_name); /* "." and "..": 0, which SQLite never uses */
    _Atomic(uintptr_t) *entry = fd > 0 && fd != at->fd ? hf_record_entry(at->slot, fd) : NULL;
    if (entry && atomic_load(entry) && fstat(fd, &st) == 0 && st.st_dev == at->device &&
        st.st_ino == at->inode)
      replace(fd);
  }
  closedir(list);
}

/* ---------------------------------------------------------------- conversions */

/* R6. Closing ends every lock of the descriptor; what should have stayed is lost. */
static int unlock_failed(hf_record *at, int fd, bool all)
{
  bool kept = (at->read_held | at->write_held) != 0;

  at->stale_data = true;
  at->suspect_until = hf_now_ns() + SUSPECT_NS;
  close(at->fd);
  at->fd = -1;
  at->read_held = at->write_held = 0;
  at->own_pending = at->rolling_back = at->lost = false;
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

static int try_for(hf_record *at, int range, int64_t patience_ns)
{
  int64_t until = hf_now_ns() + patience_ns;
  struct timespec pause = {0, 5000000 + (long)getpid() % 16 * 500000}; /* another one for each process */

  while (set_range(at, range, F_WRLCK)) {
    if ((errno != EAGAIN && errno != EACCES) || hf_now_ns() >= until) return -1;
    (void)nanosleep(&pause, NULL);
  }
  return 0;
}

/*
 * The rollback of a hot journal: EXCLUSIVE without RESERVED; PENDING is asked for by SQLite before 3.41, and
 * here after it. Everybody who has found the journal comes to this point at the same time, and on a server
 * that is a tenth of a second after their SHARED: each would be refused for the others' SHARED, let go, and
 * come again. Eight processes were seen to do that for seven seconds. So the one who gets PENDING, which
 * keeps newcomers out, waits until the others have been refused it and have left.
 */
static int pending_for_rollback(hf_record *at)
{
  at->rolling_back = try_for(at, PENDING, PENDING_NS) == 0;
  return at->rolling_back ? 0 : -1;
}

/* R2, upward. */
static int upgrade_shared(hf_record *at, int fd)
{
  int error;

  if (held(at, PENDING) != F_WRLCK) {
    if (unlock_range(at, PENDING, fd, false) || pending_for_rollback(at)) return -1;
    at->own_pending = true;
  }
  if (unlock_range(at, SHARED, fd, false)) return -1;
  if (try_for(at, SHARED, at->rolling_back ? PATIENCE_NS : 0) == 0) return 0;
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
  if (range == PENDING && now == F_UNLCK && type == F_WRLCK && held(at, RESERVED) != F_WRLCK)
    return pending_for_rollback(at);
  if (now != F_UNLCK && unlock_range(at, range, fd, false)) return -1;
  return set_range(at, range, type);
}

/*
 * A server that was restarted, or has dropped us while nothing was locked, does not know the descriptor any
 * more. Nothing is lost with it: a new one is opened, and the lock asked for once more.
 */
static int lock_afresh(hf_record *at, int range, short type, int fd)
{
  int error = errno;

  if (error == EACCES || error == EAGAIN || error == EINTR || at->lost || at->read_held || at->write_held)
    return -1;
  (void)unlock_failed(at, fd, true);
  at->fd = hf_record_open_again(fd, at, at->writable);
  renew_data(at);
  if (at->fd >= 0) return set_range(at, range, type);
  errno = error;
  return -1;
}

static int unlock_units(hf_record *at, unsigned units, int fd)
{
  bool all = (units & HF_UNIT_SHARED) && (units & HF_UNIT_PENDING);
  int rc = 0;

  if (all && atomic_exchange(&at->distrusted, false)) {
    (void)unlock_failed(at, fd, true); /* a new one is opened with the next lock */
    at->lost = false;
    return 0;
  }
  for (int range = RANGES - 1; range >= 0 && at->fd >= 0;
       range--) { /* no descriptor: all locks ended with it */
    if (!(units & 1u << range)) continue;
    if (unlock_range(at, range, fd, all)) rc = -1;
    if (range == PENDING) at->own_pending = at->rolling_back = false;
  }
  if (all) at->lost = false;
  if (all && at->suspect_until && at->fd >= 0) {
    if (hf_now_ns() > at->suspect_until) at->suspect_until = 0;
    close(at->fd); /* with whatever the kernel has stacked */
    at->fd = -1;
  }
  return rc;
}

/* R3. */
static int test(hf_record *at, struct flock *lock)
{
  unsigned units = hf_units_of(lock->l_start, lock->l_len);
  int error;

  lock->l_type = F_UNLCK;
  if (units & (at->read_held | at->write_held)) return 0; /* one's own lock is in nobody's way */
  if (hf_smb_set(at->fd, F_RDLCK, lock->l_start, lock->l_len) == 0)
    return hf_smb_set(at->fd, F_UNLCK, lock->l_start, lock->l_len);
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
  if (at->lost || atomic_load(&at->distrusted)) {
    errno = EIO;
    return -1;
  }
  if (lock->l_type == F_WRLCK && !fd_writable) {
    errno = EBADF;
    return -1;
  }
  if (!at->read_held && !at->write_held) renew_data(at);
  for (int range = 0; range < RANGES; range++)
    if (units == 1u << range) {
      if (lock_range(at, range, lock->l_type, fd) == 0) return 0;
      return lock_afresh(at, range, lock->l_type, fd);
    }
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

/* ---------------------------------------------------------------- open files */

static bool ends_with(const char *path, const char *end)
{
  size_t length = strlen(path), tail = strlen(end);
  return length > tail && strcmp(path + length - tail, end) == 0;
}

/* R4: the same file past the cache, under the same number. cifs asks for no alignment. */
static void go_direct(int fd)
{
  int flags = fcntl(fd, F_GETFL), direct;
  char path[40];

  if (flags < 0 || flags & O_DIRECT) return;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  direct = open(path, (flags & O_ACCMODE) | O_DIRECT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (direct < 0) return; /* then it is as coherent as the mount's cache option makes it */
  (void)dup3(direct, fd, O_CLOEXEC);
  close(direct);
}

void hf_smb_opened(int fd, const char *path)
{
  int error = errno;

  if (fd < 0) return;
  (void)hf_smb_set(fd, F_UNLCK, mark_at, 1); /* R7 */
  if (!ends_with(path, "-wal")) go_direct(fd);
  errno = error;
}

/* Somebody's last handle of a deleted file keeps its name from being used: a killed process's, for a moment.
 */
bool hf_smb_may_come(const char *path, int tries)
{
  char directory[PATH_MAX];
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) : 0;
  struct timespec pause = {0, 5000000 + (long)getpid() % 97 * 100000}; /* another one for each process */
  struct stat st;

  if (tries >= 300 || length >= sizeof directory || !slash) return false;
  memcpy(directory, path, length);
  directory[length] = 0;
  if (tries == 0 && (stat(length ? directory : "/", &st) || !hf_records_is_smb((uint64_t)st.st_dev))) {
    errno = ENOENT;
    return false;
  }
  (void)nanosleep(&pause, NULL);
  return true;
}

int hf_smb_empty(const char *journal, bool sync)
{
  int fd, error;

  if (!sync) return truncate(journal, 0) ? errno : 0;
  fd = open(journal, O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return errno;
  error = ftruncate(fd, 0) || fsync(fd) ? errno : 0;
  (void)hf_smb_set(fd, F_UNLCK, mark_at, 1);
  close(fd);
  return error;
}

int hf_smb_defuse(const char *journal, const unsigned char *nonce)
{
  unsigned char now[HF_SMB_NONCE];
  int fd = open(journal, O_RDWR | O_DIRECT | O_CLOEXEC | O_NOFOLLOW), error = 0;

  if (fd < 0) return errno;
  (void)hf_smb_set(fd, F_UNLCK, mark_at, 1);
  if (pread(fd, now, sizeof now, HF_SMB_NONCE_AT) != (ssize_t)sizeof now)
    error = ENODATA;
  else if (memcmp(now, nonce, sizeof now) != 0)
    error = ESTALE;
  else if (ftruncate(fd, 0))
    error = errno;
  close(fd);
  return error;
}
