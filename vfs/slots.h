/*
 * slots.h - telling SQLite libraries apart in callbacks that carry nothing of ours.
 *
 * A system call override and a SQL function are called without any pointer by which the library could be
 * found. So each hf_vfs has a number, and such a callback exists once for each number. A process with more
 * SQLite libraries than numbers goes without these callbacks in the later ones (PRAGMA holdfast says what is
 * on).
 */
#ifndef HF_SLOTS_H
#define HF_SLOTS_H

#include "vfs.h"

enum { HF_SLOTS = 32 };

/* Numbers by hand, because clang-format takes such a list apart anew each time. */
/* clang-format off */
#define HF_EACH_SLOT(X) \
  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) \
  X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) \
  X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) \
  X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
/* clang-format on */

extern hf_vfs *hf_slot[HF_SLOTS]; /* set once, before the callback of that number is handed out */

#endif
