/*
 * syscalls.c - the override of the unix VFS's fcntl, fstat and close, for SMB mounts.
 *
 * Installed when the first SMB file of a library is opened, chained to what was there, and looked at again at
 * each such open, because an application may reset the table. Every call for a file that is not on SMB goes
 * on to the previous pointer. The table belongs to one SQLite library and its functions are called without
 * any pointer of ours, so there is one set of functions for each number of slots.h.
 */
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#include "slots.h"

typedef int (*fcntl_call)(int, int, ...);
typedef int (*fstat_call)(int, struct stat *);
typedef int (*close_call)(int);

/* What was in the table before us. Written before our functions are handed out, under SQLite's own rule that
 * its table is changed by one thread at a time. */
static struct {
  fcntl_call fcntl;
  fstat_call fstat;
  close_call close;
} before[HF_SLOTS];

static int on_fcntl(int slot, int fd, int cmd, void *arg)
{
  bool handled = false;
  struct stat st;
  int rc = 0;

  if (cmd != F_SETLK && cmd != F_SETLKW && cmd != F_GETLK) return before[slot].fcntl(fd, cmd, arg);
  if (!hf_smb_known(slot) || before[slot].fstat(fd, &st) || !hf_smb_device((uint64_t)st.st_dev))
    return before[slot].fcntl(fd, cmd, arg);
  rc = hf_smb_lock(slot, fd, &st, cmd, arg, &handled);
  return handled ? rc : before[slot].fcntl(fd, cmd, arg);
}

static int on_fstat(int slot, int fd, struct stat *st)
{
  int rc = before[slot].fstat(fd, st);

  if (rc || !hf_smb_known(slot) || !hf_smb_device((uint64_t)st->st_dev)) return rc;
  return hf_smb_fresh_stat(fd, st);
}

static int on_close(int slot, int fd)
{
  if (hf_smb_known(slot)) hf_smb_closing(slot, fd);
  return before[slot].close(fd);
}

/* SQLite passes a pointer or an int as the third argument; as in libc, both are fetched as a pointer. */
#define CALLS(n)                                                                                             \
  static int fcntl_##n(int fd, int cmd, ...)                                                                 \
  {                                                                                                          \
    va_list args;                                                                                            \
    void *arg;                                                                                               \
    va_start(args, cmd);                                                                                     \
    arg = va_arg(args, void *);                                                                              \
    va_end(args);                                                                                            \
    return on_fcntl(n, fd, cmd, arg);                                                                        \
  }                                                                                                          \
  static int fstat_##n(int fd, struct stat *st)                                                              \
  {                                                                                                          \
    return on_fstat(n, fd, st);                                                                              \
  }                                                                                                          \
  static int close_##n(int fd)                                                                               \
  {                                                                                                          \
    return on_close(n, fd);                                                                                  \
  }
HF_EACH_SLOT(CALLS)

#define ROW(n) {fcntl_##n, fstat_##n, close_##n},
static const struct {
  fcntl_call fcntl;
  fstat_call fstat;
  close_call close;
} ours[] = {HF_EACH_SLOT(ROW)};

/* Put our function into one entry. What we find there, unless it is ours already, is the next in the chain.
 */
static bool install(sqlite3_vfs *unix_vfs, const char *name, sqlite3_syscall_ptr call, void *keep_previous)
{
  sqlite3_syscall_ptr now = unix_vfs->xGetSystemCall(unix_vfs, name);

  if (now == call) return true;
  if (!now) return false;
  memcpy(keep_previous, &now, sizeof now);
  return unix_vfs->xSetSystemCall(unix_vfs, name, call) == SQLITE_OK;
}

/* Does the chain of VFSes end in one whose locks are fcntl's? "cksumvfs/unix", "multipleciphers-unix",
 * "unix-excl". */
static bool ends_in_unix(hf_vfs *owner, sqlite3_file *base)
{
  static const char *const ends[] = {"unix", "unix-excl"};
  char *name = NULL;
  bool found = false;

  if (base && base->pMethods->xFileControl(base, SQLITE_FCNTL_VFSNAME, &name) != SQLITE_OK) name = NULL;
  const char *text = name ? name : owner->base->zName;
  size_t length = strlen(text);
  for (size_t i = 0; i < sizeof ends / sizeof *ends && !found; i++) {
    size_t end = strlen(ends[i]);
    found = length >= end && strcmp(text + length - end, ends[i]) == 0;
  }
  owner->api.free(name);
  return found;
}

bool hf_syscalls_need_smb(hf_vfs *owner, sqlite3_file *base, uint64_t device)
{
  static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;
  sqlite3_vfs *unix_vfs = owner->api.vfs_find("unix");
  int slot = owner->slot;
  bool done = false;

  if (slot < 0 || !unix_vfs || unix_vfs->iVersion < 3 || !unix_vfs->xSetSystemCall ||
      !ends_in_unix(owner, base))
    return false;
  pthread_mutex_lock(&installing);
  /* fstat and close first: fcntl's replacement calls the first and counts on the second. */
  done = install(unix_vfs, "fstat", (sqlite3_syscall_ptr)ours[slot].fstat, &before[slot].fstat) &&
         install(unix_vfs, "close", (sqlite3_syscall_ptr)ours[slot].close, &before[slot].close) &&
         install(unix_vfs, "fcntl", (sqlite3_syscall_ptr)ours[slot].fcntl, &before[slot].fcntl) &&
         hf_smb_add_device(slot, device);
  pthread_mutex_unlock(&installing);
  return done;
}
