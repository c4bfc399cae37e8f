/*
 * wal_open.c - a database that is already in WAL mode is opened where WAL cannot work.
 *
 * It is converted as sole user, or refused and then not one byte of it is changed. Plain SQLite runs beside
 * each case: it opens the same file in WAL mode, which is what must not happen on such a mount.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "files.h"
#include "made.h"

#define NETWORK "HOLDFAST_ASSUME=network"

/* Rows that are only in the -wal of a crashed process. */
static void converted_as_sole_user(void)
{
  peer *p = peer_start(SHIM_NO, NULL);
  char want[160];

  check_scene("sole user");
  made_wal("a.db", MADE_ROWS, 0);
  (void)snprintf(want, sizeof want, "%s\nwal", made_answer(MADE_ROWS));
  CHECK_INT("plain open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("plain: WAL goes on", peer_ask(p, 0, MADE_ASK "; PRAGMA journal_mode"), want);
  CHECK_INT("end", peer_end(p), 0);

  made_wal("a.db", MADE_ROWS, 0);
  p = peer_start(SHIM_YES, NETWORK);
  (void)snprintf(want, sizeof want, "%s\ndelete", made_answer(MADE_ROWS));
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("header before the first statement", db_header_mode("a.db"), "1,1");
  CHECK_STR("every row, no WAL", peer_ask(p, 0, MADE_ASK "; PRAGMA journal_mode"), want);
  CHECK_TRUE("no -wal", !db_beside("a.db", "-wal"));
  CHECK_STR("the event", peer_ask(p, 0, "SELECT kind, code FROM holdfast_events"), "converted|0");
  CHECK_STR("write", peer_ask(p, 0, "DELETE FROM t WHERE id > 500; SELECT count(*) FROM t"), "500");
  CHECK_INT("end", peer_end(p), 0);
}

/* After a clean close only the header says WAL. */
static void converted_without_wal_file(void)
{
  peer *p = peer_start(SHIM_NO, NULL);

  check_scene("cleanly closed");
  made_wal("a.db", MADE_ROWS, 0);
  CHECK_INT("plain open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("plain", peer_ask(p, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_INT("end", peer_end(p), 0);
  CHECK_TRUE("no -wal is left", !db_beside("a.db", "-wal"));
  CHECK_STR("the header says WAL", db_header_mode("a.db"), "2,2");

  p = peer_start(SHIM_YES, NETWORK);
  CHECK_INT("open", peer_open(p, 0, "file:a.db?cache=private", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_STR("header", db_header_mode("a.db"), "1,1");
  CHECK_INT("end", peer_end(p), 0);
}

/* Mounts where WAL works: nothing is touched. */
static void left_alone_on_local(void)
{
  peer *p = peer_start(SHIM_YES, "HOLDFAST_ASSUME=local");

  check_scene("local");
  made_wal("a.db", MADE_ROWS, 0);
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("mode", peer_ask(p, 0, "PRAGMA journal_mode"), "wal");
  CHECK_STR("rows", peer_ask(p, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_STR("events", peer_ask(p, 0, "SELECT count(*) FROM holdfast_events"), "0");
  CHECK_INT("end", peer_end(p), 0);
}

/* Another process has it open. idle: it holds no transaction, only its shared-memory lock. */
static void refused_while_attached(int shim, const char *held_by)
{
  peer *holder = peer_start(shim, "HOLDFAST_ASSUME=local"), *p = peer_start(SHIM_YES, NETWORK);
  unsigned long long before;

  check_scene("attached: %s", held_by);
  made_wal("a.db", MADE_ROWS, 0);
  CHECK_INT("holder opens", peer_open(holder, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("holder reads", peer_ask(holder, 0, MADE_ASK), made_answer(MADE_ROWS));
  before = db_print("a.db");
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_BUSY);
  CHECK_TRUE("not one byte has changed", db_print("a.db") == before);
  CHECK_INT("a memory database tells", peer_open(p, 1, ":memory:", 0), SQLITE_OK);
  CHECK_STR("the event", peer_ask(p, 1, "SELECT kind, code FROM holdfast_events"), "refused|5");
  CHECK_STR("holder goes on", peer_ask(holder, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_STR("holder writes",
            peer_ask(holder, 0, "INSERT INTO t VALUES(1001, 'x'); DELETE FROM t WHERE id = 1001"), "");
  peer_kill(holder); /* and now nobody has it open */
  CHECK_INT("open after the holder's death", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_STR("mode", peer_ask(p, 0, "PRAGMA journal_mode"), "delete");
  CHECK_INT("end", peer_end(p), 0);
}

/* The same process has it open already, through another connection. */
static void refused_in_the_same_process(const char *first)
{
  peer *p = peer_start(SHIM_YES, NETWORK);
  unsigned long long before;

  check_scene("same process, first opened as %s", first);
  made_wal("a.db", MADE_ROWS, 0);
  CHECK_INT("first", peer_open(p, 0, first, 0), SQLITE_OK);
  CHECK_STR("first reads", peer_ask(p, 0, "PRAGMA journal_mode; " MADE_ASK),
            "wal\n1000|500500|1000|1000\nok");
  before = db_print("a.db");
  CHECK_INT("second", peer_open(p, 1, "a.db", 0), SQLITE_BUSY);
  CHECK_TRUE("not one byte has changed", db_print("a.db") == before);
  CHECK_STR("first goes on", peer_ask(p, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_STR("first writes", peer_ask(p, 0, "INSERT INTO t VALUES(1001, 'x'); DELETE FROM t WHERE id = 1001"),
            "");
  CHECK_INT("first closes", peer_close(p, 0), SQLITE_OK);
  CHECK_INT("third", peer_open(p, 1, "a.db", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 1, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_STR("mode", peer_ask(p, 1, "PRAGMA journal_mode"), "delete");
  CHECK_INT("end", peer_end(p), 0);
}

static void read_only_never_converts(const char *name, int flags)
{
  peer *p = peer_start(SHIM_YES, NETWORK);
  unsigned long long before;

  check_scene("read-only: %s", name);
  made_wal("a.db", MADE_ROWS, 0);
  before = db_print("a.db");
  CHECK_INT("open", peer_open(p, 0, name, flags), SQLITE_CANTOPEN);
  CHECK_TRUE("not one byte has changed", db_print("a.db") == before);
  CHECK_INT("a memory database tells", peer_open(p, 1, ":memory:", 0), SQLITE_OK);
  CHECK_HAS("how to convert it by hand", peer_ask(p, 1, "SELECT kind, code, detail FROM holdfast_events"),
            "refused|14|");
  CHECK_HAS("the command", peer_text(p), "holdfast convert");
  CHECK_INT("end", peer_end(p), 0);
}

/* An encrypted file has no plain header, even if its bytes 18 and 19 look like WAL: nobody here can convert
 * it. */
static void encrypted_is_left_alone(bool with_wal)
{
  peer *plain = peer_start(SHIM_NO, NULL), *p = peer_start(SHIM_YES, NETWORK);
  unsigned char bytes[8192];
  unsigned long long before;

  check_scene("encrypted, -wal %d", with_wal);
  seed_fill(bytes, sizeof bytes);
  bytes[18] = bytes[19] = 2;
  db_remove("e.db");
  file_write("e.db", bytes, sizeof bytes);
  if (with_wal) file_write("e.db-wal", bytes, 64);
  before = db_print("e.db");
  CHECK_INT("open", peer_open(p, 0, "e.db", 0), SQLITE_OK);
  CHECK_INT("read", peer_sql(p, 0, "SELECT 1 FROM sqlite_master"),
            with_wal ? SQLITE_CANTOPEN : SQLITE_NOTADB);
  CHECK_TRUE("not one byte has changed", db_print("e.db") == before);
  CHECK_INT("a memory database tells", peer_open(p, 1, ":memory:", 0), SQLITE_OK);
  CHECK_STR("the event", peer_ask(p, 1, "SELECT kind FROM holdfast_events"), with_wal ? "warned" : "");
  CHECK_INT("plain open", peer_open(plain, 0, "e.db", 0), SQLITE_OK);
  CHECK_INT("plain SQLite", peer_sql(plain, 0, "SELECT 1 FROM sqlite_master"), SQLITE_NOTADB);
  CHECK_INT("end", peer_end(p), 0);
  CHECK_INT("end", peer_end(plain), 0);
}

/* The user says that this host alone uses the file, and this file system's locks are the kernel's: as above.
 */
static void one_host(void)
{
  peer *holder = peer_start(SHIM_NO, NULL), *p = peer_start(SHIM_YES, "HOLDFAST_ASSUME=one-host");
  unsigned long long before;

  check_scene("one host");
  made_wal("a.db", MADE_ROWS, 0);
  CHECK_INT("holder opens", peer_open(holder, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("holder reads", peer_ask(holder, 0, MADE_ASK), made_answer(MADE_ROWS));
  before = db_print("a.db");
  CHECK_INT("attached: refused", peer_open(p, 0, "a.db", 0), SQLITE_BUSY);
  CHECK_TRUE("not one byte has changed", db_print("a.db") == before);
  peer_kill(holder);
  CHECK_INT("alone: converted", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_STR("header", db_header_mode("a.db"), "1,1");
  CHECK_INT("end", peer_end(p), 0);
}

/* Two processes open at the same moment: one converts, the other waits for it; both get every row. */
static void two_at_once(void)
{
  peer *p[4];

  check_scene("one converts, the others come after");
  made_wal("a.db", MADE_ROWS, 0);
  for (int i = 0; i < 4; i++) p[i] = peer_start(SHIM_YES, NETWORK);
  for (int i = 0; i < 4; i++) {
    CHECK_INT("open", peer_open(p[i], 0, "a.db", 0), SQLITE_OK);
    CHECK_STR("rows", peer_ask(p[i], 0, MADE_ASK), made_answer(MADE_ROWS));
  }
  CHECK_STR("write beside open readers", peer_ask(p[0], 0, "UPDATE t SET v = v || ''"), "");
  for (int i = 0; i < 4; i++) CHECK_INT("end", peer_end(p[i]), 0);
}

/* Attached databases are opened by the same road. */
static void attached_wal_database(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK);

  check_scene("ATTACH");
  made_wal("a.db", MADE_ROWS, 0);
  CHECK_INT("main", peer_open(p, 0, ":memory:", 0), SQLITE_OK);
  CHECK_STR("attach", peer_ask(p, 0, "ATTACH 'a.db' AS b; SELECT count(*) FROM b.t; PRAGMA b.journal_mode"),
            "1000\ndelete");
  CHECK_INT("end", peer_end(p), 0);
}

int main(void)
{
  seed_start();
  converted_as_sole_user();
  converted_without_wal_file();
  left_alone_on_local();
  refused_while_attached(SHIM_NO, "a plain process");
  refused_while_attached(SHIM_YES, "a process with the shim");
  refused_in_the_same_process("file:a.db?vfs=unix");
  refused_in_the_same_process("file:a.db?holdfast_assume=local");
  refused_in_the_same_process("file:a.db?holdfast_mode=off");
  read_only_never_converts("file:a.db?mode=ro", 0);
  read_only_never_converts("a.db", SQLITE_OPEN_READONLY);
  encrypted_is_left_alone(false);
  encrypted_is_left_alone(true);
  one_host();
  two_at_once();
  attached_wal_database();
  return check_done();
}
