/*
 * vfs.h - what the files of the shim share: one hf_vfs for each SQLite library, one hf_node for each open
 * main database, the settings, and the calls from one file to the next.
 *
 * Main databases, their -journal and their -wal are wrapped. Temporary files are opened by the base straight
 * into the caller's memory.
 *
 * Who guards what:
 * - hf_vfs.mutex: the list of nodes, the settings, the events and the log's memory. A leaf: nothing of SQLite
 * and no file is touched while it is held.
 * - hf_node: set in xOpen and then constant, but for what changes with use (from `references` to
 * `verify_next`, `pdb`, `journal_seen`, `reserved`, and xLock among the methods: turns.c). That changes under
 * the mutex of the connection, and what others look at is atomic.
 * - the list of all hf_vfs (register.c) only grows and is read without a lock.
 */
#ifndef HF_VFS_H
#define HF_VFS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "api.h"
#include "hot.h"
#include "lockstats.h"
#include "mount.h"
#include "walguard.h"

#define HF_VFS_NAME "holdfast"
#define HF_MAGIC    "holdfast\0vfs 1\0" /* first bytes of every hf_vfs of this layout, sizeof 16 */

enum { HF_SIDECAR_PATH = 4160, HF_EVENTS = 256, HF_EVENT_PATH = 512, HF_EVENT_DETAIL = 512, HF_CAUSES = 128 };

/* Effective settings of a library or of one file; never 0 ("default") except journal. */
typedef struct hf_settings {
  int mode;     /* HOLDFAST_MODE_... */
  int assume;   /* HOLDFAST_ASSUME_... */
  int journal;  /* HOLDFAST_JOURNAL_... */
  int walguard; /* HOLDFAST_WALGUARD_... */
  bool strict;
  int slow_lock_ms; /* a wait that is longer is logged; 0 = off */
} hf_settings;

typedef struct hf_event {
  int64_t seq;
  int64_t time; /* seconds since 1970 */
  int code;     /* the result code that the caller got, 0 for none */
  char kind[16];
  char path[HF_EVENT_PATH];
  char detail[HF_EVENT_DETAIL];
} hf_event;

/* One line of the log's memory: what has been said about one database. */
typedef struct hf_cause {
  uint64_t key; /* hash of path and cause, 0 = free */
  time_t said;
  unsigned suppressed;
} hf_cause;

typedef struct hf_node hf_node;
typedef struct hf_health_memory hf_health_memory; /* health_memory.c */

typedef struct hf_identity {
  uint64_t device, inode;
  bool known;
} hf_identity;

/* A read mark that a handle's checkpoints have met (slowlock.c). */
typedef struct hf_pin {
  uint64_t since;      /* clock, 0 = never */
  unsigned checkpoint; /* the last one that met it */
} hf_pin;

typedef struct hf_directory {
  uint64_t device, inode;
  int64_t ctime_ns;
  bool known;
} hf_directory;

typedef struct hf_vfs {
  char magic[16]; /* HF_MAGIC: found through pAppData by another copy of this code */
  sqlite3_vfs vfs;
  sqlite3_vfs *base;
  hf_api api;
  int slot; /* number of this library in callbacks that carry no pointer, -1 = none left (slots.h) */
  struct hf_vfs *next;

  atomic_int fresh_files; /* open files whose -journal and -wal must be asked of a server */

  pthread_mutex_t mutex; /* guards all below */
  hf_settings settings;
  char log[512]; /* path, "stderr" or "none" */
  hf_node *nodes;
  int64_t event_seq;
  hf_event *events; /* ring of HF_EVENTS */
  hf_cause causes[HF_CAUSES];
  struct hf_path_stats *past;  /* lockstats.c: counters of files that were closed */
  char metrics[1024];          /* the file to write them to, "" = none. Set when the library is registered */
  unsigned metrics_generation; /* of the process whose thread writes it, 0 = no thread */
  _Atomic unsigned metrics_writing; /* the generation of the process that writes the file, 0 = nobody */
  uint64_t opened;                  /* handles so far: the next one's number */
  hf_health_memory *health;         /* NULL until the first verdict */
} hf_vfs;

/* Of a file on SMB (smb.c). All but `on` and `no_wal` is of the transaction that this handle is in. */
typedef struct hf_smb {
  bool on;        /* the session is watched */
  bool lost;      /* it is gone: nothing is written any more */
  bool wrote;     /* the database, since EXCLUSIVE */
  bool has_nonce; /* `nonce` is of the journal that was begun */
  bool seen;      /* `counter` is what SQLite has read */
  bool no_wal;    /* there was no -wal when the counter was `counter_then` */
  unsigned char nonce[8], counter[16], counter_then[16];
  int64_t proof_ns;    /* when the server last knew our locks */
  unsigned char *held; /* what SQLite has written to the journal and was not sent yet */
  int held_bytes;
  sqlite3_int64 held_at;
  sqlite3_file *journal; /* of the base; NULL: nothing held */
} hf_smb;

/*
 * An open main database. Behind the structure lie szOsFile bytes of the base VFS, then the same for its
 * journal (side.c), then the path.
 */
/* Of a file on NFS (nfs.c). */
typedef struct hf_nfs {
  bool on;     /* locks, reads and writes go through one private description */
  bool leases; /* NFSv4: the server forgets a client that is silent for too long */
  bool coarse; /* NFSv3: clients learn of new names by a time that moves in steps (fresh_<os>.c) */
  bool proved; /* what this transaction wrote has arrived, with its lock */
  bool asked;  /* the directory was, since SHARED was granted */
  int wal_fd;  /* SQLite's descriptor of the -wal, with our lock on it, -1 = none */
  int seen;    /* bytes of `counter` when SHARED was granted, -1 = not known */
  unsigned char counter[16];
} hf_nfs;

struct hf_node {
  sqlite3_io_methods methods; /* made for this file: same version and same gaps as the base's */
  hf_vfs *owner;
  hf_node *prev, *next;
  hf_settings set;
  hf_verdict verdict;
  atomic_int references;      /* one, and one for each open -journal and -wal */
  atomic_int latched;         /* HF_LATCH_... (guard.h) */
  hf_identity self, wal, shm; /* who the files were when they were opened */
  hf_directory directory;     /* as it was when all names were right */
  unsigned generation;        /* of the process that may use it (fork.h) */
  int level;                  /* of the lock that SQLite holds through this handle */
  int wal_files;              /* 1 while its -wal is open */
  int64_t good_ns;            /* when all names were right, or when this handle last checkpointed */
  bool journal_unsafe;        /* journal_mode OFF or MEMORY was asked for */
  hf_walguard walguard;
  bool shm_mapped, forked;
  bool overridden;          /* its locks pass syscalls.c */
  bool verify, verify_next; /* look before the first write whether the lock is still there (guard.c) */
  bool lost;                /* it was not, in this transaction: nothing of it is written any more */
  bool wal_allowed;         /* the base's shared memory and mmap are handed through */
  bool wal_exclusive;       /* WAL under locking_mode=EXCLUSIVE was asked for and can work here */
  uint64_t seen_ticks;      /* when its name was last seen to lead to it, in rollback mode */
  atomic_bool reserved;     /* RESERVED was granted and not given back; kept only where WAL is not allowed */
  bool wal_found;           /* with wal_exclusive: it was in WAL mode when it was opened */
  bool fresh;               /* the existence of -journal and -wal is asked of the server */
  int64_t refused_ns;       /* turns.c: when RESERVED was last refused ... */
  uint64_t refused;         /* ... and to which statement */
  bool smb_locks;           /* the override of fcntl converts this file's locks */
  int (*lock_next)(sqlite3_file *, int); /* turns.c: this file's own xLock, while it waits */
  hf_nfs nfs;
  hf_smb smb;
  sqlite3 **pdb; /* the connection that uses the file, NULL before SQLite 3.20 */
  char
      journal_seen[12]; /* last journal mode asked for by PRAGMA: only for SQLite that hides the connection */
  char *path;
  size_t path_length;
  char *directory_path;    /* of path, NULL when the path has none */
  struct hf_side *journal; /* memory for one, in use while */
  atomic_bool journal_open;
  hf_mount_facts facts;
  uint64_t number; /* of this handle in this library, from 1 */
  hf_lockstats stats;
  unsigned slow_said;                 /* a bit for each lock whose wait was spoken of */
  unsigned checkpoints;               /* begun by this handle */
  hf_pin pins[5];                     /* WAL_READ0 .. WAL_READ4 */
  struct hf_stat_total *stats_before; /* at the last reset, NULL = there was none; under the owner's mutex */
  _Alignas(16) sqlite3_file base[];
};

/*
 * What lies in the memory that SQLite gives for a file: small, because that memory has the base's size. The
 * base's own file cannot lie there, because a stranger may put a copy of our methods in front of it (PROJ
 * does) and then nothing would lead to the node. What knows the base's file knows the node around it.
 */
typedef struct hf_file {
  const sqlite3_io_methods *pMethods;
  sqlite3_file *base;
} hf_file;

static inline sqlite3_file *hf_base_of(sqlite3_file *file)
{
  return ((hf_file *)file)->base;
}
static inline hf_node *hf_node_around(sqlite3_file *base)
{
  return (hf_node *)((char *)base - offsetof(hf_node, base));
}
static inline hf_node *hf_node_of(sqlite3_file *file)
{
  return hf_node_around(hf_base_of(file));
}

/* register.c: make (or find again) the hf_vfs of a SQLite library. `config` may be NULL. */
int hf_register(const hf_api *api, const holdfast_config *config, hf_vfs **out, char *message, size_t size);
hf_vfs *hf_vfs_of_stranger(
    sqlite3_vfs *vfs); /* also right for copies of our struct, and for strangers that lent our pointers */
hf_vfs *hf_vfs_in(const hf_api *api); /* the one registered in that library, NULL = none */
hf_api hf_api_linked(void);           /* linked.c: the library this code is linked with */
hf_vfs *hf_vfs_linked(void);          /* linked.c: of the library this code is linked with, registering it */

/* config.c */
int hf_config_from_env(hf_settings *out, char *log, size_t log_size, char *message, size_t size);
int hf_config_merge(const holdfast_config *config, hf_settings *io, char *log, size_t log_size, char *message,
                    size_t size);
int hf_config_from_uri(const hf_api *api, const char *name, hf_settings *io, char *message, size_t size);

/* open.c, access.c, control.c, pass.c: slots of sqlite3_vfs and of sqlite3_io_methods */
int hf_xOpen(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags);
int hf_xClose(sqlite3_file *file);
int hf_xAccess(sqlite3_vfs *vfs, const char *name, int flags, int *out);
int hf_xFileControl(sqlite3_file *file, int op, void *arg);
int hf_xRead(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset);
int hf_xWrite(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset);
int hf_xTruncate(sqlite3_file *file, sqlite3_int64 size);
int hf_xSync(sqlite3_file *file, int flags);
int hf_xLock(sqlite3_file *file, int level);
int hf_xUnlock(sqlite3_file *file, int level);
int hf_xCheckReservedLock(sqlite3_file *file, int *out);
int hf_xShmMap(sqlite3_file *file, int region, int size, int extend, void volatile **out);
int hf_xShmLock(sqlite3_file *file, int offset, int n, int flags);
void hf_xShmBarrier(sqlite3_file *file);
int hf_xShmUnmap(sqlite3_file *file, int delete_it);
const hf_node *hf_last_locked(void);      /* of this thread; to be compared only */
size_t hf_side_size(const hf_vfs *owner); /* a multiple of 16 */
int hf_side_open(hf_vfs *owner, const char *name, sqlite3_file *file, int flags, int *out_flags);
extern HF_HIDDEN __thread const hf_node *hf_closed_not_ours HF_TLS; /* side.c */
bool hf_side_keep(hf_vfs *owner, const char *name);                 /* while hf_closed_not_ours is set */
void hf_node_release(hf_node *node);
void hf_pass_vfs_methods(sqlite3_vfs *vfs, const sqlite3_vfs *base);
void hf_pass_io_methods(sqlite3_io_methods *methods, const sqlite3_io_methods *base, bool wal_allowed,
                        bool guarded);
hf_node *hf_node_by_sidecar(hf_vfs *owner, const char *name, size_t *stem); /* call with owner->mutex held */

/* convert.c: what to do with a database that is in WAL mode where WAL cannot work. SQLITE_OK = go on. */
int hf_settle_wal(hf_node *node, const char *path, bool read_only);
int hf_convert(hf_vfs *owner, const char *path, int wait_ms, bool *converted, char *message, size_t size);
int hf_convert_by_hand(hf_vfs *owner, const char *path, int wait_ms, bool *converted, char *message,
                       size_t size);
bool hf_is_mode_flip(hf_node *node, const void *page, int amount);
bool hf_nested(void); /* a connection of our own is being opened by this thread */

/* pragma.c */
int hf_pragma(hf_node *node, char **args);
int hf_exclusive_ready(hf_vfs *owner, sqlite3 *db);

/* fresh_<os>.c: does the file exist and is it not empty, as its server says now? 0 or an errno value. */
int hf_fresh_exists(const char *path, bool smb, bool directory_is_fresh, bool *exists);
/* `path` was made a moment ago: clients that have just missed it shall look again. 0 or an errno value. */
int hf_fresh_announce(const char *path);

/* health_timer.c */
int64_t hf_now_ns(void); /* CLOCK_MONOTONIC */

/* FNV-1a of a text, going on from what came before it. */
#define HF_HASH_BEGIN 14695981039346656037u
static inline uint64_t hf_hash(uint64_t before, const char *text)
{
  for (; *text; text++) before = (before ^ (unsigned char)*text) * 1099511628211u;
  return before;
}

static inline hf_vfs *hf_vfs_of(sqlite3_vfs *vfs)
{
  return vfs->xOpen == hf_xOpen ? vfs->pAppData : hf_vfs_of_stranger(vfs);
}

/* syscalls.c: all record locks of this library pass our override from now on; false where that cannot be had
 */
bool hf_syscalls_ready(hf_vfs *owner);
/* The descriptor that the unix VFS opened last on this thread; -1 = none since it was forgotten. */
int hf_last_opened(void);
void hf_forget_last_opened(void);
bool hf_syscalls_write_is_plain(hf_vfs *owner);            /* libc's own, nobody's in its place */
bool hf_syscalls_reach(hf_vfs *owner, sqlite3_file *base); /* does this file's chain end in the unix VFS */

/* report.c: events and the log. `cause` is a short fixed word; one log line for each (path, cause). */
void hf_report(hf_vfs *owner, const char *kind, const char *cause, const char *path, int code,
               const char *format, ...) __attribute__((format(printf, 6, 7)));
/* The same with a line for each (path, cause) in so many seconds. */
void hf_report_every(int seconds, hf_vfs *owner, const char *kind, const char *cause, const char *path,
                     int code, const char *format, ...) __attribute__((format(printf, 7, 8)));

/* sql.c: a connection has been opened: give it the SQL objects, and exclusive mode where its WAL needs that
 */
int hf_connection_ready(hf_vfs *owner, sqlite3 *db);
/* health_sql.c: the table holdfast_health on one connection */
int hf_health_attach(hf_vfs *owner, sqlite3 *db);

#endif
