/*
 * holdfast.h - everything that a program may use of holdfast.
 *
 * Caveats first, because they decide whether you are safe:
 *
 *  - Only connections that are opened after the shim was registered are covered. Load it
 *    through a connection on ":memory:", then open your databases.
 *  - `PRAGMA holdfast` answers one row on a covered database and no row elsewhere: check it.
 *  - Plain SQLite may use the same file at the same time. What it does wrong on a network
 *    mount it goes on doing wrong.
 *  - On a network mount the shim keeps a database out of WAL mode. A WAL database is
 *    converted when it is opened, as sole user, or the open is refused: never half of it.
 *  - "off" and "observe" are always possible (holdfast_config.mode, HOLDFAST_MODE): the files
 *    are the same with or without holdfast.
 *
 * Functions return SQLite's result codes (0 or positive); those of the pool also codes of their own,
 * which are negative. Strings given in are copied, strings given out belong to holdfast unless the
 * function says otherwise.
 */
#ifndef HOLDFAST_H
#define HOLDFAST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HOLDFAST_VERSION        "0.1.0"
#define HOLDFAST_VERSION_NUMBER 1000 /* major*1000000 + minor*1000 + patch */

#if defined(__GNUC__)
#define HOLDFAST_API __attribute__((visibility("default")))
#else
#define HOLDFAST_API
#endif

struct sqlite3;

/* ---------------------------------------------------------------- configuration */

/* What the shim does with a database. Since 0.1. */
enum {
  HOLDFAST_MODE_DEFAULT = 0,
  HOLDFAST_MODE_ENFORCE = 1, /* protect, convert, refuse: the default */
  HOLDFAST_MODE_OBSERVE = 2, /* change nothing, report what would have been done */
  HOLDFAST_MODE_OFF = 3      /* hand every file to the base VFS untouched */
};

/* Overrides what the mount is taken for. Since 0.1. */
enum {
  HOLDFAST_ASSUME_NOTHING = 0,
  HOLDFAST_ASSUME_LOCAL = 1,    /* one kernel, its locks and its page cache: WAL is fine */
  HOLDFAST_ASSUME_ONE_HOST = 2, /* this host alone uses the file: rollback journal only */
  HOLDFAST_ASSUME_NETWORK = 3   /* others use it through a server: rollback journal only */
};

/* What to use where WAL is asked for and cannot work. Since 0.1. */
enum {
  HOLDFAST_JOURNAL_DEFAULT = 0, /* the mode that is in force, normally DELETE */
  HOLDFAST_JOURNAL_DELETE = 1,
  HOLDFAST_JOURNAL_TRUNCATE = 2,
  HOLDFAST_JOURNAL_PERSIST = 3,
  HOLDFAST_JOURNAL_WAL_EXCLUSIVE = 4 /* WAL under locking_mode=EXCLUSIVE: one process, no shared memory */
};

/* The guard against SQLite's WAL-reset bug (docs/failures.md, F19). Since 0.1. */
enum {
  HOLDFAST_WALGUARD_DEFAULT = 0,
  HOLDFAST_WALGUARD_AUTO = 1, /* on where this SQLite has the bug (3.7.0 to 3.51.2): the default */
  HOLDFAST_WALGUARD_ON =
      2, /* on with every version: when plain SQLite of another version uses the file, too */
  HOLDFAST_WALGUARD_OFF = 3
};

/*
 * Settings of one SQLite library in this process. Zero the structure, set struct_size, then
 * what you want to change: a zero means "as the environment says, else the default". For one
 * database the URI parameters holdfast_mode, holdfast_assume, holdfast_journal,
 * holdfast_strict, holdfast_walguard and holdfast_slow_lock_ms say the same and win over this structure,
 * which wins over the environment (HOLDFAST_MODE, HOLDFAST_ASSUME, HOLDFAST_JOURNAL, HOLDFAST_STRICT,
 * HOLDFAST_WALGUARD, HOLDFAST_SLOW_LOCK_MS, HOLDFAST_LOG). Since 0.1.
 */
typedef struct holdfast_config {
  size_t struct_size; /* sizeof(holdfast_config) */
  int mode;           /* HOLDFAST_MODE_... */
  int assume;         /* HOLDFAST_ASSUME_... */
  int journal;        /* HOLDFAST_JOURNAL_... */
  int strict;   /* 1: refuse files whose locks are known to end at this host on a shared mount; -1: do not */
  int walguard; /* HOLDFAST_WALGUARD_... */
  const char *log;  /* a path, "stderr" (the default) or "none" */
  int slow_lock_ms; /* a wait for a lock that takes longer is logged with its holders; 0 = 1000, -1 = never */
} holdfast_config;

/* ---------------------------------------------------------------- linked programs */

/*
 * Register the VFS "holdfast" as the default of the SQLite library that this program is linked
 * with. It wraps what was the default before. Calling it again is harmless, also after
 * sqlite3_shutdown() and sqlite3_initialize(). The argument is not used: the prototype is that of
 * SQLITE_EXTRA_INIT. Registers no SQL objects (holdfast_attach_sql does).
 * Returns SQLITE_OK, SQLITE_NOMEM, SQLITE_MISUSE (a HOLDFAST_* variable has a value that is not
 * known: the log line names it) or SQLITE_ERROR (no usable base VFS). Call it before the first
 * connection is opened and before other threads use SQLite. Since 0.1.
 */
HOLDFAST_API int holdfast_register(const char *unused);

/*
 * holdfast_register() with settings. NULL = all defaults. A second call changes the settings for
 * files that are opened later. Returns as holdfast_register(); SQLITE_MISUSE also for a value out
 * of range or a struct_size of 0: nothing is changed then. Since 0.1.
 */
HOLDFAST_API int holdfast_init(const holdfast_config *config);

/*
 * Add the SQL functions and tables (holdfast_version(), holdfast_mount, holdfast_events) to one
 * connection. The PRAGMAs need no call. db stays the caller's. Returns a SQLite code;
 * SQLITE_MISUSE when holdfast is not registered. The thread that uses db. Since 0.1.
 */
HOLDFAST_API int holdfast_attach_sql(struct sqlite3 *db);

/* HOLDFAST_VERSION of the code that is running. Any thread. Since 0.1. */
HOLDFAST_API const char *holdfast_version(void);

/* ---------------------------------------------------------------- mounts */

/* Words of a verdict. The texts that SQL and JSON show are in holdfast_word(). Since 0.1. */
enum { /* rule: what SQLite may do here */
       HOLDFAST_RULE_WAL_OK = 1,
       HOLDFAST_RULE_ROLLBACK_ONLY,
       HOLDFAST_RULE_ROLLBACK_ONE_HOST,
       HOLDFAST_RULE_REFUSE,
       HOLDFAST_RULE_READ_ONLY
};
enum { /* class: what kind of mount it is */
       HOLDFAST_CLASS_LOCAL = 1,
       HOLDFAST_CLASS_MEMORY,
       HOLDFAST_CLASS_NETWORK,
       HOLDFAST_CLASS_CLUSTER,
       HOLDFAST_CLASS_VM_SHARE,
       HOLDFAST_CLASS_CONTAINER_SHARE,
       HOLDFAST_CLASS_OBJECT_STORE,
       HOLDFAST_CLASS_FUSE,
       HOLDFAST_CLASS_READ_ONLY,
       HOLDFAST_CLASS_PSEUDO,
       HOLDFAST_CLASS_UNKNOWN
};
enum { /* shm: is shared memory coherent for every opener */
       HOLDFAST_SHM_COHERENT = 1,
       HOLDFAST_SHM_INCOHERENT,
       HOLDFAST_SHM_UNKNOWN
};
enum { /* locks: who keeps byte-range locks */
       HOLDFAST_LOCKS_KERNEL = 1,
       HOLDFAST_LOCKS_SERVER,
       HOLDFAST_LOCKS_LOCAL_ONLY, /* kept by this kernel although others can open the file */
       HOLDFAST_LOCKS_FAKE,       /* always granted, never kept */
       HOLDFAST_LOCKS_NONE
};
enum { /* durable: does fsync do anything */
       HOLDFAST_DURABLE_YES = 1,
       HOLDFAST_DURABLE_NO,
       HOLDFAST_DURABLE_UNKNOWN
};
enum { /* scope: who can open the file */
       HOLDFAST_SCOPE_ONE_KERNEL = 1,
       HOLDFAST_SCOPE_SEVERAL
};
enum { HOLDFAST_CONFIDENCE_LOW = 1, HOLDFAST_CONFIDENCE_HIGH };

/*
 * The verdict about the place of one file. All texts are copies of at most the size given,
 * cut at that size, never NULL. Since 0.1.
 */
typedef struct holdfast_mount {
  size_t struct_size; /* in: sizeof(holdfast_mount) */
  int rule;           /* HOLDFAST_RULE_... */
  int mount_class;    /* HOLDFAST_CLASS_... */
  int shm, locks, durable, scope, confidence;
  char fstype[64];        /* "nfs4", "fuse.sshfs", ... */
  char source[512];       /* "server:/export" */
  char options[1024];     /* mount options, then those of the file system, comma separated */
  char mount_point[1024]; /* "" when the kernel does not say */
  char reason[512];       /* one sentence for people */
} holdfast_mount;

/*
 * What is `path` (a database, existing or not yet, or a directory) on? Never opens the file.
 * Can block as long as stat() of the path blocks; `holdfast doctor` shows how to put a deadline
 * around it. *out is not touched on failure. Returns SQLITE_OK, SQLITE_CANTOPEN (neither path nor
 * its directory exists), SQLITE_MISUSE (bad argument). Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_mount_of(const char *path, holdfast_mount *out);

/*
 * The public word for a value: holdfast_word("rule", HOLDFAST_RULE_WAL_OK) is "wal-ok". Kinds: rule,
 * class, shm, locks, durable, scope, confidence, mode, assume, journal, code, verdict, kind, reason, finding.
 * "?" for what is not known. Any thread. Since 0.1.
 */
HOLDFAST_API const char *holdfast_word(const char *kind, int value);

/* sqlite3_file_control(db, schema, HOLDFAST_FCNTL_MOUNT, holdfast_mount *): the verdict of an open
 * database. SQLITE_NOTFOUND when the file is not under the shim. Since 0.1. */
#define HOLDFAST_FCNTL_MOUNT 0x48460001

/* ---------------------------------------------------------------- conversion */

/*
 * Take a database out of WAL mode: recover, checkpoint, switch to DELETE, as sole user of the
 * file and inside SQLite's own locking. Waits at most wait_ms for others to leave. message (may be
 * NULL) receives one sentence of at most size bytes about what was done or why not.
 * Returns SQLITE_OK (converted, or was no WAL database), SQLITE_BUSY (somebody has it open: nothing
 * was changed), SQLITE_NOTADB, SQLITE_READONLY, SQLITE_CANTOPEN or another SQLite code. Any
 * thread. Needs holdfast_register(). Since 0.1.
 */
HOLDFAST_API int holdfast_convert(const char *path, int wait_ms, char *message, size_t size);

/* ---------------------------------------------------------------- diagnosis (what `holdfast doctor` shows)
 */

/*
 * The verdict about a path found by text alone: the lines of /proc/self/mountinfo are compared with
 * the path, nothing of the path itself is touched. So it answers while the server behind the path
 * is dead. Symbolic links are not followed and split mounts are not seen: holdfast_mount_of() is
 * the real answer, this one is for naming what does not answer. *out is not touched on failure.
 * Returns SQLITE_OK, SQLITE_NOTFOUND (no line fits, or no mountinfo on this system), SQLITE_NOMEM or
 * SQLITE_MISUSE (bad argument). Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_mount_of_text(const char *path, holdfast_mount *out);

/* How one step of the lock self-test ended. Since 0.1. */
enum {
  HOLDFAST_STEP_PASSED = 1,
  HOLDFAST_STEP_FAILED,
  HOLDFAST_STEP_EXPECTED, /* does not work here, as is known of this file system; holdfast deals with it */
  HOLDFAST_STEP_SKIPPED   /* did not run: the detail says why */
};

typedef struct holdfast_step {
  char name[24];    /* "lock-bytes", "ofd-conflict", ... */
  int result;       /* HOLDFAST_STEP_... */
  char detail[160]; /* one clause for people */
} holdfast_step;

/* What the self-test saw. The three answers are 1 (yes), 0 (no) or -1 (not tested). Since 0.1. */
typedef struct holdfast_selftest_report {
  size_t struct_size; /* in: sizeof(holdfast_selftest_report) */
  int excludes;       /* a held lock keeps a second owner out, on this machine */
  int kernel_records; /* this kernel knows of the lock; 0: a FUSE server keeps it, or nobody does */
  int maps;           /* shared writable memory of a file works, on this machine */
  int failed;         /* number of steps with HOLDFAST_STEP_FAILED */
  int count;          /* steps that follow */
  holdfast_step steps[16];
} holdfast_selftest_report;

/*
 * Try the locks of a directory: SQLite's own lock bytes, two owners, shared memory, names and fsync
 * (level 1), then two child processes, a killed holder and a counter under the lock (level 2).
 * `sidecar` names a file that does not exist yet; it is created with O_EXCL in the directory to be
 * tested and removed before the return, as is the second name that is used (`sidecar` + "r"). No other file
 * is touched. A process that is killed in here leaves the removal of both names to its parent.
 * What one machine can show is a negative: a failed step proves that the place is bad, a passed test says
 * nothing about a second machine. May block as long as the file system does. Level 2 forks: call it from a
 * small tool, not from an application. *report is not touched unless SQLITE_OK is returned. Returns SQLITE_OK
 * (the test ran, whatever it found), SQLITE_CANTOPEN, SQLITE_READONLY or SQLITE_FULL (the file could not be
 * made: errno tells why), SQLITE_MISUSE (bad argument), SQLITE_NOTFOUND (not on this system). Since 0.1.
 */
HOLDFAST_API int holdfast_selftest(const char *sidecar, int level, holdfast_selftest_report *report);

/*
 * The same with a second host: run it on both, at the same time and with the same prefix, on one with `as`
 * 'a', on the other with 'b'. `prefix` names files in a directory that both have mounted; only PREFIX-... is
 * made, and removed at the end. They meet there, within wait_s seconds; then each sees whether data written
 * under a lock crosses, whether a held lock keeps the other host out, each way, whether a counter that both
 * raise loses anything, and how long a plain look misses a new file. Each wait has a limit; all of it takes
 * about 15 seconds. `smb` is not 0 where the mount is SMB. *report is as of holdfast_selftest(); a failed
 * step here is proof that two hosts must not share a database. Returns SQLITE_OK (they met, whatever was
 * found), SQLITE_BUSY (nobody came), SQLITE_CANTOPEN (no file could be made or read: errno tells why),
 * SQLITE_MISUSE (bad argument), SQLITE_NOTFOUND (not on this system). For a small tool. Since 0.1.
 */
HOLDFAST_API int holdfast_selftest_hosts(const char *prefix, int as, int smb, int wait_s,
                                         holdfast_selftest_report *report);

/*
 * Line number `index` (from 0) of what an administrator should change or know about this mount; report
 * may be NULL. At most `size` bytes including the end. Returns SQLITE_OK, SQLITE_NOTFOUND (no more
 * lines) or SQLITE_MISUSE. Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_advice(const holdfast_mount *mount, const holdfast_selftest_report *report,
                                 int index, char *text, size_t size);

/*
 * Two hosts were tried (holdfast_selftest_hosts) and a step failed: which option of this mount, or else what
 * on the other host or the server, is wrong, and what to set. Otherwise as holdfast_advice(). Since 0.1.
 */
HOLDFAST_API int holdfast_advice_hosts(const holdfast_mount *mount, const holdfast_selftest_report *hosts,
                                       int index, char *text, size_t size);

/* A bug of SQLite itself that loses or damages data. The texts are constants. Since 0.1. */
typedef struct holdfast_bug {
  size_t struct_size; /* in: sizeof(holdfast_bug) */
  const char *id;     /* "wal-reset" */
  const char *fixed;  /* "3.51.3 (also 3.50.7 and 3.44.6)" */
  const char *what;   /* one sentence: what happens, and when */
} holdfast_bug;

/*
 * Bug number `index` (from 0) of the SQLite with this sqlite3_libversion_number(). It goes by the
 * number alone: distributors do back-port fixes without changing it. Versions before 3.15.0 are not in
 * the table. *out is not touched on failure. Returns SQLITE_OK, SQLITE_NOTFOUND (no more) or SQLITE_MISUSE.
 * Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_known_bug(int sqlite_version_number, int index, holdfast_bug *out);

/* ---------------------------------------------------------------- health */

/*
 * What a result code of SQLite says about the database. Since 0.1.
 */
enum {
  HOLDFAST_CODE_FINE = 0, /* no failure: OK, ROW, DONE, notices and warnings */
  HOLDFAST_CODE_SUSPECT,  /* may come from a damaged file: worth a health check, proves nothing by itself */
  HOLDFAST_CODE_ENVIRONMENT, /* disk, memory, permissions, mount */
  HOLDFAST_CODE_CONTENTION,  /* somebody else was there first: try again */
  HOLDFAST_CODE_CALLER       /* the program's own doing, or its schema needs what this SQLite lacks */
};

/*
 * Sort a result code of SQLite, primary or extended. An extended code that is not known is sorted as its
 * primary one, a primary one that is not known as environment: what is not known is never suspect.
 * holdfast_word("code", n) has the words. Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_classify(int code);

/* The four verdicts. holdfast_word("verdict", n): ok, damaged, not_checked, stale. Since 0.1. */
enum {
  HOLDFAST_HEALTH_OK = 1,
  HOLDFAST_HEALTH_DAMAGED,     /* seen twice, from the disk, with a fresh snapshot and intact locks */
  HOLDFAST_HEALTH_NOT_CHECKED, /* see `reason`; says nothing about the file */
  HOLDFAST_HEALTH_STALE        /* there was a verdict, and the file has changed since */
};

/* What is checked (docs/health.md). holdfast_word("kind", n): quick, full, fk, fts. Since 0.1. */
enum {
  HOLDFAST_HEALTH_QUICK = 1, /* header, every page of every table and index; not indexes against tables */
  HOLDFAST_HEALTH_FULL,      /* and indexes against tables, freelist, pages that nobody uses */
  HOLDFAST_HEALTH_FK,        /* do foreign keys lead somewhere? Says nothing about the file */
  HOLDFAST_HEALTH_FTS        /* FTS3/4/5 tables' own check. Before SQLite 3.44 it needs the write lock */
};

/* Why a verdict is not_checked. holdfast_word("reason", n) has the words, given here. Since 0.1. */
enum {
  HOLDFAST_WHY_NONE = 0,    /* "none" */
  HOLDFAST_WHY_BUSY,        /* "busy": locked by somebody else */
  HOLDFAST_WHY_IO,          /* "io": the system refused a read, an open, a lock */
  HOLDFAST_WHY_MEMORY,      /* "memory" */
  HOLDFAST_WHY_BUDGET,      /* "budget": the time was up, or writers came too often */
  HOLDFAST_WHY_INTERRUPTED, /* "interrupted": by sqlite3_interrupt() or a progress handler of the program */
  HOLDFAST_WHY_SCHEMA,      /* "schema": needs a function, a collation, or a newer SQLite */
  HOLDFAST_WHY_CACHED,     /* "cached": it could not be read from the disk (open transaction, shared cache) */
  HOLDFAST_WHY_LOCK,       /* "lock-lost": locks were lost or the file was replaced while it was read */
  HOLDFAST_WHY_UNPROVEN,   /* "unproven": seen once and not again, or locks cannot be looked at here */
  HOLDFAST_WHY_UNKNOWN,    /* "unknown-finding": SQLite said something that this holdfast does not know */
  HOLDFAST_WHY_NOT_SQLITE, /* "not-sqlite": no SQLite header: encrypted, or something else */
  HOLDFAST_WHY_READONLY, /* "read-only": a journal waits to be played back, or the check has to write-lock */
  HOLDFAST_WHY_CALLER,   /* "caller": refused by an authorizer, a limit, a wrong argument */
  HOLDFAST_WHY_NEVER     /* "never": nobody has checked this file yet */
};

/* What a finding is about. holdfast_word("finding", n). Since 0.1. */
enum {
  HOLDFAST_FINDING_STRUCTURE = 1, /* "structure": pages, trees, freelist. Damage: salvage or restore */
  HOLDFAST_FINDING_INDEX,         /* "index": an index and its table differ. Damage: REINDEX may do */
  HOLDFAST_FINDING_CONSTRAINT,    /* "constraint": NOT NULL, CHECK, type. Not damage to the file */
  HOLDFAST_FINDING_REFERENCE,     /* "reference": a foreign key leads nowhere. Not damage to the file */
  HOLDFAST_FINDING_VIRTUAL,       /* "virtual": a virtual table's own check: FTS 'rebuild', rtreecheck */
  HOLDFAST_FINDING_UNKNOWN        /* "unknown" */
};

/* Bits of holdfast_health_report.coverage. holdfast_health_coverage() puts them into words. Since 0.1. */
enum {
  HOLDFAST_COVER_HEADER = 1,   /* the header, through the connection's own file handle */
  HOLDFAST_COVER_TABLES = 2,   /* all b-trees of tables and indexes, row by row */
  HOLDFAST_COVER_INDEXES = 4,  /* each index entry against its row */
  HOLDFAST_COVER_FREELIST = 8, /* the freelist, and that each page is used once */
  HOLDFAST_COVER_VIRTUAL = 16, /* virtual tables that have a check of their own */
  HOLDFAST_COVER_FK = 32,
  HOLDFAST_COVER_CACHED = 64 /* pages may have come from the connection's cache and not from the disk */
};

typedef struct holdfast_health_options {
  size_t struct_size;
  int kind;         /* HOLDFAST_HEALTH_QUICK ... _FTS; 0 = quick */
  int budget_ms;    /* working time in all; 0 = 60000, -1 = without limit */
  int slice_max_ms; /* a piece that was cut off tries again with twice the time, up to this; 0 = the budget */
  int force;        /* 1: read again although nothing changed since the last ok */
  int unsliced;     /* 1: one pass over the file instead of table by table; the report has all findings */
  int confirm_again; /* 1: damage must be seen three times, alike. Always so on network mounts */
  /* for holdfast_health_check() only: */
  int slice_ms;           /* the pool's writers wait at most so long for the check; 0 = 10 */
  int evidence_max;       /* copies of a damaged database, for ever; 0 = 3, HOLDFAST_OFF (-1) = none */
  int64_t evidence_bytes; /* and their bytes; 0 = 1 GiB */
} holdfast_health_options;

typedef struct holdfast_health_report {
  size_t struct_size; /* in: sizeof(holdfast_health_report) */
  int verdict, kind, reason;
  int code;     /* SQLite's extended code behind a not_checked or a damaged, 0 = none */
  int coverage; /* HOLDFAST_COVER_... that was read; for damaged: up to the finding */
  int tables, tables_done;
  int findings;      /* that holdfast_health_finding() can show, at most 100 */
  int damage;        /* of these: structure and index (fk, fts: of that kind) */
  int unchanged;     /* 1: nothing was read, the file has not changed since the ok of `when_ms` */
  int interruptions; /* pieces that were cut off and had to begin again */
  int incident;      /* 1: this report is the first of its incident: the event was sent now */
  int64_t when_ms;   /* end of the check, milliseconds since 1970 */
  int64_t work_ms;   /* time spent reading */
  uint32_t change_counter;
  uint64_t device, inode; /* 0 where the file is not under the shim */
  char sqlite_version[16];
  char text[256]; /* the first finding, or why it was not checked. One sentence for people */
} holdfast_health_report;

typedef struct holdfast_health_finding_row {
  size_t struct_size;
  int what;         /* HOLDFAST_FINDING_... */
  char object[128]; /* table, where it is known */
  char text[256];   /* SQLite's words */
} holdfast_health_finding_row;

typedef struct holdfast_health_run holdfast_health_run;

/*
 * Begin a check of one database of a connection ("main", ...). The check works on that connection only, opens
 * nothing, and writes nothing. The connection must stay open until holdfast_health_end(); between two steps
 * it may be used for anything. options may be NULL. When the file has not changed since its last ok, the run
 * is over before its first step.
 * Returns SQLITE_OK, SQLITE_NOMEM or SQLITE_MISUSE (bad argument, no such schema); *out is not touched then.
 * The thread that uses db. Since 0.1.
 */
HOLDFAST_API int holdfast_health_begin(struct sqlite3 *db, const char *schema,
                                       const holdfast_health_options *options, holdfast_health_run **out);

/*
 * Go on for about slice_ms (0 or less: until it is over). The connection must have no transaction and no busy
 * statement, or the step ends the run as not_checked(cached). It holds a read transaction while it
 * works, and none when it returns. Returns SQLITE_ROW (there is more to do) or SQLITE_DONE. A piece that the
 * slice cut off begins again in the next step, with more time. The thread that uses db. Since 0.1.
 */
HOLDFAST_API int holdfast_health_step(holdfast_health_run *run, int slice_ms);

/*
 * End the running step within about a millisecond, because somebody needs the connection or the lock:
 * it returns SQLITE_ROW. Nothing happens when no step runs. Any thread, as long as the run exists. Old
 * versions of SQLite end late (docs/health.md). Since 0.1.
 */
HOLDFAST_API void holdfast_health_yield(holdfast_health_run *run);

/* Share of the work that is done, 0 to 100. The thread of the run. Since 0.1. */
HOLDFAST_API int holdfast_health_progress(const holdfast_health_run *run);

/* What is known so far; after SQLITE_DONE: the verdict. A run that is not over is not_checked(budget).
 * Returns SQLITE_OK or SQLITE_MISUSE (struct_size). The thread of the run. Since 0.1. */
HOLDFAST_API int holdfast_health_report_of(const holdfast_health_run *run, holdfast_health_report *out);

/* Finding number `index` from 0. Returns SQLITE_OK, SQLITE_NOTFOUND (no more) or SQLITE_MISUSE. Since 0.1. */
HOLDFAST_API int holdfast_health_finding(const holdfast_health_run *run, int index,
                                         holdfast_health_finding_row *out);

/* Free a run, over or not; NULL is harmless. The connection stays the caller's. Since 0.1. */
HOLDFAST_API void holdfast_health_end(holdfast_health_run *run);

/*
 * The last verdict about a file in this process, without touching any connection and without waiting for one:
 * by whatever connection it was found, for this kind or one that includes it. The file is looked at by stat()
 * only: what has changed since is stale; a verdict `not_checked` is given as it was. Returns SQLITE_OK,
 * SQLITE_CANTOPEN (no such file) or SQLITE_MISUSE. Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_health_recall(const char *path, int kind, holdfast_health_report *out);

/* "header, tables, indexes 12/12, ..." into text. Returns text. Any thread. Since 0.1. */
HOLDFAST_API char *holdfast_health_coverage(const holdfast_health_report *report, char *text, size_t size);

/*
 * Keep a copy of a damaged database for whoever wants to find out what happened: PATH-evidence-1, with its
 * -wal as PATH-evidence-1-wal. It is read through the connection's own file handles inside a read transaction
 * and made at most once for an incident, by whichever process comes first. No more than copies_max files and
 * bytes_max bytes are ever there for one database (0 = 3 and 1 GiB); nothing is removed to make room. *made
 * is 1 when this call made the copy; name (may be NULL) receives its path. Returns SQLITE_OK (also when a
 * copy was there already, or when there is no room left), or the code of what failed. The thread that uses
 * db. Since 0.1.
 */
HOLDFAST_API int holdfast_health_evidence(struct sqlite3 *db, const char *schema, int copies_max,
                                          int64_t bytes_max, int *made, char *name, size_t size);
/* ---------------------------------------------------------------- who holds the locks */

/* One lock and who has it. Texts are cut at their size, never NULL. Since 0.1. */
typedef struct holdfast_holder {
  char lock[16]; /* SHARED, RESERVED, PENDING, EXCLUSIVE (the level of the database file, each includes those
                    before it); WAL_WRITE, WAL_CKPT, WAL_RECOVER, WAL_READ0 .. WAL_READ4; DMS (has the WAL
                    database open); OTHER (a lock that SQLite does not take, on bytes that it uses) */
  char mode[8];  /* "read" or "write" */
  int64_t pid;   /* 0: somebody who cannot be seen from here */
  char command[64];       /* the program's short name */
  char command_line[256]; /* with its arguments; "" when they may not be read */
  char state[16]; /* running; stopped (SIGSTOP: no waiting helps); frozen (a paused container); traced (by a
                     debugger); blocked (waits for a disk or a server); ended; unseen; remote */
  int mine;       /* 1: this process */
  uint64_t connection; /* number of the connection in this process, 0 = not known */
  int64_t thread;      /* kernel's number of the thread that took it, 0 = not known */
  int64_t since_ms;    /* for how long; -1 = not known, as for every other process */
  char sql[256];       /* statement that took it, "" = not known */
} holdfast_holder;

typedef struct holdfast_holders {
  size_t struct_size; /* in: sizeof(holdfast_holders) */
  int count;
  int complete;        /* 1: whoever else there is holds no lock that this kernel knows of */
  char unseen[512];    /* what could not be seen and why, one sentence; "" when complete */
  holdfast_holder *at; /* count of them, the strongest first; holdfast_holders_free() */
} holdfast_holders;

/*
 * Who holds a lock of this database, now? Found in /proc, so that the database, its -wal and its -shm are
 * never opened and nobody is disturbed: plain SQLite and holdfast, POSIX and OFD locks alike. Takes about two
 * microseconds for each open descriptor of the machine. Locks that come and go while it looks may be missed.
 * A user other than root sees the owners of his own processes only. What other machines hold through a server
 * is not seen; only a program that has the database open can be told that somebody does (the table
 * holdfast_lock_holders). *out is not touched on failure. Returns SQLITE_OK, SQLITE_CANTOPEN (no such file),
 * SQLITE_NOTFOUND (not on this system), SQLITE_NOMEM or SQLITE_MISUSE. Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_lock_holders(const char *path, holdfast_holders *out);

/*
 * The same, and also who has the database or its -shm open and holds no lock at this moment: a row with the
 * lock "OPEN" and the mode "", one for each such process. A program that waits for a lock is among them,
 * because SQLite lets go of all locks between tries. Since 0.1.
 */
HOLDFAST_API int holdfast_database_users(const char *path, holdfast_holders *out);

/* sqlite3_file_control(db, schema, HOLDFAST_FCNTL_HOLDERS, holdfast_holders *): the same for an open
 * database, with connection, thread, since_ms and sql of this library's own connections, and with an answer
 * by the file system for owners that cannot be seen. SQLITE_NOTFOUND when the file is not under the shim.
 * Since 0.1. */
#define HOLDFAST_FCNTL_HOLDERS 0x48460002

/* Gives the rows back; harmless on a zeroed structure. Since 0.1. */
HOLDFAST_API void holdfast_holders_free(holdfast_holders *holders);
/* ---------------------------------------------------------------- salvage */

/* What became of one table. Since 0.1. */
typedef struct holdfast_salvage_table {
  size_t struct_size;
  char name[128];
  int64_t rows_kept;     /* in the new table; of "lost_and_found": rows that fit nowhere else */
  int64_t rows_stray;    /* of these: found on pages that nothing leads to any more */
  int64_t rows_by_index; /* of these: whole rows that only an index had */
  int64_t rows_lost;     /* known by an index only, in part: what it has is in lost_and_found */
  int64_t rows_broken;   /* counted on their page, and cannot be read */
  int64_t pages_lost; /* places where a page of the table should be and is not: what it held is not known */
  char note[128];     /* one sentence, or "" */
} holdfast_salvage_table;
typedef void (*holdfast_salvage_fn)(const holdfast_salvage_table *table, void *arg);

/*
 * Put everything that can be read of the database `path` into the new database `new_path`: tables, rows,
 * indexes, views, triggers. `path` is only read, through a read-only connection, and copied to
 * new_path-salvage for the time of the work (room for two more databases is needed). A new_path that exists
 * is SQLITE_CANTOPEN. fn (may be NULL) is called for each table at the end; message (may be NULL) receives
 * what else there is to know. Returns SQLITE_OK (all of it was there), SQLITE_CORRUPT (the new database was
 * made, and something is missing: the account says what), SQLITE_NOTADB, SQLITE_CANTOPEN, SQLITE_FULL,
 * SQLITE_NOMEM or another SQLite code: no new database is left then. One at a time in a process. Any thread.
 * In libholdfast only. Since 0.1.
 */
HOLDFAST_API int holdfast_salvage(const char *path, const char *new_path, holdfast_salvage_fn fn, void *arg,
                                  char *message, size_t size);

/* ---------------------------------------------------------------- the pool
 *
 * One pool for each database file of this process: one connection that writes, some that read, and fair,
 * bounded waits. In libholdfast only (not in the extension). docs/pool.md has the concepts.
 *
 * Caveats first:
 *  - A lease is used by the thread that acquired it. Release every lease; one that is out long is reported.
 *  - After a fork() the child may not use the parent's pools: every call returns HOLDFAST_FORKED and touches
 *    nothing. The child opens its own.
 *  - The pool sets a busy handler, a trace and a WAL hook on its connections. Leave them alone.
 *  - A time of 0 means "the default" everywhere below, HOLDFAST_NO_WAIT and HOLDFAST_OFF (-1) mean none.
 */

struct sqlite3_stmt;
typedef struct holdfast_pool holdfast_pool;
typedef struct holdfast_lease holdfast_lease;
typedef struct holdfast_cancel holdfast_cancel;

/* holdfast's own result codes are negative; 0 and positive ones are SQLite's. Since 0.1. */
enum {
  HOLDFAST_TIMEOUT = -1,     /* the wait for a connection or for a lock ended */
  HOLDFAST_FORKED = -2,      /* the pool belongs to the process that this one was forked from */
  HOLDFAST_REENTRANT = -3,   /* this thread holds what it asks for: it would wait for itself */
  HOLDFAST_CLOSED = -4,      /* the pool is closed, or is being closed */
  HOLDFAST_QUARANTINED = -5, /* the database is damaged: writes are off, reads go on */
  HOLDFAST_MISUSE = -6,      /* a bad argument, or a call at the wrong time */
  HOLDFAST_CANCELLED = -7,   /* holdfast_cancel_fire() ended it */
  HOLDFAST_CONFLICT = -8     /* the pool of this file is open with another configuration */
};

/*
 * One sentence about a code, holdfast's or SQLite's: a constant. Never NULL. Any thread, any process.
 * Since 0.1.
 */
HOLDFAST_API const char *holdfast_strerror(int code);

/*
 * The long text of the last failure of a pool call in this thread: it names the pool, the lane, how many
 * wait, and who has held the lane for longest. Never NULL; "" when no call of this thread has failed. Belongs
 * to holdfast and is good until the next failure in this thread. Any thread, any process. Since 0.1.
 */
HOLDFAST_API const char *holdfast_errmsg(void);

enum { HOLDFAST_NO_WAIT = -1, HOLDFAST_OFF = -1 };

/* What a lease is for: the lanes of a pool. Since 0.1. */
enum { HOLDFAST_READ = 1, HOLDFAST_WRITE = 2 };

enum {                             /* holdfast_pool_config.flags */
       HOLDFAST_POOL_READONLY = 1, /* no writer: HOLDFAST_WRITE is HOLDFAST_MISUSE */
       HOLDFAST_POOL_NO_CREATE = 2 /* a database that does not exist is SQLITE_CANTOPEN */
};
enum { /* holdfast_pool_config.journal, beside HOLDFAST_JOURNAL_DELETE, _TRUNCATE and _PERSIST */
       HOLDFAST_JOURNAL_WAL_IF_POSSIBLE = 0, /* WAL where the mount allows it, else what is in force */
       HOLDFAST_JOURNAL_AS_IT_IS = 5         /* the database's own */
};
enum { /* holdfast_pool_config.check: what is looked at when the pool opens, on its own main connection */
       HOLDFAST_CHECK_QUICK = 1, /* PRAGMA quick_check, within check_ms; the default */
       HOLDFAST_CHECK_NONE = 2
};

/*
 * How a pool is made. Zero the structure, set struct_size, then what you want to change: 0 means the default.
 * Out of range is HOLDFAST_MISUSE and the text names the member. Strings are copied. Since 0.1.
 */
typedef struct holdfast_pool_config {
  size_t struct_size; /* sizeof(holdfast_pool_config) */
  const char *name;   /* in messages, at most 63 bytes; default: the file's name */
  const char *vfs;    /* a VFS by name; default: SQLite's default, which is holdfast */
  int flags;          /* HOLDFAST_POOL_... */
  int readers;        /* at most so many connections that read, 1 to 64; default: one for each processor, at
                         most 4; on a network mount and for a memory database none. HOLDFAST_OFF: none, reads
                         use the writer's connection */
  int wait_ms;        /* one deadline for the queue and SQLite's locks; default 30000, from 1 */
  int handoff_us; /* the first in the queue lets others pass for so long; default 1000; HOLDFAST_OFF: strict
                     order */
  int journal;    /* HOLDFAST_JOURNAL_... as above */
  int statements; /* kept prepared per connection; default 64, at most 1024; HOLDFAST_OFF: none */
  int leak_ms;    /* a lease that is out so long is reported, once; default 30000, from 10; HOLDFAST_OFF:
                     never */
  int max_read_age_ms;   /* a read lease that pins the WAL so long is interrupted; default: never; from 10 */
  int checkpoint_frames; /* checkpoint when the WAL has so many; default 1000; HOLDFAST_OFF: the pool makes no
                            checkpoint by itself */
  int checkpoint_ms; /* and when frames have waited so long; default 60000, from 100; HOLDFAST_OFF: never */
  int wal_limit_mib; /* the -wal is cut to this when it is begun anew; default 64 */
  int check;         /* HOLDFAST_CHECK_... */
  int check_ms;      /* how long that may take, else the answer is "not checked"; default 1000 */
  /*
   * Called once for each connection, before it is used: PRAGMAs, functions, collations. `lane` is
   * HOLDFAST_READ or HOLDFAST_WRITE. Not 0 = the connection is not used and the code is handed to who asked.
   * Called in any thread that uses the pool, never in two at once for one connection.
   */
  int (*on_connect)(struct sqlite3 *db, int lane, void *arg);
  void *on_connect_arg;
} holdfast_pool_config;

/*
 * The pool of a database: made, or the one that this process has already for the same file, by whatever name
 * (symbolic link, relative path, hard link): the file's device and inode decide, or its real path where inode
 * numbers are not stable. Each successful open needs its holdfast_pool_close(). `path` is a path or a "file:"
 * URI; ":memory:" and "" make a private pool of one connection. Registers the VFS "holdfast" if that was not
 * done. Opens the writing connection, settles the journal mode, then checks the database. config = NULL:
 * defaults. A pool that exists already keeps its configuration: members that are not 0 must be what it has.
 * *out is not touched on failure.
 * Returns 0, HOLDFAST_CONFLICT, HOLDFAST_MISUSE, HOLDFAST_TIMEOUT (another thread has been opening it for
 * wait_ms), or the code with which SQLite could not open or set up the database: SQLITE_CANTOPEN,
 * SQLITE_NOTADB, SQLITE_IOERR... A database that the check calls damaged is opened all the same: writes are
 * off then (HOLDFAST_QUARANTINED). Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_pool_open(const char *path, const holdfast_pool_config *config,
                                    holdfast_pool **out);

/*
 * Give one reference back. The last one ends the pool: waiting calls return HOLDFAST_CLOSED, leases that are
 * out have drain_ms (0 = the pool's wait_ms, HOLDFAST_NO_WAIT = none) to come back, then their SQL is
 * interrupted; readers are closed, the WAL is checkpointed as far as that works without waiting, the writer
 * is closed last. `pool` may not be used afterwards, whatever the result; leases that are still out may be
 * released still, and what is left is freed with the last of them.
 * Returns 0, HOLDFAST_TIMEOUT (leases are still out: the text names the longest), HOLDFAST_FORKED (nothing
 * was done) or HOLDFAST_MISUSE (NULL). Any thread that holds no lease of this pool, else
 * HOLDFAST_REENTRANT and nothing is done; not from an event callback. Since 0.1.
 */
HOLDFAST_API int holdfast_pool_close(holdfast_pool *pool, int drain_ms);

/*
 * Something to stop a wait and its SQL with, for any number of leases at a time. Returns 0, SQLITE_NOMEM or
 * HOLDFAST_MISUSE (out is NULL). Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_cancel_new(holdfast_cancel **out);

/*
 * End it: calls that wait with this object return HOLDFAST_CANCELLED, statements on leases acquired with
 * it return SQLITE_INTERRUPT, those that run and those that begin later; a later acquire is cancelled at
 * once, until holdfast_cancel_reset(). A COMMIT that has begun is not ended. Any thread; not in a signal
 * handler. In a forked child nothing happens. Since 0.1.
 */
HOLDFAST_API void holdfast_cancel_fire(holdfast_cancel *cancel);
HOLDFAST_API void holdfast_cancel_reset(holdfast_cancel *cancel);

/* NULL is harmless. No call may wait with it and no lease may be out that was acquired with it. Since 0.1. */
HOLDFAST_API void holdfast_cancel_free(holdfast_cancel *cancel);

/* What an acquire, read or write may say beyond the pool's defaults. Zero it, set struct_size. Since 0.1. */
typedef struct holdfast_options {
  size_t struct_size;      /* sizeof(holdfast_options) */
  int wait_ms;             /* 0 = the pool's wait_ms, HOLDFAST_NO_WAIT = do not wait */
  const char *tag;         /* who is this, in reports: copied, at most 63 bytes */
  holdfast_cancel *cancel; /* NULL = cannot be cancelled */
} holdfast_options;

/*
 * Lease a connection. Begins no transaction (holdfast_read and _write do). mode is HOLDFAST_READ (the
 * connection refuses to write) or HOLDFAST_WRITE. Waits at most wait_ms (0 = the pool's, HOLDFAST_NO_WAIT =
 * not at all). A statement that meets a lock waits until the same deadline, or for as long again once that is
 * over. The pool keeps ownership; the calling thread uses *out until holdfast_release(). *out is not
 * touched on failure.
 * Returns 0, HOLDFAST_TIMEOUT, HOLDFAST_REENTRANT (this thread holds a lease of the lane and would have to
 * wait: the text has the tag of the first), HOLDFAST_CANCELLED, HOLDFAST_CLOSED, HOLDFAST_QUARANTINED (writes
 * are off), HOLDFAST_MISUSE, HOLDFAST_FORKED, or the code with which SQLite could not open one more
 * connection. Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_acquire(holdfast_pool *pool, int mode, int wait_ms, holdfast_lease **out);

/* The same with a tag and a way to cancel. options = NULL: the pool's defaults. Since 0.1. */
HOLDFAST_API int holdfast_acquire_with(holdfast_pool *pool, int mode, const holdfast_options *options,
                                       holdfast_lease **out);

/*
 * Give a lease back. Statements of holdfast_prepare() are reset and their bindings cleared. A transaction or
 * a statement that was left open is rolled back or reset, counted and reported; if that fails, or if holdfast
 * has ended this connection's writing (F15, F21), the connection is closed and a new one takes its place.
 * NULL is harmless. Returns 0, HOLDFAST_MISUSE (not a lease that is out) or HOLDFAST_FORKED (nothing was
 * done). The thread that acquired it. Since 0.1.
 */
HOLDFAST_API int holdfast_release(holdfast_lease *lease);

/* The connection of a lease: good until the release, not to be closed. NULL for NULL and in a forked child.
 * Since 0.1. */
HOLDFAST_API struct sqlite3 *holdfast_lease_db(holdfast_lease *lease);

/*
 * A prepared statement of the lease's connection, from its cache. It is reset and has no bindings, and it is
 * good until the release; do not finalize it. The same text again gives the same statement, reset, unless it
 * is being stepped: then another one. Text after the first statement is SQLITE_ERROR. *out is not touched
 * on failure. Returns a SQLite code, HOLDFAST_MISUSE or HOLDFAST_FORKED. The lease's thread. Since 0.1.
 */
HOLDFAST_API int holdfast_prepare(holdfast_lease *lease, const char *sql, struct sqlite3_stmt **out);

/* What to do in a transaction: 0 = commit, all else = roll back and return that. Since 0.1. */
typedef int (*holdfast_fn)(holdfast_lease *lease, void *arg);

/*
 * Run fn in a read transaction, all of it on one snapshot of the database (in one that is not in WAL mode:
 * nobody else commits meanwhile). The transaction is always ended. Returns what fn returns, or as
 * holdfast_acquire(), or the SQLite code with which the transaction could not begin. wait_ms is the pool's,
 * or that of the options, for everything together. Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_read(holdfast_pool *pool, holdfast_fn fn, void *arg);
HOLDFAST_API int holdfast_read_with(holdfast_pool *pool, const holdfast_options *options, holdfast_fn fn,
                                    void *arg);

/*
 * Run fn in a write transaction: BEGIN IMMEDIATE, fn, COMMIT, or ROLLBACK when fn does not return 0. Returns
 * 0 only when COMMIT did. fn runs at most once. When the file was replaced under the pool
 * (SQLITE_READONLY_DBMOVED) before the transaction began, the pool opens it again and goes on with the new
 * one. Otherwise returns what fn returned, or as holdfast_acquire(), HOLDFAST_TIMEOUT (no turn or no lock
 * before the deadline; nothing was written), or the SQLite code of BEGIN or COMMIT. Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_write(holdfast_pool *pool, holdfast_fn fn, void *arg);
HOLDFAST_API int holdfast_write_with(holdfast_pool *pool, const holdfast_options *options, holdfast_fn fn,
                                     void *arg);

enum {                                 /* holdfast_checkpoint.state */
       HOLDFAST_CHECKPOINT_NO_WAL = 1, /* the database is not in WAL mode */
       HOLDFAST_CHECKPOINT_COMPLETE,   /* every frame is in the database file */
       HOLDFAST_CHECKPOINT_PARTIAL,    /* somebody reads an old snapshot: `pin_...` */
       HOLDFAST_CHECKPOINT_BUSY        /* somebody else was making one */
};

/* What a checkpoint did, and who keeps the WAL from being used again. Since 0.1. */
typedef struct holdfast_checkpoint {
  size_t struct_size; /* in: sizeof(holdfast_checkpoint) */
  int state;          /* HOLDFAST_CHECKPOINT_... */
  int frames;         /* in the WAL */
  int copied;         /* of these, in the database file */
  int pin;            /* 1: a lease of this pool pins it, 0: somebody else does, -1: nobody */
  int64_t pin_age_ms; /* how long that lease has been out */
  char pin_tag[64];   /* its tag */
  char pin_sql[160];  /* the statement that it began last, cut */
} holdfast_checkpoint;

/*
 * Checkpoint now, PASSIVE: no reader and no writer waits for it. The pool does so by itself, in a thread of
 * its own (checkpoint_frames, checkpoint_ms). Waits at most wait_ms (0 = the pool's) for a checkpoint of the
 * pool that is under way. report may be NULL and is filled on success. Returns 0 (report->state says what was
 * reached), HOLDFAST_TIMEOUT, HOLDFAST_CLOSED, HOLDFAST_FORKED, HOLDFAST_MISUSE or a SQLite code. Any thread.
 * Since 0.1.
 */
HOLDFAST_API int holdfast_pool_checkpoint(holdfast_pool *pool, int wait_ms, holdfast_checkpoint *report);

/*
 * Copy the database into the new file `dest` with SQLite's backup interface, from the pool's writing
 * connection, in slices between which writers have their turn. A `dest` that exists is SQLITE_CANTOPEN:
 * nothing is overwritten; what was made is removed again on failure. options->wait_ms bounds the whole (0 =
 * no bound). Returns 0 (the copy is complete and synced), HOLDFAST_TIMEOUT, HOLDFAST_CANCELLED, as
 * holdfast_acquire(), or a SQLite code. Any thread that holds no lease of this pool. Since 0.1.
 */
HOLDFAST_API int holdfast_pool_backup(holdfast_pool *pool, const char *dest, const holdfast_options *options);

enum {                            /* holdfast_pool_event.kind */
       HOLDFAST_POOL_LEAK = 1,    /* a lease has been out for leak_ms */
       HOLDFAST_POOL_RETURNED,    /* a lease that was reported came back */
       HOLDFAST_POOL_UNCLEAN,     /* a lease came back with a transaction or a statement open */
       HOLDFAST_POOL_DISCARDED,   /* a connection was closed, because it could not be used on */
       HOLDFAST_POOL_PINNED,      /* a checkpoint could not finish: who keeps the WAL */
       HOLDFAST_POOL_READ_ENDED,  /* a read lease was interrupted because of max_read_age_ms */
       HOLDFAST_POOL_REOPENED,    /* the file was moved or replaced: the pool uses the one of that name now */
       HOLDFAST_POOL_JOURNAL,     /* the journal mode that was asked for cannot be had */
       HOLDFAST_POOL_CHECKED,     /* the check at open said anything but ok */
       HOLDFAST_POOL_QUARANTINED, /* writes are off */
       HOLDFAST_POOL_LIFTED,      /* and on again */
       HOLDFAST_POOL_LEFT         /* a lease was still out when the pool was closed */
};

/* Texts are good during the callback, never NULL. Since 0.1. */
typedef struct holdfast_pool_event {
  size_t struct_size;
  int kind;         /* HOLDFAST_POOL_... */
  int lane;         /* HOLDFAST_READ, HOLDFAST_WRITE or 0 */
  int code;         /* the result code that it is about, or 0 */
  int64_t age_ms;   /* of the lease, or 0 */
  const char *word; /* the kind as a word: "leak", "pinned" */
  const char *pool; /* its name */
  const char *path; /* of the database */
  const char *tag;  /* of the lease */
  const char *sql;  /* the statement that the lease began last, cut at 159 bytes */
  const char *text; /* one sentence that says it all */
} holdfast_pool_event;
typedef void (*holdfast_event_fn)(const holdfast_pool_event *event, void *arg);

/*
 * Tell fn what happens; fn = NULL: no more. One function for each pool: a new one takes the old one's place,
 * which is not running any more when the call returns (unless it is called from there). Called in any thread,
 * one event at a time, with no lock held but the one that says so: the callback may use the pool, it must not
 * close it. Returns 0, HOLDFAST_FORKED or HOLDFAST_MISUSE. Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_pool_on_event(holdfast_pool *pool, holdfast_event_fn fn, void *arg);

/* One lane in numbers. Times are nanoseconds; percentiles are upper bounds, at most a fifth too high. Since
 * 0.1. */
typedef struct holdfast_lane_stats {
  int connections;     /* open now */
  int connections_max; /* at most */
  int in_use, waiting; /* now */
  int64_t acquired;    /* leases given out */
  int64_t waited;      /* of these, after a wait */
  int64_t timeouts, cancelled, reentrant;
  int64_t wait_ns, wait_p50_ns, wait_p99_ns, wait_p999_ns, wait_max_ns; /* of those that waited */
  int64_t hold_ns, hold_p50_ns, hold_p99_ns, hold_p999_ns,
      hold_max_ns;       /* acquire to release; of leases that
end within some milliseconds and that nobody waits for, one in seven is timed */
  int64_t longest_ms;    /* the lease that is out for longest, 0 = none */
  char longest_tag[64];  /* its tag */
  char longest_sql[160]; /* the statement that it began last, cut */
} holdfast_lane_stats;

typedef struct holdfast_stats {
  size_t struct_size; /* in: sizeof(holdfast_stats) */
  char name[64];
  char path[1024];  /* real path, cut */
  char journal[12]; /* "wal", "delete", ... */
  char check[12];   /* of the check at open: "ok", "damaged", "not_checked" */
  int references;   /* opens that were not closed yet */
  int quarantined;  /* 1: writes are off */
  holdfast_lane_stats read, write;
  int64_t opened, discarded, reopened; /* connections; files */
  int64_t unclean, leaks, reads_ended;
  int64_t commits, rollbacks; /* of holdfast_write */
  int64_t lock_waits;         /* times that SQLite found a lock taken */
  int64_t statements_hit, statements_missed;
  int64_t checkpoints, checkpoints_partial, checkpoints_busy;
  int wal_frames; /* after the last commit of this pool */
} holdfast_stats;

/* A picture of the pool. Returns 0, HOLDFAST_FORKED or HOLDFAST_MISUSE. Any thread. Since 0.1. */
HOLDFAST_API int holdfast_pool_stats(holdfast_pool *pool, holdfast_stats *out);

/*
 * Check the pool's database on its main connection, in slices: a writer that waits ends the slice within
 * about a millisecond and goes first, and a piece that was cut off begins again later. options = NULL: quick,
 * 60 s. What was not done when the budget is over is not_checked(budget). Confirmed damage to the file puts
 * the pool into quarantine (writes are HOLDFAST_QUARANTINED, reads go on), keeps one copy as evidence and
 * tells once: HOLDFAST_POOL_CHECKED and _QUARANTINED. A later full check that finds nothing lifts the
 * quarantine. Returns 0 (*report has the verdict), as holdfast_acquire(), or SQLITE_NOMEM. Any thread that
 * holds no lease of this pool; checks of one pool take turns. Since 0.1.
 */
HOLDFAST_API int holdfast_health_check(holdfast_pool *pool, const holdfast_health_options *options,
                                       holdfast_health_report *report);

/*
 * The last verdict about the pool's file, quick or full, whichever is newer, by any connection of this
 * process. Waits for no connection and no lock; looks at the file by stat(): what has changed since is stale.
 * Returns 0, HOLDFAST_FORKED, HOLDFAST_MISUSE or SQLITE_CANTOPEN (a memory database, or the file is gone).
 * Any thread. Since 0.1.
 */
HOLDFAST_API int holdfast_health_last(holdfast_pool *pool, holdfast_health_report *report);

/* ---------------------------------------------------------------- extension entry points */

/* sqlite3_holdfast_init() and sqlite3_holdfast_auto_init() are called by SQLite: the first by
 * load_extension(), the second is for sqlite3_auto_extension(). Their prototypes need sqlite3ext.h. */

#ifdef __cplusplus
}
#endif
#endif
