/*
 * selftest.h - what the two levels of the lock self-test share.
 */
#ifndef HF_SELFTEST_H
#define HF_SELFTEST_H

#include <stdbool.h>

#include "holdfast.h"

/* The bytes that SQLite locks. They are part of its file format. */
enum {
  HF_PENDING = 0x40000000,
  HF_RESERVED = HF_PENDING + 1,
  HF_SHARED = HF_PENDING + 2,
  HF_SHARED_LEN = 510
};

/* Append one step; the detail is a printf format. */
void hf_step_add(holdfast_selftest_report *report, const char *name, int result, const char *detail, ...)
    __attribute__((format(printf, 4, 5)));

/* The errno values that mean "somebody else holds it". */
bool hf_lock_refused(int err);

/* fcntl() of one range of the descriptor: 0 or errno. `cmd` is F_SETLK or F_OFD_SETLK. */
int hf_lock_range(int fd, int cmd, short type, long long start, long long length);

/* Level 2, on the existing file `path`, with locks set by `cmd`. */
void hf_selftest_pair(const char *path, int cmd, holdfast_selftest_report *report);

#endif
