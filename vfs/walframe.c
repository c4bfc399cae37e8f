/*
 * walframe.c - the head of a WAL frame waits for its page: one write for both.
 *
 * SQLite writes each frame in two calls, 24 bytes and then the page. A small commit is little else than
 * system calls, and this takes away one for each page: more than the look at the names costs (guard.c).
 * Nothing changes in the file, nor in its order: SQLite writes the page in its very next call, and makes the
 * frame known to readers and to recovery only after that. Whatever goes wrong is left to the base, which
 * writes both again and has the words for it.
 *
 * A head is held only where a new frame begins, behind the last one that this handle wrote. SQLite also
 * writes heads alone, when a page was changed again in a transaction that has outgrown the cache (all
 * checksums from there on change): those are of frames that are written already. And a page may be cut at a
 * sector by a sync: what is left of it can have 24 bytes, too, but does not lie where a frame begins.
 */
#include "walframe.h"

#include <string.h>

#include "hot.h"

enum { LOG_HEAD = HF_LOG_HEAD, HEAD = HF_FRAME_HEAD, PAGE_SIZE_AT = 8, LEAST_PAGE = 512, MOST_PAGE = 65536 };

int hf_log_page_size(const unsigned char *log_head)
{
  const unsigned char *at = log_head + PAGE_SIZE_AT;
  int page = at[0] ? 0 : at[1] << 16 | at[2] << 8 | at[3];

  return page < LEAST_PAGE || page > MOST_PAGE || (page & (page - 1)) ? 0 : page;
}

/* The page size; none where heads are not held. */
static void learn(hf_walframe *frame, const unsigned char *log_head)
{
  frame->page = hf_log_page_size(log_head);
  if (!frame->page) frame->fd = -1;
}

/* The log was begun by somebody else, or before this handle was opened. */
static void learn_from_file(hf_walframe *frame, sqlite3_file *base)
{
  unsigned char log_head[LOG_HEAD];

  if (base->pMethods->xRead(base, log_head, LOG_HEAD, 0) == SQLITE_OK)
    learn(frame, log_head);
  else
    frame->fd = -1;
}

static inline bool begins_frame(const hf_walframe *frame, int amount, sqlite3_int64 offset)
{
  return amount == HEAD && frame->page && offset == frame->end &&
         (offset - LOG_HEAD) % (HEAD + frame->page) == 0;
}

int hf_walframe_settle(hf_walframe *frame, sqlite3_file *base)
{
  if (!frame->held) return SQLITE_OK;
  frame->held = false;
  frame->end = frame->at + HEAD;
  return base->pMethods->xWrite(base, frame->head, HEAD, frame->at);
}

static HF_SLOW int write_as_it_is(hf_walframe *frame, sqlite3_file *base, const void *data, int amount,
                                  sqlite3_int64 offset)
{
  int rc = hf_walframe_settle(frame, base);

  if (rc == SQLITE_OK) rc = base->pMethods->xWrite(base, data, amount, offset);
  if (frame->fd >= 0 && rc == SQLITE_OK) {
    if (amount == LOG_HEAD && offset == 0) learn(frame, data);
    if (amount == HEAD && offset == frame->end && !frame->page) learn_from_file(frame, base);
  }
  /* What does not begin here nor follow what did is a page that was changed again. */
  frame->end = amount <= LOG_HEAD || offset == frame->end ? offset + amount : 0;
  return rc;
}

int hf_walframe_write(hf_walframe *frame, sqlite3_file *base, const void *data, int amount,
                      sqlite3_int64 offset)
{
  if (frame->held) {
    if (HF_LIKELY(offset == frame->at + HEAD && amount <= frame->page &&
                  hf_walframe_both(frame->fd, frame->head, data, amount, frame->at))) {
      frame->held = false;
      frame->end = offset + amount;
      return SQLITE_OK;
    }
  } else if (HF_LIKELY(begins_frame(frame, amount, offset))) {
    memcpy(frame->head, data, HEAD);
    frame->at = offset;
    frame->held = true;
    return SQLITE_OK;
  }
  return write_as_it_is(frame, base, data, amount, offset);
}
