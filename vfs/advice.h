/*
 * advice.h - the one question of advice.c that a pure function cannot answer.
 */
#ifndef HF_ADVICE_H
#define HF_ADVICE_H

#include "holdfast.h"

/* proctext_<os>.c: 1 when the NFS client takes lost locks again by itself (module option), else 0. */
int hf_nfs_recovers_locks(void);

/* advice.c, pure: holdfast_advice() with that answer given. */
int hf_advice(const holdfast_mount *mount, const holdfast_selftest_report *report, int recovers_locks,
              int index, char *text, size_t size);

#endif
