/*
 * walsum.h - SQLite's bug before 3.50.2: frames that are committed without a checksum.
 */
#ifndef HF_WALSUM_H
#define HF_WALSUM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "hot.h"
#include "walframe.h"

/* One for each open -wal, all zero at first. Used by one thread at a time, as the file is. */
typedef struct hf_walsum {
  int page;               /* bytes of a page, 0 = not known yet */
  sqlite3_int64 unsummed; /* where the first frame without a checksum begins, 0 = there is none */
  sqlite3_int64 last;     /* where the last one does */
  int mended;             /* frames, by the last look */
} hf_walsum;

/* Before a write to the -wal. */
void hf_walsum_zeros(hf_walsum *sum, sqlite3_file *base, const void *data, sqlite3_int64 offset);
static inline void hf_walsum_look(hf_walsum *sum, sqlite3_file *base, const void *data, int amount,
                                  sqlite3_int64 offset)
{
  uint64_t salt;

  if (amount != HF_FRAME_HEAD) return;
  memcpy(&salt, (const char *)data + HF_FRAME_SALT_AT, sizeof salt);
  if (HF_LIKELY(salt))
    sum->unsummed = 0; /* SQLite makes checksums again, of all that had none */
  else
    hf_walsum_zeros(sum, base, data, offset);
}

/* May this read be the one that is answered by hf_walsum_read()? */
static inline bool hf_walsum_owes(const hf_walsum *sum, int amount)
{
  return amount == 8 && sum->unsummed;
}
/* As xRead of `base`. Writes the checksums that are missing, if this is SQLite going to begin behind them;
 * `mended` says how many. */
int hf_walsum_read(hf_walsum *sum, sqlite3_file *base, void *data, int amount, sqlite3_int64 offset);

#endif
