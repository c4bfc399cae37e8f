/*
 * health_header.c - the first 100 bytes of a database, read through the connection's own file handle.
 *
 * Inside a read transaction of a rollback-journal database nobody writes them. In WAL mode a checkpoint may
 * be writing them and they need not be the newest, so there only what no checkpoint changes is looked at.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health.h"

enum {
  HEADER = 100,
  AT_PAGE_SIZE = 16,
  AT_WRITE_VERSION = 18,
  AT_FRACTIONS = 21,
  AT_COUNTER = 24,
  AT_PAGES = 28,
  AT_VALID_FOR = 92
};
static const char magic[16] = "SQLite format 3";

sqlite3_file *hf_file_of(const hf_api *api, sqlite3 *db, const char *schema)
{
  sqlite3_file *file = NULL;

  if (api->file_control(db, schema, SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || !file ||
      !file->pMethods)
    return NULL; /* a temporary or memory database */
  return file;
}

static uint32_t four(const unsigned char *p)
{
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t page_size_of(const unsigned char *header)
{
  uint32_t size = (uint32_t)header[AT_PAGE_SIZE] << 8 | header[AT_PAGE_SIZE + 1];

  return size == 1 ? 65536 : size;
}

static int read_header(sqlite3_file *file, unsigned char *header)
{
  int rc = file->pMethods->xRead(file, header, HEADER, 0);

  return rc == SQLITE_IOERR_SHORT_READ ? SQLITE_OK : rc; /* what is missing was filled with zeros */
}

static bool power_of_two(uint32_t n)
{
  return n >= 512 && n <= 65536 && (n & (n - 1)) == 0;
}

/*
 * SQLite says "file is not a database". Was it one? Its first bytes are zeros, or enough of what every header
 * has is still there. A file that is encrypted, or something else, has nothing of it.
 */
bool hf_header_overwritten(holdfast_health_run *run, char *text, size_t size)
{
  sqlite3_file *file = hf_file_of(run->api, run->db, run->schema);
  unsigned char header[HEADER] = {0};
  sqlite3_int64 bytes = 0;
  int like = 0, zeros = 0;

  if (!file || read_header(file, header) || file->pMethods->xFileSize(file, &bytes) || bytes < 512)
    return false;
  for (size_t i = 0; i < sizeof magic; i++) {
    like += header[i] == (unsigned char)magic[i];
    zeros += header[i] == 0;
  }
  if (zeros < 16 && like < 8 &&
      !(power_of_two(page_size_of(header)) && header[AT_FRACTIONS] == 64 && header[AT_FRACTIONS + 1] == 32 &&
        header[AT_FRACTIONS + 2] == 32))
    return false;
  snprintf(text, size, "the header of the file is overwritten");
  return true;
}

bool hf_file_readable(holdfast_health_run *run)
{
  enum { CHUNK = 1 << 16 };
  sqlite3_file *file = hf_file_of(run->api, run->db, run->schema);
  sqlite3_int64 bytes = 0;
  char *chunk = malloc(CHUNK);
  bool all = chunk && file && file->pMethods->xFileSize(file, &bytes) == SQLITE_OK;

  for (sqlite3_int64 at = 0; all && at < bytes; at += CHUNK)
    all = file->pMethods->xRead(file, chunk, bytes - at < CHUNK ? (int)(bytes - at) : CHUNK, at) == SQLITE_OK;
  free(chunk);
  return all;
}

/* With a journal that rolls back, the header and the file's size belong together. */
static void check_size(holdfast_health_run *run, const unsigned char *header, sqlite3_int64 bytes,
                       hf_outcome *out)
{
  uint32_t page_size = page_size_of(header), pages = four(header + AT_PAGES);
  char line[200];

  /* A program older than SQLite 3.7 changed the file and left the page count as it was: SQLite goes by the
   * size. */
  if (pages == 0 || four(header + AT_COUNTER) != four(header + AT_VALID_FOR)) return;
  if ((sqlite3_int64)pages * page_size <= bytes) return;
  snprintf(line, sizeof line,
           "Page %lld: the file ends inside or before it: %lld bytes, %u pages of %u bytes are needed",
           (long long)(bytes / page_size + 1), (long long)bytes, pages, page_size);
  hf_outcome_add(out, run->set.kind, HOLDFAST_FINDING_STRUCTURE, "", line);
}

void hf_header_check(holdfast_health_run *run, hf_outcome *out)
{
  sqlite3_file *file = hf_file_of(run->api, run->db, run->schema);
  unsigned char header[HEADER] = {0};
  sqlite3_int64 bytes = 0;
  char sql[200];
  int64_t page_size = 0;
  int rc;

  snprintf(sql, sizeof sql, "PRAGMA \"%s\".page_size", run->schema);
  rc = hf_sql_number(run->api, run->db, sql, &page_size);
  if (rc == SQLITE_OK && file) rc = read_header(file, header);
  if (rc == SQLITE_OK && file) rc = file->pMethods->xFileSize(file, &bytes);
  if (rc) {
    out->code = rc;
    out->why = hf_why_of(rc, run->api->errmsg(run->db));
    if (out->why == HOLDFAST_WHY_NONE) out->why = HOLDFAST_WHY_IO;
    return;
  }
  if (!file || bytes == 0) return; /* in memory; or nothing was ever written */
  /* SQLite has just read page 1 and found it right: what is not plain here is encrypted. */
  if (memcmp(header, magic, sizeof magic) != 0 || page_size_of(header) != (uint32_t)page_size) return;
  run->report.change_counter = four(header + AT_COUNTER);
  run->report.coverage |= HOLDFAST_COVER_HEADER;
  /* WAL: this page may be older than the newest, or be being written. */
  if (header[AT_WRITE_VERSION] == 1) check_size(run, header, bytes, out);
}
