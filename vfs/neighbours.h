/*
 * neighbours.h - other code of this process that has a database's inode open: a SQLite library without the
 * shim, or connections from before the shim came. Their locks are POSIX locks, which our own close() would
 * drop.
 */
#ifndef HF_NEIGHBOURS_H
#define HF_NEIGHBOURS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "hot.h"

typedef bool (*hf_is_ours)(int fd); /* a descriptor that the records know */

bool hf_neighbours_start(int slot); /* remember what is open now; false: /proc cannot be read */
bool hf_neighbour_early(int slot, dev_t device, ino_t inode); /* open since before hf_neighbours_start() */
/* Does somebody else in this process have the inode open? In doubt (no time to look, no /proc) it may answer
 * true. */
bool hf_neighbour_present(dev_t device, ino_t inode, hf_is_ours is_ours);
/* One look for many inodes: calls present() for every inode that other code has open. False: not looked, all
 * may be. */
bool hf_neighbours_each(void (*present)(dev_t device, ino_t inode), hf_is_ours is_ours);
bool hf_neighbour_seen(void);                   /* the last true answer came from looking, not from doubt */
extern HF_HIDDEN atomic_bool hf_neighbour_ever; /* one was found, at any time */
/* How often this process has the file mapped from its start: a -shm that is mapped twice has two libraries on
 * it. */
int hf_neighbour_maps(const char *path);

/* Descriptors kept open instead of closed. All calls under the records' mutex; the number may be read
 * without.
 */
extern HF_HIDDEN atomic_int hf_parked_count;
void hf_parked_add(int slot, int fd, dev_t device, ino_t inode);
int hf_parked_take(int slot, dev_t device, ino_t inode, int access_mode); /* -1 = none */
bool hf_parked_has(int fd);
void hf_parked_unmark(void);                    /* before a look */
void hf_parked_mark(dev_t device, ino_t inode); /* a neighbour has it open */
void hf_parked_close_unmarked(void);

#endif
