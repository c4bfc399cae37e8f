/*
 * immune_linux.c - kernel-held locks, owned: SQLite's POSIX calls become OFD calls on the private descriptor.
 *
 * Same bytes, same types, same answers; another owner. A close() anywhere in the process, a second SQLite
 * library, a raw reader: none can drop or pass these locks. Which descriptor it is, is records_linux.c's
 * business.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>

#include "fork.h"
#include "records.h"

static void track(hf_record *record, short type, unsigned units)
{
  record->read_held = (uint16_t)(type == F_RDLCK ? record->read_held | units : record->read_held & ~units);
  record->write_held = (uint16_t)(type == F_WRLCK ? record->write_held | units : record->write_held & ~units);
}

/* Whose lock stands in the way? l_pid is -1 for an OFD lock; SQLite does not look at it. */
static int ask(const hf_record *record, struct flock *lock)
{
  struct flock question = *lock;
  int rc;

  question.l_pid = 0;
  rc = fcntl(record->fd, F_OFD_GETLK, &question);
  if (rc == 0) *lock = question;
  return rc;
}

int hf_immune_lock(hf_record *record, int cmd, struct flock *lock, bool fd_writable)
{
  int rc;

  if (cmd == F_GETLK) return ask(record, lock);
  if (lock->l_type == F_WRLCK && !fd_writable) { /* as the kernel answers for the descriptor that was named */
    errno = EBADF;
    return -1;
  }
  rc = hf_record_set(record->fd, lock->l_type, lock->l_start, lock->l_len, cmd == F_SETLKW);
  /* A descriptor for reading only will be replaced by a writer's, which takes copies of its locks. */
  if (rc == 0 && !record->writable) track(record, lock->l_type, hf_units_of(lock->l_start, lock->l_len));
  return rc;
}

void hf_record_track(hf_record *record, const struct flock *lock)
{
  track(record, lock->l_type, hf_units_of(lock->l_start, lock->l_len));
}
