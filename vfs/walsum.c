/*
 * walsum.c - the checksums that SQLite forgets.
 *
 * A transaction that has outgrown the cache writes pages to the -wal before it commits. When it changes such
 * a page once more, the frame is written over, and from then on SQLite writes frames without a checksum: it
 * is to make them all at commit, from the first frame that was changed (wal.c calls that iReCksum). ROLLBACK
 * TO, and a statement that fails, take the end of the log back to where it was before, but not that note:
 * frames written between the two are committed without a checksum. Readers do not look at it, so all seems
 * well; but whoever recovers the log, after a kill or a power cut, stops there: this commit and all later
 * ones are gone, and pages that a checkpoint has already copied do not fit the others: "malformed".
 * SQLite 3.15.0 to 3.45.1 do this, 3.51.1 does not (tests/proc/f28_savepoint).
 *
 * The cure: at commit SQLite reads the checksum of the frame before the one that it begins with. When that
 * one, or one before it, was written without, the missing ones are written first; and when it lies behind the
 * end of the log, the answer is that of the last frame, which the next transaction goes on from. A SQLite
 * without the bug never asks like that.
 */
#include "walsum.h"

#include <stdlib.h>

enum { LOG_HEAD = HF_LOG_HEAD, HEAD = HF_FRAME_HEAD, SALT_AT = HF_FRAME_SALT_AT, SUM = 8, SUM_AT = 16 };
enum { LOG_SALT_AT = 16, LOG_SUM_AT = 24 };

/* ---------------------------------------------------------------- the format */

static uint32_t get(const unsigned char *at)
{
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put(unsigned char *at, uint32_t value)
{
  for (int i = 0; i < 4; i++) at[i] = (unsigned char)(value >> (24 - 8 * i));
}

static uint32_t word(const unsigned char *at, bool big)
{
  return big ? get(at) : (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

static void add(uint32_t sums[2], bool big, const unsigned char *bytes, int size)
{
  for (int i = 0; i < size; i += SUM) {
    sums[0] += word(bytes + i, big) + sums[1];
    sums[1] += word(bytes + i + 4, big) + sums[0];
  }
}

/* ---------------------------------------------------------------- frames without a checksum */

static bool is_zero(const unsigned char *bytes, int size)
{
  while (size > 0 && !bytes[size - 1]) size--;
  return size == 0;
}

/* What is left of a page that a sync has cut in two can have 24 bytes, too. */
static bool begins_frame(hf_walsum *sum, sqlite3_file *base, sqlite3_int64 offset)
{
  unsigned char log_head[LOG_HEAD];

  if (!sum->page && base->pMethods->xRead(base, log_head, LOG_HEAD, 0) == SQLITE_OK)
    sum->page = hf_log_page_size(log_head);
  return sum->page && offset >= LOG_HEAD && (offset - LOG_HEAD) % (HEAD + sum->page) == 0;
}

void hf_walsum_zeros(hf_walsum *sum, sqlite3_file *base, const void *data, sqlite3_int64 offset)
{
  if (!is_zero((const unsigned char *)data + SALT_AT, HEAD - SALT_AT)) {
    sum->unsummed = 0;
    return;
  }
  if (!begins_frame(sum, base, offset)) return;
  if (!sum->unsummed || offset < sum->unsummed) sum->unsummed = offset;
  sum->last = offset;
}

/* From `unsummed` to the frame that begins at `to`, going on from what comes before; leaves the last in sums.
 */
static int write_sums(hf_walsum *sum, sqlite3_file *base, sqlite3_int64 to, uint32_t sums[2])
{
  int (*read)(sqlite3_file *, void *, int, sqlite3_int64) = base->pMethods->xRead, size = HEAD + sum->page;
  unsigned char log_head[LOG_HEAD], before[SUM], *frame = malloc((size_t)size);
  sqlite3_int64 at = sum->unsummed;
  int rc = frame ? read(base, log_head, LOG_HEAD, 0) : SQLITE_NOMEM;
  bool big = rc == SQLITE_OK && (log_head[3] & 1);

  if (rc == SQLITE_OK) rc = read(base, before, SUM, at == LOG_HEAD ? LOG_SUM_AT : at - size + SUM_AT);
  if (rc == SQLITE_OK) {
    sums[0] = get(before);
    sums[1] = get(before + 4);
  }
  for (; rc == SQLITE_OK && at <= to; at += size) {
    rc = read(base, frame, size, at);
    if (rc) break;
    add(sums, big, frame, SALT_AT);
    add(sums, big, frame + HEAD, sum->page);
    memcpy(frame + SALT_AT, log_head + LOG_SALT_AT, SUM_AT - SALT_AT);
    put(frame + SUM_AT, sums[0]);
    put(frame + SUM_AT + 4, sums[1]);
    rc = base->pMethods->xWrite(base, frame, HEAD, at);
    sum->mended++;
  }
  free(frame);
  return rc;
}

int hf_walsum_read(hf_walsum *sum, sqlite3_file *base, void *data, int amount, sqlite3_int64 offset)
{
  sqlite3_int64 to = offset - SUM_AT;
  uint32_t sums[2];
  int rc;

  sum->mended = 0;
  if (to < sum->unsummed || (to - LOG_HEAD) % (HEAD + sum->page))
    return base->pMethods->xRead(base, data, amount, offset);
  rc = write_sums(sum, base, to < sum->last ? to : sum->last, sums);
  if (rc) return rc;
  sum->unsummed = 0;
  put(data, sums[0]);
  put((unsigned char *)data + 4, sums[1]);
  return SQLITE_OK;
}
