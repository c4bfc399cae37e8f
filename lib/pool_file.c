/*
 * pool_file.c - names of databases, and where they lead. Nothing is opened: a close would drop locks (F1).
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool.h"

static int hex(char digit)
{
  if (digit >= '0' && digit <= '9') return digit - '0';
  digit |= 0x20;
  return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* As SQLite reads "file:" names: an authority goes, %HH is a byte, the path ends at '?' or '#'. */
static void path_of_uri(const char *uri, char *out)
{
  const char *at = uri + 5;

  if (at[0] == '/' && at[1] == '/') {
    at += 2;
    while (*at && *at != '/') at++;
  }
  while (*at && *at != '?' && *at != '#') {
    if (*at == '%' && hex(at[1]) >= 0 && hex(at[2]) >= 0) {
      *out = (char)(hex(at[1]) << 4 | hex(at[2]));
      at += 3;
      if (!*out) break;
      out++;
    } else {
      *out++ = *at++;
    }
  }
  *out = 0;
}

char *hf_path_of(const char *name)
{
  char *path = malloc(strlen(name) + 1);
  const char *query;

  if (!path) return NULL;
  if (strncmp(name, "file:", 5) == 0) {
    path_of_uri(name, path);
    query = strchr(name, '?');
    if (query && (strstr(query, "?mode=memory") || strstr(query, "&mode=memory"))) *path = 0;
  } else {
    memcpy(path, name, strlen(name) + 1);
  }
  if (strcmp(path, ":memory:") == 0) *path = 0;
  return path;
}

/* directory + "/" + last part, from malloc(); NULL when the directory does not exist either. */
static char *real_of_new(const char *path)
{
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) : 0;
  char *directory = slash ? strndup(path, length ? length : 1) : strdup(".");
  char *real = directory ? realpath(directory, NULL) : NULL, *out = NULL;
  int error = errno;

  if (real && asprintf(&out, "%s/%s", strcmp(real, "/") ? real : "", slash ? slash + 1 : path) < 0)
    out = NULL;
  free(real);
  free(directory);
  errno = error;
  return out;
}

/* A link whose target does not exist yet is followed by hand, as SQLite will when it creates the target. */
char *hf_file_real(const char *path)
{
  char *real = realpath(path, NULL), *next, target[PATH_MAX];
  ssize_t length;

  if (real || errno != ENOENT) return real;
  real = real_of_new(path);
  for (int links = 0; real && links < 40; links++) {
    length = readlink(real, target, sizeof target - 1);
    if (length < 0) return real;
    target[length] = 0;
    if (target[0] == '/') {
      next = real_of_new(target);
    } else {
      *strrchr(real, '/') = 0;
      if (asprintf(&next, "%s/%s", real, target) < 0) next = NULL;
    }
    free(real);
    real = next ? real_of_new(next) : NULL;
    free(next);
  }
  return real;
}

bool hf_file_network(const char *path)
{
  holdfast_mount mount = {.struct_size = sizeof mount};

  if (holdfast_mount_of(path, &mount) != SQLITE_OK) return false; /* the open will tell */
  return mount.mount_class != HOLDFAST_CLASS_LOCAL && mount.mount_class != HOLDFAST_CLASS_MEMORY &&
         mount.mount_class != HOLDFAST_CLASS_READ_ONLY;
}
