/*
 * files.c - see files.h.
 */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static const char *const parts[] = {"", "-wal", "-shm", "-journal"};
enum { PARTS = sizeof parts / sizeof parts[0] };

static void join(char *to, size_t size, const char *path, const char *suffix)
{
  if (snprintf(to, size, "%s%s", path, suffix) >= (int)size) check_broken("a path is too long");
}

char *file_read(const char *path, size_t *size)
{
  struct stat st;
  char *bytes;
  ssize_t n;
  size_t done = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);

  if (fd < 0) return NULL;
  if (fstat(fd, &st)) check_broken(path);
  bytes = malloc((size_t)st.st_size + 1);
  if (!bytes) check_broken("memory");
  while (done < (size_t)st.st_size) {
    n = read(fd, bytes + done, (size_t)st.st_size - done);
    if (n <= 0) check_broken(path);
    done += (size_t)n;
  }
  bytes[done] = 0;
  (void)close(fd); /* opened for reading: nothing can be lost */
  if (size) *size = done;
  return bytes;
}

static void write_at(const char *path, int flags, long offset, const void *bytes, size_t size)
{
  int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);

  if (fd < 0) check_broken(path);
  if (pwrite(fd, bytes, size, offset) != (ssize_t)size) check_broken(path);
  if (close(fd)) check_broken(path);
}

void file_write(const char *path, const void *bytes, size_t size)
{
  write_at(path, O_CREAT | O_TRUNC, 0, bytes, size);
}

void file_patch(const char *path, long offset, const void *bytes, size_t size)
{
  write_at(path, 0, offset, bytes, size);
}

bool file_exists(const char *path)
{
  return access(path, F_OK) == 0;
}

long file_size(const char *path)
{
  struct stat st;

  return stat(path, &st) ? -1 : (long)st.st_size;
}

void file_remove(const char *path)
{
  if (unlink(path) && errno != ENOENT) check_broken(path);
}

void db_copy(const char *from, const char *to)
{
  char source[512], target[512], *bytes;
  size_t size;

  for (int i = 0; i < PARTS; i++) {
    join(source, sizeof source, from, parts[i]);
    join(target, sizeof target, to, parts[i]);
    bytes = file_read(source, &size);
    if (bytes)
      file_write(target, bytes, size);
    else
      file_remove(target);
    free(bytes);
  }
}

void db_remove(const char *path)
{
  char name[512];

  for (int i = 0; i < PARTS; i++) {
    join(name, sizeof name, path, parts[i]);
    file_remove(name);
  }
}

bool db_beside(const char *path, const char *suffix)
{
  char name[512];

  join(name, sizeof name, path, suffix);
  return file_exists(name);
}

bool db_hot(const char *path)
{
  char name[512], *bytes;
  size_t size;
  bool hot;

  join(name, sizeof name, path, "-journal");
  bytes = file_read(name, &size);
  hot = bytes && size > 0 && bytes[0] != 0;
  free(bytes);
  return hot;
}

static unsigned long long mix(unsigned long long hash, const void *bytes, size_t size)
{
  const unsigned char *from = bytes;

  for (size_t i = 0; i < size; i++) hash = (hash ^ from[i]) * 1099511628211ULL;
  return hash;
}

unsigned long long db_print(const char *path)
{
  unsigned long long hash = 14695981039346656037ULL;
  char name[512], *bytes;
  struct stat st;
  size_t size;

  for (int i = 0; i < PARTS; i++) {
    join(name, sizeof name, path, parts[i]);
    hash = mix(hash, parts[i], strlen(parts[i]) + 1);
    bytes = file_read(name, &size);
    if (!bytes) continue;
    if (stat(name, &st)) check_broken(name);
    hash = mix(hash, &size, sizeof size);
    hash = mix(hash, &st.st_mode, sizeof st.st_mode);
    hash = mix(hash, bytes, size);
    free(bytes);
  }
  return hash;
}

const char *db_header_mode(const char *path)
{
  static char text[24];
  unsigned char header[20];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n;

  if (fd < 0) return "-";
  n = read(fd, header, sizeof header);
  (void)close(fd); /* opened for reading */
  if (n < (ssize_t)sizeof header) return "-";
  (void)snprintf(text, sizeof text, "%d,%d", header[18], header[19]); /* at most "255,255" */
  return text;
}
