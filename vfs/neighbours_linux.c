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

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "slots.h"

enum { SHARE = 20, FAST_NS = 500000, PARKED = 256 };

typedef struct early {
  int fd;
  dev_t device;
  ino_t inode;
} early;

typedef struct parked {
  int slot, fd;
  dev_t device;
  ino_t inode;
  bool marked;
} parked;

static struct {
  early *at;
  int count;
} early_of[HF_SLOTS];
static parked kept[PARKED]; /* no allocation: to be short of memory is no reason to lose one */
atomic_int hf_parked_count;

static int64_t clock_ns(clockid_t which)
{
  struct timespec t;
  clock_gettime(which, &t);
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

/* As the kernel lays it out; libc's readdir() would allocate, and a lack of memory is no time to be in doubt.
 */
typedef struct directory_entry {
  uint64_t inode;
  int64_t next;
  unsigned short length;
  unsigned char type;
  char name[];
} directory_entry;

/* Calls see() for every open regular file until it returns false. -1 when /proc cannot be read. */
static int each_file(bool (*see)(int fd, const struct stat *st, void *arg), void *arg)
{
  _Alignas(directory_entry) char buffer[4096];
  int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool go_on = true;
  long got = 0;

  if (dir < 0) return -1;
  while (go_on && (got = syscall(SYS_getdents64, dir, buffer, sizeof buffer)) > 0) {
    for (long at = 0; go_on && at < got;) {
      const directory_entry *entry = (const directory_entry *)(buffer + at);
      int fd = atoi(entry->name);
      struct stat st;
      at += entry->length;
      if (entry->name[0] == '.' || fd == dir || look(fd, &st) || !S_ISREG(st.st_mode)) continue;
      go_on = see(fd, &st, arg);
    }
  }
  close(dir);
  return got < 0 ? -1 : 0;
}

typedef struct start {
  int slot;
  bool *complete;
} start;

static bool remember(int fd, const struct stat *st, void *arg)
{
  const start *for_it = arg;
  int slot = for_it->slot, count = early_of[slot].count;
  early *grown;

  if (count % 64 == 0) {
    grown = realloc(early_of[slot].at, (size_t)(count + 64) * sizeof *grown);
    if (!grown) return *for_it->complete = false;
    early_of[slot].at = grown;
  }
  early_of[slot].at[early_of[slot].count++] = (early){fd, st->st_dev, st->st_ino};
  return true;
}

bool hf_neighbours_start(int slot)
{
  bool complete = true;
  start arg = {slot, &complete};

  early_of[slot].count = 0;
  if (each_file(remember, &arg) == 0 && complete) return true;
  early_of[slot].count =
      0; /* half a list would take a locked inode for a free one: tried again at the next open */
  return false;
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
enum { LOOKS = 3 };
static int64_t looked_until, looked_for[LOOKS]; /* the last ones */
static unsigned looks;

/* The fastest of the last three: a single one is slow when the processor was taken away meanwhile, and a look
 * that is left out for that does not see whom this file was shared with. */
static int64_t a_look(void)
{
  int64_t fastest = looked_for[0];

  for (int i = 1; i < LOOKS; i++)
    if (looked_for[i] < fastest) fastest = looked_for[i];
  return fastest;
}

static bool may_look(void)
{
  return a_look() < FAST_NS || clock_ns(CLOCK_MONOTONIC) - looked_until >= a_look() * SHARE;
}

static bool seen;
atomic_bool hf_neighbour_ever;
bool hf_neighbour_seen(void)
{
  return seen;
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
  int64_t from = clock_ns(CLOCK_THREAD_CPUTIME_ID); /* a busy machine does not make it dearer */

  if (!may_look() || each_file(compare, for_it)) return false;
  looked_for[looks++ % LOOKS] = clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
  looked_until = clock_ns(CLOCK_MONOTONIC);
  return true;
}

bool hf_neighbour_present(dev_t device, ino_t inode, hf_is_ours is_ours)
{
  search for_it = {device, inode, is_ours, NULL, false};

  seen = false;
  if (!search_all(&for_it)) return true;
  seen = for_it.found;
  if (seen) atomic_store(&hf_neighbour_ever, true);
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
  if (hf_parked_count == PARKED) return; /* it stays open and is forgotten: better than somebody's locks */
  kept[hf_parked_count++] = (parked){slot, fd, device, inode, true};
}

static int take(int i)
{
  int fd = kept[i].fd;
  kept[i] = kept[--hf_parked_count];
  return fd;
}

int hf_parked_take(int slot, dev_t device, ino_t inode, int access_mode)
{
  for (int i = 0; i < hf_parked_count; i++) {
    struct stat st;
    if (kept[i].slot != slot || kept[i].device != device || kept[i].inode != inode) continue;
    if ((fcntl(kept[i].fd, F_GETFL) & O_ACCMODE) != access_mode) continue;
    if (look(kept[i].fd, &st) == 0 && st.st_dev == device && st.st_ino == inode) return take(i);
    (void)take(i--); /* closed by a stranger */
  }
  return -1;
}

bool hf_parked_has(int fd)
{
  for (int i = 0; i < hf_parked_count; i++)
    if (kept[i].fd == fd) return true;
  return false;
}

void hf_parked_unmark(void)
{
  for (int i = 0; i < hf_parked_count; i++) kept[i].marked = false;
}

void hf_parked_mark(dev_t device, ino_t inode)
{
  for (int i = 0; i < hf_parked_count; i++)
    if (kept[i].device == device && kept[i].inode == inode) kept[i].marked = true;
}

void hf_parked_close_unmarked(void)
{
  for (int i = 0; i < hf_parked_count; i++)
    if (!kept[i].marked) close(take(i--));
}
