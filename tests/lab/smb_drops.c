/*
 * smb_drops.c - the server forgets a client in the middle of its transaction.
 *
 *   smb_drops dir=DIR below=DIR client2=PID [shim=FILE] [modes=delete,...] [points=N,N-M...] [others=N-M]
 *             [how=session|server|cut|blip]     environment: CASE_OUTAGE, a command as for outages.c, not for
 * session
 *
 * A, on client 2, stops at one point of a transaction. Then
 *   session  the server process of that client is killed: its locks are gone, the next call connects again
 * without a word; server   all of the server is killed and starts anew; cut      the cable of client 2 is cut
 * until the server has given its locks away and B has gone on; blip     the cable is cut for a second, which
 * nobody may notice. B, on client 1, does nothing, reads, commits, or commits twice. Then A goes on. Every
 * transaction changes all rows of one table, A by 1 and B by 1000, so all rows must be equal at any time, and
 * what was acknowledged must be in them. Afterwards both must be able to write again. One line for each
 * scenario that went wrong, and a last one with the counts; exit code 0: it ran.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "smb_actor.h"

enum { ROWS = 24, AGAIN = 40, BLIP_MS = 1000 };
static const char *const point_names[POINTS] = {
    "RESERVED",          "before COMMIT",  "sealed",         "one page written",
    "six pages written", "page 1 written", "half a read",    "the seal on its way",
    "a page on its way", "before BEGIN",   "before ROLLBACK"};
enum { NOTHING, READS, COMMITS, COMMITS_TWICE, OTHERS };
static const char *const other_names[OTHERS] = {"nothing", "a read", "a commit", "two commits"};
typedef enum drop { SESSION, SERVER, CUT, BLIP, DROPS } drop;
static const char *const drop_names[DROPS] = {"session", "server", "cut", "blip"};

static const char *dir, *below;
static drop how;

static void outage(const char *what)
{
  const char *command = getenv("CASE_OUTAGE");
  char line[1024];

  snprintf(line, sizeof line, "%s %s", command ? command : "false", what);
  if (system(line)) actor_fail(what);
}

/* The smbd of client 2 dies; the client connects again when it needs to. */
static void drop_session(void)
{
  int rc =
      system("pids=$(ss -Htnp 'sport = :445 and dst 10.77.0.2' | sed -n 's/.*pid=\\([0-9]*\\).*/\\1/p'); "
             "[ -n \"$pids\" ] && kill -9 $pids");
  if (rc) actor_fail("no server process to kill");
  actor_nap(50); /* its death is noticed by the server's parent */
}

static void drop_it(void)
{
  if (how == SESSION) drop_session();
  if (how == SERVER) outage("restart-smb");
  if (how == CUT || how == BLIP) outage("cut");
  if (how != BLIP) return;
  actor_nap(BLIP_MS); /* how long this outage lasts */
  outage("join");
}

static int retried(const actor *it, char what)
{
  int rc = 0;

  for (int i = 0; i < AGAIN; i++) {
    actor_tell(it, what);
    if (actor_hear(it, &rc) != 'e') return -2;
    if (rc == SQLITE_OK) break;
    actor_nap(50);
  }
  return rc;
}

static void make_database(void)
{
  char path[1024], text[300];
  sqlite3 *db = NULL;

  snprintf(path, sizeof path, "%s/%s", below, strrchr(actor_db, '/') + 1);
  snprintf(
      text, sizeof text,
      "PRAGMA page_size=1024; CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, pad BLOB); WITH RECURSIVE n(i) "
      "AS "
      "(SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t SELECT i, 0, zeroblob(800) FROM n",
      ROWS - 1);
  (void)unlink(path); /* of an earlier case */
  if (sqlite3_open(path, &db) || sqlite3_exec(db, text, NULL, NULL, NULL)) actor_fail("database");
  (void)sqlite3_close(db);
  (void)sqlite3_shutdown();
}

typedef struct result {
  bool torn, lost, stuck;
  int a_said, a_again, a_acks, b_acks;
  long lowest, highest;
} result;

/* B's part. After a restart its own session is gone, too, and it may have to be told that once. */
static void go_on(const actor *b, int other, result *it, int *acks)
{
  char what = other == READS ? 'l' : 'w';
  int rc = SQLITE_OK, n = other == COMMITS_TWICE ? 2 : other != NOTHING;

  for (; n > 0; n--) {
    if (how == SERVER) {
      rc = retried(b, what);
    } else {
      if (how != BLIP) actor_tell(b, what);
      if (actor_hear(b, &rc) != 'e') it->stuck = true;
      if (how == BLIP && n > 1) actor_tell(b, what);
    }
    if (rc == -1) it->torn = true;
    if (rc == -2) it->stuck = true;
    if (rc == SQLITE_OK && other != READS) ++*acks;
  }
}

static result play(const char *mode, int point, int other)
{
  result it = {0};
  actor a, b;
  int rc = 0, a_acks = 0, b_acks = 0, again;
  char heard;

  make_database();
  b = actor_start(mode, false, point);
  (void)actor_hear(&b, &rc);
  a = actor_start(mode, true, point);
  (void)actor_hear(&a, &rc);
  actor_tell(&a, 's');
  heard = actor_hear(&a, &it.a_said);
  if (heard == 'p') {
    drop_it();
    if (how != BLIP) go_on(&b, other, &it, &b_acks);
    if (how == CUT) outage("join");
    if (how == BLIP && other != NOTHING)
      actor_tell(&b, other == READS ? 'l' : 'w'); /* it has to wait for A */
    actor_tell(&a, 'g');
    if (actor_hear(&a, &it.a_said) != 'e') it.stuck = true;
    if (how == BLIP) go_on(&b, other, &it, &b_acks);
  } else if (heard != 'e') {
    it.stuck = true;
  }
  if (it.a_said == -1) it.torn = true;
  if (it.a_said == SQLITE_OK && point != AT_READING) a_acks++;
  if (!it.stuck) {
    again = retried(&b, 'w');
    if (again == SQLITE_OK) b_acks++;
    it.a_again = retried(&a, 'w');
    if (it.a_again == SQLITE_OK)
      a_acks++;
    else
      it.stuck = true;
    if (again) it.stuck = true;
  }
  actor_finish(&a);
  actor_finish(&b);
  b = actor_start(mode, false, point);
  (void)actor_hear(&b, &rc);
  rc = retried(&b, 'l');
  actor_finish(&b);
  if (rc == -1) it.torn = true;
  if (rc > 0 || rc == -2) it.stuck = true;
  { /* read by this process below the mount, where nobody is left */
    char path[1024];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/%s", below, strrchr(actor_db, '/') + 1);
    actor_lowest = 1L << 40, actor_highest = -1;
    if (sqlite3_open(path, &db) || sqlite3_exec(db, "SELECT v FROM t", actor_row, NULL, NULL)) it.torn = true;
    (void)sqlite3_close(db);
    (void)sqlite3_shutdown();
  }
  if (actor_lowest != actor_highest) it.torn = true;
  it.lowest = actor_lowest, it.highest = actor_highest, it.a_acks = a_acks, it.b_acks = b_acks;
  /* A transaction that failed may be there or not; one that was acknowledged has to be. */
  if (actor_lowest / 1000 < b_acks || actor_lowest % 1000 < a_acks) it.lost = true;
  return it;
}

static const char *value_of(int argc, char **argv, const char *key, const char *otherwise)
{
  size_t length = strlen(key);

  for (int i = 1; i < argc; i++)
    if (strncmp(argv[i], key, length) == 0 && argv[i][length] == '=' && argv[i][length + 1])
      return argv[i] + length + 1;
  return otherwise;
}

/* "0-6,9": is it one of them? */
static bool listed(const char *list, int n)
{
  for (; list && *list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL) {
    int from = 0, to = 0, got = sscanf(list, "%d-%d", &from, &to);
    if (got == 1) to = from;
    if (got >= 1 && n >= from && n <= to) return true;
  }
  return false;
}

int main(int argc, char **argv)
{
  static const char *const all_modes[] = {"delete", "truncate", "persist"};
  const char *modes = value_of(argc, argv, "modes", "delete,truncate,persist");
  const char *points = value_of(argc, argv, "points", "0-6,9-10");
  int from = 0, to = OTHERS - 1, played = 0, wrong = 0, stuck = 0, told = 0;

  dir = value_of(argc, argv, "dir", NULL);
  below = value_of(argc, argv, "below", NULL);
  actor_shim = value_of(argc, argv, "shim", NULL);
  actor_client2 = value_of(argc, argv, "client2", NULL);
  for (how = SESSION; how < DROPS && strcmp(value_of(argc, argv, "how", "session"), drop_names[how]) != 0;)
    how++;
  (void)sscanf(value_of(argc, argv, "others", ""), "%d-%d", &from, &to);
  if (!dir || !below || !actor_client2 || how == DROPS) return 64;
  (void)signal(SIGPIPE, SIG_IGN);
  for (size_t m = 0; m < 3; m++) {
    if (!strstr(modes, all_modes[m])) continue;
    for (int point = 0; point < POINTS; point++)
      for (int other = from; other <= to; other++) {
        result it;
        if (!listed(points, point)) continue;
        snprintf(actor_db, sizeof actor_db, "%s/%s-%s-%s-%d-%d.db", dir, drop_names[how],
                 actor_shim ? "holdfast" : "plain", all_modes[m], point, other);
        it = play(all_modes[m], point, other);
        played++;
        wrong += it.torn || it.lost;
        stuck += it.stuck;
        told += it.a_said > 0;
        if (it.torn || it.lost || it.stuck)
          fprintf(stderr,
                  "%s, %s, %s, then %s: A said %d, later %d, rows from %ld to %ld, A %d and B %d "
                  "acknowledged%s%s%s\n",
                  drop_names[how], all_modes[m], point_names[point], other_names[other], it.a_said,
                  it.a_again, it.lowest, it.highest, it.a_acks, it.b_acks,
                  it.torn ? ", HALF A TRANSACTION" : "", it.lost ? ", A COMMIT LOST" : "",
                  it.stuck ? ", stuck" : "");
        (void)fflush(stdout);
      }
  }
  printf("%d scenarios, %d damaged, %d stuck, %d told\n", played, wrong, stuck, told);
  return 0;
}
