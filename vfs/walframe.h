/*
 * walframe.h - the head of a WAL frame waits for its page: one write for both.
 */
#ifndef HF_WALFRAME_H
#define HF_WALFRAME_H

#include <stdbool.h>

#include "api.h"

/* Of the file format: sizes, and where in a frame's head the salts are. */
enum { HF_LOG_HEAD = 32, HF_FRAME_HEAD = 24, HF_FRAME_SALT_AT = 8 };
/* Bytes of a page as the log's head has it, 0 = none that can be. */
int hf_log_page_size(const unsigned char *log_head);

/* One for each open -wal, all zero but `fd` at first. Used by one thread at a time, as the file is. */
typedef struct hf_walframe {
  int fd;            /* the descriptor of the base, -1 = not on this file */
  int page;          /* bytes of a page, 0 = not known yet */
  sqlite3_int64 end; /* where the last frame that was written ends, 0 = not known */
  sqlite3_int64 at;  /* where the head belongs that */
  bool held;         /* waits in `head` */
  unsigned char head[HF_FRAME_HEAD];
} hf_walframe;

/* As xWrite of `base`. SQLITE_OK may mean that a head is held: the page follows in the next call. */
int hf_walframe_write(hf_walframe *frame, sqlite3_file *base, const void *data, int amount,
                      sqlite3_int64 offset);
/* Before anything else is done with the file: a head that is held is written. */
int hf_walframe_settle(hf_walframe *frame, sqlite3_file *base);
/* What is held is forgotten: its page was refused. */
static inline void hf_walframe_forget(hf_walframe *frame)
{
  frame->held = false;
  frame->end = 0;
}

/* walframe_<os>.c: both, one behind the other; false = not, or not all: to be written in another way. */
bool hf_walframe_both(int fd, const unsigned char *head, const void *page, int amount, sqlite3_int64 at);

#endif
