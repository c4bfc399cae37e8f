/*
 * fork.h - am I still the process that opened this?
 */
#ifndef HF_FORK_H
#define HF_FORK_H

#include <stdbool.h>

#include "hot.h"

/*
 * A number that is another one in every forked child, never 0. Notices fork(), and also clone() and _Fork(),
 * which run no handlers: in their children the page reads 0 until the first call of hf_generation().
 */
extern HF_HIDDEN volatile unsigned *hf_generation_page;
unsigned hf_generation_slow(void);
static inline unsigned hf_generation(void)
{
  unsigned now = *hf_generation_page;
  return now ? now : hf_generation_slow();
}

/* Is this still the process of that generation? */
static inline bool hf_generation_is(unsigned generation)
{
  return HF_LIKELY(*hf_generation_page == generation);
}

void hf_fork_start(void); /* once, before the first use; again is harmless */

#endif
