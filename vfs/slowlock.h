/*
 * slowlock.h - a wait that takes too long is said once, with who is in the way, and again when it is over.
 */
#ifndef HF_SLOWLOCK_H
#define HF_SLOWLOCK_H

#include "vfs.h"

enum { HF_SLOW_LOCK_MS = 1000 }; /* unless configured otherwise */

/* `lock` was busy again, after `ticks` of waiting. */
void hf_slow_wait(hf_node *node, int lock, uint64_t ticks);
/* It was granted, after a wait that was spoken of. */
void hf_slow_granted(hf_node *node, int lock, uint64_t ticks);
/* A checkpoint met a read mark that somebody holds (F12). */
void hf_slow_pinned(hf_node *node, int lock, uint64_t now);

#endif
