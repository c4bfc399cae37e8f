/*
 * convert.c - a database that is in WAL mode where WAL cannot work: convert it as sole user, or refuse it.
 *
 * The work is done by SQLite itself: a nested connection on the base VFS in exclusive locking mode recovers
 * the -wal with a wal-index on its heap (no -shm is created or believed), checkpoints, and switches the
 * header under a rollback journal. So every step is one that SQLite can be killed in. Nothing here writes,
 * truncates or deletes a file itself. Who may not be converted, and why, is decided first, by looking only.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "records.h"
#include "vfs.h"

enum {
  HEADER = 100,          /* of a SQLite database */
  AT_WRITE_VERSION = 18, /* 1 = rollback journal, 2 = WAL */
  AT_READ_VERSION = 19,
  AT_COUNTER = 24,   /* change counter */
  AT_VALID_FOR = 92, /* change counter again, and SQLite's version */
  WAIT_MS = 2000     /* several processes of one service may start at once: one converts, the others wait */
};

/* The nested connection runs on the base VFS; only our own auto-extension can meet it, on this thread. */
static __thread bool nested HF_TLS;
bool hf_nested(void)
{
  return nested;
}

/* ---------------------------------------------------------------- looking */

static bool says_wal(const unsigned char *header)
{
  return memcmp(header, "SQLite format 3", 16) == 0 &&
         (header[AT_WRITE_VERSION] == 2 || header[AT_READ_VERSION] == 2);
}

/* The first 100 bytes; short files are filled with zeros. */
static int read_header(hf_node *node, unsigned char *header)
{
  int rc = node->base->pMethods->xRead(node->base, header, HEADER, 0);
  return rc == SQLITE_IOERR_SHORT_READ ? SQLITE_OK : rc;
}

static bool sidecar_exists(const hf_node *node, const char *suffix)
{
  char path[4096];
  struct stat st;
  int n = snprintf(path, sizeof path, "%s%s", node->path, suffix);
  return n > 0 && (size_t)n < sizeof path && lstat(path, &st) == 0;
}

/* Ask the server about both sidecars, so that the nested connection meets what is there and not what was
 * cached. */
static int refresh_sidecars(const char *path, bool smb, bool *journal, bool *wal)
{
  char sidecar[4096];
  int error;

  if (snprintf(sidecar, sizeof sidecar, "%s-journal", path) >= (int)sizeof sidecar) return ENAMETOOLONG;
  error = hf_fresh_exists(sidecar, smb, false, journal);
  if (error) return error;
  snprintf(sidecar, sizeof sidecar, "%s-wal", path);
  return hf_fresh_exists(sidecar, smb, false, wal);
}

static int find_sidecar(const hf_node *node, const char *suffix, bool *out)
{
  sqlite3_vfs *base = node->owner->base;
  char path[4096];
  int found = 0, rc;

  if (snprintf(path, sizeof path, "%s%s", node->path, suffix) >= (int)sizeof path) return SQLITE_CANTOPEN;
  rc = base->xAccess(base, path, SQLITE_ACCESS_EXISTS, &found);
  *out = found != 0;
  return rc;
}

static int find_sidecars(const hf_node *node, bool *journal, bool *wal)
{
  int rc;

  if (node->fresh)
    return refresh_sidecars(node->path, node->verdict.smb, journal, wal) ? SQLITE_IOERR_ACCESS : SQLITE_OK;
  rc = find_sidecar(node, "-journal", journal);
  return rc ? rc : find_sidecar(node, "-wal", wal);
}

/*
 * Somebody was killed while he switched the header: the file says "rollback journal", and its hot journal
 * holds the page that says "WAL". The switch journals page 1 and nothing else. Opening a journal drops no
 * lock of the database.
 */
static bool journal_restores_wal(const hf_node *node)
{
  sqlite3_vfs *base = node->owner->base;
  char path[4096];
  unsigned char head[28], page[4 + HEADER];
  sqlite3_file *journal = calloc(1, (size_t)base->szOsFile);
  bool restores = false;
  int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_JOURNAL, got = 0;

  if (!journal) return false; /* SQLite will meet the same lack */
  snprintf(path, sizeof path, "%s-journal", node->path);
  if (base->xOpen(base, path, journal, flags, &got) == SQLITE_OK &&
      journal->pMethods->xRead(journal, head, sizeof head, 0) == SQLITE_OK) {
    static const unsigned char magic[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
    uint32_t sector = (uint32_t)head[20] << 24 | head[21] << 16 | head[22] << 8 | head[23];
    restores = memcmp(head, magic, sizeof magic) == 0 && sector >= 32 && sector <= 65536 &&
               journal->pMethods->xRead(journal, page, sizeof page, sector) == SQLITE_OK &&
               memcmp(page, "\0\0\0\1", 4) == 0 && says_wal(page + 4);
  }
  if (journal->pMethods) (void)journal->pMethods->xClose(journal); /* it was only read */
  free(journal);
  return restores;
}

/* NULL when the database may be converted, else why not. */
static const char *obstacle(const hf_node *node, bool read_only)
{
  const hf_verdict *verdict = &node->verdict;

  if (read_only) return "it was opened read-only";
  if (verdict->rule == HOLDFAST_RULE_READ_ONLY) return "the mount is read-only";
  if (verdict->confidence == HOLDFAST_CONFIDENCE_LOW)
    return "it is not certain what this mount does with locks";
  if (node->facts.split) return "the file is mounted without its directory, so others may see another -wal";
  if (verdict->locks != HOLDFAST_LOCKS_KERNEL && verdict->locks != HOLDFAST_LOCKS_SERVER &&
      (sidecar_exists(node, "-wal") || sidecar_exists(node, "-shm")))
    return "locks end at this host here and somebody else may be using its -wal";
  return NULL;
}

static int refuse(hf_node *node, int code, const char *cause, const char *why)
{
  hf_report(node->owner, "refused", cause, node->path, code,
            "in WAL mode, which cannot work on %s (%s), and not converted: %s. To convert it by hand, on one "
            "host and "
            "with no other user: holdfast convert '%s'",
            node->facts.fstype[0] ? node->facts.fstype : "this mount",
            holdfast_word("rule", node->verdict.rule), why, node->path);
  return code;
}

int hf_settle_wal(hf_node *node, const char *path, bool read_only)
{
  unsigned char header[HEADER] = {0};
  char message[256] = "";
  bool journal = false, wal = false, converted = false;
  sqlite3_int64 size = 0;
  const char *why;
  int rc;

  rc = node->base->pMethods->xFileSize(node->base, &size);
  if (rc || size == 0) return rc;
  rc = read_header(node, header);
  if (rc) return rc;
  rc = find_sidecars(node, &journal, &wal);
  if (rc) return rc;
  if (memcmp(header, "SQLite format 3", 16) != 0) { /* encrypted, or no database: SQLite will say */
    if (wal)
      hf_report(node->owner, "warned", "foreign-wal", node->path, 0,
                "no plain SQLite header, but a -wal beside it: not converted, because nobody can look "
                "inside. If it "
                "is an encrypted database in WAL mode it cannot be opened here: take it out of WAL mode on a "
                "local disk");
    return SQLITE_OK;
  }
  /* A -wal with content is opened by SQLite whatever the header says. */
  if (!says_wal(header) && !wal && !(journal && journal_restores_wal(node))) return SQLITE_OK;
  if (node->wal_exclusive) {
    node->wal_found = true;
    return SQLITE_OK;
  }
  why = obstacle(node, read_only);
  if (why) return refuse(node, SQLITE_CANTOPEN, "wal-database", why);

  rc = hf_convert(node->owner, path, WAIT_MS, &converted, message, sizeof message);
  if (rc == SQLITE_BUSY) return refuse(node, SQLITE_BUSY, "wal-busy", "somebody else has it open");
  if (rc) return refuse(node, rc, "wal-failed", message);
  if (converted)
    hf_report(node->owner, "converted", "converted", node->path, 0,
              "taken out of WAL mode, which cannot work on %s: journal_mode is delete now",
              node->facts.fstype);
  return SQLITE_OK;
}

/* ---------------------------------------------------------------- converting */

/* Run one statement and copy the first column of its first row. */
static int query_text(const hf_api *api, sqlite3 *db, const char *sql, char *out, size_t size)
{
  sqlite3_stmt *statement = NULL;
  int rc = api->prepare_v2(db, sql, -1, &statement, NULL), last;

  if (rc) return rc;
  rc = api->step(statement);
  if (rc == SQLITE_ROW) snprintf(out, size, "%s", (const char *)api->column_text(statement, 0));
  last = api->finalize(statement);
  if (rc == SQLITE_ROW || rc == SQLITE_DONE) rc = SQLITE_OK;
  return rc ? rc : last;
}

static int convert_on(const hf_api *api, sqlite3 *db, int wait_ms, bool *converted)
{
  char mode[16] = "", before[16] = "";
  int rc;

  api->busy_timeout(db, wait_ms);
  /* Before the first read: exclusive mode puts the wal-index on the heap, and no mapping may be used here. */
  rc = api->exec(db, "PRAGMA mmap_size=0; PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=EXTRA", NULL,
                 NULL, NULL);
  /* The first read opens the -wal and recovers it; if it is empty or absent the mode shows only after that.
   */
  if (rc == SQLITE_OK) rc = api->exec(db, "SELECT count(*) FROM sqlite_master", NULL, NULL, NULL);
  /* A file that may only be read gives an I/O error in exclusive mode, as it cannot be locked for writing. */
  if ((rc & 0xff) == SQLITE_IOERR && api->db_readonly(db, "main") == 1) return SQLITE_READONLY;
  if (rc == SQLITE_OK) rc = query_text(api, db, "PRAGMA journal_mode", before, sizeof before);
  if (rc == SQLITE_OK && strcasecmp(before, "wal") != 0) return SQLITE_OK;
  if (rc == SQLITE_OK && api->db_readonly(db, "main") == 1) return SQLITE_READONLY;
  if (rc == SQLITE_OK) rc = query_text(api, db, "PRAGMA journal_mode=DELETE", mode, sizeof mode);
  if (rc == SQLITE_OK && strcasecmp(mode, "delete") != 0) rc = SQLITE_BUSY;
  if (rc == SQLITE_OK) *converted = true;
  return rc;
}

int hf_convert(hf_vfs *owner, const char *path, int wait_ms, bool *converted, char *message, size_t size)
{
  const hf_api *api = &owner->api;
  /* Shared cache would deadlock: the caller may hold its mutex. NOFOLLOW exists since 3.31; the path is
   * resolved. */
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_PRIVATECACHE, rc;
  sqlite3 *db = NULL;

  if (nested) return SQLITE_MISUSE;
  if (api->libversion_number() >= 3031000) flags |= SQLITE_OPEN_NOFOLLOW;
  nested = true;
  rc = api->open_v2(path, &db, flags, owner->base->zName);
  if (rc == SQLITE_OK) rc = convert_on(api, db, wait_ms, converted);
  if (rc == SQLITE_READONLY)
    snprintf(message, size, "the file cannot be written");
  else if (rc)
    snprintf(message, size, "%s", db ? api->errmsg(db) : "out of memory");
  api->close(db); /* accepts NULL; all statements are finalized */
  nested = false;
  if ((rc & 0xff) == SQLITE_BUSY) rc = SQLITE_BUSY;
  return rc;
}

/*
 * For `holdfast convert`: the user says that no other host has the file open, so only what SQLite's own locks
 * say counts. The caches of the client are asked past, and SMB's locks are converted, as for a file that the
 * shim opened.
 */
int hf_convert_by_hand(hf_vfs *owner, const char *path, int wait_ms, bool *converted, char *message,
                       size_t size)
{
  hf_mount_facts facts;
  hf_verdict verdict;
  bool ignored;
  int error = hf_mount_verdict(path, HOLDFAST_ASSUME_NOTHING, &facts, &verdict);

  if (!error && !facts.file_exists) error = ENOENT;
  if (!error && verdict.smb && hf_records_device(facts.device, HF_KIND_SMB))
    (void)hf_syscalls_ready(owner); /* without it the answer is BUSY */
  if (!error && (verdict.nfs || verdict.smb)) error = refresh_sidecars(path, verdict.smb, &ignored, &ignored);
  if (error) {
    snprintf(message, size, "%s", strerror(error));
    return SQLITE_CANTOPEN;
  }
  return hf_convert(owner, path, wait_ms, converted, message, size);
}

/* ---------------------------------------------------------------- the header being switched to WAL */

/*
 * `PRAGMA journal_mode=WAL` without a schema reaches attached databases without asking their files, and under
 * locking_mode=EXCLUSIVE SQLite then writes a WAL header. (The rollback of somebody's half switch writes one,
 * too, but that one never takes RESERVED.) The switch changes the two version bytes and the counters of the
 * first 100 bytes and nothing else. (The backup API copies a whole WAL database: that may pass, the copy is
 * converted when it is opened next.)
 */
bool hf_is_mode_flip(hf_node *node, const void *page, int amount)
{
  const unsigned char *new_header = page;
  unsigned char old[HEADER] = {0};

  if (!node->reserved || amount < HEADER || !says_wal(new_header) || read_header(node, old)) return false;
  if (memcmp(old, "SQLite format 3", 16) != 0 || says_wal(old)) return false;
  return memcmp(old + AT_READ_VERSION + 1, new_header + AT_READ_VERSION + 1,
                AT_COUNTER - AT_READ_VERSION - 1) == 0 &&
         memcmp(old + AT_COUNTER + 4, new_header + AT_COUNTER + 4, AT_VALID_FOR - AT_COUNTER - 4) == 0;
}
