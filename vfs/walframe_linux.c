/*
 * walframe_linux.c - two pieces of memory in one write.
 */
#include <sys/uio.h>

#include "walframe.h"

bool hf_walframe_both(int fd, const unsigned char *head, const void *page, int amount, sqlite3_int64 at)
{
  struct iovec both[] = {{(void *)head, HF_FRAME_HEAD}, {(void *)page, (size_t)amount}};

  return pwritev(fd, both, 2, (off_t)at) == HF_FRAME_HEAD + amount;
}
