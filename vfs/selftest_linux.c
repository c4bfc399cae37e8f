/*
 * selftest_linux.c - the lock self-test, level 1: one process, one small file of our own.
 *
 * Never touches a database. Each step releases what it took by an explicit unlock, because on some file
 * systems a close does not. Two processes are selftest_pair_linux.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <sqlite3.h>

#include "selftest.h"

/* Magics of statfs(2), compared as 32 bits: the field is signed and narrower on some systems. */
enum { MAGIC_SMB = 0x517B };
static const unsigned MAGIC_CIFS = 0xFF534D42u, MAGIC_SMB2 = 0xFE534D42u;

enum { MAP_BYTES = 32768 }; /* the size of a -shm file */

void hf_step_add(holdfast_selftest_report *report, const char *name, int result, const char *detail, ...)
{
  int room = (int)(sizeof report->steps / sizeof report->steps[0]);
  holdfast_step *step;
  va_list args;

  if (report->count >= room) return;
  step = &report->steps[report->count++];
  snprintf(step->name, sizeof step->name, "%s", name);
  step->result = result;
  va_start(args, detail);
  vsnprintf(step->detail, sizeof step->detail, detail, args);
  va_end(args);
  if (result == HOLDFAST_STEP_FAILED) report->failed++;
}

bool hf_lock_refused(int err)
{
  return err == EACCES || err == EAGAIN;
}

int hf_lock_range(int fd, int cmd, short type, long long start, long long length)
{
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

  return fcntl(fd, cmd, &lock) == 0 ? 0 : errno;
}

static bool is_smb(int fd)
{
  struct statfs fs;
  unsigned magic;

  if (fstatfs(fd, &fs) != 0) return false;
  magic = (unsigned)fs.f_type;
  return magic == MAGIC_CIFS || magic == MAGIC_SMB2 || magic == MAGIC_SMB;
}

/* SQLite's way to a RESERVED lock. Returns 0, or errno of the call that failed. */
static int take_lock_bytes(int fd)
{
  int err = hf_lock_range(fd, F_SETLK, F_RDLCK, HF_PENDING, 1);

  if (!err) err = hf_lock_range(fd, F_SETLK, F_RDLCK, HF_SHARED, HF_SHARED_LEN);
  if (!err) err = hf_lock_range(fd, F_SETLK, F_UNLCK, HF_PENDING, 1);
  if (!err) err = hf_lock_range(fd, F_SETLK, F_WRLCK, HF_RESERVED, 1);
  if (!err) err = hf_lock_range(fd, F_SETLK, F_WRLCK, HF_PENDING, 1);
  return err;
}

/* Returns true when the bytes can be locked at all. */
static bool step_lock_bytes(int fd, holdfast_selftest_report *report)
{
  int err = take_lock_bytes(fd);

  if (err) {
    hf_step_add(report, "lock-bytes", HOLDFAST_STEP_FAILED, "SQLite's lock bytes cannot be locked: %s",
                strerror(err));
    report->excludes = 0;
  } else {
    hf_step_add(report, "lock-bytes", HOLDFAST_STEP_PASSED, "shared, reserved and pending can be locked");
    err = hf_lock_range(fd, F_SETLK, F_WRLCK, HF_SHARED, HF_SHARED_LEN);
    if (!err)
      hf_step_add(report, "upgrade", HOLDFAST_STEP_PASSED, "a read lock becomes a write lock in place");
    else if (is_smb(fd))
      hf_step_add(
          report, "upgrade", HOLDFAST_STEP_EXPECTED,
          "SMB cannot turn a read lock into a write lock: plain SQLite cannot write here, holdfast converts");
    else
      hf_step_add(report, "upgrade", HOLDFAST_STEP_FAILED, "a read lock does not become a write lock: %s",
                  strerror(err));
    err = 0;
  }
  (void)hf_lock_range(fd, F_SETLK, F_UNLCK, 0, 0); /* nothing better can be done when an unlock fails */
  return err == 0;
}

/* Does /proc show a lock on this descriptor? 1, 0, or -1 when /proc does not say. */
static int fdinfo_shows_lock(int fd)
{
  char name[48], text[4096];
  ssize_t n;
  int info;

  snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
  info = open(name, O_RDONLY | O_CLOEXEC);
  if (info < 0) return -1;
  n = read(info, text, sizeof text - 1);
  close(info);
  if (n <= 0) return -1;
  text[n] = '\0';
  return strstr(text, "\nlock:") != NULL;
}

/* Only where the lock is kept elsewhere: is it given up when its descriptor is closed without an unlock?
 * The last of the lock steps, because a lock that stays would be in the way of the others. */
static void step_forgotten(const char *path, int b, holdfast_selftest_report *report)
{
  int c = open(path, O_RDWR | O_CLOEXEC), err;

  if (c < 0) return;
  err = hf_lock_range(c, F_OFD_SETLK, F_WRLCK, HF_RESERVED, 1);
  close(c);
  if (err) return;
  err = hf_lock_range(b, F_OFD_SETLK, F_WRLCK, HF_RESERVED, 1);
  (void)hf_lock_range(b, F_OFD_SETLK, F_UNLCK, 0, 0);
  if (err)
    hf_step_add(report, "lock-leak", HOLDFAST_STEP_EXPECTED,
                "an OFD lock outlives its descriptor here: holdfast uses ordinary locks on such a mount");
  else
    hf_step_add(report, "lock-leak", HOLDFAST_STEP_PASSED, "a close releases the lock");
}

/* Two owners inside one process: open file descriptions a and b. */
static void step_two_owners(int a, int b, holdfast_selftest_report *report)
{
  struct flock ask = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = HF_RESERVED, .l_len = 1};
  int err = hf_lock_range(a, F_OFD_SETLK, F_WRLCK, HF_RESERVED, 1);
  int seen, shown;

  if (err) {
    hf_step_add(report, "ofd-conflict", HOLDFAST_STEP_SKIPPED, "no OFD locks here: %s", strerror(err));
    return;
  }
  report->kernel_records = fdinfo_shows_lock(a);
  err = hf_lock_range(b, F_OFD_SETLK, F_WRLCK, HF_RESERVED, 1);
  seen = fcntl(b, F_OFD_GETLK, &ask) == 0 && ask.l_type == F_WRLCK;
  shown = report->kernel_records;
  (void)hf_lock_range(b, F_OFD_SETLK, F_UNLCK, 0, 0);
  (void)hf_lock_range(a, F_OFD_SETLK, F_UNLCK, 0, 0);

  report->excludes = hf_lock_refused(err);
  if (report->excludes)
    hf_step_add(report, "ofd-conflict", HOLDFAST_STEP_PASSED, "a second owner is refused");
  else
    hf_step_add(report, "ofd-conflict", HOLDFAST_STEP_FAILED,
                "two owners hold one write lock: the locks are fake");
  if (report->excludes && seen)
    hf_step_add(report, "ofd-query", HOLDFAST_STEP_PASSED, "F_OFD_GETLK reports the holder");
  else if (report->excludes && is_smb(a))
    hf_step_add(report, "ofd-query", HOLDFAST_STEP_EXPECTED,
                "SMB does not tell who holds a lock of this process: holdfast asks with a read lock");
  else if (report->excludes)
    hf_step_add(report, "ofd-query", HOLDFAST_STEP_FAILED, "F_OFD_GETLK does not report the holder");
  hf_step_add(report, "fdinfo", shown < 0 ? HOLDFAST_STEP_SKIPPED : HOLDFAST_STEP_PASSED, "%s",
              shown < 0 ? "/proc/self/fdinfo does not say"
              : shown   ? "this kernel records the lock"
                        : "this kernel does not record the lock: a FUSE server or nobody keeps it");
}

/* Map `bytes` of a, store a byte at `at`, and read it back through b. 0 or errno; EIO for a wrong byte. */
static int store_through_map(int a, int b, size_t bytes, size_t at)
{
  unsigned char *map, back = 0;
  char zeros[MAP_BYTES] = {0};
  int err = 0;

  for (size_t done = 0; done < bytes;
       done += sizeof zeros) { /* a store into a hole of a full disk is a SIGBUS */
    if (pwrite(a, zeros, sizeof zeros, (off_t)done) != (ssize_t)sizeof zeros) return errno ? errno : ENOSPC;
  }
  map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0);
  if (map == MAP_FAILED) return errno;
  map[at] = 0x5A;
  if (pread(b, &back, 1, (off_t)at) != 1)
    err = errno ? errno : EIO;
  else if (back != 0x5A)
    err = EIO;
  (void)munmap(map, bytes);
  return err;
}

static void step_map(int a, int b, holdfast_selftest_report *report)
{
  int err = store_through_map(a, b, MAP_BYTES, 100);

  if (!err) err = store_through_map(a, b, 2 * MAP_BYTES, MAP_BYTES + 100);
  report->maps = err == 0;
  if (err)
    hf_step_add(report, "mmap", HOLDFAST_STEP_FAILED,
                "shared memory of a file does not work (%s): no WAL here", strerror(err));
  else
    hf_step_add(report, "mmap", HOLDFAST_STEP_PASSED, "shared memory works between openers on this machine");
}

static void step_sync(const char *path, int fd, holdfast_selftest_report *report)
{
  char copy[PATH_MAX];
  int dir, err = fsync(fd) ? errno : 0;

  snprintf(copy, sizeof copy, "%s", path);
  dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (!err && (dir < 0 || fsync(dir) != 0)) err = errno;
  if (dir >= 0) close(dir);
  if (err)
    hf_step_add(report, "fsync", HOLDFAST_STEP_FAILED, "file or directory cannot be synced: %s",
                strerror(err));
  else
    hf_step_add(report, "fsync", HOLDFAST_STEP_PASSED, "file and directory accept fsync");
}

/* Rename, then unlink while it is open: the file must live on behind its descriptor. */
static void step_names(const char *path, const char *second, int fd, holdfast_selftest_report *report)
{
  const char *what = "rename";
  char byte = 0;
  int err = rename(path, second) ? errno : 0;

  if (!err) {
    what = "unlink of an open file";
    err = unlink(second) ? errno : 0;
  }
  if (!err) {
    what = "use after unlink";
    if (pwrite(fd, "x", 1, 0) != 1 || pread(fd, &byte, 1, 0) != 1) err = errno;
    if (!err && byte != 'x') err = EIO;
  }
  if (err)
    hf_step_add(report, "names", HOLDFAST_STEP_FAILED, "%s: %s", what, strerror(err));
  else
    hf_step_add(report, "names", HOLDFAST_STEP_PASSED, "a file can be renamed, and removed while it is open");
}

static int code_of(int err)
{
  if (err == EROFS || err == EACCES || err == EPERM) return SQLITE_READONLY;
  if (err == ENOSPC || err == EDQUOT) return SQLITE_FULL;
  return SQLITE_CANTOPEN;
}

int holdfast_selftest(const char *sidecar, int level, holdfast_selftest_report *report)
{
  holdfast_selftest_report found = {
      .struct_size = sizeof found, .excludes = -1, .kernel_records = -1, .maps = -1};
  char second[PATH_MAX];
  int a, b, err;

  if (!sidecar || !report || report->struct_size < sizeof found || level < 1 || level > 2)
    return SQLITE_MISUSE;
  if ((size_t)snprintf(second, sizeof second, "%sr", sidecar) >= sizeof second) return SQLITE_MISUSE;
  a = open(sidecar, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (a < 0) return code_of(errno);
  b = open(sidecar, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (b < 0) {
    err = errno;
    goto remove_file;
  }
  err = 0;
  hf_step_add(&found, "create", HOLDFAST_STEP_PASSED, "a file can be made beside the database");
  if (step_lock_bytes(a, &found)) {
    step_two_owners(a, b, &found);
    /* On SMB by OFD locks: a process that closes another descriptor of the file first, as these children do
     * with those that they inherit, leaves its POSIX lock behind when it is killed and its handle is shared.
     */
    if (level == 2) hf_selftest_pair(sidecar, is_smb(a) ? F_OFD_SETLK : F_SETLK, &found);
    if (found.kernel_records == 0 && found.excludes == 1) step_forgotten(sidecar, b, &found);
  }
  step_map(a, b, &found);
  step_sync(sidecar, a, &found);
  step_names(sidecar, second, a, &found);
  found.struct_size = report->struct_size;
  *report = found;
  close(b);
remove_file:
  (void)unlink(second); /* normally gone already: both names, so that no failed step leaves a file */
  (void)unlink(sidecar);
  close(a);
  if (err) errno = err;
  return err ? code_of(err) : SQLITE_OK;
}
