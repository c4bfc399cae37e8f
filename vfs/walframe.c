/*
 * walframe.c - the head of a WAL frame waits for its page: one write for both.
 *
 * SQLite writes each frame in two calls, 24 bytes and then the page. A small commit is little else than
 * system calls, and this takes away one for each page: more than the look at the names costs (guard.c).
 * Nothing changes in the file, nor in its order: SQLite writes the page in its very next call, and makes the
 * frame known to readers and to recovery only after that.
 *
 * A head is held only where a new frame begins, behind the last one that this handle wrote. SQLite also
 * writes heads alone, when a page was changed again in a transaction that has outgrown the cache (all
 * checksums from there on change): those are of frames that are written already. And a page may be cut at a
 * sector by a sync: what is left of it can have 24 bytes, too, but does not lie where a frame begins.
 */
#include <stdlib.h>
#include <string.h>

#include "walframe.h"

enum { LOG_HEAD = 32, HEAD = 24, PAGE_SIZE_AT = 8, LEAST_PAGE = 512, MOST_PAGE = 16384 };

static int page_size_in(const unsigned char *log_head)
{
  const unsigned char *at = log_head + PAGE_SIZE_AT;
  return (at[0] | at[1]) ? 0 : at[2] << 8 | at[3]; /* 64 KiB: a copy is no cheaper than the call */
}

static void learn(hf_walframe *frame, const unsigned char *log_head)
{
  int page = page_size_in(log_head);

  if (page < LEAST_PAGE || page > MOST_PAGE || (page & (page - 1))) {
    frame->off = true;
    return;
  }
  if (page > frame->page) {
    free(frame->room);
    frame->room = malloc((size_t)(HEAD + page));
  }
  frame->off = !frame->room;
  frame->page = frame->off ? 0 : page;
}

/* The log was begun by somebody else, or before this handle was opened. */
static void learn_from_file(hf_walframe *frame, sqlite3_file *base)
{
  unsigned char log_head[LOG_HEAD];

  if (base->pMethods->xRead(base, log_head, LOG_HEAD, 0) == SQLITE_OK)
    learn(frame, log_head);
  else
    frame->off = true;
}

static bool begins_frame(hf_walframe *frame, sqlite3_file *base, int amount, sqlite3_int64 offset)
{
  if (frame->off || amount != HEAD || !frame->end || offset != frame->end) return false;
  if (!frame->page) learn_from_file(frame, base);
  return !frame->off && (offset - LOG_HEAD) % (HEAD + frame->page) == 0;
}

int hf_walframe_settle(hf_walframe *frame, sqlite3_file *base)
{
  if (!frame->held) return SQLITE_OK;
  frame->held = false;
  frame->end = frame->at + HEAD;
  return base->pMethods->xWrite(base, frame->room, HEAD, frame->at);
}

static int write_both(hf_walframe *frame, sqlite3_file *base, const void *page, int amount)
{
  memcpy(frame->room + HEAD, page, (size_t)amount);
  frame->end = frame->at + HEAD + amount;
  frame->held = false;
  return base->pMethods->xWrite(base, frame->room, HEAD + amount, frame->at);
}

int hf_walframe_write(hf_walframe *frame, sqlite3_file *base, const void *data, int amount,
                      sqlite3_int64 offset)
{
  int rc;

  if (frame->held && offset == frame->at + HEAD && amount <= frame->page)
    return write_both(frame, base, data, amount);
  if (begins_frame(frame, base, amount, offset)) {
    memcpy(frame->room, data, HEAD);
    frame->at = offset;
    frame->held = true;
    return SQLITE_OK;
  }
  rc = hf_walframe_settle(frame, base);
  if (rc == SQLITE_OK) rc = base->pMethods->xWrite(base, data, amount, offset);
  if (amount == LOG_HEAD && offset == 0 && rc == SQLITE_OK && !frame->off) learn(frame, data);
  /* What does not begin here nor follow what did is a page that was changed again. */
  frame->end = amount <= LOG_HEAD || offset == frame->end ? offset + amount : 0;
  return rc;
}
