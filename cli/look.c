/*
 * look.c - the part of `holdfast doctor` that touches the path. Runs in a child of its own.
 *
 * Because it is a process of its own it may open and close the database file: a close drops the POSIX
 * locks of the process that closes, and this process has none. (Inside an application the same open and
 * close would drop the locks of its SQLite; nothing here belongs into a library.)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "doctor.h"

enum { LINKS_MAX = 40, NAME_BYTES = 255 };

static void stage(int fd, char letter)
{
  ssize_t ignored = write(fd, &letter, 1);

  (void)ignored; /* when the parent is gone there is nobody to tell */
}

/* ---------------------------------------------------------------- where the path leads */

/* Follow one link: its text goes in front of what is left of the path. 0 or errno. */
static int follow_link(const char *target, const char *rest, char *out, size_t size)
{
  char joined[2 * PATH_BYTES];
  int n = snprintf(joined, sizeof joined, "%s/%s", target, rest);

  if (n < 0 || (size_t)n >= size) return ENAMETOOLONG;
  memcpy(out, joined, (size_t)n + 1);
  return 0;
}

/*
 * Resolve links as realpath() does, but by single steps, and tell the parent before each: when a step
 * hangs, f->resolved names the mount that does not answer. The last component need not exist. 0 or errno.
 */
static int resolve(findings *f, int fd)
{
  char todo[PATH_BYTES], target[PATH_BYTES], *next, *done = f->resolved;
  int links = 0, err = 0;
  size_t used = 0;
  ssize_t n;

  if (f->path[0] != '/') {
    if (!getcwd(done, PATH_BYTES)) return errno;
    used = strcmp(done, "/") == 0 ? 0 : strlen(done);
  }
  if ((size_t)snprintf(todo, sizeof todo, "%s", f->path) >= sizeof todo) return ENAMETOOLONG;
  next = todo;
  while (*next) {
    size_t length = strcspn(next, "/");
    char *rest = next + length + (next[length] == '/');

    if (length == 0 || (length == 1 && next[0] == '.')) {
      next = rest;
      continue;
    }
    if (length == 2 && next[0] == '.' && next[1] == '.') {
      while (used > 0 && done[--used] != '/') continue;
      next = rest;
      continue;
    }
    if (length > NAME_BYTES || used + 1 + length >= PATH_BYTES) return ENAMETOOLONG;
    done[used] = '/';
    memcpy(done + used + 1, next, length);
    done[used + 1 + length] = '\0';
    stage(fd, '/');
    n = readlink(done, target, sizeof target - 1);
    if (n < 0 && errno != EINVAL) {
      err = errno;
      if (err == ENOENT && !rest[strspn(rest, "/")]) err = 0; /* a database that is to be made */
      if (err) return err;
    }
    if (n < 0) {
      used += 1 + length;
      next = rest;
      continue;
    }
    target[n] = '\0';
    if (++links > LINKS_MAX) return ELOOP;
    err = follow_link(target, rest, todo, sizeof todo);
    if (err) return err;
    if (target[0] == '/') used = 0;
    next = todo;
  }
  if (used == 0) done[used++] = '/';
  done[used] = '\0';
  return 0;
}

static const char *special_name(mode_t mode)
{
  return S_ISFIFO(mode)   ? "a FIFO"
         : S_ISSOCK(mode) ? "a socket"
         : S_ISCHR(mode)  ? "a character device"
         : S_ISBLK(mode)  ? "a block device"
                          : "no file";
}

static void look_at_kind(findings *f, int fd)
{
  struct stat st;

  f->error = resolve(f, fd);
  if (f->error) return;
  if (lstat(f->resolved, &st) != 0) {
    if (errno == ENOENT)
      f->kind = KIND_NEW;
    else
      f->error = errno;
    return;
  }
  f->kind = S_ISREG(st.st_mode) ? KIND_FILE : S_ISDIR(st.st_mode) ? KIND_DIRECTORY : KIND_OTHER;
  if (f->kind == KIND_OTHER) f->special = special_name(st.st_mode);
}

/* ---------------------------------------------------------------- journals */

/* The size of the file behind path + suffix, -1 when there is none. */
static long long size_of(const char *path, const char *suffix)
{
  char name[PATH_BYTES + 16];
  struct stat st;

  snprintf(name, sizeof name, "%s%s", path, suffix);
  return stat(name, &st) == 0 ? (long long)st.st_size : -1;
}

/* The first bytes of a file that is known to be a regular one. Bytes read, or the negative errno. */
static int first_bytes(const char *path, unsigned char *out, size_t size)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
  ssize_t n;

  if (fd < 0) return -errno;
  n = pread(fd, out, size, 0);
  if (n < 0) n = -errno;
  close(fd);
  return (int)n;
}

/* SQLite plays a journal back when it exists, nobody holds RESERVED, and its first byte is not 0. */
static bool is_hot(const char *path, long long size)
{
  unsigned char first = 0;
  char name[PATH_BYTES + 16];

  if (size <= 0) return false;
  snprintf(name, sizeof name, "%s-journal", path);
  return first_bytes(name, &first, 1) != 1 || first != 0; /* what cannot be read may be hot */
}

static void look_at_journal(const char *path, journal_facts *j)
{
  unsigned char head[100] = {0};
  int n = first_bytes(path, head, sizeof head);

  j->size = size_of(path, "");
  j->wal = size_of(path, "-wal");
  j->shm = size_of(path, "-shm");
  j->journal = size_of(path, "-journal");
  j->hot = is_hot(path, j->journal);
  if (n < 0) {
    j->header = HEADER_UNREADABLE;
    j->error = -n;
  } else if (n == 0) {
    j->header = HEADER_EMPTY;
  } else if (n < 100 || memcmp(head, "SQLite format 3", 16) != 0 || head[18] < 1 || head[18] > 2 ||
             head[19] < 1 || head[19] > 2) {
    j->header = HEADER_STRANGE;
  } else {
    j->header = head[18] == 2 ? HEADER_WAL : HEADER_ROLLBACK;
    j->page_size = head[16] << 8 | head[17];
    if (j->page_size == 1) j->page_size = 65536;
  }
}

/* ---------------------------------------------------------------- the self-test */

/* <database>-hfprobe-<random>, or in a directory hfprobe-<random>. False when no such name fits. */
static bool name_sidecar(findings *f)
{
  const char *base = strrchr(f->resolved, '/') + 1;
  unsigned long long number;
  bool in_directory = f->kind == KIND_DIRECTORY;
  size_t room = sizeof f->sidecar - 1; /* the self-test's second name is one byte longer */
  int n;

  sqlite3_randomness(sizeof number, &number);
  if (in_directory)
    n = snprintf(f->sidecar, room, "%s%shfprobe-%016llx", f->resolved, *base ? "/" : "", number);
  else if (strlen(base) > NAME_BYTES - 32)
    n = snprintf(f->sidecar, room, "%.*shfprobe-%016llx", (int)(base - f->resolved), f->resolved, number);
  else
    n = snprintf(f->sidecar, room, "%s-hfprobe-%016llx", f->resolved, number);
  return n > 0 && (size_t)n < room;
}

static void look_at_locks(findings *f, int fd)
{
  holdfast_selftest_report report = {.struct_size = sizeof report};
  int rc;

  if (!f->probe) return;
  if (f->mount.rule == HOLDFAST_RULE_READ_ONLY || f->mount.mount_class == HOLDFAST_CLASS_PSEUDO) {
    f->probe_state = PROBE_NOT_SENSIBLE;
    return;
  }
  if (!name_sidecar(f)) {
    f->probe_state = PROBE_IMPOSSIBLE;
    f->probe_error = ENAMETOOLONG;
    return;
  }
  f->probe_state = PROBE_UNFINISHED;
  stage(fd, 's');
  errno = 0;
  rc = holdfast_selftest(f->sidecar, 2, &report);
  f->probe_error = rc == SQLITE_NOTFOUND ? ENOSYS : errno;
  if (rc == SQLITE_OK) {
    f->report = report;
    f->probe_error = 0;
  }
  f->probe_state = rc == SQLITE_OK ? PROBE_RAN : PROBE_IMPOSSIBLE;
}

/* ---------------------------------------------------------------- the two kinds of work */

void look(findings *f, int report_to)
{
  look_at_kind(f, report_to);
  stage(report_to, 'k');
  if (f->error || f->kind == KIND_OTHER) return;
  f->mount.struct_size = sizeof f->mount;
  f->have_mount = holdfast_mount_of(f->resolved, &f->mount) == SQLITE_OK;
  stage(report_to, 'm');
  if (!f->have_mount) return;
  if (f->kind == KIND_FILE) look_at_journal(f->resolved, &f->journal);
  stage(report_to, 'j');
  look_at_locks(f, report_to);
  stage(report_to, 't');
}

void look_remove(findings *f, int report_to)
{
  char second[PATH_BYTES + 1];

  snprintf(second, sizeof second, "%sr", f->sidecar);
  (void)unlink(second); /* one of the two names is in use, or none: nothing else to do about it */
  (void)unlink(f->sidecar);
  stage(report_to, 'r');
}

/* Both hosts must come to the same name, whatever they call the directory. */
void look_hosts(findings *f, int report_to)
{
  holdfast_selftest_report report = {.struct_size = sizeof report};
  bool smb = strcmp(f->mount.fstype, "cifs") == 0 || strcmp(f->mount.fstype, "smb3") == 0;
  char prefix[PATH_BYTES + 16];
  int rc;

  f->hosts_state = PROBE_UNFINISHED;
  snprintf(prefix, sizeof prefix, f->kind == KIND_DIRECTORY ? "%s/hfhosts" : "%s-hfhosts", f->resolved);
  errno = 0;
  rc = holdfast_selftest_hosts(prefix, f->as, smb, f->wait_s, &report);
  f->hosts_error = rc == SQLITE_NOTFOUND ? ENOSYS : rc == SQLITE_BUSY ? ETIMEDOUT : errno;
  if (rc == SQLITE_OK) f->hosts = report;
  f->hosts_state = rc == SQLITE_OK ? PROBE_RAN : PROBE_IMPOSSIBLE;
  stage(report_to, 'h');
}
