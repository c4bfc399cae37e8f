/*
 * records_other.c - systems without OFD locks and /proc: no record is ever made, every lock is left as SQLite
 * takes it.
 */
#include "records.h"

#include <errno.h>

#include "slots.h"

_Atomic(_Atomic(int) *) hf_short_of[HF_SLOTS];
_Atomic(_Atomic(uintptr_t) *) hf_users_of[HF_SLOTS];
unsigned hf_records_generation;

void hf_records_let_go(void) {}
bool hf_records_start(int slot)
{
  (void)slot;
  return false; /* nothing is overridden then, and none of the functions below is called */
}
hf_record *hf_record_of(int slot, int fd, bool *fd_writable)
{
  (void)slot, (void)fd, (void)fd_writable;
  return NULL;
}
bool hf_record_closing(int slot, int fd, bool *say)
{
  (void)slot, (void)fd, (void)say;
  return false;
}
int hf_record_reopen(int slot, const char *path, int flags)
{
  (void)slot, (void)path, (void)flags;
  return -1;
}
void hf_record_opened(int slot, int fd)
{
  (void)slot, (void)fd;
}
void hf_record_shorten(const hf_record *record, int fd, bool fd_writable)
{
  (void)record, (void)fd, (void)fd_writable;
}
void hf_records_give_back(int slot)
{
  (void)slot;
}
bool hf_record_ready(hf_record *record, int fd, bool fd_writable)
{
  (void)record, (void)fd, (void)fd_writable;
  errno = ENOTSUP;
  return false;
}
void hf_record_take_over(hf_record *record, int fd, bool writable, const struct flock *lock)
{
  (void)record, (void)fd, (void)writable, (void)lock;
}
void hf_record_track(hf_record *record, const struct flock *lock)
{
  (void)record, (void)lock;
}
int hf_record_lock_fd(int slot, dev_t device, ino_t inode, bool *writable)
{
  (void)slot, (void)device, (void)inode, (void)writable;
  return -1;
}
void hf_record_distrust(int slot, dev_t device, ino_t inode)
{
  (void)slot, (void)device, (void)inode;
}
hf_held hf_record_verify(int slot, dev_t device, ino_t inode)
{
  (void)slot, (void)device, (void)inode;
  return HF_HELD_UNKNOWN;
}
int hf_record_links(int slot, dev_t device, ino_t inode)
{
  (void)slot, (void)device, (void)inode;
  return -1;
}
bool hf_record_ask(int slot, dev_t device, ino_t inode, int unit, bool *write, int64_t *pid)
{
  (void)slot, (void)device, (void)inode, (void)unit, (void)write, (void)pid;
  return false;
}

int hf_record_descriptor(int slot, dev_t device, ino_t inode)
{
  (void)slot, (void)device, (void)inode;
  return -1;
}
const char *hf_record_state(int slot, dev_t device, ino_t inode)
{
  (void)slot, (void)device, (void)inode;
  return "none";
}
int hf_immune_lock(hf_record *record, int cmd, struct flock *lock, bool fd_writable)
{
  (void)record, (void)cmd, (void)lock, (void)fd_writable;
  errno = ENOTSUP;
  return -1;
}
