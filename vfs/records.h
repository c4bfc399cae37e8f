/*
 * records.h - who owns the record locks of an inode: one record for each (library, device, inode).
 *
 * POSIX locks belong to (process, inode), and any close() of any descriptor drops them. So all locks of one
 * SQLite library on one inode go through one private descriptor, which nobody else knows or closes.
 * records_<os>.c keeps the records and their descriptors; immune_<os>.c and smb_<os>.c take the locks;
 * syscalls.c calls them.
 *
 * Mutexes: `table` in records_<os>.c guards the lists and the tables of descriptors, and is never held across
 * a call that a server answers. A record's locks and its descriptor change only inside SQLite's own mutex of
 * that inode (every lock call comes from there) and at fork, when no other thread exists.
 */
#ifndef HF_RECORDS_H
#define HF_RECORDS_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "fork.h"

/* Units of locking: what SQLite locks is always one or several of these. */
enum {
  HF_UNIT_PENDING = 1 << 0,
  HF_UNIT_RESERVED = 1 << 1,
  HF_UNIT_SHARED = 1 << 2,
  HF_UNIT_SHM0 = 1 << 3, /* bytes 120..128 of the -shm: eight WAL locks and the dead man's switch */
  HF_UNITS = 12
};
/* units.c */
unsigned hf_units_of(off_t start, off_t length); /* 0 = something that SQLite does not lock */
void hf_unit_range(int index, off_t *start, off_t *length);

typedef enum hf_lock_kind {
  HF_KIND_PASS, /* left to POSIX locks of the descriptor itself */
  HF_KIND_OWN,  /* kernel-held: OFD locks on the private descriptor */
  HF_KIND_NFS,  /* the same, and the reads and writes of the file go through it, too (nfs_<os>.c) */
  HF_KIND_SMB   /* the same, with conversions */
} hf_lock_kind;

typedef struct hf_record {
  struct hf_record *next;
  dev_t device;
  ino_t inode;
  int slot;    /* the library (slots.h) */
  bool marked; /* by a look: other code has the inode open */
  int users;   /* descriptors of SQLite that lock through it */
  _Atomic hf_lock_kind kind;
  hf_lock_kind own_kind; /* OWN or NFS: what an early one becomes */
  bool early;            /* PASS because POSIX locks were taken before the shim came */
  atomic_int fd;         /* private; -1 = none */
  atomic_int
      old_fd; /* read-only one from before a writer came: kept, because a close drops others' POSIX locks */
  bool writable, inherited;       /* inherited: made before a fork, by the parent */
  unsigned generation;            /* of the process whose locks these are */
  uint16_t read_held, write_held; /* units */
  bool met;  /* other code of this process had the inode open once: no descriptor of it is closed any more */
  bool said; /* the oddity of this inode was reported */
  bool own_pending, rolling_back, lost; /* smb_<os>.c */
  bool stale_data;                      /* the data's descriptors may be from a session that is gone */
  int64_t suspect_until;                /* monotonic ns; 0 = no session was seen to go */
  atomic_bool distrusted;               /* the server has forgotten the descriptor */
  unsigned flag_set; /* of the descriptor, when claim_fd is open: nobody else's on this machine */
  int claim_fd;
} hf_record;

/*
 * The short way, for what SQLite does nearly always: a lock of an inode that is OWN or NFS. For each library:
 * SQLite's descriptor -> the private one, if both read and write; HF_SHORT_READ where SQLite's is for reading
 * only; 0 = the long way. The kernel empties these tables in every child, so a child's first call goes the
 * long way, and nobody has to ask who he is.
 */
enum { HF_FDS = 1 << 20, HF_SHORT_READ = -1 };
extern HF_HIDDEN _Atomic(_Atomic(int) *) hf_short_of[];
static inline int hf_record_short(int slot, int fd)
{
  _Atomic(int) *table = atomic_load_explicit(&hf_short_of[slot], memory_order_relaxed);

  return (unsigned)fd < HF_FDS ? atomic_load_explicit(&table[(unsigned)fd], memory_order_relaxed) : 0;
}
/* For each library: descriptor -> record, with its lowest bits; HF_FD_OPENED alone: it has not locked yet. */
enum { HF_FD_WRITABLE = 1, HF_FD_OPENED = 2 };
extern HF_HIDDEN _Atomic(_Atomic(uintptr_t) *) hf_users_of[];
static inline _Atomic(uintptr_t) *hf_record_entry(int slot, int fd)
{
  _Atomic(uintptr_t) *table = atomic_load_explicit(&hf_users_of[slot], memory_order_acquire);

  return table && (unsigned)fd < HF_FDS ? &table[(unsigned)fd] : NULL;
}

static inline hf_record *hf_record_untag(uintptr_t entry)
{
  return (hf_record *)(entry & ~(uintptr_t)(HF_FD_WRITABLE | HF_FD_OPENED));
}

/* After a call that went the long way: may the next one take the short way? */
void hf_record_shorten(const hf_record *record, int fd, bool fd_writable);

/* SMB and NFS devices that verdicts have named: while there are none, nobody is asked. */
extern atomic_int hf_device_count;

/* In a child of raw clone() or _Fork(), which run no handlers: let go of what is the parent's. */
extern HF_HIDDEN unsigned hf_records_generation; /* of the process whose records these are */
HF_SLOW void hf_records_let_go(void);
static inline void hf_records_check_fork(void)
{
  if (!hf_generation_is(hf_records_generation)) hf_records_let_go();
}
/* Prepare a library: remembers which inodes are open already. 0 = without it every file is left as it is. */
bool hf_records_start(int slot);
/* The record of a descriptor that is about to lock; made, or NULL when its locks are left as they are (errno
 * 0) or when there is no memory (ENOMEM). */
hf_record *hf_record_of(int slot, int fd, bool *fd_writable);
/* Before SQLite closes fd: true = it is kept open for the next open (another library's POSIX locks hang on
 * it). */
bool hf_record_closing(int slot, int fd, bool *say); /* *say: reported here for the first time */
/* Instead of an open, if hf_parked_count (neighbours.h): a descriptor kept for this path and mode, or -1. */
int hf_record_reopen(int slot, const char *path, int flags);
/* After SQLite opened fd: an entry under that number is of a file that somebody else closed. */
void hf_record_opened(int slot, int fd);
void hf_record_take_over(hf_record *record, int fd, bool writable,
                         const struct flock *lock); /* if it is safe now */
void hf_records_give_back(int slot);                /* close what is kept open: descriptors have run out */
bool hf_record_ready(hf_record *record, int fd, bool fd_writable); /* a descriptor that can take the lock */
void hf_record_track(hf_record *record,
                     const struct flock *lock); /* a lock that was taken or given back otherwise */
int hf_record_set(int fd, short type, off_t start, off_t length, bool wait); /* F_OFD_SETLK */
int hf_record_open_again(int fd, hf_record *record, bool writable);
int hf_record_move_up(int fd, int lowest); /* to a number from `lowest` on; -1 stays -1 */
int hf_record_high(void);                  /* the lowest number for a descriptor that is to be closed last */

/*
 * lockkind_<os>.c: who keeps the locks of a file?
 *
 * What a mount's verdict says about the locks of its files, for devices where the type's number alone does
 * not decide or asking for it would cost a call to a server: SMB (not with nobrl) and NFS. False: no room.
 */
bool hf_records_device(uint64_t device, hf_lock_kind kind);
bool hf_records_is_smb(uint64_t device);
bool hf_lockkind_on_server(dev_t device); /* a verdict has named it */
hf_lock_kind hf_lockkind_of(int fd, dev_t device);
bool hf_lockkind_has_ofd(int fd);
bool hf_lockkind_verifiable(int fd, dev_t device); /* may our own POSIX locks be looked at? */

/* The private descriptor through which an inode on NFS is locked, read and written, -1 = none. */
int hf_record_descriptor(int slot, dev_t device, ino_t inode);
extern atomic_bool hf_smb_seen; /* a verdict has named one */
static inline bool hf_records_smb_seen(void)
{
  return atomic_load_explicit(&hf_smb_seen, memory_order_relaxed);
}
/* The private descriptor of an inode, -1 = none: for questions, never for I/O. */
int hf_record_lock_fd(int slot, dev_t device, ino_t inode, bool *writable);
/* The server has forgotten it: each lock call fails until SQLite has given up all locks; then it is replaced.
 */
void hf_record_distrust(int slot, dev_t device, ino_t inode);

typedef enum hf_held { HF_HELD, HF_HELD_NOT, HF_HELD_UNKNOWN, HF_HELD_OWNED } hf_held;
/* Are the POSIX locks that SQLite believes to hold on this inode still there? Owned ones are. */
hf_held hf_record_verify(int slot, dev_t device, ino_t inode);
/* posix_<os>.c: the same for one descriptor and its units; called with `table` held */
bool hf_posix_can_ask(int fd);
hf_held hf_posix_held(int fd, unsigned units);
hf_held hf_posix_shared(int fd, unsigned units);          /* of a reader, who may be one of several */
int hf_record_links(int slot, dev_t device, ino_t inode); /* how many names the inode has, -1 = not known */
/*
 * Does somebody hold a lock on unit number `unit` that our own locks are not? Asked by F_OFD_GETLK through
 * the private descriptor. *pid: 0 = an owner without a number (an OFD lock, a container, another machine).
 */
bool hf_record_ask(int slot, dev_t device, ino_t inode, int unit, bool *write, int64_t *pid);
/* Words for reports: how locks of this inode are kept. */
const char *hf_record_state(int slot, dev_t device, ino_t inode);

/* immune_<os>.c, smb_<os>.c: as fcntl(), errno set */
int hf_immune_lock(hf_record *record, int cmd, struct flock *lock, bool fd_writable);
int hf_smb_lock(hf_record *record, int fd, int cmd, struct flock *lock, bool fd_writable);
int hf_smb_fresh_stat(int fd, struct stat *st);
int hf_smb_open(const char *path, bool writable, hf_record *record); /* a descriptor to lock through */
int hf_smb_set(int fd, short type, off_t start, off_t length);

#endif
