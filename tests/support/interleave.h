/*
 * interleave.h - run some threads one at a time, and decide by a seed who goes on at each point.
 *
 * A thread gives way only in interleave_point() and interleave_wait(), so a schedule can be repeated from its
 * seed, as far as what the threads do can. The thread with the highest priority runs; at a few random points
 * the running one gets the lowest (what fails when a thread is held up at one wrong place, as long as others
 * need for their work, is found soon that way). One run at a time in a process.
 */
#ifndef HFT_INTERLEAVE_H
#define HFT_INTERLEAVE_H

#include <stdint.h>

enum { INTERLEAVE_MAX = 8 };

typedef void interleave_body(void *arg);

/* Runs body[i](arg[i]) for i < count to their ends. `changes` = how often a thread is held up, at random
 * among the first `length` points. Returns how many points there were. */
long interleave_run(int count, interleave_body *const *body, void *const *arg, int changes, long length,
                    uint32_t seed);

void interleave_point(void); /* someone else may go on here; nothing in a thread that takes no part */
void interleave_wait(void);  /* I cannot go on before others have */

/* A generator of one's own, so that a schedule is its seed and nothing else. */
uint32_t interleave_random(uint64_t *state, uint32_t limit); /* 0 .. limit - 1 */
uint64_t interleave_state(uint32_t seed);

#endif
