/*
 * linked.c - the C interface, in a program that is linked with libholdfast.
 *
 * Every function of holdfast.h that takes settings, a path or a connection, with good and with bad arguments.
 * The loadable form has tests of its own; here it comes in only to find that the linked one is there already.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"
#include "files.h"
#include "holdfast.h"
#include "made.h"

static holdfast_config config; /* of the next configure(); the peer is a fork and has its own copy */

static int configure(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return holdfast_init(&config);
}

static int register_it(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return holdfast_register(NULL);
}

static int memory_in_use(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return (int)sqlite3_memory_used();
}

static int shut_down(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return sqlite3_shutdown();
}

static int attach_sql(sqlite3 **db, char *out, size_t size)
{
  (void)out, (void)size;
  return holdfast_attach_sql(db[0]);
}

static peer *linked(const holdfast_config *first)
{
  peer *p;

  config = *first;
  p = peer_start(SHIM_NO, NULL);
  CHECK_INT("holdfast_init", peer_call(p, configure), SQLITE_OK);
  return p;
}

#define SETTINGS(...) (&(holdfast_config){.struct_size = sizeof(holdfast_config), .log = "none", __VA_ARGS__})

/* Nothing of SQLite's memory is held at rest, and SQLite can be shut down and started as often as one likes.
 */
static void at_rest(void)
{
  peer *p = peer_start(SHIM_NO, "HOLDFAST_ASSUME=network");

  check_scene("at rest");
  for (int i = 0; i < 3; i++) {
    CHECK_INT("register", peer_call(p, register_it), SQLITE_OK);
    CHECK_INT("register again", peer_call(p, register_it), SQLITE_OK);
    made_wal("a.db", 10, 0);
    CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
    CHECK_STR("converted", peer_ask(p, 0, "PRAGMA journal_mode; PRAGMA journal_mode=WAL; " MADE_ASK),
              "delete\ndelete\n10|55|10|10\nok");
    CHECK_HAS("covered", peer_ask(p, 0, "PRAGMA holdfast"), "rollback-only");
    CHECK_INT("no SQL objects by itself", peer_sql(p, 0, "SELECT * FROM holdfast_mount"), SQLITE_ERROR);
    CHECK_INT("attach", peer_call(p, attach_sql), SQLITE_OK);
    CHECK_INT("attach again", peer_call(p, attach_sql), SQLITE_OK);
    CHECK_STR("SQL objects", peer_ask(p, 0, "SELECT rule FROM holdfast_mount"), "rollback-only");
    CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
    CHECK_INT("bytes of SQLite's allocator", peer_call(p, memory_in_use), 0);
    CHECK_INT("shutdown", peer_call(p, shut_down), SQLITE_OK);
  }
  CHECK_INT("end", peer_end(p), 0);
}

static void not_registered(void)
{
  peer *p = peer_start(SHIM_NO, NULL);

  check_scene("not registered");
  CHECK_INT("open", peer_open(p, 0, ":memory:", 0), SQLITE_OK);
  CHECK_INT("attach", peer_call(p, attach_sql), SQLITE_MISUSE);
  CHECK_INT("end", peer_end(p), 0);
}

static void bad_settings(void)
{
  const holdfast_config bad[] = {
      {.struct_size = 0},
      {.struct_size = 8},
      {.struct_size = sizeof config, .mode = 4},
      {.struct_size = sizeof config, .mode = -1},
      {.struct_size = sizeof config, .assume = 99},
      {.struct_size = sizeof config, .journal = 5},
      {.struct_size = sizeof config, .strict = 2},
      {.struct_size = sizeof config, .strict = INT_MIN},
  };

  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    peer *p;
    check_scene("bad settings %zu", i);
    config = bad[i];
    p = peer_start(SHIM_NO, NULL);
    CHECK_INT("holdfast_init", peer_call(p, configure), SQLITE_MISUSE);
    db_remove("a.db");
    CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
    CHECK_STR("nothing was registered", peer_ask(p, 0, "PRAGMA holdfast"), "");
    CHECK_INT("end", peer_end(p), 0);
  }
}

static const char *wal_answer(peer *p, const char *name)
{
  static char answer[40];

  db_remove("a.db");
  CHECK_INT("open", peer_open(p, 0, name, 0), SQLITE_OK);
  (void)snprintf(answer, sizeof answer, "%.30s", peer_ask(p, 0, "PRAGMA journal_mode=WAL"));
  CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
  return answer;
}

static holdfast_config later; /* a second configuration, known before the peer is forked */

static int configure_later(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return holdfast_init(&later);
}

/* URI over C over environment; a second call is for files that are opened later. */
static void order_of_settings(void)
{
  peer *p;

  check_scene("settings");
  if (setenv("HOLDFAST_ASSUME", "local", 1)) check_broken("setenv");
  later = *SETTINGS(.assume = HOLDFAST_ASSUME_NETWORK, .journal = HOLDFAST_JOURNAL_PERSIST);
  p = linked(SETTINGS(.assume = HOLDFAST_ASSUME_NETWORK));
  if (unsetenv("HOLDFAST_ASSUME")) check_broken("unsetenv");
  CHECK_STR("C over environment", wal_answer(p, "a.db"), "delete");
  CHECK_STR("URI over C", wal_answer(p, "file:a.db?holdfast_assume=local"), "wal");
  CHECK_INT("holdfast_init again", peer_call(p, configure_later), SQLITE_OK);
  CHECK_STR("the second call", wal_answer(p, "a.db"), "persist");
  CHECK_INT("end", peer_end(p), 0);

  p = linked(SETTINGS(.mode = HOLDFAST_MODE_OFF, .assume = HOLDFAST_ASSUME_NETWORK));
  CHECK_STR("off", wal_answer(p, "a.db"), "wal");
  CHECK_INT("end", peer_end(p), 0);
}

/* ---------------------------------------------------------------- mounts */

static int mount_facts(sqlite3 **db, char *out, size_t size)
{
  holdfast_mount found = {.struct_size = sizeof found}, covered = {.struct_size = sizeof covered},
                 empty = {0};
  int rc = holdfast_mount_of("a.db", &found);

  if (rc == SQLITE_OK) rc = sqlite3_file_control(db[0], "main", HOLDFAST_FCNTL_MOUNT, &covered);
  (void)snprintf(out, size, "%d %d %d %d %d %d %d %d", rc, strcmp(found.fstype, covered.fstype),
                 covered.rule == HOLDFAST_RULE_ROLLBACK_ONLY, holdfast_mount_of("not-there-yet.db", &found),
                 holdfast_mount_of("no/such/directory/a.db", &found), holdfast_mount_of(NULL, &found),
                 holdfast_mount_of("a.db", NULL), holdfast_mount_of("a.db", &empty));
  return rc;
}

static int mount_of_plain(sqlite3 **db, char *out, size_t size)
{
  holdfast_mount found = {.struct_size = sizeof found};

  (void)out, (void)size;
  return sqlite3_file_control(db[1], "main", HOLDFAST_FCNTL_MOUNT, &found);
}

static void mounts(void)
{
  peer *p = linked(SETTINGS(.assume = HOLDFAST_ASSUME_NETWORK));
  char want[80];

  check_scene("mounts");
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_INT("facts", peer_call(p, mount_facts), SQLITE_OK);
  (void)snprintf(want, sizeof want, "0 0 1 0 %d %d %d %d", SQLITE_CANTOPEN, SQLITE_MISUSE, SQLITE_MISUSE,
                 SQLITE_MISUSE);
  CHECK_STR("codes", peer_text(p), want);
  CHECK_INT("plain", peer_open(p, 1, "file:b.db?vfs=unix", 0), SQLITE_OK);
  CHECK_INT("not under the shim", peer_call(p, mount_of_plain), SQLITE_NOTFOUND);
  CHECK_INT("end", peer_end(p), 0);
  CHECK_STR("a word", holdfast_word("rule", HOLDFAST_RULE_WAL_OK), "wal-ok");
  CHECK_STR("no such value", holdfast_word("rule", 99), "?");
  CHECK_STR("no such kind", holdfast_word("colour", 1), "?");
  CHECK_STR("version", holdfast_version(), HOLDFAST_VERSION);
}

/* ---------------------------------------------------------------- conversion by hand */

static char convert_path[300];

static int convert(sqlite3 **db, char *out, size_t size)
{
  (void)db;
  return holdfast_convert(convert_path[0] ? convert_path : NULL, 0, out, size);
}

static void converting(const char *what, const char *path, int want, const char *message)
{
  peer *p;

  check_scene("convert: %s", what);
  (void)snprintf(convert_path, sizeof convert_path, "%s", path);
  p = linked(SETTINGS(.assume = HOLDFAST_ASSUME_NETWORK));
  CHECK_INT("code", peer_call(p, convert), want);
  CHECK_HAS("message", peer_text(p), message);
  CHECK_INT("end", peer_end(p), 0);
}

static void conversions(void)
{
  peer *plain = peer_start(SHIM_NO, NULL);
  unsigned long long before;

  made_wal("w.db", MADE_ROWS, 0);
  converting("a WAL database", "w.db", SQLITE_OK, "converted");
  CHECK_STR("header", db_header_mode("w.db"), "1,1");
  CHECK_INT("plain", peer_open(plain, 0, "w.db", 0), SQLITE_OK);
  CHECK_STR("every row", peer_ask(plain, 0, MADE_ASK), made_answer(MADE_ROWS));
  converting("again, and in use", "w.db", SQLITE_OK, "nothing to do");
  CHECK_INT("close", peer_close(plain, 0), SQLITE_OK);

  made_wal("w.db", MADE_ROWS, 0);
  CHECK_INT("plain", peer_open(plain, 0, "w.db", 0), SQLITE_OK);
  CHECK_STR("every row", peer_ask(plain, 0, MADE_ASK), made_answer(MADE_ROWS));
  before = db_print("w.db");
  converting("in use", "w.db", SQLITE_BUSY, "nothing was changed");
  CHECK_TRUE("not one byte has changed", db_print("w.db") == before);
  CHECK_INT("end", peer_end(plain), 0);

  file_write("text.db",
             "this is no database, and it is longer than a header: ................................", 85);
  converting("no database", "text.db", SQLITE_NOTADB, "not converted");
  converting("nothing there", "no/such/file.db", SQLITE_CANTOPEN, "not converted");
  converting("a directory", ".", SQLITE_CANTOPEN, "not converted");
  converting("no name", "", SQLITE_MISUSE, "");
  CHECK_TRUE("nothing was created", !file_exists("no"));
}

/* The extension in a program that has the linked form: one shim is enough. */
static int load_extension(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return shim_load();
}

static void both_forms(void)
{
  peer *p = linked(SETTINGS(.assume = HOLDFAST_ASSUME_NETWORK));

  check_scene("linked and loaded");
  (void)shim_path(); /* skips here when it was not built */
  db_remove("a.db");
  CHECK_INT("load", peer_call(p, load_extension), SQLITE_OK);
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR(
      "works",
      peer_ask(p, 0, "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1); SELECT * FROM t"),
      "delete\n1");
  CHECK_HAS("covered", peer_ask(p, 0, "PRAGMA holdfast"), "rollback-only");
  CHECK_INT("end", peer_end(p), 0);
}

int main(void)
{
  at_rest();
  not_registered();
  bad_settings();
  order_of_settings();
  mounts();
  conversions();
  both_forms();
  return check_done();
}
