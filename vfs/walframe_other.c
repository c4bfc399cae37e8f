/*
 * walframe_other.c - where it has not been tried: head and page are written one after the other.
 */
#include "walframe.h"

bool hf_walframe_both(int fd, const unsigned char *head, const void *page, int amount, sqlite3_int64 at)
{
  (void)fd, (void)head, (void)page, (void)amount, (void)at;
  return false;
}
