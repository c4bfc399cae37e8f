/*
 * damage.c - see damage.h.
 */
#include "damage.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "peer.h"

const char *const damage_names[DAMAGE_KINDS] = {
    "random page overwritten", "index entry removed", "cut at a page",     "cut inside a page",
    "freelist made a circle",  "header zeroed",       "two pages swapped", "wrong page count"};

/* What a check table by table cannot see: what an index should hold, and the freelist. */
bool damage_seen_by_quick(damage_kind kind)
{
  return kind == DAMAGE_PAGE || kind == DAMAGE_CUT_AT || kind == DAMAGE_CUT_IN || kind == DAMAGE_HEADER ||
         kind == DAMAGE_COUNT;
}

static void must(peer *p, const char *sql)
{
  if (peer_sql(p, 0, sql) == SQLITE_OK) return;
  printf("%.200s: %s\n", sql, peer_text(p));
  check_broken("a database could not be made or damaged");
}

static peer *opened(const char *path)
{
  peer *p = peer_start(SHIM_NO, NULL);

  if (peer_open(p, 0, path, 0)) check_broken(path);
  return p;
}

void damage_base(const char *path, const char *journal_mode, int page_size)
{
  char sql[200];
  peer *p;

  db_remove(path);
  p = opened(path);
  (void)snprintf(sql, sizeof sql, "PRAGMA page_size = %d; PRAGMA journal_mode = %s; PRAGMA synchronous = OFF",
                 page_size ? page_size : 4096, journal_mode);
  must(p, sql);
  must(p, "CREATE TABLE a(id INTEGER PRIMARY KEY, k INT, v TEXT); CREATE INDEX ak ON a(k);"
          "CREATE TABLE b(id INTEGER PRIMARY KEY, v TEXT, big BLOB); CREATE UNIQUE INDEX bv ON b(v);"
          "CREATE TABLE c(x TEXT, y INT, PRIMARY KEY(x, y)) WITHOUT ROWID; CREATE TABLE gone(v)");
  must(p, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) "
          "INSERT INTO a SELECT i, i * 7919 % 1500, printf('row %d of a', i) FROM n;"
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) "
          "INSERT INTO b SELECT i, printf('row %d of b', i), randomblob(i % 3 * 6000) FROM n;"
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) "
          "INSERT INTO c SELECT printf('key %d', i % 50), i FROM n;"
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) "
          "INSERT INTO gone SELECT randomblob(3000) FROM n");
  must(p, "DROP TABLE gone"); /* leaves a freelist; auto_vacuum is off */
  must(p, "PRAGMA wal_checkpoint(TRUNCATE)");
  (void)peer_end(p); /* its steps were checked */
}

/* ---------------------------------------------------------------- pages */

typedef struct image {
  char *bytes;
  size_t size;
  unsigned page_size, pages;
} image;

static uint32_t four(const char *at)
{
  const unsigned char *p = (const unsigned char *)at;
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_four(char *at, uint32_t n)
{
  for (int i = 0; i < 4; i++) at[i] = (char)(n >> (24 - 8 * i));
}

static image load(const char *path)
{
  image i = {0};

  i.bytes = file_read(path, &i.size);
  if (!i.bytes || i.size < 512) check_broken(path);
  i.page_size = (unsigned)((unsigned char)i.bytes[16] << 8 | (unsigned char)i.bytes[17]);
  if (i.page_size == 1) i.page_size = 65536;
  i.pages = (unsigned)(i.size / i.page_size);
  return i;
}

static bool on_freelist(const image *i, unsigned page)
{
  uint32_t trunk = four(i->bytes + 32);

  while (trunk) {
    const char *at = i->bytes + (size_t)(trunk - 1) * i->page_size;
    if (trunk == page) return true;
    for (uint32_t k = 0; k < four(at + 4); k++)
      if (four(at + 8 + 4 * k) == page) return true;
    trunk = four(at);
  }
  return false;
}

/* A page number of a b-tree page that is in use, not page 1. Overflow pages begin with a page number below
 * 2^24. */
static unsigned some_page(const image *i, unsigned not_this)
{
  for (int tries = 0; tries < 100000; tries++) {
    unsigned page = 2 + seed_below(i->pages - 1);
    char type = i->bytes[(size_t)(page - 1) * i->page_size];
    if (page != not_this && (type == 2 || type == 5 || type == 10 || type == 13) && !on_freelist(i, page))
      return page;
  }
  check_broken("no page to damage");
}

static void damage_page(const char *path, const image *i, char *what, size_t size)
{
  unsigned page = some_page(i, 0);
  char *noise = malloc(i->page_size);

  if (!noise) check_broken("memory");
  seed_fill(noise, i->page_size);
  file_patch(path, (long)(page - 1) * (long)i->page_size, noise, i->page_size);
  free(noise);
  (void)snprintf(what, size, "page %u", page);
}

static void swap_pages(const char *path, const image *i, char *what, size_t size)
{
  unsigned a = some_page(i, 0), b = some_page(i, a);
  size_t bytes = i->page_size;

  file_patch(path, (long)((a - 1) * bytes), i->bytes + (b - 1) * bytes, bytes);
  file_patch(path, (long)((b - 1) * bytes), i->bytes + (a - 1) * bytes, bytes);
  (void)snprintf(what, size, "pages %u and %u", a, b);
}

static void cut(const char *path, const image *i, bool inside, char *what, size_t size)
{
  unsigned keep = i->pages / 2 + seed_below(i->pages / 2 - 1);
  long bytes = (long)keep * (long)i->page_size + (inside ? 1 + (long)seed_below(i->page_size - 1) : 0);

  if (truncate(path, bytes) != 0) check_broken("truncate");
  (void)snprintf(what, size, "%ld of %zu bytes left", bytes, i->size);
}

static void circle(const char *path, const image *i, char *what, size_t size)
{
  uint32_t trunk = four(i->bytes + 32);
  char next[4];

  if (!trunk) check_broken("no freelist");
  put_four(next, trunk);
  file_patch(path, (long)(trunk - 1) * (long)i->page_size, next, sizeof next);
  (void)snprintf(what, size, "trunk page %u leads to itself", trunk);
}

static void wrong_count(const char *path, const image *i, char *what, size_t size)
{
  uint32_t count = i->pages + 1 + seed_below(1000);
  char bytes[4];

  put_four(bytes, count);
  file_patch(path, 28, bytes, sizeof bytes);
  (void)snprintf(what, size, "%u pages instead of %u", count, i->pages);
}

/* By SQLite itself: while the index is not in the schema, a row is changed that it holds. */
static void drop_entry(const char *path, char *what, size_t size)
{
  unsigned row = 1 + seed_below(1500);
  char root[32], sql[400], mode[32];
  peer *p = opened(path);

  (void)snprintf(mode, sizeof mode, "%s", peer_ask(p, 0, "PRAGMA journal_mode"));
  (void)snprintf(root, sizeof root, "%s",
                 peer_ask(p, 0, "SELECT rootpage FROM sqlite_master WHERE name = 'ak'"));
  must(p, "PRAGMA writable_schema = ON; DELETE FROM sqlite_master WHERE name = 'ak'");
  (void)peer_close(p, 0);
  if (peer_open(p, 0, path, 0)) check_broken(path);
  (void)snprintf(sql, sizeof sql,
                 "INSERT INTO a VALUES(%u, 3, 'new'); PRAGMA writable_schema = ON;"
                 "INSERT INTO sqlite_master VALUES('index', 'ak', 'a', %s, 'CREATE INDEX ak ON a(k)')",
                 2000 + row, root);
  must(p, sql);
  if (strcmp(mode, "wal") == 0) must(p, "PRAGMA wal_checkpoint(TRUNCATE)");
  (void)peer_end(p);
  (void)snprintf(what, size, "row %u of a has no entry", 2000 + row);
}

void damage_do(const char *path, damage_kind kind, char *what, size_t size)
{
  static const char zeros[100] = {0};
  image i = load(path);

  switch (kind) {
  case DAMAGE_PAGE: damage_page(path, &i, what, size); break;
  case DAMAGE_INDEX: drop_entry(path, what, size); break;
  case DAMAGE_CUT_AT: cut(path, &i, false, what, size); break;
  case DAMAGE_CUT_IN: cut(path, &i, true, what, size); break;
  case DAMAGE_FREELIST: circle(path, &i, what, size); break;
  case DAMAGE_HEADER:
    file_patch(path, 0, zeros, sizeof zeros);
    (void)snprintf(what, size, "100 bytes of zeros");
    break;
  case DAMAGE_SWAP: swap_pages(path, &i, what, size); break;
  default: wrong_count(path, &i, what, size);
  }
  free(i.bytes);
}
