/*
 * fresh_linux.c - the existence and size of a file as its server knows them, past the client's caches.
 *
 * NFS: forced statx() of the directory, then of the file. The directory alone is not enough (a size seen as 0
 * stays 0), the file alone neither (a cached "no such file" is believed until its directory's attributes are
 * new). SMB: a forced statx() believes a cached "no such file", too. linkat() must look the name up at the
 * server before it may create it, and with its source on another mount it can never create anything: EEXIST
 * or EXDEV.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vfs.h"

static bool is_absent(int error)
{
  return error == ENOENT || error == ENOTDIR;
}

static int forced_size(const char *path, bool *exists)
{
  struct statx now;

  *exists = false;
  if (statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_TYPE | STATX_SIZE, &now)) {
    int error = errno;
    return is_absent(error) ? 0 : error;
  }
  *exists = !S_ISREG(now.stx_mode) || now.stx_size > 0; /* SQLite takes an empty journal for none */
  return 0;
}

static int refresh_directory(const char *path)
{
  char directory[PATH_MAX];
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) : 0;
  struct statx now;

  if (length >= sizeof directory) return ENAMETOOLONG;
  memcpy(directory, path, length);
  directory[length] = 0;
  if (!length) strcpy(directory, slash ? "/" : ".");
  return statx(AT_FDCWD, directory, AT_STATX_FORCE_SYNC, STATX_TYPE | STATX_MTIME | STATX_CTIME, &now) ? errno
                                                                                                       : 0;
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
