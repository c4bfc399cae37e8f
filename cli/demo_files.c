/*
 * demo_files.c - the folder that the demo makes for itself, and nothing outside of it.
 *
 * All names in it begin with "board.db": those are removed in the end. Anything else that somebody put there
 * stays, and so does the folder then.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "demo.h"

static const char board_name[] = "board.db", copy_mark[] = ".corrupt-";

int place_make(demo_place *place, const char *dir)
{
  int n = snprintf(place->folder, sizeof place->folder, "%s/holdfast-demo", dir);

  if (n < 0 || (size_t)n >= sizeof place->folder) return ENAMETOOLONG;
  (void)snprintf(place->board, sizeof place->board, "%s/%s", place->folder, board_name); /* it is longer */
  return mkdir(place->folder, 0777) ? errno : 0;
}

/* Calls act for each of the demo's own names in the folder. Returns how often act said yes. */
static long each_file(const demo_place *place, bool (*act)(int folder, const char *name))
{
  DIR *dir = opendir(place->folder);
  struct dirent *entry;
  long count = 0;

  if (!dir) return 0;
  while ((entry = readdir(dir))) {
    if (!strncmp(entry->d_name, board_name, sizeof board_name - 1)) count += act(dirfd(dir), entry->d_name);
  }
  (void)closedir(dir); /* it was only read */
  return count;
}

static bool away(int folder, const char *name)
{
  return unlinkat(folder, name, 0) == 0;
}

static bool is_copy(int folder, const char *name)
{
  (void)folder;
  return !strncmp(name + sizeof board_name - 1, copy_mark, sizeof copy_mark - 1);
}

void place_empty(const demo_place *place)
{
  (void)each_file(place, away);
}

int place_remove(const demo_place *place)
{
  place_empty(place);
  return rmdir(place->folder) ? errno : 0;
}

long place_copies(const demo_place *place)
{
  return each_file(place, is_copy);
}

static long pump(int from, int to)
{
  char block[1 << 16];
  long bytes = 0;
  ssize_t n;

  while ((n = read(from, block, sizeof block)) > 0) {
    if (write(to, block, (size_t)n) != n) return -1;
    bytes += n;
  }
  return n < 0 ? -1 : bytes;
}

long place_copy(const char *board, const char *name, long number)
{
  char path[PATH_MAX + 80];
  long bytes = -1;
  int from, to;

  (void)snprintf(path, sizeof path, "%s%s%s-%ld", board, copy_mark, name, number); /* it is longer */
  from = open(board, O_RDONLY | O_CLOEXEC);
  if (from < 0) return -1;
  to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (to >= 0) {
    bytes = pump(from, to);
    if (close(to)) bytes = -1;
    if (bytes < 0) (void)unlink(path); /* half a copy is none; the folder is emptied anyway */
  }
  (void)close(from); /* it was only read */
  return bytes;
}
