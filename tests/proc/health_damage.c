/*
 * health_damage.c - real damage is found while the connection has the good pages in its cache, by the check
 * whose kind covers it, twice over, with one event, and without a byte written to the damaged file. The
 * control: SQLite's own integrity_check on the same connection goes on saying "ok".
 *
 * Each case is a fresh copy of a database: a process reads all of it through the shim, another one damages
 * the file, the first one is asked. In DELETE and WAL mode, with mmap and with a shared cache; through the
 * table, through the C functions and by a pool, which keeps one copy of it and no more. HF_LONG=1: 2,000
 * copies.
 */
#include <stdio.h>
#include <string.h>

#include "asked.h"
#include "check.h"
#include "damage.h"
#include "files.h"
#include "peer.h"
#include "scene.h"

#define READ_ALL                                                                                             \
  "PRAGMA cache_size = -20000; SELECT sum(length(v)) FROM a; SELECT count(*) FROM a WHERE k > 0; "           \
  "SELECT sum(length(v)), sum(length(big)) FROM b; SELECT count(*) FROM b INDEXED BY bv WHERE v > ''; "      \
  "SELECT sum(length(x)) FROM c"

enum { WAY_TABLE, WAY_C, WAY_MMAP, WAY_SHARED, WAY_POOL, WAYS };
static const char *const ways[WAYS] = {"by the table", "in C", "mmap", "shared cache", "by a pool"};
static const char *const names[WAYS] = {"d.db", "d.db", "d.db", "file:d.db?cache=shared", ":memory:"};

static int cases[DAMAGE_KINDS], found[DAMAGE_KINDS], blind, plain_asked,
    by_pragma; /* in how many the control saw nothing; answers that the table could not give */

/* ---------------------------------------------------------------- a pool, in a peer */

static holdfast_pool *pool;

static int reads_all(holdfast_lease *lease, void *arg)
{
  (void)arg;
  return sqlite3_exec(holdfast_lease_db(lease), READ_ALL, NULL, NULL, NULL);
}

static int pool_starts(sqlite3 **db, char *out, size_t size)
{
  holdfast_pool_config config = {
      .struct_size = sizeof config, .check = HOLDFAST_CHECK_NONE, .journal = HOLDFAST_JOURNAL_AS_IT_IS};
  int rc = holdfast_pool_open("d.db", &config, &pool);

  (void)db;
  if (rc) (void)snprintf(out, size, "%s", holdfast_errmsg());
  return rc;
}

/* Both lanes: the main connection is the one that checks. */
static int pool_reads(sqlite3 **db, char *out, size_t size)
{
  int rc = holdfast_read(pool, reads_all, NULL);

  (void)db;
  if (!rc) rc = holdfast_write(pool, reads_all, NULL);
  if (rc) (void)snprintf(out, size, "%s", holdfast_errmsg());
  return rc;
}

static int pool_checks(int kind, char *out, size_t size)
{
  holdfast_health_options options = {.struct_size = sizeof options, .kind = kind};
  holdfast_health_report r = {.struct_size = sizeof r};
  int rc = holdfast_health_check(pool, &options, &r);

  if (rc)
    (void)snprintf(out, size, "code %d: %s", rc, holdfast_errmsg());
  else
    (void)snprintf(out, size, "%s|%s|%d|%s", holdfast_word("verdict", r.verdict),
                   holdfast_word("reason", r.reason), r.damage > 0, r.text);
  return SQLITE_OK;
}

static int pool_quick(sqlite3 **db, char *out, size_t size)
{
  (void)db;
  return pool_checks(HOLDFAST_HEALTH_QUICK, out, size);
}

static int pool_full(sqlite3 **db, char *out, size_t size)
{
  (void)db;
  return pool_checks(HOLDFAST_HEALTH_FULL, out, size);
}

/* ---------------------------------------------------------------- asking */

/* Where page 1 is broken SQLite cannot begin the statement that reads the table; the PRAGMA needs no
 * transaction. */
static const char *ask_health(peer *p, int way, bool full)
{
  static char answer[300];
  const char *text;

  if (way == WAY_C) return asked_of(p, full ? asked_full : asked_quick);
  if (way == WAY_POOL) return asked_of(p, full ? pool_full : pool_quick);
  text = peer_ask(p, 0,
                  full ? "SELECT verdict, ifnull(reason, 'none'), finding IS NOT NULL, text FROM "
                         "holdfast_health('full') LIMIT 1"
                       : "SELECT verdict, ifnull(reason, 'none'), finding IS NOT NULL, text FROM "
                         "holdfast_health('quick') LIMIT 1");
  if (strncmp(text, "error 11: ", 10) != 0 && strncmp(text, "error 26: ", 10) != 0) return text;
  by_pragma++;
  text = peer_ask(p, 0, full ? "PRAGMA holdfast_health = full" : "PRAGMA holdfast_health = quick");
  (void)snprintf(answer, sizeof answer, "%s|%s|%d|%.200s", strstr(text, "\"damaged\"") ? "damaged" : "?",
                 strstr(text, "\"reason\":null") ? "none" : "?",
                 strstr(text, "\"finding\":\"structure\"") != NULL, text);
  return answer;
}

/* The connections in slots 1 and 2: a memory database to read events from, and the second user of a shared
 * cache. */
static void read_all(peer *p, int way)
{
  if (way != WAY_POOL)
    scene_must(p, READ_ALL);
  else
    CHECK_INT("read", peer_call(p, pool_reads), 0);
}

static peer *reader(int way)
{
  peer *p = way == WAY_C || way == WAY_POOL ? asked_start(NULL) : peer_start(SHIM_YES, NULL);

  if (peer_open(p, 0, names[way], 0) || peer_open(p, 1, ":memory:", 0)) check_broken("open");
  if (way == WAY_SHARED && peer_open(p, 2, names[way], 0)) check_broken("open");
  if (way == WAY_MMAP) scene_must(p, "PRAGMA mmap_size = 100000000");
  if (way == WAY_POOL) CHECK_INT("a pool", peer_call(p, pool_starts), 0);
  read_all(p, way);
  return p;
}

static int attach(sqlite3 **db, char *out, size_t size)
{
  (void)out, (void)size;
  return holdfast_attach_sql(db[1]);
}

/* Of damage; the copy is told under the same kind. */
static const char *events(peer *p, int way)
{
  if (way == WAY_C || way == WAY_POOL) (void)peer_call(p, attach); /* the answer tells */
  return peer_ask(
      p, 1, "SELECT count(*) FROM holdfast_events WHERE kind = 'damaged' AND detail NOT LIKE 'a copy %'");
}

static void remove_copies(void)
{
  db_remove("d.db-evidence-1");
  file_remove("d.db-evidence-2");
}

static void one_case(const char *base, damage_kind kind, int way)
{
  unsigned long long before;
  char what[200];
  peer *p;

  db_remove("d.db");
  remove_copies();
  db_copy(base, "d.db");
  p = reader(way);
  CHECK_HAS("before the damage", ask_health(p, way, true), "ok|none|0");
  read_all(p, way);
  damage_do("d.db", kind, what, sizeof what);
  check_scene("%s, %s, %s, %s", base, damage_names[kind], ways[way], what);
  cases[kind]++;
  if (kind != DAMAGE_INDEX && way != WAY_POOL) {
    plain_asked++;
    blind += strcmp(peer_ask(p, 0, "PRAGMA integrity_check"), "ok") == 0;
    scene_must(p, "SELECT 1"); /* the control may have failed in any way */
  }
  before = db_print("d.db");
  if (damage_seen_by_quick(kind)) CHECK_HAS("quick", ask_health(p, way, false), "damaged|none|1");
  found[kind] += CHECK_HAS("full", ask_health(p, way, true), "damaged|none|1");
  CHECK_HAS("full again", ask_health(p, way, true), "damaged|none|1");
  CHECK_STR("events", events(p, way), "1");
  CHECK_INT("copies", file_exists("d.db-evidence-1") + file_exists("d.db-evidence-2"), way == WAY_POOL);
  CHECK_TRUE("the files are as they were", db_print("d.db") == before);
  peer_kill(p); /* a close would checkpoint, which is the program's business and not the check's */
}

int main(void)
{
  int rounds = scene_rounds(2, 25);

  seed_start();
  damage_base("delete.db", "delete", 0);
  damage_base("wal.db", "wal", 1024);
  for (int round = 0; round < rounds; round++)
    for (int kind = 0; kind < DAMAGE_KINDS; kind++)
      for (int mode = 0; mode < 2; mode++) {
        int from = scene_long() ? 0 : (kind + mode + 2 * round) % WAYS, to = scene_long() ? WAYS : from + 1;
        for (int way = from; way < to; way++) one_case(mode ? "wal.db" : "delete.db", (damage_kind)kind, way);
      }
  check_scene("all");
  for (int kind = 0; kind < DAMAGE_KINDS; kind++)
    printf("%-24s %4d damaged copies, %4d found\n", damage_names[kind], cases[kind], found[kind]);
  printf("in %d of %d SQLite's integrity_check on the same connection said ok\n", blind, plain_asked);
  printf("%d answers came by the PRAGMA, because SQLite could not begin to read the table\n", by_pragma);
  CHECK_TRUE("the control is blind in some", blind > 0);
  return check_done();
}
