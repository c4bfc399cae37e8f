/*
 * syscalls.c - the one place that all record locks of a SQLite library pass: the override of the unix VFS's
 * fcntl, with open, close and fstat for what goes with it.
 *
 * Installed with the first file that is protected, chained to what was there, and looked at again at each
 * open, because an application may reset the table. The table belongs to one SQLite library and its functions
 * are called without any pointer of ours, so there is one set of functions for each number of slots.h. What
 * is done with a lock is decided by the kind of its inode's record.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "neighbours.h"
#include "ofd.h"
#include "records.h"
#include "slots.h"
#include "smb.h"

typedef struct calls {
  int (*fcntl)(int, int, ...);
  int (*fstat)(int, struct stat *);
  int (*close)(int);
  int (*open)(const char *, int, int);
} calls;

/* What was in the table before us. Written before our functions are handed out, under SQLite's own rule that
 * its table is changed by one thread at a time. */
static calls before[HF_SLOTS];

/* A call that cannot succeed, by which install() finds out whether calls still come here. */
static __thread unsigned reached HF_TLS;
static int probed(int error)
{
  reached++;
  errno = error;
  return -1;
}

/* Of the file behind a descriptor only the number is known here. */
static void report(int slot, int fd, const char *cause, const char *text)
{
  char link[40], path[HF_EVENT_PATH];
  ssize_t length;

  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  length = readlink(link, path, sizeof path - 1);
  path[length > 0 ? length : 0] = 0;
  hf_report(hf_slot[slot], "warned", cause, path, 0, "%s", text);
}

static HF_SLOW int counted_oddly(const struct flock *lock, long rc)
{
  return hf_stat_called(lock->l_start, lock->l_type, hf_ofd_result(rc));
}

static __attribute__((noinline)) int counted_fcntl(int own, struct flock *lock)
{
  long rc = hf_ofd_call(own, lock);
  hf_lockstats *stats = hf_now_here.calls_of;

  if (HF_UNLIKELY(rc || !stats || lock->l_start != HF_PENDING_BYTE)) return counted_oddly(lock, rc);
  hf_poke(&stats->pending.granted, hf_peek(&stats->pending.granted) + 1);
  return 0;
}

/* l_pid must be 0 for OFD calls; SQLite leaves it uninitialised. Of the bytes that SQLite locks only PENDING
 * and the dead man's switch, and the whole file when all is given up, are multiples of 128. */
static inline int short_fcntl(int own, struct flock *lock)
{
  lock->l_pid = 0;
  if ((lock->l_start & 127) == 0 && lock->l_type != F_UNLCK) return counted_fcntl(own, lock);
  return hf_ofd_set(own, lock);
}

static int long_fcntl(int slot, int fd, int cmd, void *arg)
{
  struct flock *lock = arg;
  bool writable;
  hf_record *record;
  int rc;

  if (fd < 0) return probed(EBADF);
  if (cmd != F_SETLK && cmd != F_SETLKW && cmd != F_GETLK) return before[slot].fcntl(fd, cmd, arg);
  record = hf_record_of(slot, fd, &writable);
  /* Without memory: a POSIX lock beside our own OFD locks would stand in their way for ever. */
  if (!record) return errno == ENOMEM ? -1 : before[slot].fcntl(fd, cmd, arg);
  if (record->early) hf_record_take_over(record, fd, writable, lock);
  if (record->early && !record->said) {
    record->said = true;
    report(slot, fd, "early",
           "it was open before holdfast was loaded: its locks stay as they are, unprotected against a "
           "close() elsewhere, until its connections are closed");
  }
  if (record->kind == HF_KIND_PASS) {
    rc = before[slot].fcntl(fd, cmd, arg);
    if (rc == 0 && cmd != F_GETLK) hf_record_track(record, lock);
    return rc;
  }
  /* A child of raw clone(), a descriptor that was given up, a first writer: rare. */
  if ((record->fd < 0 || (writable && !record->writable) || record->generation != hf_generation()) &&
      !hf_record_ready(record, fd, writable))
    return -1;
  hf_record_shorten(record, fd, writable);
  return record->kind == HF_KIND_SMB ? hf_smb_lock(record, fd, cmd, lock, writable)
                                     : hf_immune_lock(record, cmd, lock, writable);
}

static __attribute__((noinline)) int slow_fcntl(int slot, int fd, int cmd, void *arg)
{
  const struct flock *lock = arg;
  int rc = long_fcntl(slot, fd, cmd, arg);

  if (fd >= 0 && (cmd == F_SETLK || cmd == F_SETLKW)) rc = hf_stat_called(lock->l_start, lock->l_type, rc);
  return rc;
}

/* A private descriptor for reading only will be replaced by a writer's, which takes copies of its locks. */
static __attribute__((noinline)) int read_fcntl(int slot, int fd, struct flock *lock)
{
  hf_record *record = hf_record_untag(atomic_load_explicit(hf_record_entry(slot, fd), memory_order_acquire));
  int rc;

  if (HF_UNLIKELY(!record)) return slow_fcntl(slot, fd, F_SETLK, lock);
  rc = short_fcntl(atomic_load_explicit(&record->fd, memory_order_relaxed), lock);
  if (rc == 0 && !record->writable) hf_record_track(record, lock);
  return rc;
}

static inline int on_fcntl(int slot, int fd, int cmd, void *arg)
{
  if (cmd == F_SETLK) {
    int own = hf_record_short(slot, fd);
    if (own > 0) return short_fcntl(own, arg);
    if (own == HF_SHORT_READ && ((struct flock *)arg)->l_type != F_WRLCK) return read_fcntl(slot, fd, arg);
  }
  return slow_fcntl(slot, fd, cmd, arg);
}

static int on_fstat(int slot, int fd, struct stat *st)
{
  int rc = fd < 0 ? probed(EBADF) : before[slot].fstat(fd, st);

  return rc || !hf_records_is_smb((uint64_t)st->st_dev) ? rc : hf_smb_fresh_stat(fd, st);
}

static __attribute__((noinline)) int slow_close(int slot, int fd)
{
  bool say = false, keep;

  if (fd < 0) return probed(EBADF);
  keep = hf_record_closing(slot, fd, &say);
  if (say)
    report(slot, fd, "neighbour",
           "other code of this process has this file open, perhaps a second SQLite library: our descriptors "
           "of it are kept "
           "open, because closing one would drop that code's locks");
  return keep ? 0 : before[slot].close(fd);
}

/* Most of what SQLite opens and closes never locks: the journals. */
static int on_close(int slot, int fd)
{
  _Atomic(uintptr_t) *entry = hf_record_entry(slot, fd);

  if (!entry || atomic_load_explicit(entry, memory_order_relaxed) != HF_FD_OPENED ||
      atomic_load_explicit(&hf_neighbour_ever, memory_order_relaxed))
    return slow_close(slot, fd);
  atomic_store_explicit(entry, 0, memory_order_release);
  return before[slot].close(fd);
}

static void opened(int slot, int fd)
{
  _Atomic(uintptr_t) *entry = hf_record_entry(slot, fd);

  if (!entry) return;
  if (HF_UNLIKELY(atomic_load_explicit(entry, memory_order_relaxed) > HF_FD_OPENED))
    hf_record_opened(slot, fd);
  else
    atomic_store_explicit(entry, HF_FD_OPENED, memory_order_release);
}

/* SQLite tells nobody under which number it has just opened a file. */
static __thread int last_opened HF_TLS = -1;
int hf_last_opened(void)
{
  return last_opened;
}
void hf_forget_last_opened(void)
{
  last_opened = -1;
}

/* An SMB server may still be busy with the deletion of a file of that name. */
static HF_SLOW int open_on_smb(int slot, int fd, const char *path, int flags, int mode)
{
  struct stat st;

  for (int tries = 0; fd < 0 && errno == ENOENT && (flags & O_CREAT) && hf_smb_may_come(path, tries); tries++)
    fd = before[slot].open(path, flags, mode);
  if (fd >= 0 && before[slot].fstat(fd, &st) == 0 && hf_records_is_smb((uint64_t)st.st_dev))
    hf_smb_opened(fd, path);
  return fd;
}

static int on_open(int slot, const char *path, int flags, int mode)
{
  int fd;

  if (HF_UNLIKELY(!*path)) return probed(ENOENT);
  hf_records_check_fork();
  if (HF_UNLIKELY(atomic_load_explicit(&hf_parked_count, memory_order_relaxed) > 0)) {
    fd = hf_record_reopen(slot, path, flags);
    if (fd >= 0) return last_opened = fd;
  }
  fd = before[slot].open(path, flags, mode);
  if (fd < 0 && errno == EMFILE) {
    hf_records_give_back(slot);
    fd = before[slot].open(path, flags, mode);
  }
  if (HF_UNLIKELY(hf_records_smb_seen())) fd = open_on_smb(slot, fd, path, flags, mode);
  if (fd >= 0) opened(slot, fd);
  last_opened = fd;
  return fd;
}

/*
 * SQLite calls fcntl with a pointer or an int as the third argument. As in libc, both are fetched as a
 * pointer. Where the call of a variadic function passes its first arguments as any other call does, ours need
 * not be one, which saves a third of its instructions.
 */
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#define FCNTL_ARGUMENTS int fd, int cmd, void *arg
#define FCNTL_FETCH
#else
#define FCNTL_ARGUMENTS int fd, int cmd, ...
#define FCNTL_FETCH                                                                                          \
  va_list args;                                                                                              \
  void *arg;                                                                                                 \
  va_start(args, cmd);                                                                                       \
  arg = va_arg(args, void *);                                                                                \
  va_end(args);
#endif
#define CALLS(n)                                                                                             \
  static int fcntl_##n(FCNTL_ARGUMENTS)                                                                      \
  {                                                                                                          \
    FCNTL_FETCH                                                                                              \
    return on_fcntl(n, fd, cmd, arg);                                                                        \
  }                                                                                                          \
  static int fstat_##n(int fd, struct stat *st)                                                              \
  {                                                                                                          \
    return on_fstat(n, fd, st);                                                                              \
  }                                                                                                          \
  static int close_##n(int fd)                                                                               \
  {                                                                                                          \
    return on_close(n, fd);                                                                                  \
  }                                                                                                          \
  static int open_##n(const char *path, int flags, int mode)                                                 \
  {                                                                                                          \
    return on_open(n, path, flags, mode);                                                                    \
  }
HF_EACH_SLOT(CALLS)

#define ROW(n) {(int (*)(int, int, ...))fcntl_##n, fstat_##n, close_##n, open_##n},
static const calls ours[] = {HF_EACH_SLOT(ROW)};

enum { FCNTL, FSTAT, CLOSE, OPEN };

/* Somebody may have put a function of his own on top of ours, and it calls ours: to chain to it would be a
 * circle. */
static bool still_reached(int which, sqlite3_syscall_ptr now)
{
  unsigned was = reached;
  struct stat st;
  calls call = {0};

  memcpy(which == FCNTL   ? (void *)&call.fcntl
         : which == FSTAT ? (void *)&call.fstat
         : which == CLOSE ? (void *)&call.close
                          : (void *)&call.open,
         &now, sizeof now);
  switch (which) {
  case FCNTL: (void)call.fcntl(-1, F_GETFD, 0); break;
  case FSTAT: (void)call.fstat(-1, &st); break;
  case CLOSE: (void)call.close(-1); break;
  default: (void)call.open("", O_RDONLY, 0);
  }
  return reached != was;
}

/* Put our function into one entry, unless calls arrive there already. What we find is the next in the chain.
 */
static bool install(sqlite3_vfs *unix_vfs, int which, const char *name, sqlite3_syscall_ptr call,
                    void *keep_previous)
{
  sqlite3_syscall_ptr now = unix_vfs->xGetSystemCall(unix_vfs, name);

  if (now == call) return true;
  if (!now) return false;
  if (still_reached(which, now)) return true;
  memcpy(keep_previous, &now, sizeof now);
  return unix_vfs->xSetSystemCall(unix_vfs, name, call) == SQLITE_OK;
}

/* Does the chain of VFSes end in one whose locks are fcntl's? "cksumvfs/unix", "multipleciphers-unix",
 * "unix-excl". */
bool hf_syscalls_reach(hf_vfs *owner, sqlite3_file *base)
{
  static const char *const ends[] = {"unix", "unix-excl"};
  char *name = NULL;
  bool found = false;

  if (base->pMethods->xFileControl(base, SQLITE_FCNTL_VFSNAME, &name) != SQLITE_OK) name = NULL;
  const char *text = name ? name : owner->base->zName;
  size_t length = strlen(text);
  for (size_t i = 0; i < sizeof ends / sizeof *ends && !found; i++) {
    size_t end = strlen(ends[i]);
    found = length >= end && strcmp(text + length - end, ends[i]) == 0;
  }
  owner->api.free(name);
  return found;
}

bool hf_syscalls_write_is_plain(hf_vfs *owner)
{
  static const struct {
    const char *name;
    sqlite3_syscall_ptr call;
  } names[] = {{"write", (sqlite3_syscall_ptr)write},
               {"pwrite", (sqlite3_syscall_ptr)pwrite},
               {"pwrite64", (sqlite3_syscall_ptr)pwrite64}};
  sqlite3_vfs *unix_vfs = owner->api.vfs_find("unix");

  if (!unix_vfs || unix_vfs->iVersion < 3) return false;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    sqlite3_syscall_ptr now = unix_vfs->xGetSystemCall(unix_vfs, names[i].name);
    if (now && now != names[i].call) return false;
  }
  return true;
}

bool hf_syscalls_ready(hf_vfs *owner)
{
  static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;
  sqlite3_vfs *unix_vfs = owner->api.vfs_find("unix");
  int slot = owner->slot;
  bool done = false;

  if (slot < 0 || !unix_vfs || unix_vfs->iVersion < 3 || !unix_vfs->xSetSystemCall) return false;
  pthread_mutex_lock(&installing);
  /* fcntl last: it counts on the others. fstat only where a mount has been named that needs it. */
  done = hf_records_start(slot) &&
         (atomic_load(&hf_device_count) == 0 ||
          install(unix_vfs, FSTAT, "fstat", (sqlite3_syscall_ptr)ours[slot].fstat, &before[slot].fstat)) &&
         install(unix_vfs, OPEN, "open", (sqlite3_syscall_ptr)ours[slot].open, &before[slot].open) &&
         install(unix_vfs, CLOSE, "close", (sqlite3_syscall_ptr)ours[slot].close, &before[slot].close) &&
         install(unix_vfs, FCNTL, "fcntl", (sqlite3_syscall_ptr)ours[slot].fcntl, &before[slot].fcntl);
  pthread_mutex_unlock(&installing);
  return done;
}
