/*
 * classify.c - what a result code of SQLite says about the database: one line for every code there is.
 *
 * Pure. A code that SQLite adds later is sorted as its primary code until it gets a line here;
 * tests/unit/test_classify.c fails when the sqlite3.h it is built with has a code that is missing.
 */
#include <stddef.h>

#include "health.h"
#include "holdfast.h"

enum { FINE = HOLDFAST_CODE_FINE, SUSPECT, ENVIRONMENT, CONTENTION, CALLER };

#define EXT(primary, n) ((primary) | (n) << 8)

static const struct {
  int code, says;
} table[] = {
    {0, FINE},                  /* OK */
    {EXT(0, 1), FINE},          /* OK_LOAD_PERMANENTLY */
    {EXT(0, 2), FINE},          /* OK_SYMLINK */
    {1, CALLER},                /* ERROR: SQL that does not fit this SQLite or this schema */
    {EXT(1, 1), CALLER},        /* ERROR_MISSING_COLLSEQ */
    {EXT(1, 2), CALLER},        /* ERROR_RETRY */
    {EXT(1, 3), CALLER},        /* ERROR_SNAPSHOT */
    {EXT(1, 4), CALLER},        /* ERROR_RESERVESIZE */
    {EXT(1, 5), CALLER},        /* ERROR_KEY */
    {EXT(1, 6), CALLER},        /* ERROR_UNABLE */
    {2, ENVIRONMENT},           /* INTERNAL: SQLite's own mistake, or memory that was overwritten */
    {3, ENVIRONMENT},           /* PERM */
    {4, CALLER},                /* ABORT */
    {EXT(4, 2), CALLER},        /* ABORT_ROLLBACK */
    {5, CONTENTION},            /* BUSY */
    {EXT(5, 1), CONTENTION},    /* BUSY_RECOVERY */
    {EXT(5, 2), CONTENTION},    /* BUSY_SNAPSHOT */
    {EXT(5, 3), CONTENTION},    /* BUSY_TIMEOUT */
    {6, CONTENTION},            /* LOCKED */
    {EXT(6, 1), CONTENTION},    /* LOCKED_SHAREDCACHE */
    {EXT(6, 2), CONTENTION},    /* LOCKED_VTAB */
    {7, ENVIRONMENT},           /* NOMEM */
    {8, ENVIRONMENT},           /* READONLY */
    {EXT(8, 1), ENVIRONMENT},   /* READONLY_RECOVERY */
    {EXT(8, 2), ENVIRONMENT},   /* READONLY_CANTLOCK */
    {EXT(8, 3), ENVIRONMENT},   /* READONLY_ROLLBACK: a hot journal, and no right to play it back */
    {EXT(8, 4), ENVIRONMENT},   /* READONLY_DBMOVED */
    {EXT(8, 5), ENVIRONMENT},   /* READONLY_CANTINIT */
    {EXT(8, 6), ENVIRONMENT},   /* READONLY_DIRECTORY */
    {9, CALLER},                /* INTERRUPT */
    {10, ENVIRONMENT},          /* IOERR */
    {EXT(10, 1), ENVIRONMENT},  /* IOERR_READ */
    {EXT(10, 2), SUSPECT},      /* IOERR_SHORT_READ: the file ends too early */
    {EXT(10, 3), ENVIRONMENT},  /* IOERR_WRITE */
    {EXT(10, 4), ENVIRONMENT},  /* IOERR_FSYNC */
    {EXT(10, 5), ENVIRONMENT},  /* IOERR_DIR_FSYNC */
    {EXT(10, 6), ENVIRONMENT},  /* IOERR_TRUNCATE */
    {EXT(10, 7), ENVIRONMENT},  /* IOERR_FSTAT */
    {EXT(10, 8), ENVIRONMENT},  /* IOERR_UNLOCK */
    {EXT(10, 9), ENVIRONMENT},  /* IOERR_RDLOCK */
    {EXT(10, 10), ENVIRONMENT}, /* IOERR_DELETE */
    {EXT(10, 11), ENVIRONMENT}, /* IOERR_BLOCKED */
    {EXT(10, 12), ENVIRONMENT}, /* IOERR_NOMEM */
    {EXT(10, 13), ENVIRONMENT}, /* IOERR_ACCESS */
    {EXT(10, 14), ENVIRONMENT}, /* IOERR_CHECKRESERVEDLOCK */
    {EXT(10, 15), ENVIRONMENT}, /* IOERR_LOCK */
    {EXT(10, 16), ENVIRONMENT}, /* IOERR_CLOSE */
    {EXT(10, 17), ENVIRONMENT}, /* IOERR_DIR_CLOSE */
    {EXT(10, 18), ENVIRONMENT}, /* IOERR_SHMOPEN */
    {EXT(10, 19), ENVIRONMENT}, /* IOERR_SHMSIZE */
    {EXT(10, 20), ENVIRONMENT}, /* IOERR_SHMLOCK */
    {EXT(10, 21), ENVIRONMENT}, /* IOERR_SHMMAP */
    {EXT(10, 22), ENVIRONMENT}, /* IOERR_SEEK */
    {EXT(10, 23), ENVIRONMENT}, /* IOERR_DELETE_NOENT */
    {EXT(10, 24), ENVIRONMENT}, /* IOERR_MMAP */
    {EXT(10, 25), ENVIRONMENT}, /* IOERR_GETTEMPPATH */
    {EXT(10, 26), ENVIRONMENT}, /* IOERR_CONVPATH */
    {EXT(10, 27), ENVIRONMENT}, /* IOERR_VNODE */
    {EXT(10, 28), ENVIRONMENT}, /* IOERR_AUTH */
    {EXT(10, 29), ENVIRONMENT}, /* IOERR_BEGIN_ATOMIC */
    {EXT(10, 30), ENVIRONMENT}, /* IOERR_COMMIT_ATOMIC */
    {EXT(10, 31), ENVIRONMENT}, /* IOERR_ROLLBACK_ATOMIC */
    {EXT(10, 32), SUSPECT},     /* IOERR_DATA: a checksum VFS found a wrong page */
    {EXT(10, 33), SUSPECT},     /* IOERR_CORRUPTFS: the file system says that it is damaged itself */
    {EXT(10, 34), ENVIRONMENT}, /* IOERR_IN_PAGE */
    {EXT(10, 35), ENVIRONMENT}, /* IOERR_BADKEY */
    {EXT(10, 36), ENVIRONMENT}, /* IOERR_CODEC */
    {11, SUSPECT},              /* CORRUPT */
    {EXT(11, 1), SUSPECT},      /* CORRUPT_VTAB */
    {EXT(11, 2), SUSPECT},      /* CORRUPT_SEQUENCE */
    {EXT(11, 3), SUSPECT},      /* CORRUPT_INDEX */
    {12, CALLER},               /* NOTFOUND */
    {13, ENVIRONMENT},          /* FULL */
    {14, ENVIRONMENT},          /* CANTOPEN */
    {EXT(14, 1), ENVIRONMENT},  /* CANTOPEN_NOTEMPDIR */
    {EXT(14, 2), ENVIRONMENT},  /* CANTOPEN_ISDIR */
    {EXT(14, 3), ENVIRONMENT},  /* CANTOPEN_FULLPATH */
    {EXT(14, 4), ENVIRONMENT},  /* CANTOPEN_CONVPATH */
    {EXT(14, 5), ENVIRONMENT},  /* CANTOPEN_DIRTYWAL */
    {EXT(14, 6), ENVIRONMENT},  /* CANTOPEN_SYMLINK */
    {15, CONTENTION},           /* PROTOCOL: lost every race for a lock of the WAL */
    {16, CALLER},               /* EMPTY */
    {17, CONTENTION},           /* SCHEMA: changed meanwhile */
    {18, CALLER},               /* TOOBIG */
    {19, CALLER},               /* CONSTRAINT */
    {EXT(19, 1), CALLER},       /* CONSTRAINT_CHECK */
    {EXT(19, 2), CALLER},       /* CONSTRAINT_COMMITHOOK */
    {EXT(19, 3), CALLER},       /* CONSTRAINT_FOREIGNKEY */
    {EXT(19, 4), CALLER},       /* CONSTRAINT_FUNCTION */
    {EXT(19, 5), CALLER},       /* CONSTRAINT_NOTNULL */
    {EXT(19, 6), CALLER},       /* CONSTRAINT_PRIMARYKEY */
    {EXT(19, 7), CALLER},       /* CONSTRAINT_TRIGGER */
    {EXT(19, 8), CALLER},       /* CONSTRAINT_UNIQUE */
    {EXT(19, 9), CALLER},       /* CONSTRAINT_VTAB */
    {EXT(19, 10), CALLER},      /* CONSTRAINT_ROWID */
    {EXT(19, 11), CALLER},      /* CONSTRAINT_PINNED */
    {EXT(19, 12), CALLER},      /* CONSTRAINT_DATATYPE */
    {20, CALLER},               /* MISMATCH */
    {21, CALLER},               /* MISUSE */
    {22, ENVIRONMENT},          /* NOLFS */
    {23, CALLER},               /* AUTH */
    {EXT(23, 1), CALLER},       /* AUTH_USER */
    {24, CALLER},               /* FORMAT */
    {25, CALLER},               /* RANGE */
    {26, SUSPECT},              /* NOTADB: also a wrong key, or a file that never was a database */
    {27, FINE},                 /* NOTICE */
    {EXT(27, 1), FINE},         /* NOTICE_RECOVER_WAL */
    {EXT(27, 2), FINE},         /* NOTICE_RECOVER_ROLLBACK */
    {EXT(27, 3), FINE},         /* NOTICE_RBU */
    {28, FINE},                 /* WARNING */
    {EXT(28, 1), FINE},         /* WARNING_AUTOINDEX */
    {100, FINE},                /* ROW */
    {101, FINE},                /* DONE */
};

static int find(int code)
{
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i].code == code) return table[i].says;
  return -1;
}

bool hf_classify_knows(int code)
{
  return find(code) >= 0;
}

int holdfast_classify(int code)
{
  int says = find(code);

  if (says < 0) says = find(code & 0xff);
  return says < 0 ? ENVIRONMENT : says;
}
