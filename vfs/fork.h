/*
 * fork.h - am I still the process that opened this?
 */
#ifndef HF_FORK_H
#define HF_FORK_H

/*
 * A number that is another one in every forked child, never 0. One load in the ordinary case. Notices fork(),
 * and also clone() and _Fork(), which run no handlers.
 */
extern volatile unsigned *hf_generation_page;
unsigned hf_generation_slow(void);
static inline unsigned hf_generation(void)
{
  unsigned now = *hf_generation_page;
  return now ? now : hf_generation_slow();
}

void hf_fork_start(void); /* once, before the first use; again is harmless */

#endif
