/*
 * health_evidence.c - a copy of a damaged database, for whoever wants to find out what happened.
 *
 * Programs that made a copy for each alarm have filled disks with thousands of them. So: one for each
 * incident, whichever process comes first (the name is created with O_EXCL), a small number for each database
 * for ever, none that would leave the disk full. Nothing is ever removed to make room; a copy that could not
 * be finished is emptied and keeps its name, so that nobody tries again.
 *
 * The file is read through the connection's own handles: an open() and close() of it would drop locks.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "health.h"

enum { COPIES_MAX = 3, CHUNK = 1 << 16, PATH_BYTES = HF_SIDECAR_PATH + 40 };
#define BYTES_MAX ((int64_t)1 << 30)

typedef struct job {
  hf_node *node;
  sqlite3_file *db, *wal; /* wal: NULL where there is none */
  sqlite3_int64 db_bytes, wal_bytes;
  char name[PATH_BYTES];
} job;

static int64_t size_of(const char *path, const char *suffix, int64_t *mtime_ms)
{
  char name[PATH_BYTES];
  struct stat st;

  if (snprintf(name, sizeof name, "%s%s", path, suffix) >= (int)sizeof name || lstat(name, &st)) return -1;
  if (mtime_ms) *mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
  return (int64_t)st.st_size;
}

/*
 * The first free name. False: this incident has its copy already (job->name is it), or there is no room. A
 * copy is of this incident unless a full check found the database whole since it was made.
 */
static bool find_name(job *j, int copies_max, int64_t bytes_max)
{
  int64_t whole = hf_memory_whole_since(j->node->owner, j->node->self.device, j->node->self.inode), mtime,
          bytes;
  int64_t used = j->db_bytes + j->wal_bytes;

  for (int n = 1; n <= copies_max; n++) {
    if (snprintf(j->name, sizeof j->name, "%s-evidence-%d", j->node->path, n) >= (int)sizeof j->name)
      return false;
    bytes = size_of(j->name, "", &mtime);
    if (bytes < 0) return used <= bytes_max;
    if (!whole || mtime >= whole) return false;
    used += bytes;
    bytes = size_of(j->name, "-wal", NULL);
    used += bytes > 0 ? bytes : 0;
  }
  j->name[0] = 0;
  return false;
}

static bool disk_has_room(const job *j)
{
  char directory[HF_SIDECAR_PATH];
  struct statvfs fs;
  const char *slash = strrchr(j->node->path, '/');
  size_t length = slash ? (size_t)(slash - j->node->path) : 0;

  if (length >= sizeof directory) return false;
  memcpy(directory, length ? j->node->path : "/", length ? length : 1);
  directory[length ? length : 1] = 0;
  if (statvfs(slash ? directory : ".", &fs)) return false;
  /* Twice its size, so that the programs that use this disk can go on. */
  return (int64_t)fs.f_bavail * (int64_t)fs.f_frsize > 2 * (j->db_bytes + j->wal_bytes);
}

static bool write_all(int fd, const char *bytes, size_t size)
{
  while (size > 0) {
    ssize_t n = write(fd, bytes, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes += n;
    size -= (size_t)n;
  }
  return true;
}

static int copy_bytes(sqlite3_file *from, sqlite3_int64 size, int to)
{
  char *chunk = malloc(CHUNK);
  int rc = chunk ? SQLITE_OK : SQLITE_NOMEM;

  for (sqlite3_int64 at = 0; at < size && rc == SQLITE_OK; at += CHUNK) {
    int amount = size - at < CHUNK ? (int)(size - at) : CHUNK;
    rc = from->pMethods->xRead(from, chunk, amount, at);
    if (rc == SQLITE_IOERR_SHORT_READ) rc = SQLITE_OK; /* the -wal was begun anew: what is missing is zeros */
    if (rc == SQLITE_OK && !write_all(to, chunk, (size_t)amount)) rc = SQLITE_FULL;
  }
  free(chunk);
  return rc;
}

/* Returns SQLITE_DONE when somebody else made it a moment ago. */
static int copy_file(const job *j, const char *suffix, sqlite3_file *from, sqlite3_int64 size)
{
  char name[PATH_BYTES];
  int fd, rc;

  if (snprintf(name, sizeof name, "%s%s", j->name, suffix) >= (int)sizeof name) return SQLITE_CANTOPEN;
  fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return errno == EEXIST ? SQLITE_DONE : errno == ENOSPC ? SQLITE_FULL : SQLITE_CANTOPEN;
  rc = copy_bytes(from, size, fd);
  if (rc && ftruncate(fd, 0) != 0) rc = SQLITE_FULL; /* it keeps its name, and as few bytes as can be */
  if (close(fd) != 0 && rc == SQLITE_OK) rc = SQLITE_IOERR_CLOSE;
  return rc;
}

static int prepare_job(const hf_api *api, sqlite3 *db, const char *schema, job *j)
{
  int rc = j->db->pMethods->xFileSize(j->db, &j->db_bytes);

  if (rc || !j->node->wal_files) return rc;
  if (api->file_control(db, schema, SQLITE_FCNTL_JOURNAL_POINTER, &j->wal) != SQLITE_OK || !j->wal ||
      !j->wal->pMethods)
    j->wal = NULL;
  return j->wal ? j->wal->pMethods->xFileSize(j->wal, &j->wal_bytes) : SQLITE_OK;
}

/* A transaction, so that nobody writes meanwhile. A database in which none can begin is copied as it is. */
static bool hold(const hf_api *api, sqlite3 *db, const char *schema)
{
  char sql[200];
  int64_t ignored;

  if (!api->get_autocommit(db) || api->exec(db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK) return false;
  snprintf(sql, sizeof sql, "PRAGMA \"%s\".schema_version", schema);
  (void)hf_sql_number(api, db, sql, &ignored); /* takes the lock, if it can be taken */
  return true;
}

static int make_copy(job *j, int *made)
{
  int rc = copy_file(j, "", j->db, j->db_bytes);

  if (rc == SQLITE_OK && j->wal) rc = copy_file(j, "-wal", j->wal, j->wal_bytes);
  if (rc == SQLITE_DONE) return SQLITE_OK;
  *made = rc == SQLITE_OK;
  hf_report(j->node->owner, "damaged", j->name, j->node->path, rc, "%s: %.300s",
            rc == SQLITE_OK ? "a copy was kept as evidence" : "a copy as evidence could not be made",
            j->name);
  return rc;
}

int hf_health_evidence(const hf_api *api, sqlite3 *db, const char *schema, int copies_max, int64_t bytes_max,
                       int *made, char *name, size_t size)
{
  sqlite3_file *file = hf_file_of(api, db, schema);
  job j = {0};
  bool held;
  int rc;

  *made = 0;
  if (!file || file->pMethods->xClose != hf_xClose) return SQLITE_NOTFOUND;
  j.db = file;
  j.node = hf_node_of(file);
  held = hold(api, db, schema);
  rc = prepare_job(api, db, schema, &j);
  if (rc == SQLITE_OK &&
      find_name(&j, copies_max ? copies_max : COPIES_MAX, bytes_max ? bytes_max : BYTES_MAX) &&
      disk_has_room(&j))
    rc = make_copy(&j, made);
  if (held) (void)api->exec(db, "ROLLBACK", NULL, NULL, NULL); /* nothing was written */
  if (name && size) snprintf(name, size, "%s", j.name);
  return rc;
}
