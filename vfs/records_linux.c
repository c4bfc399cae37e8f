/*
 * records_linux.c - the records of inodes and the private descriptors that carry their locks.
 *
 * Which rule (ofd.md names them) cost which bug: one descriptor for each inode and library, opened through
 * /proc/self/fd so that it is the right file whatever its name is by now; a writer's descriptor takes copies
 * of the read locks before the reader's goes; inodes that were open before we came stay as they are until
 * that is provably safe; a forked child lets go of everything; and since our own close() of a descriptor
 * drops the POSIX locks of another SQLite library in this process, such descriptors are kept open and given
 * out again.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "records.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fork.h"
#include "neighbours.h"
#include "slots.h"

enum { POOL = 64, HIGH_MAX = 4096 };

enum { WRITABLE = HF_FD_WRITABLE, OPENED = HF_FD_OPENED };
_Atomic(_Atomic(uintptr_t) *) hf_users_of[HF_SLOTS];
_Atomic(_Atomic(int) *) hf_short_of[HF_SLOTS];
enum { USERS_SIZE = HF_FDS * sizeof(uintptr_t), SHORT_SIZE = HF_FDS * sizeof(int) };
static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static hf_record *records;
static hf_record pool[POOL]; /* so that an ordinary process never allocates one, and never lacks one */
static bool pooled[POOL];

/* ---------------------------------------------------------------- private descriptors */

int hf_record_move_up(int fd, int lowest)
{
  int high, error;

  if (fd < 0 || fd >= lowest) return fd;
  high = fcntl(fd, F_DUPFD_CLOEXEC, lowest);
  error = errno;
  if (high < 0 && fd > 2) return fd;
  close(fd);
  errno = error;
  return high;
}

/*
 * On a server the number is a high one: a killed process closes its descriptors in their order, and the lock
 * must not go before the journal was sent (F26).
 */
int hf_record_high(void)
{
  struct rlimit limit;

  if (getrlimit(RLIMIT_NOFILE, &limit)) return 3;
  if (limit.rlim_cur > HIGH_MAX) limit.rlim_cur = HIGH_MAX;
  return limit.rlim_cur > 256 ? (int)limit.rlim_cur - 64 : 3;
}

/* A program that closed its streams must not print into a database. */
static int lowest_for(const hf_record *record)
{
  return record->kind == HF_KIND_NFS ? hf_record_high() : 3;
}

static bool same_file(int fd, const hf_record *record)
{
  struct stat st;
  return fstat(fd, &st) == 0 && st.st_dev == record->device && st.st_ino == record->inode;
}

int hf_record_open_again(int fd, hf_record *record, bool writable)
{
  char path[40];
  int got;

  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  if (record->kind == HF_KIND_SMB) return hf_smb_open(path, writable, record);
  got = hf_record_move_up(open(path, O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (writable ? O_RDWR : O_RDONLY)),
                          lowest_for(record));
  /* Wrong file: it stays open, since closing it could drop somebody's locks there. It cannot happen twice. */
  if (got >= 0 && same_file(got, record)) return got;
  /* No /proc, or privileges were dropped: share SQLite's own description. Its locks stay when SQLite closes
   * it. Never after a fork: that description is the parent's, too, and so would be our locks. */
  if (record->inherited) return -1;
  return fcntl(fd, F_DUPFD_CLOEXEC, lowest_for(record));
}

int hf_record_set(int fd, short type, off_t start, off_t length, bool wait)
{
  /* l_pid must be 0 for OFD calls; SQLite leaves it uninitialised. */
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock);
}

static int set_as(const hf_record *record, int fd, short type, off_t start, off_t length)
{
  return record->kind == HF_KIND_SMB ? hf_smb_set(fd, type, start, length)
                                     : hf_record_set(fd, type, start, length, false);
}

static bool copy_read_locks(const hf_record *record, int to)
{
  for (int i = 0; i < HF_UNITS; i++) {
    off_t start, length;
    if (!(record->read_held & 1u << i)) continue;
    hf_unit_range(i, &start, &length);
    if (set_as(record, to, F_RDLCK, start, length)) return false;
  }
  return true;
}

static bool is_owned(const hf_record *record)
{
  return record->kind == HF_KIND_OWN || record->kind == HF_KIND_NFS;
}

/* What a fork child has inherited belongs to its parent, whose locks live on in the parent's own copy. */
static void let_go(hf_record *record)
{
  if (record->fd >= 0) close(record->fd);
  if (record->old_fd >= 0) close(record->old_fd);
  if (record->claim_fd >= 0) close(record->claim_fd);
  record->fd = record->old_fd = record->claim_fd = -1;
  record->read_held = record->write_held = 0;
  record->own_pending = record->rolling_back = record->lost = false;
  record->inherited = true;
  record->generation = hf_generation();
}

bool hf_record_ready(hf_record *record, int fd, bool fd_writable)
{
  int got, error;

  if (record->generation != hf_generation()) let_go(record);
  if (record->fd >= 0 && (record->writable || !fd_writable)) return true;
  got = hf_record_open_again(fd, record, fd_writable);
  if (got < 0) return false;
  if (record->fd >= 0 && !copy_read_locks(record, got)) { /* cannot conflict with our own; out of memory */
    error = errno;
    close(got);
    errno = error;
    return false;
  }
  if (record->fd >= 0) {
    (void)set_as(record, record->fd, F_UNLCK, 0, 0); /* the copies hold */
    record->old_fd = record->fd;
  }
  record->fd = got;
  record->writable = fd_writable;
  return true;
}

/* ---------------------------------------------------------------- records */

static hf_record *find(int slot, dev_t device, ino_t inode)
{
  for (hf_record *one = records; one; one = one->next)
    if (one->slot == slot && one->device == device && one->inode == inode) return one;
  return NULL;
}

static hf_record *allocate(void)
{
  hf_record *made = NULL;

  pthread_mutex_lock(&table);
  for (int i = 0; i < POOL && !made; i++) {
    if (pooled[i]) continue;
    pooled[i] = true;
    made = memset(&pool[i], 0, sizeof pool[i]);
  }
  pthread_mutex_unlock(&table);
  return made ? made : calloc(1, sizeof *made);
}

static void release(hf_record *gone)
{
  if (gone >= pool && gone < pool + POOL)
    pooled[gone - pool] = false;
  else
    free(gone);
}

static hf_record *make(int slot, int fd, const struct stat *st, bool writable)
{
  hf_record *made = allocate();

  if (!made) return NULL;
  made->device = st->st_dev;
  made->inode = st->st_ino;
  made->slot = slot;
  made->fd = made->old_fd = made->claim_fd = -1;
  made->generation = hf_generation();
  made->kind = made->own_kind = hf_lockkind_of(fd, st->st_dev);
  if (is_owned(made) && (!hf_lockkind_has_ofd(fd) || !hf_record_ready(made, fd, writable)))
    made->kind = HF_KIND_PASS; /* a kernel or container without OFD locks */
  if (is_owned(made) && hf_neighbour_early(slot, st->st_dev, st->st_ino)) {
    made->early = true;
    made->kind = HF_KIND_PASS;
  }
  if (made->kind == HF_KIND_PASS && made->fd < 0 && hf_lockkind_verifiable(fd, st->st_dev))
    (void)hf_record_ready(made, fd, writable);
  return made;
}

/*
 * An inode that was open before we came: by this library, whose POSIX locks must then be left alone, or by
 * other code of the process. SQLite asks for a read lock on PENDING, or for the dead man's switch of a -shm,
 * only when the library holds no lock on that inode at all. So at that moment, inside SQLite's mutex of the
 * inode, it is safe to take it over.
 */
void hf_record_take_over(hf_record *record, int fd, bool writable, const struct flock *lock)
{
  unsigned units = hf_units_of(lock->l_start, lock->l_len);
  bool nothing_held = (units == HF_UNIT_PENDING && lock->l_type == F_RDLCK) || units == HF_UNIT_SHM0 << 8;

  if (!nothing_held || !hf_record_ready(record, fd, writable)) return;
  record->early = false;
  record->read_held = record->write_held = 0;
  record->kind = record->own_kind;
}

static void unlink_record(hf_record *gone)
{
  for (hf_record **link = &records; *link; link = &(*link)->next)
    if (*link == gone) {
      *link = gone->next;
      break;
    }
  /* Unlocked by word and not by the close: a fork child in its first instructions may still hold a copy. */
  if (gone->fd >= 0 && gone->generation == hf_generation() && gone->kind != HF_KIND_PASS)
    (void)set_as(gone, gone->fd, F_UNLCK, 0, 0);
  if (gone->fd >= 0) close(gone->fd);
  if (gone->old_fd >= 0) close(gone->old_fd);
  if (gone->claim_fd >= 0) close(gone->claim_fd); /* last: until then the handle may be known */
  release(gone);
}

/* ---------------------------------------------------------------- descriptors of SQLite */

void hf_record_shorten(const hf_record *record, int fd, bool fd_writable)
{
  _Atomic(int) *shorts = atomic_load_explicit(&hf_short_of[record->slot], memory_order_acquire);

  if (is_owned(record) && record->fd >= 0 && fd < HF_FDS)
    atomic_store_explicit(&shorts[fd], fd_writable ? record->fd : HF_SHORT_READ, memory_order_relaxed);
}

/* Call with `table` held. keep = other code of this process has the inode open: no descriptor of it may be
 * closed. */
static void leave(int slot, int fd, bool keep)
{
  _Atomic(uintptr_t) *entry = hf_record_entry(slot, fd);
  hf_record *record = hf_record_untag(atomic_load(entry));

  atomic_store(&hf_short_of[slot][fd], 0);
  atomic_store(entry, 0);
  if (--record->users == 0 && !keep) unlink_record(record);
}

static hf_record *attach(int slot, int fd, bool *fd_writable)
{
  _Atomic(uintptr_t) *entry = hf_record_entry(slot, fd);
  hf_record *record = NULL, *fresh;
  struct stat st;

  errno = 0;
  if (!entry || fstat(fd, &st)) return NULL;
  *fd_writable = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
  pthread_mutex_lock(&table);
  record = find(slot, st.st_dev, st.st_ino);
  pthread_mutex_unlock(&table);
  /* Made without the mutex, since a server may have to answer. SQLite's mutex of this inode keeps others
   * away. */
  fresh = record ? NULL : make(slot, fd, &st, *fd_writable);
  if (!record && !fresh) errno = ENOMEM;
  pthread_mutex_lock(&table);
  if (fresh) {
    fresh->next = records;
    records = record = fresh;
  }
  if (record) {
    record->users++;
    atomic_store_explicit(entry, (uintptr_t)record | (*fd_writable ? WRITABLE : 0), memory_order_release);
  }
  pthread_mutex_unlock(&table);
  return record;
}

hf_record *hf_record_of(int slot, int fd, bool *fd_writable)
{
  _Atomic(uintptr_t) *entry = hf_record_entry(slot, fd);
  uintptr_t value = entry ? atomic_load_explicit(entry, memory_order_acquire) : 0;

  if (!hf_record_untag(value)) return attach(slot, fd, fd_writable);
  *fd_writable = (value & WRITABLE) != 0;
  return hf_record_untag(value);
}

void hf_record_opened(int slot, int fd)
{
  _Atomic(uintptr_t) *entry = hf_record_entry(slot, fd);

  if (!entry) return;
  if (hf_record_untag(atomic_load_explicit(entry, memory_order_acquire))) {
    pthread_mutex_lock(&table);
    if (hf_record_untag(atomic_load(entry))) leave(slot, fd, false);
    pthread_mutex_unlock(&table);
  }
  atomic_store_explicit(entry, OPENED, memory_order_release);
}

/* ---------------------------------------------------------------- closing, keeping, giving back */

static bool is_ours(int fd)
{
  if (hf_parked_has(fd)) return true;
  for (const hf_record *one = records; one; one = one->next)
    if (one->fd == fd || one->old_fd == fd) return true;
  for (int slot = 0; slot < HF_SLOTS; slot++) {
    _Atomic(uintptr_t) *entry = hf_record_entry(slot, fd);
    if (entry && atomic_load(entry)) return true;
  }
  return false;
}

static void mark(dev_t device, ino_t inode)
{
  hf_parked_mark(device, inode);
  for (hf_record *one = records; one; one = one->next)
    one->marked = one->marked || (one->device == device && one->inode == inode);
}

/* What was kept for a neighbour's sake, parked descriptors and records without users, goes when he has gone.
 */
static void sweep(bool all)
{
  hf_record *next;

  if (!all && hf_parked_count == 0) return;
  hf_parked_unmark();
  for (hf_record *one = records; one; one = one->next) one->marked = false;
  if (!all && !hf_neighbours_each(mark, is_ours)) return;
  for (hf_record *one = records; one && !all; one = one->next)
    if (one->met) mark(one->device, one->inode);
  hf_parked_close_unmarked();
  for (hf_record *one = records; one; one = next) {
    next = one->next;
    if (one->users == 0 && !one->marked) unlink_record(one);
  }
}

bool hf_record_closing(int slot, int fd, bool *say)
{
  _Atomic(uintptr_t) *entry = hf_record_entry(slot, fd);
  hf_record *record;
  uintptr_t value;
  bool keep = false;

  value = entry ? atomic_load_explicit(entry, memory_order_acquire) : 0;
  if (!value) return false;
  /* It has not locked: a journal, or a database that was only opened, whose close matters where a neighbour
   * is. */
  if (value == OPENED) {
    bool writable;
    if (!atomic_load_explicit(&hf_neighbour_ever, memory_order_relaxed) || !attach(slot, fd, &writable)) {
      atomic_store_explicit(entry, 0, memory_order_release);
      return false;
    }
  }
  pthread_mutex_lock(&table);
  record = hf_record_untag(atomic_load(entry));
  if (record) {
    keep = is_owned(record) && record->generation == hf_generation() &&
           (record->met || hf_neighbour_present(record->device, record->inode, is_ours));
    /* Who was here once may come back between the look and the close. */
    record->met = record->met || (keep && hf_neighbour_seen());
    if (keep) hf_parked_add(slot, fd, record->device, record->inode);
    *say = keep && !record->said && record->met;
    record->said = record->said || *say;
    leave(slot, fd, keep);
    if (!keep) sweep(false);
  }
  pthread_mutex_unlock(&table);
  return keep;
}

int hf_record_reopen(int slot, const char *path, int flags)
{
  struct stat st;
  int fd = -1;

  if (flags & (O_EXCL | O_TRUNC) || stat(path, &st)) return -1;
  pthread_mutex_lock(&table);
  fd = hf_parked_take(slot, st.st_dev, st.st_ino, flags & O_ACCMODE);
  sweep(false);
  pthread_mutex_unlock(&table);
  return fd;
}

void hf_records_give_back(int slot)
{
  (void)slot;
  pthread_mutex_lock(&table);
  sweep(true);
  pthread_mutex_unlock(&table);
}

/* ---------------------------------------------------------------- start and fork */

static void before_fork(void)
{
  pthread_mutex_lock(&table);
}
static void after_fork(void)
{
  pthread_mutex_unlock(&table);
}

unsigned hf_records_generation;

static void let_go_of_all(void)
{
  /* Before Linux 4.14 the kernel does not empty them. */
  for (int slot = 0; slot < HF_SLOTS; slot++)
    if (hf_short_of[slot]) (void)madvise(hf_short_of[slot], SHORT_SIZE, MADV_DONTNEED);
  for (hf_record *one = records; one; one = one->next) {
    if (one->kind == HF_KIND_PASS && !one->early) continue;
    if (one->generation != hf_generation()) let_go(one); /* else this child has used it already */
  }
  hf_records_generation = hf_generation();
}

/* Only what is safe in a signal handler: close() and plain stores. The mutex is this thread's, taken before
 * the fork. */
static void in_child(void)
{
  let_go_of_all();
  pthread_mutex_unlock(&table);
}

void hf_records_let_go(void)
{
  pthread_mutex_lock(&table);
  if (hf_records_generation != hf_generation()) let_go_of_all();
  pthread_mutex_unlock(&table);
}

static void start_once(void)
{
  hf_fork_start(); /* first, so that the generation is right when in_child() runs */
  hf_records_generation = hf_generation();
  (void)pthread_atfork(before_fork, after_fork, in_child);
}

/* Twelve megabytes of addresses, of which the pages of the descriptors in use get memory. */
static void *addresses(size_t size)
{
  void *got = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return got == MAP_FAILED ? NULL : got;
}

bool hf_records_start(int slot)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  void *users, *shorts;

  pthread_once(&once, start_once);
  if (atomic_load(&hf_users_of[slot])) return true;
  if (!hf_neighbours_start(slot)) return false;
  users = addresses(USERS_SIZE);
  if (!users) return false;
  shorts = addresses(SHORT_SIZE);
  if (!shorts) {
    munmap(users, USERS_SIZE);
    return false;
  }
  (void)madvise(shorts, SHORT_SIZE, MADV_WIPEONFORK); /* else let_go_of_all() does it */
  atomic_store_explicit(&hf_short_of[slot], (_Atomic(int) *)shorts, memory_order_release);
  atomic_store_explicit(&hf_users_of[slot], (_Atomic(uintptr_t) *)users, memory_order_release);
  return true;
}

/* ---------------------------------------------------------------- verification */

hf_held hf_record_verify(int slot, dev_t device, ino_t inode)
{
  hf_record *record;
  hf_held held = HF_HELD_UNKNOWN;

  pthread_mutex_lock(&table);
  record = find(slot, device, inode);
  if (record && is_owned(record)) held = HF_HELD_OWNED;
  if (record && record->kind == HF_KIND_PASS && record->fd >= 0)
    held = record->write_held ? hf_posix_held(record->fd, record->write_held)
                              : hf_posix_shared(record->fd, record->read_held);
  pthread_mutex_unlock(&table);
  return held;
}

int hf_record_links(int slot, dev_t device, ino_t inode)
{
  const hf_record *record;
  struct stat st;
  int links = -1;

  pthread_mutex_lock(&table);
  record = find(slot, device, inode);
  if (record && record->fd >= 0 && record->kind != HF_KIND_SMB && fstat(record->fd, &st) == 0)
    links = (int)st.st_nlink;
  pthread_mutex_unlock(&table);
  return links;
}

/*
 * Where a server answers, the question is asked without the mutex. The descriptor may be closed meanwhile, or
 * even be another file's: then the answer is wrong and nothing else.
 */
bool hf_record_ask(int slot, dev_t device, ino_t inode, int unit, bool *write, int64_t *pid)
{
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  const hf_record *record;
  int fd, rc = -1;

  hf_unit_range(unit, &lock.l_start, &lock.l_len);
  pthread_mutex_lock(&table);
  record = find(slot, device, inode);
  /* cifs answers by taking the lock: that would be in others' way. */
  fd = record && record->kind != HF_KIND_SMB ? atomic_load_explicit(&record->fd, memory_order_relaxed) : -1;
  if (fd >= 0 && !hf_lockkind_on_server(device)) {
    rc = fcntl(fd, F_OFD_GETLK, &lock);
    fd = -1;
  }
  pthread_mutex_unlock(&table);
  if (fd >= 0) rc = fcntl(fd, F_OFD_GETLK, &lock);
  if (rc || lock.l_type == F_UNLCK) return false;
  *write = lock.l_type == F_WRLCK;
  *pid = lock.l_pid > 0 ? lock.l_pid : 0;
  return true;
}

int hf_record_descriptor(int slot, dev_t device, ino_t inode)
{
  const hf_record *record;
  int fd = -1;

  pthread_mutex_lock(&table);
  record = find(slot, device, inode);
  if (record && record->kind == HF_KIND_NFS && record->generation == hf_generation()) fd = record->fd;
  pthread_mutex_unlock(&table);
  return fd;
}

int hf_record_lock_fd(int slot, dev_t device, ino_t inode, bool *writable)
{
  const hf_record *record;
  int fd = -1;

  pthread_mutex_lock(&table);
  record = find(slot, device, inode);
  if (record && record->kind == HF_KIND_SMB && record->generation == hf_generation()) fd = record->fd;
  if (record) *writable = record->writable;
  pthread_mutex_unlock(&table);
  return fd;
}

void hf_record_distrust(int slot, dev_t device, ino_t inode)
{
  hf_record *record;

  pthread_mutex_lock(&table);
  record = find(slot, device, inode);
  if (record && record->kind == HF_KIND_SMB) atomic_store(&record->distrusted, true);
  pthread_mutex_unlock(&table);
}

const char *hf_record_state(int slot, dev_t device, ino_t inode)
{
  const char *word = "none";
  const hf_record *record;

  pthread_mutex_lock(&table);
  record = find(slot, device, inode);
  if (record)
    word = is_owned(record)              ? "owned"
           : record->kind == HF_KIND_SMB ? "smb"
           : record->early               ? "early"
           : record->fd >= 0             ? "verified"
                                         : "posix";
  pthread_mutex_unlock(&table);
  return word;
}
