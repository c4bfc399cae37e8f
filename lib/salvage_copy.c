/*
 * salvage_copy.c - a private copy of a damaged database, with everything that its journal or -wal holds.
 *
 * The database itself is read through the handle of a read-only connection of SQLite, which opens it and
 * holds a read transaction where one can be had: opening and closing it by other means would drop the locks
 * of a program that has it open. Nobody locks a -wal or a -journal: they are read as files.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "salvage.h"

enum { CHUNK = 1 << 16, NAME = 4200, BUSY_MS = 5000, HEADER = 100, WAL_HEADER = 32 };
static const char magic[16] = "SQLite format 3";

static bool write_all(int fd, const void *bytes, size_t size)
{
  const char *at = bytes;

  while (size > 0) {
    ssize_t n = write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= (size_t)n;
  }
  return true;
}

static int create(const char *path)
{
  return open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static int copy_sidecar(const char *from, const char *to, const char *suffix)
{
  static char bytes[CHUNK]; /* one salvage at a time: holdfast_salvage() sees to it */
  char source[NAME], dest[NAME];
  int in, out, rc = SQLITE_OK;
  ssize_t n;

  (void)snprintf(source, sizeof source, "%s%s", from, suffix);
  (void)snprintf(dest, sizeof dest, "%s%s", to, suffix);
  in = open(source, O_RDONLY | O_CLOEXEC);
  if (in < 0) return errno == ENOENT ? SQLITE_OK : SQLITE_IOERR_READ;
  out = create(dest);
  if (out < 0) rc = SQLITE_CANTOPEN;
  while (rc == SQLITE_OK && (n = read(in, bytes, sizeof bytes)) != 0)
    if (n < 0)
      rc = SQLITE_IOERR_READ;
    else if (!write_all(out, bytes, (size_t)n))
      rc = SQLITE_FULL;
  if (out >= 0) (void)close(out); /* a copy that is read again right away */
  (void)close(in);
  return rc;
}

/* A piece that cannot be read is zeros in the copy: the rest may still be had. */
static int copy_database(sqlite3_file *file, int out, int64_t *unread)
{
  static char bytes[CHUNK];
  sqlite3_int64 size = 0;
  int rc = file->pMethods->xFileSize(file, &size);

  for (sqlite3_int64 at = 0; at < size && rc == SQLITE_OK; at += CHUNK) {
    int amount = size - at < CHUNK ? (int)(size - at) : CHUNK;
    if (file->pMethods->xRead(file, bytes, amount, at) != SQLITE_OK) {
      for (int piece = 0; piece < amount; piece += 512) {
        int part = amount - piece < 512 ? amount - piece : 512;
        if (file->pMethods->xRead(file, bytes + piece, part, at + piece) == SQLITE_OK) continue;
        memset(bytes + piece, 0, (size_t)part);
        *unread += part;
      }
    }
    if (!write_all(out, bytes, (size_t)amount)) rc = SQLITE_FULL;
  }
  return rc;
}

static int copy_all(const char *from, const char *to, int out, int64_t *unread)
{
  sqlite3 *db = NULL;
  sqlite3_file *file = NULL;
  int rc = sqlite3_open_v2(from, &db, SQLITE_OPEN_READONLY, NULL);

  if (rc == SQLITE_OK) rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  if (rc == SQLITE_OK && (!file || !file->pMethods)) rc = SQLITE_CANTOPEN;
  if (rc == SQLITE_OK) {
    (void)sqlite3_busy_timeout(db, BUSY_MS);
    /* A database in which no transaction can begin is read without one. */
    (void)sqlite3_exec(db, "BEGIN; SELECT count(*) FROM sqlite_master", NULL, NULL, NULL);
    rc = copy_database(file, out, unread);
    if (rc == SQLITE_OK) rc = copy_sidecar(from, to, "-wal");
    if (rc == SQLITE_OK) rc = copy_sidecar(from, to, "-journal");
  }
  (void)sqlite3_close(db); /* read only */
  return rc;
}

/* ---------------------------------------------------------------- bringing it into shape */

static void put_two(unsigned char *p, unsigned n)
{
  p[0] = (unsigned char)(n >> 8);
  p[1] = (unsigned char)n;
}

/* Without its first bytes SQLite takes nothing of a file. They say little that cannot be found out otherwise.
 */
static void make_header(int fd, const char *to, char *note, size_t size)
{
  unsigned char header[HEADER] = {0}, wal[WAL_HEADER] = {0};
  char name[NAME];
  struct stat st;
  unsigned char *all;
  uint32_t page = 0;
  int walfd;

  if (pread(fd, header, sizeof header, 0) != sizeof header || memcmp(header, magic, sizeof magic) == 0)
    return;
  (void)snprintf(name, sizeof name, "%s-wal", to);
  walfd = open(name, O_RDONLY | O_CLOEXEC);
  if (walfd >= 0) {
    if (pread(walfd, wal, sizeof wal, 0) == WAL_HEADER && wal[0] == 0x37 && wal[1] == 0x7f)
      page = (uint32_t)wal[8] << 24 | (uint32_t)wal[9] << 16 | (uint32_t)wal[10] << 8 | wal[11];
    (void)close(walfd); /* only read from */
  }
  if (fstat(fd, &st) || st.st_size < 512) return;
  all = malloc((size_t)st.st_size);
  if (!all) return;
  if (!page && pread(fd, all, (size_t)st.st_size, 0) == st.st_size)
    page = hf_guess_page_size(all, (size_t)st.st_size);
  free(all);
  if (!page) return;
  memset(header, 0, sizeof header);
  memcpy(header, magic, sizeof magic);
  put_two(header + 16, page == 65536 ? 1 : page);
  header[18] = header[19] = walfd >= 0 ? 2 : 1;
  header[21] = 64;
  header[22] = header[23] = 32;
  header[47] = 4; /* schema format */
  header[59] = 1; /* UTF-8: all that can be assumed */
  if (pwrite(fd, header, sizeof header, 0) == sizeof header)
    (void)snprintf(note, size, "its header was gone; page size %u was found, UTF-8 was assumed", page);
}

/* SQLite plays back the journal of the copy, or brings the frames of its -wal home. What it cannot do stays.
 */
static void recover(const char *to)
{
  sqlite3 *db = NULL;

  if (sqlite3_open_v2(to, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) {
    (void)sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE; SELECT count(*) FROM sqlite_master", NULL, NULL,
                       NULL);
    (void)sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
  }
  (void)sqlite3_close(db); /* the copy is read as it is */
}

int hf_salvage_copy(const char *from, const char *to, char *note, size_t size)
{
  int64_t unread = 0;
  int fd = create(to), rc;

  if (fd < 0) return SQLITE_CANTOPEN;
  rc = copy_all(from, to, fd, &unread);
  if (rc == SQLITE_OK) make_header(fd, to, note, size);
  (void)close(fd); /* before SQLite opens it: a close drops locks */
  if (rc == SQLITE_OK) recover(to);
  if (unread) (void)snprintf(note, size, "%lld bytes of it cannot be read from the disk", (long long)unread);
  return rc;
}
