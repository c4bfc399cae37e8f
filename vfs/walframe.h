/*
 * walframe.h - the head of a WAL frame waits for its page: one write for both.
 */
#ifndef HF_WALFRAME_H
#define HF_WALFRAME_H

#include <stdbool.h>

#include "api.h"

/* One for each open -wal, all zero at first. Used by one thread at a time, as the file is. */
typedef struct hf_walframe {
  unsigned char *room; /* a head and a page */
  int page;            /* bytes of a page, 0 = not known yet */
  sqlite3_int64 end;   /* where the last page that was written ends, 0 = not known */
  sqlite3_int64 at;    /* where the head belongs that */
  bool held;           /* waits in `room` */
  bool off;            /* not on this file */
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

#endif
