/*
 * fresh_linux.c - the existence and size of a file as its server knows them, past the client's caches; and
 * how a new name is made known to the other clients.
 *
 * NFS: forced statx() of the directory, then of the file. The directory alone is not enough (a size seen as 0
 * stays 0), the file alone neither (a cached "no such file" is believed until its directory's attributes are
 * new). In NFSv3 these are a time, which moves in steps of 1 to 10 ms on most servers: a name that is made in
 * the same step in which a client has missed it stays missing there, for ever, and nothing that this client
 * can ask helps. So whoever makes the name moves the time on. SMB: a forced statx() believes a cached "no
 * such file", too. linkat() must look the name up at the server before it may create it, and with its source
 * on another mount it can never create anything: EEXIST or EXDEV.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vfs.h"

enum { ANNOUNCE_TRIES = 80, ANNOUNCE_MAX_NS = 32000000 }; /* 2.5 s: some servers count time in seconds */

static bool is_absent(int error)
{
  return error == ENOENT || error == ENOTDIR;
}

/*
 * A server may keep a deleted file open, and a client its name: then this is the file of the past, and the
 * next look at the name, now that the client knows of no link, goes to the server.
 */
static int forced_size(const char *path, bool *exists)
{
  struct statx now;

  *exists = false;
  for (int tries = 0; tries < 3; tries++) {
    if (statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_TYPE | STATX_SIZE | STATX_NLINK, &now)) {
      int error = errno;
      return is_absent(error) ? 0 : error;
    }
    if (now.stx_nlink == 0) continue;
    *exists = !S_ISREG(now.stx_mode) || now.stx_size > 0; /* SQLite takes an empty journal for none */
    return 0;
  }
  return ESTALE; /* no client does that; if one did, neither answer would be safe */
}

static int directory_of(const char *path, char directory[PATH_MAX])
{
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) : 0;

  if (length >= PATH_MAX) return ENAMETOOLONG;
  memcpy(directory, path, length);
  directory[length] = 0;
  if (!length) strcpy(directory, slash ? "/" : ".");
  return 0;
}

static int forced_ctime(const char *directory, struct statx_timestamp *out)
{
  struct statx now;

  if (statx(AT_FDCWD, directory, AT_STATX_FORCE_SYNC, STATX_TYPE | STATX_MTIME | STATX_CTIME, &now))
    return errno;
  *out = now.stx_ctime;
  return 0;
}

static int refresh_directory(const char *path)
{
  struct statx_timestamp unused;
  char directory[PATH_MAX];
  int error = directory_of(path, directory);

  return error ? error : forced_ctime(directory, &unused);
}

int hf_fresh_announce(const char *path)
{
  char directory[PATH_MAX];
  struct statx_timestamp made = {0}, now = {0};
  struct timespec pause = {0, 500000};
  int error = directory_of(path, directory);

  if (!error) error = forced_ctime(directory, &made);
  for (int tries = 0; !error && tries < ANNOUNCE_TRIES; tries++) {
    if (utimensat(AT_FDCWD, directory, NULL, 0)) return errno;
    error = forced_ctime(directory, &now);
    if (!error && (now.tv_sec != made.tv_sec || now.tv_nsec != made.tv_nsec)) return 0;
    (void)nanosleep(&pause, NULL); /* woken early is fine */
    if (pause.tv_nsec < ANNOUNCE_MAX_NS) pause.tv_nsec *= 2;
  }
  return error ? error : ETIMEDOUT;
}

/* 0: the server says that the name is free. EEXIST: taken. Else: it did not say. */
static int ask_by_link(const char *path)
{
  int error;

  if (linkat(AT_FDCWD, "/", AT_FDCWD, path, 0) == 0) return EIO; /* a directory was linked: cannot be */
  error = errno;
  /* Beyond EEXIST the kernel refuses for our own reasons: another mount, a directory, a read-only mount, no
   * right. */
  if (error == EXDEV || error == EPERM || error == EROFS || error == EACCES || is_absent(error)) return 0;
  return error;
}

int hf_fresh_exists(const char *path, bool smb, bool directory_is_fresh, bool *exists)
{
  int error;

  if (smb) {
    error = ask_by_link(path);
    if (error == 0) *exists = false;
    return error == EEXIST ? forced_size(path, exists) : error;
  }
  error = directory_is_fresh ? 0 : refresh_directory(path);
  return error ? error : forced_size(path, exists);
}
