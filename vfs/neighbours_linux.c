/*
 * neighbours_linux.c - looks through /proc/self/fd, and keeps descriptors that must not be closed.
 *
 * A look costs about a microsecond for each descriptor of the process. Where it takes longer than half a
 * millisecond it may take one twentieth of the time and no more; in between the answer is "perhaps", and a
 * descriptor is kept that could have been closed. It is given to the next open of the same file, or closed at
 * the next look.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "neighbours.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "slots.h"

enum { SHARE = 20, FAST_NS = 500000 };

typedef struct early {
  int fd;
  dev_t device;
  ino_t inode;
} early;

typedef struct parked {
  struct parked *next;
  int slot, fd;
  dev_t device;
  ino_t inode;
  bool marked;
} parked;

static struct {
  early *at;
  int count;
} early_of[HF_SLOTS];
static parked *kept;
static int kept_count;

static int64_t now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* As fstat(), but no server is asked: a dead one must not hang the close of a local database. */
static int look(int fd, struct stat *st)
{
  struct statx now;

  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &now)) return -1;
  st->st_mode = now.stx_mode;
  st->st_ino = now.stx_ino;
  st->st_dev = makedev(now.stx_dev_major, now.stx_dev_minor);
  return 0;
}

/* Calls see() for every open regular file until it returns false. -1 when /proc cannot be read. */
static int each_file(bool (*see)(int fd, const struct stat *st, void *arg), void *arg)
{
  DIR *dir = opendir("/proc/self/fd");
  struct dirent *entry;
  struct stat st;

  if (!dir) return -1;
  while ((entry = readdir(dir)) != NULL) {
    int fd = atoi(entry->d_name);
    if (entry->d_name[0] == '.' || fd == dirfd(dir) || look(fd, &st) || !S_ISREG(st.st_mode)) continue;
    if (!see(fd, &st, arg)) break;
  }
  closedir(dir);
  return 0;
}

static bool remember(int fd, const struct stat *st, void *arg)
{
  int slot = *(int *)arg, count = early_of[slot].count;
  early *grown;

  if (count % 64 == 0) {
    grown = realloc(early_of[slot].at, (size_t)(count + 64) * sizeof *grown);
    if (!grown) return false;
    early_of[slot].at = grown;
  }
  early_of[slot].at[early_of[slot].count++] = (early){fd, st->st_dev, st->st_ino};
  return true;
}

bool hf_neighbours_start(int slot)
{
  return each_file(remember, &slot) == 0;
}

bool hf_neighbour_early(int slot, dev_t device, ino_t inode)
{
  struct stat st;

  for (int i = 0; i < early_of[slot].count; i++) {
    early *one = &early_of[slot].at[i];
    if (one->device != device || one->inode != inode) continue;
    if (look(one->fd, &st) == 0 && st.st_dev == device && st.st_ino == inode) return true;
    *one = early_of[slot].at[--early_of[slot].count]; /* closed meanwhile */
    i--;
  }
  return false;
}

/* Looking may take one part in SHARE of the time, unless it is so fast that nobody notices. All under the
 * records' mutex. */
static int64_t looked_until, looked_for;

static bool may_look(void)
{
  return looked_for < FAST_NS || now_ns() - looked_until >= looked_for * SHARE;
}

static bool seen;
static atomic_bool ever;
bool hf_neighbour_seen(void)
{
  return seen;
}
bool hf_neighbour_ever(void)
{
  return atomic_load_explicit(&ever, memory_order_relaxed);
}

typedef struct search {
  dev_t device;
  ino_t inode;
  hf_is_ours is_ours;
  void (*present)(dev_t device, ino_t inode);
  bool found;
} search;

static bool compare(int fd, const struct stat *st, void *arg)
{
  search *for_it = arg;

  if (for_it->present) {
    if (!for_it->is_ours(fd)) for_it->present(st->st_dev, st->st_ino);
    return true;
  }
  if (st->st_dev != for_it->device || st->st_ino != for_it->inode || for_it->is_ours(fd)) return true;
  for_it->found = true;
  return false;
}

static bool search_all(search *for_it)
{
  int64_t from = now_ns();

  if (!may_look() || each_file(compare, for_it)) return false;
  looked_until = now_ns();
  looked_for = looked_until - from;
  return true;
}

bool hf_neighbour_present(dev_t device, ino_t inode, hf_is_ours is_ours)
{
  search for_it = {device, inode, is_ours, NULL, false};

  seen = false;
  if (!search_all(&for_it)) return true;
  seen = for_it.found;
  if (seen) atomic_store(&ever, true);
  return for_it.found;
}

bool hf_neighbours_each(void (*present)(dev_t device, ino_t inode), hf_is_ours is_ours)
{
  search for_it = {0, 0, is_ours, present, false};
  return search_all(&for_it);
}

int hf_neighbour_maps(const char *path)
{
  FILE *maps = fopen("/proc/self/maps", "re");
  size_t length = strlen(path);
  char *line = NULL;
  size_t room = 0;
  ssize_t got;
  int count = 0;

  if (!maps) return 0;
  while ((got = getline(&line, &room, maps)) > 0) {
    const char *name = strchr(line, '/');
    unsigned long offset = 1;
    if (!name || line + got != name + length + 1 || strncmp(name, path, length) != 0) continue;
    if (sscanf(line, "%*s %*s %lx", &offset) == 1 && offset == 0) count++;
  }
  free(line);
  fclose(maps);
  return count;
}

void hf_parked_add(int slot, int fd, dev_t device, ino_t inode)
{
  parked *made = malloc(sizeof *made);

  if (!made) return; /* the descriptor stays open and is lost: better than somebody's locks */
  *made = (parked){kept, slot, fd, device, inode, true};
  kept = made;
  kept_count++;
}

static int take(parked **link)
{
  parked *gone = *link;
  int fd = gone->fd;

  *link = gone->next;
  free(gone);
  kept_count--;
  return fd;
}

int hf_parked_take(int slot, dev_t device, ino_t inode, int access_mode)
{
  for (parked **link = &kept; *link; link = &(*link)->next) {
    struct stat st;
    if ((*link)->slot != slot || (*link)->device != device || (*link)->inode != inode) continue;
    if ((fcntl((*link)->fd, F_GETFL) & O_ACCMODE) != access_mode) continue;
    if (look((*link)->fd, &st) || st.st_dev != device || st.st_ino != inode) { /* closed by a stranger */
      (void)take(link);
      return -1;
    }
    return take(link);
  }
  return -1;
}

bool hf_parked_has(int fd)
{
  for (const parked *one = kept; one; one = one->next)
    if (one->fd == fd) return true;
  return false;
}

int hf_parked_count(void)
{
  return kept_count;
}

void hf_parked_unmark(void)
{
  for (parked *one = kept; one; one = one->next) one->marked = false;
}

void hf_parked_mark(dev_t device, ino_t inode)
{
  for (parked *one = kept; one; one = one->next)
    one->marked = one->marked || (one->device == device && one->inode == inode);
}

void hf_parked_close_unmarked(void)
{
  parked **link = &kept;

  while (*link)
    if ((*link)->marked)
      link = &(*link)->next;
    else
      close(take(link));
}
