/*
 * proctext_linux.c - what /proc and /sys say, without touching the path in question.
 *
 * For `holdfast doctor`, which must be able to name a server that does not answer. The real facts of a
 * path are mount_linux.c's.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "advice.h"
#include "mount.h"

enum { MOUNTINFO_MAX = 8 << 20 }; /* about 40,000 mounts */

/* Whole text of a file of /proc or /sys, from malloc(). NULL when it cannot be had. */
static char *read_all(const char *name)
{
  size_t size = 16384, used = 0;
  char *text = NULL, *more;
  ssize_t n;
  int fd = open(name, O_RDONLY | O_CLOEXEC);

  if (fd < 0) return NULL;
  do {
    if (!text || used + 1 == size) {
      if (text) size *= 2;
      more = size <= MOUNTINFO_MAX ? realloc(text, size) : NULL;
      if (!more) goto fail;
      text = more;
    }
    n = read(fd, text + used, size - used - 1);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) goto fail;
    used += (size_t)n;
  } while (n != 0);
  close(fd);
  text[used] = '\0';
  return text;
fail:
  free(text);
  close(fd);
  return NULL;
}

/* "/a//b/./c/../d" -> "/a/b/d", by text alone; a relative path is put behind the working directory. Returns
 * 0, or -1 when it is too long. */
static int clean_path(const char *path, char *out, size_t size)
{
  char whole[2 * PATH_MAX];
  size_t used = 0;
  int n;

  if (path[0] == '/') {
    n = snprintf(whole, sizeof whole, "%s", path);
  } else {
    char cwd[PATH_MAX];
    if (!getcwd(cwd, sizeof cwd)) return -1; /* asks the kernel's name cache, no server */
    n = snprintf(whole, sizeof whole, "%s/%s", cwd, path);
  }
  if (n < 0 || (size_t)n >= sizeof whole) return -1;
  for (char *save = NULL, *part = strtok_r(whole, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
    if (!strcmp(part, ".")) continue;
    if (!strcmp(part, "..")) {
      while (used > 0 && out[--used] != '/') continue;
      continue;
    }
    if (used + strlen(part) + 2 > size) return -1;
    out[used++] = '/';
    memcpy(out + used, part, strlen(part));
    used += strlen(part);
  }
  if (used == 0) out[used++] = '/';
  out[used] = '\0';
  return 0;
}

int holdfast_mount_of_text(const char *path, holdfast_mount *out)
{
  char clean[PATH_MAX], *text;
  hf_mount_facts facts;
  hf_verdict verdict;
  int found;

  if (!path || !path[0] || !out || out->struct_size < sizeof *out) return SQLITE_MISUSE;
  if (clean_path(path, clean, sizeof clean) != 0) return SQLITE_NOTFOUND;
  text = read_all("/proc/self/mountinfo");
  if (!text) return SQLITE_NOTFOUND;
  memset(&facts, 0, sizeof facts);
  found = hf_mountinfo_by_path(text, clean, &facts);
  free(text);
  if (found != 0) return SQLITE_NOTFOUND;
  hf_verdict_of(&facts, HOLDFAST_ASSUME_NOTHING, &verdict);
  hf_mount_public(&facts, &verdict, out);
  return SQLITE_OK;
}

int hf_nfs_recovers_locks(void)
{
  char *text = read_all("/sys/module/nfs/parameters/recover_lost_locks");
  int answer = text && (text[0] == 'Y' || text[0] == '1');

  free(text);
  return answer;
}
