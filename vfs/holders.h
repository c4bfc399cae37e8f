/*
 * holders.h - who holds the locks of some databases, as the kernel tells it.
 *
 * holders_<os>.c looks into /proc and opens no database, no -wal and no -shm: a close() would drop this
 * process's locks (T1). holders.c adds what this library knows of its own connections.
 */
#ifndef HF_HOLDERS_H
#define HF_HOLDERS_H

#include <stddef.h>

#include "locknames.h"
#include "vfs.h"

enum { HF_HOLDERS_MAX = 2000, HF_TARGETS_MAX = 256 };

/* A database that is asked about. */
typedef struct hf_target {
  char path[HF_SIDECAR_PATH];
  hf_identity db, shm;
} hf_target;

/* What one process holds on one target: nothing, when it only has it open. */
typedef struct hf_found {
  int target;
  int64_t pid; /* 0 = somebody who cannot be seen */
  hf_owned owned;
} hf_found;

typedef struct hf_scan {
  hf_found *at; /* from malloc */
  int count;
  bool failed;      /* no memory: what is there is not all */
  bool no_proc;     /* nothing could be looked at */
  bool container;   /* this is not the first pid namespace: locks of processes outside do not show */
  bool hidden;      /* /proc is mounted with hidepid: only own processes show */
  int closed_doors; /* processes whose descriptors this user may not see */
} hf_scan;

/* Look for the locks on `count` targets; users: also for processes that have one open and hold no lock. */
void hf_scan_locks(const hf_target *targets, int count, bool users, hf_scan *out);
/* Device and inode of a name, asking no server; known = false when it leads nowhere. */
void hf_scan_identity(const char *path, hf_identity *out);

/* What /proc says of a process; empty texts when it has gone. */
typedef struct hf_process {
  char command[64], command_line[256];
  char state[16]; /* running, blocked, stopped, traced, frozen, ended; "" = not known */
} hf_process;
void hf_process_of(int64_t pid, hf_process *out);

/* ---------------------------------------------------------------- holders.c */

typedef struct hf_holder {
  int target, lock;
  holdfast_holder is;
} hf_holder;

/* Zero it to begin. */
typedef struct hf_holders {
  hf_target *targets;
  int target_count;
  bool several[HF_TARGETS_MAX]; /* the target lies on a server, which other machines use, too */
  hf_holder *at;
  int count;
  bool users; /* in: also who has it open without a lock */
  bool failed, no_proc;
  char unseen[512];
} hf_holders;

/* The holders of all files of this library, or of the one that is open as `only`. SQLITE_OK or SQLITE_NOMEM.
 */
int hf_holders_of(hf_vfs *owner, const hf_node *only, hf_holders *out);
hf_holder *hf_holders_add(hf_holders *all, int target, int lock, bool write); /* NULL: full, or no memory */
int hf_holders_public(const hf_holders *all, holdfast_holders *out);
void hf_holders_free(hf_holders *all);

#endif
