/*
 * health_damage.c - real damage is found while the connection has the good pages in its cache, by the check
 * whose kind covers it, twice over, with one event, and without a byte written to the damaged file. The
 * control: SQLite's own integrity_check on the same connection goes on saying "ok".
 *
 * Each case is a fresh copy of a database: a process reads all of it through the shim, another one damages
 * the file, the first one is asked. In DELETE and WAL mode, with mmap and with a shared cache; through the
 * table and through the C functions. HF_LONG=1: 1,600 copies.
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

enum { WAY_TABLE, WAY_C, WAY_MMAP, WAY_SHARED, WAYS };
static const char *const ways[WAYS] = {"by the table", "in C", "mmap", "shared cache"};
static const char *const names[WAYS] = {"d.db", "d.db", "d.db", "file:d.db?cache=shared"};

static int cases, blind,
    by_pragma; /* in how many the control saw nothing; answers that the table could not give */

/* Where page 1 is broken SQLite cannot begin the statement that reads the table; the PRAGMA needs no
 * transaction. */
static const char *ask_health(peer *p, int way, bool full)
{
  static char answer[300];
  const char *text;

  if (way == WAY_C) return asked_of(p, full ? asked_full : asked_quick);
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
static peer *reader(int way)
{
  peer *p = way == WAY_C ? asked_start(NULL) : peer_start(SHIM_YES, NULL);

  if (peer_open(p, 0, names[way], 0) || peer_open(p, 1, ":memory:", 0)) check_broken("open");
  if (way == WAY_SHARED && peer_open(p, 2, names[way], 0)) check_broken("open");
  if (way == WAY_MMAP) scene_must(p, "PRAGMA mmap_size = 100000000");
  scene_must(p, READ_ALL);
  return p;
}

static const char *events(peer *p, int way)
{
  if (way == WAY_C) return peer_ask(p, 0, "PRAGMA holdfast_events"); /* the linked form has no tables here */
  return peer_ask(p, 1, "SELECT count(*) FROM holdfast_events WHERE kind = 'damaged'");
}

static int count_of(const char *text, const char *word)
{
  int n = 0;

  while ((text = strstr(text, word)) != NULL) {
    n++;
    text += strlen(word);
  }
  return n;
}

static void one_case(const char *base, damage_kind kind, int way)
{
  unsigned long long before;
  char what[200];
  peer *p;

  db_remove("d.db");
  db_copy(base, "d.db");
  p = reader(way);
  CHECK_HAS("before the damage", ask_health(p, way, true), "ok|none|0");
  scene_must(p, READ_ALL);
  damage_do("d.db", kind, what, sizeof what);
  check_scene("%s, %s, %s, %s", base, damage_names[kind], ways[way], what);
  cases++;
  if (kind != DAMAGE_INDEX && strcmp(peer_ask(p, 0, "PRAGMA integrity_check"), "ok") == 0) blind++;
  scene_must(p, "SELECT 1"); /* the control may have failed in any way */
  before = db_print("d.db");
  if (damage_seen_by_quick(kind)) CHECK_HAS("quick", ask_health(p, way, false), "damaged|none|1");
  CHECK_HAS("full", ask_health(p, way, true), "damaged|none|1");
  CHECK_HAS("full again", ask_health(p, way, true), "damaged|none|1");
  if (way == WAY_C)
    CHECK_INT("events", count_of(events(p, way), "\"damaged\""), 1);
  else
    CHECK_STR("events", events(p, way), "1");
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
        int from = scene_long() ? 0 : (kind + mode) % WAYS, to = scene_long() ? WAYS : from + 1;
        for (int way = from; way < to; way++) one_case(mode ? "wal.db" : "delete.db", (damage_kind)kind, way);
      }
  check_scene("all");
  printf("%d damaged copies; in %d of them SQLite's integrity_check on the same connection said ok\n", cases,
         blind);
  printf("%d answers came by the PRAGMA, because SQLite could not begin to read the table\n", by_pragma);
  CHECK_TRUE("the control is blind in some", blind > 0);
  return check_done();
}
