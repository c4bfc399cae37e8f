/*
 * nfs_linux.c - the reads and writes of a database on NFS go through the description that holds its locks.
 *
 * SQLite's own descriptor stays open and is used for nothing but fstat, fsync and close. The system calls of
 * the unix VFS are overridden only after a file on NFS was met; the descriptor's record (records_linux.c)
 * says which other descriptor it is. `read` and `write` follow an lseek of SQLite's own descriptor, which
 * cannot be overridden, so its offset is asked. fsync cannot be overridden either, and reports the errors of
 * every descriptor of the inode. mmap is not used on NFS at all (pass.c).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fork.h"
#include "nfs.h"
#include "records.h"
#include "slots.h"

enum { WAL_LOCK = 0x7f000000, COUNTER_AT = 24 };

typedef struct io_calls {
  ssize_t (*read)(int, void *, size_t);
  ssize_t (*pread)(int, void *, size_t, off_t);
  ssize_t (*pread64)(int, void *, size_t, off64_t);
  ssize_t (*write)(int, const void *, size_t);
  ssize_t (*pwrite)(int, const void *, size_t, off_t);
  ssize_t (*pwrite64)(int, const void *, size_t, off64_t);
  int (*ftruncate)(int, off_t);
  int (*fallocate)(int, off_t, off_t);
} io_calls;

static io_calls before[HF_SLOTS]; /* as in syscalls.c: written before ours are handed out */

static __thread unsigned reached HF_TLS;

/* The descriptor that carries the locks of this one's inode, or this one. */
static int route(int slot, int fd, bool write)
{
  _Atomic(uintptr_t) *entry = hf_record_entry(slot, fd);
  hf_record *record;
  int own;

  if (fd < 0) reached++; /* by which install() finds out whether calls come here */
  if (!entry) return fd;
  record = (hf_record *)(atomic_load_explicit(entry, memory_order_acquire) &
                         ~(uintptr_t)(HF_FD_WRITABLE | HF_FD_OPENED));
  if (!record || atomic_load_explicit(&record->kind, memory_order_relaxed) != HF_KIND_NFS) return fd;
  own = atomic_load(&record->fd);
  if (own < 0 || record->generation != hf_generation() || (write && !record->writable)) return fd;
  return own;
}

static ssize_t on_read(int slot, int fd, void *data, size_t size)
{
  int own = route(slot, fd, false);
  return own == fd ? before[slot].read(fd, data, size) : pread(own, data, size, lseek(fd, 0, SEEK_CUR));
}
static ssize_t on_write(int slot, int fd, const void *data, size_t size)
{
  int own = route(slot, fd, true);
  return own == fd ? before[slot].write(fd, data, size) : pwrite(own, data, size, lseek(fd, 0, SEEK_CUR));
}

#define CALLS(n)                                                                                             \
  static ssize_t read_##n(int fd, void *data, size_t size)                                                   \
  {                                                                                                          \
    return on_read(n, fd, data, size);                                                                       \
  }                                                                                                          \
  static ssize_t write_##n(int fd, const void *data, size_t size)                                            \
  {                                                                                                          \
    return on_write(n, fd, data, size);                                                                      \
  }                                                                                                          \
  static ssize_t pread_##n(int fd, void *data, size_t size, off_t at)                                        \
  {                                                                                                          \
    return before[n].pread(route(n, fd, false), data, size, at);                                             \
  }                                                                                                          \
  static ssize_t pread64_##n(int fd, void *data, size_t size, off64_t at)                                    \
  {                                                                                                          \
    return before[n].pread64(route(n, fd, false), data, size, at);                                           \
  }                                                                                                          \
  static ssize_t pwrite_##n(int fd, const void *data, size_t size, off_t at)                                 \
  {                                                                                                          \
    return before[n].pwrite(route(n, fd, true), data, size, at);                                             \
  }                                                                                                          \
  static ssize_t pwrite64_##n(int fd, const void *data, size_t size, off64_t at)                             \
  {                                                                                                          \
    return before[n].pwrite64(route(n, fd, true), data, size, at);                                           \
  }                                                                                                          \
  static int ftruncate_##n(int fd, off_t size)                                                               \
  {                                                                                                          \
    return before[n].ftruncate(route(n, fd, true), size);                                                    \
  }                                                                                                          \
  static int fallocate_##n(int fd, off_t at, off_t size)                                                     \
  {                                                                                                          \
    return before[n].fallocate(route(n, fd, true), at, size);                                                \
  }
HF_EACH_SLOT(CALLS)

#define ROW(n)                                                                                               \
  {read_##n, pread_##n, pread64_##n, write_##n, pwrite_##n, pwrite64_##n, ftruncate_##n, fallocate_##n},
static const io_calls ours[] = {HF_EACH_SLOT(ROW)};

static const struct {
  const char *name;
  size_t at;
} entries[] = {
#define ENTRY(name)                                                                                          \
  {                                                                                                          \
#name, offsetof(io_calls, name)                                                                          \
  }
    ENTRY(read),   ENTRY(pread),    ENTRY(pread64),   ENTRY(write),
    ENTRY(pwrite), ENTRY(pwrite64), ENTRY(ftruncate), ENTRY(fallocate)};
enum { ENTRIES = sizeof entries / sizeof *entries };

/* Somebody may have put a function of his own on top of ours (syscalls.c says more). Each of these calls
 * fails with EBADF. */
static bool still_reached(size_t at, sqlite3_syscall_ptr now)
{
  unsigned was = reached;
  io_calls call = {0};
  char byte = 0;

  memcpy((char *)&call + at, &now, sizeof now);
  if (call.read) (void)!call.read(-1, &byte, 1);
  if (call.pread) (void)!call.pread(-1, &byte, 1, 0);
  if (call.pread64) (void)!call.pread64(-1, &byte, 1, 0);
  if (call.write) (void)!call.write(-1, &byte, 1);
  if (call.pwrite) (void)!call.pwrite(-1, &byte, 1, 0);
  if (call.pwrite64) (void)!call.pwrite64(-1, &byte, 1, 0);
  if (call.ftruncate) (void)!call.ftruncate(-1, 0);
  if (call.fallocate) (void)call.fallocate(-1, 0, 1);
  return reached != was;
}

bool hf_nfs_ready(hf_vfs *owner)
{
  static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;
  sqlite3_vfs *unix_vfs = owner->api.vfs_find("unix");
  int slot = owner->slot;
  bool done = true;

  if (slot < 0 || !unix_vfs || unix_vfs->iVersion < 3) return false;
  pthread_mutex_lock(&installing);
  for (int i = 0; i < ENTRIES; i++) {
    sqlite3_syscall_ptr now = unix_vfs->xGetSystemCall(unix_vfs, entries[i].name), call;
    /* A call that this build of SQLite does not use is not there. */
    if (!now || still_reached(entries[i].at, now)) continue;
    memcpy((char *)&before[slot] + entries[i].at, &now, sizeof now);
    memcpy(&call, (const char *)&ours[slot] + entries[i].at, sizeof call);
    if (unix_vfs->xSetSystemCall(unix_vfs, entries[i].name, call) != SQLITE_OK) done = false;
  }
  pthread_mutex_unlock(&installing);
  return done;
}

/* ---------------------------------------------------------------- questions to the server */

int hf_nfs_flush(int fd)
{
  return fdatasync(fd) ? errno : 0;
}

/* A read past the cache, with the lock's state attached: a lost lock is answered with EIO. NFS asks for no
 * alignment. Other reads of the same description just miss the cache for that moment. */
int hf_nfs_alive(int fd)
{
  int flags = fcntl(fd, F_GETFL), error = 0;
  char byte;

  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT)) return 0; /* no such question here */
  if (pread(fd, &byte, 1, COUNTER_AT) < 0) error = errno;
  (void)fcntl(fd, F_SETFL, flags & ~O_DIRECT); /* cannot fail where setting it did not */
  return error;
}

int hf_nfs_reachable(int fd)
{
  char path[40], byte;
  int error = 0, other;

  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  other = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT | O_NOCTTY);
  if (other < 0) return errno;
  if (pread(other, &byte, 1, COUNTER_AT) < 0) error = errno;
  close(other);
  return error;
}

int hf_nfs_lock_wal(int fd)
{
  return hf_record_set(fd, F_WRLCK, WAL_LOCK, 1, false) ? errno : 0;
}

/* ---------------------------------------------------------------- the name of a journal */

int hf_nfs_make(const char *path, const char *database, bool *made)
{
  struct stat st;
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), error = 0;

  *made = fd >= 0;
  if (fd < 0) return errno == EEXIST ? 0 : errno;
  /* SQLite gives a journal that it opens the owner of the database, but no rights to one that is there. */
  if (stat(database, &st) || fchmod(fd, st.st_mode & 0777)) error = errno;
  close(fd);
  return error;
}

/* The server has done it when it answers. */
int hf_nfs_empty(const char *path)
{
  return truncate(path, 0) ? errno : 0;
}
