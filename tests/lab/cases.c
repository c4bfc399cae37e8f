/*
 * cases.c - the lab's cases. Each does one thing on one mount, with plain SQLite or through the shim,
 * and prints in a few words what happened; what should have happened is in cases.sh.
 *
 *   cases CASE    environment: CASE_DIR (the mount), CASE_SERVER (the same files without the mount),
 *                 CASE_RO (the mount again, read-only), CASE_SHIM (absent: plain SQLite),
 *                 CASE_CLIENT2 (a process there), CASE_COMMITS (of each of two writers)
 *
 * Exit code 0: it ran; 77: it cannot run here; anything else: the lab itself failed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit.h"

enum { PATH_BYTES = 2048 };

static const char *shim; /* NULL: plain SQLite */
static char db[PATH_BYTES], server_db[PATH_BYTES], readonly_db[PATH_BYTES];

static void name_files(const char *name, long round)
{
  const char *kind = shim != NULL ? "holdfast" : "stock";
  const char *dir = kit_need("CASE_DIR"), *below = kit_need("CASE_SERVER"), *ro = kit_need("CASE_RO");

  (void)snprintf(db, sizeof db, "%s/%s-%s%ld.db", dir, name, kind, round);
  (void)snprintf(server_db, sizeof server_db, "%s/%s-%s%ld.db", below, name, kind, round);
  (void)snprintf(readonly_db, sizeof readonly_db, "%s/%s-%s%ld.db", ro, name, kind, round);
}

static const char *side_files(void)
{
  bool wal = kit_exists(db, "-wal"), shm = kit_exists(db, "-shm");

  if (wal && shm) return "-wal and -shm";
  return wal ? "-wal" : shm ? "-shm" : "no side files";
}

/* A WAL database whose 1,000 rows are in its -wal alone: its maker is killed before any checkpoint. */
static void make_wal_database(void)
{
  kit_agent maker = kit_start(NULL, NULL);

  kit_must(&maker, "open %s", server_db);
  kit_must(&maker, "sql PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=FULL");
  kit_must(
      &maker,
      "sql CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000) "
      "INSERT INTO t SELECT i FROM n");
  kit_kill(&maker);
  if (!kit_exists(server_db, "-wal")) kit_fail("no -wal was left behind");
}

/* ---- 1: what is this mount */

/* The value of "key":"value" in a JSON text that holds no quotes inside its values. */
static const char *json_word(const char *json, const char *key)
{
  static char word[64];
  char quoted[64];
  const char *p;

  word[0] = '\0';
  (void)snprintf(quoted, sizeof quoted, "\"%s\":\"", key);
  p = strstr(json, quoted);
  if (p != NULL) {
    p += strlen(quoted);
    (void)snprintf(word, sizeof word, "%.*s", (int)strcspn(p, "\""), p);
  }
  return word;
}

static void case_verdict(void)
{
  kit_agent agent = kit_start(shim, NULL);
  const char *heard;
  char rule[64];

  kit_must(&agent, "open %s", db);
  heard = kit_ask(&agent, "sql PRAGMA holdfast_mount");
  (void)snprintf(rule, sizeof rule, "%s", json_word(heard, "rule"));
  if (strcmp(heard, "ok") == 0) {
    printf("nothing is said");
  } else {
    printf("%s, %s", json_word(heard, "class"), rule);
    heard = kit_ask(&agent, "sql PRAGMA holdfast_status");
    if (strcmp(json_word(heard, "rule"), rule) != 0) printf(", BUT %s", json_word(heard, "rule"));
  }
  kit_stop(&agent);
}

/* ---- 2: WAL asked for by a program that does not know where it is */

static void wal_asked(const char *before)
{
  kit_agent agent = kit_start(shim, NULL);

  kit_must(&agent, "open %s", db);
  if (before != NULL) kit_must(&agent, "sql %s", before);
  printf("%s", kit_short(kit_ask(&agent, "sql PRAGMA journal_mode=WAL")));
  if (strncmp(kit_ask(&agent, "sql CREATE TABLE t(a); INSERT INTO t VALUES(1)"), "ok", 2) != 0)
    printf(", cannot write");
  printf(", %s", side_files());
  kit_stop(&agent);
}

static void case_wal(void)
{
  wal_asked(NULL);
}
static void case_wal_exclusive(void)
{
  wal_asked("PRAGMA locking_mode=EXCLUSIVE");
}

/* ---- 3: a database that is in WAL mode already */

static void case_rows_in_wal(void)
{
  kit_agent agent, plain;
  uint64_t db_sum, wal_sum;
  const char *heard;

  make_wal_database();
  db_sum = kit_sum(server_db, "");
  wal_sum = kit_sum(server_db, "-wal");
  agent = kit_start(shim, NULL);
  heard = kit_ask(&agent, "open %s", db);
  if (strncmp(heard, "ok", 2) == 0) heard = kit_ask(&agent, "sql SELECT count(*) FROM t");
  if (strncmp(heard, "ok", 2) != 0) {
    bool same = kit_sum(server_db, "") == db_sum && kit_sum(server_db, "-wal") == wal_sum;

    printf("%s, %s", kit_short(heard), same ? "unchanged" : "CHANGED");
    kit_stop(&agent);
    return;
  }
  printf("%s rows", kit_short(heard));
  printf(", %s", kit_short(kit_ask(&agent, "sql PRAGMA journal_mode")));
  kit_stop(&agent);

  plain = kit_start(NULL, NULL); /* what others find afterwards */
  kit_must(&plain, "open %s", server_db);
  heard = kit_ask(&plain, "sql SELECT count(*) FROM t; PRAGMA integrity_check");
  if (strcmp(heard, "ok 1000|ok") != 0) printf(", then %s", heard);
  kit_stop(&plain);
}

/* ---- 4: the same, while a plain process has it open in WAL mode */

static void case_attached(void)
{
  kit_agent holder = kit_start(NULL, NULL), agent;
  uint64_t db_sum, wal_sum;
  const char *heard, *where = "";
  bool same;

  make_wal_database();
  heard = kit_ask(&holder, "open %s", db);
  if (strncmp(heard, "ok", 2) == 0) heard = kit_ask(&holder, "sql SELECT count(*) FROM t");
  if (strcmp(heard, "ok 1000") != 0) {
    where = ", held below"; /* plain SQLite cannot use WAL on this mount at all */
    kit_must(&holder, "open %s", server_db);
    kit_must(&holder, "sql SELECT count(*) FROM t");
  }
  db_sum = kit_sum(server_db, "");
  wal_sum = kit_sum(server_db, "-wal");
  agent = kit_start(shim, NULL);
  heard = kit_ask(&agent, "open %s", db);
  if (strncmp(heard, "ok", 2) == 0)
    heard = kit_ask(&agent, "sql SELECT count(*) FROM t; PRAGMA journal_mode");
  printf("%s", kit_short(heard));
  same = kit_sum(server_db, "") == db_sum && kit_sum(server_db, "-wal") == wal_sum;
  printf(", %s%s", same ? "unchanged" : "CHANGED", where);
  if (strcmp(kit_ask(&holder, "sql SELECT count(*) FROM t"), "ok 1000") != 0) printf(", HOLDER BROKEN");
  kit_stop(&agent);
  kit_stop(&holder);
}

/* ---- 5: read-only mounts */

static void case_readonly(void)
{
  kit_agent agent = kit_start(NULL, NULL);

  kit_must(&agent, "open %s", server_db);
  kit_must(&agent, "sql CREATE TABLE t(a); INSERT INTO t VALUES(7)");
  kit_stop(&agent);
  agent = kit_start(shim, NULL);
  (void)kit_ask(&agent, "open %s", readonly_db); /* if it failed, so does the next step, and is shown */
  printf("reads %s", kit_short(kit_ask(&agent, "sql SELECT a FROM t")));
  printf(", write %s", kit_short(kit_ask(&agent, "sql INSERT INTO t VALUES(8)")));
  kit_stop(&agent);
}

static void case_readonly_wal(void)
{
  kit_agent agent;
  uint64_t db_sum, wal_sum;
  const char *heard;

  make_wal_database();
  db_sum = kit_sum(server_db, "");
  wal_sum = kit_sum(server_db, "-wal");
  agent = kit_start(shim, NULL);
  heard = kit_ask(&agent, "open %s", readonly_db);
  if (strncmp(heard, "ok", 2) == 0) heard = kit_ask(&agent, "sql SELECT count(*) FROM t");
  printf("%s", kit_short(heard));
  printf(", %s",
         kit_sum(server_db, "") == db_sum && kit_sum(server_db, "-wal") == wal_sum ? "unchanged" : "CHANGED");
  kit_stop(&agent);
}

/* ---- 6: two clients write */

static void make_counter(void)
{
  kit_agent maker = kit_start(NULL, NULL);

  kit_must(&maker, "open %s", server_db);
  kit_must(&maker, "sql CREATE TABLE c(v INT); INSERT INTO c VALUES(0); CREATE TABLE log(who, v INT)");
  kit_stop(&maker);
}

/* "ok ACKNOWLEDGED|CODE", added up over agents. */
typedef struct tally {
  long acknowledged, code;
} tally;

static void add_to(tally *sum, const char *heard)
{
  long n = 0, code = 0;

  if (sscanf(heard, "ok %ld|%ld", &n, &code) != 2) kit_fail("commits: %s", heard);
  sum->acknowledged += n;
  if (code != 0) sum->code = code;
}

/* What plain SQLite finds at the server: each commit left a line with a number of its own. */
static void print_tally(const tally *sum)
{
  kit_agent plain = kit_start(NULL, NULL);
  const char *heard = kit_ask(&plain, "open %s", server_db);
  long distinct = 0, rows = 0;

  if (strncmp(heard, "ok", 2) == 0) {
    heard = kit_ask(&plain, "sql SELECT count(DISTINCT v), count(*) FROM log; PRAGMA integrity_check");
  }
  printf("%ld acknowledged", sum->acknowledged);
  if (sscanf(heard, "ok %ld|%ld|", &distinct, &rows) == 2) {
    printf(", %ld found%s", distinct, strstr(heard, "|ok") == NULL ? ", damaged" : "");
  } else {
    printf(", %s", kit_short(heard));
  }
  if (sum->code != 0) printf(", error %ld", sum->code);
  kit_stop(&plain);
}

static void case_two_writers(void)
{
  const char *client2 = kit_need("CASE_CLIENT2");
  long commits = kit_number("CASE_COMMITS");
  tally sum = {0, 0};
  kit_agent one, two;

  make_counter();
  one = kit_start(shim, NULL);
  two = kit_start(shim, client2);
  kit_must(&one, "open %s", db);
  kit_must(&two, "open %s", db);
  kit_tell(&one, "commits %ld one", commits);
  kit_tell(&two, "commits %ld two", commits);
  add_to(&sum, kit_hear(&one));
  add_to(&sum, kit_hear(&two));
  kit_stop(&one);
  kit_stop(&two);
  print_tally(&sum);
}

/* One after the other and never at once, but each asked for WAL as it would on a local disk. */
static void case_wal_writers(void)
{
  const char *client2 = kit_need("CASE_CLIENT2");
  long commits = kit_number("CASE_COMMITS") / 2;
  tally sum = {0, 0};
  kit_agent one, two;
  int turn;

  make_counter();
  one = kit_start(shim, NULL);
  two = kit_start(shim, client2);
  kit_must(&one, "open %s", db);
  (void)kit_ask(&one, "sql PRAGMA journal_mode=WAL"); /* as programs do: the answer is not looked at */
  (void)kit_ask(&two, "open %s", db);
  (void)kit_ask(&two, "sql PRAGMA journal_mode=WAL");
  for (turn = 0; turn < 2; turn++) {
    add_to(&sum, kit_ask(&one, "commits %ld one", commits));
    add_to(&sum, kit_ask(&two, "commits %ld two", commits));
  }
  kit_stop(&one);
  kit_stop(&two);
  print_tally(&sum);
}

/*
 * Client 2 is about to write. What is said of that there, and on client 1, which its process is not on? And
 * who had to wait for that lock may still read, at once.
 */
static void case_holders(void)
{
  const char *client2 = kit_need("CASE_CLIENT2");
  kit_agent holder, near, far;

  make_counter();
  holder = kit_start(kit_setting("CASE_WRITER_SHIM"), client2);
  near = kit_start(shim, client2);
  far = kit_start(shim, NULL);
  kit_must(&holder, "open %s", db);
  kit_must(&near, "open %s", db);
  kit_must(&far, "open %s", db);
  kit_must(&holder, "sql BEGIN IMMEDIATE");
#define HELD                                                                                                 \
  "sql SELECT group_concat(mode || ' by ' || iif(pid = %d, 'its process', ifnull(pid, 'nobody')) || ', ' "   \
  "|| "                                                                                                      \
  "state) FROM holdfast_lock_holders WHERE lock = 'RESERVED'"
  printf("%s; ", kit_short(kit_ask(&near, HELD, (int)holder.pid)));
  printf("%s; ", kit_short(kit_ask(&far, HELD, (int)holder.pid)));
#undef HELD
  kit_must(&far, "sql PRAGMA busy_timeout=300"); /* several tries, and no long wait */
  printf("%s, ", kit_short(kit_ask(&far, "sql BEGIN IMMEDIATE")));
  printf("then reads %s", kit_short(kit_ask(&far, "sql SELECT count(*) FROM log")));
  kit_stop(&near);
  kit_stop(&far);
  kit_stop(&holder);
}

static const struct {
  const char *name;
  void (*run)(void);
} cases[] = {
    {"verdict", case_verdict},
    {"wal", case_wal},
    {"wal-exclusive", case_wal_exclusive},
    {"rows-in-wal", case_rows_in_wal},
    {"attached", case_attached},
    {"readonly", case_readonly},
    {"readonly-wal", case_readonly_wal},
    {"wal-writers", case_wal_writers},
    {"two-writers", case_two_writers},
    {"far", case_two_writers}, /* over a slow cable */
    {"holders", case_holders},
};

int main(int argc, char **argv)
{
  size_t i;

  if (argc != 2) {
    fprintf(stderr, "usage: cases CASE\n");
    return 64;
  }
  (void)signal(SIGPIPE, SIG_IGN); /* an agent that died is noticed by its silence */
  shim = kit_setting("CASE_SHIM");
  for (i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (strcmp(argv[1], cases[i].name) != 0) continue;
    name_files(cases[i].name, 0);
    cases[i].run();
    printf("\n");
    return 0;
  }
  fprintf(stderr, "cases: no case named %s\n", argv[1]);
  return 64;
}
