/*
 * faulty.h - a VFS below the shim whose next read, write, sync or truncate of a file fails once.
 *
 * It wraps "unix" and becomes the default, so that the shim, loaded after it, wraps it in turn. The plan lies
 * in memory that the peers share with the main process: set it between steps.
 */
#ifndef HFT_FAULTY_H
#define HFT_FAULTY_H

#include <stdatomic.h>

enum { FAULTY_WRITE, FAULTY_SYNC, FAULTY_TRUNCATE, FAULTY_READ, FAULTY_CALLS };
enum { FAULTY_DB, FAULTY_WAL, FAULTY_JOURNAL, FAULTY_FILES };

typedef struct faulty_plan {
  atomic_int code; /* what the next such call returns, instead of being done; 0 = no fault is waiting */
  atomic_int call, file;
  atomic_int after;                             /* so many of these calls go through first */
  atomic_int failed;                            /* faults that happened */
  atomic_long done[FAULTY_FILES][FAULTY_CALLS]; /* calls that went through */
} faulty_plan;

/* The plan, the same for all processes that are forked after the first call. */
faulty_plan *faulty(void);
/* One fault is waiting; the counts start at zero. */
void faulty_arm(int file, int call, int code);
/* For peer_start_in(): registers the VFS. */
void faulty_register(void);

#endif
