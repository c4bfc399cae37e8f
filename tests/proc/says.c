/*
 * says.c - what people read: the PRAGMAs, the tables, the events, the log.
 *
 * Column names are public (users' SQL depends on them), JSON is read by SQLite's own JSON functions, and one
 * cause on one database is one line and one event however often it comes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "files.h"
#include "made.h"

#define NETWORK "HOLDFAST_ASSUME=network"

static void pragma_line(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK), *plain = peer_start(SHIM_NO, NULL);
  char line[600];

  check_scene("PRAGMA holdfast");
  db_remove("a.db");
  CHECK_INT("plain open", peer_open(plain, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("no row without the shim", peer_ask(plain, 0, "PRAGMA holdfast"), "");
  CHECK_STR("nor for a table", peer_ask(plain, 0, "PRAGMA holdfast_mount; PRAGMA holdfast_status"), "");
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  (void)snprintf(line, sizeof line, "%.500s", peer_ask(p, 0, "PRAGMA holdfast"));
  CHECK_HAS("version", line, "holdfast 0.");
  CHECK_HAS("rule", line, "rollback-only");
  CHECK_HAS("class", line, "network");
  CHECK_TRUE("one line", strchr(line, '\n') == NULL);
  CHECK_STR("quoted and in capitals", peer_ask(p, 0, "PRAGMA main.\"HOLDFAST\""), line);
  CHECK_STR("its own name, nothing else",
            peer_ask(p, 0, "PRAGMA holdfas; PRAGMA holdfastx; PRAGMA holdfast_nothing"), "");
  CHECK_INT("off", peer_open(p, 1, "file:b.db?holdfast_mode=off", 0), SQLITE_OK);
  CHECK_STR("no row when it is off", peer_ask(p, 1, "PRAGMA holdfast"), "");
  CHECK_INT("memory", peer_open(p, 2, ":memory:", 0), SQLITE_OK);
  CHECK_STR("no row in memory", peer_ask(p, 2, "PRAGMA holdfast"), "");
  CHECK_INT("local", peer_open(p, 3, "file:b.db?holdfast_assume=local", 0), SQLITE_OK);
  CHECK_HAS("local says wal-ok", peer_ask(p, 3, "PRAGMA holdfast"), "wal-ok");
  CHECK_STR("the function", peer_ask(p, 2, "SELECT holdfast_version() GLOB '0.*.*'"), "1");
  CHECK_INT("end", peer_end(p), 0);
  CHECK_INT("end", peer_end(plain), 0);
}

static void table_columns(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK);

  check_scene("tables");
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR(
      "columns of holdfast_mount",
      peer_ask(p, 0, "SELECT group_concat(name) FROM pragma_table_info('holdfast_mount')"),
      "schema,path,fstype,source,options,mount_point,class,shm,locks,durable,scope,rule,reason,confidence");
  CHECK_STR("columns of holdfast_events",
            peer_ask(p, 0, "SELECT group_concat(name) FROM pragma_table_info('holdfast_events')"),
            "seq,time,path,kind,code,detail");
  CHECK_STR("its row", peer_ask(p, 0, "SELECT schema, class, rule, scope FROM holdfast_mount"),
            "main|network|rollback-only|several");
  CHECK_STR(
      "path",
      peer_ask(p, 0, "SELECT path = file FROM holdfast_mount, pragma_database_list WHERE name = 'main'"),
      "1");
  CHECK_INT("memory database", peer_open(p, 1, ":memory:", 0), SQLITE_OK);
  CHECK_STR("every file of the library is listed",
            peer_ask(p, 1, "SELECT rule, schema IS NULL FROM holdfast_mount"), "rollback-only|1");
  CHECK_STR("attached",
            peer_ask(p, 0, "ATTACH 'b.db' AS \"x y\"; SELECT schema FROM holdfast_mount ORDER BY 1"),
            "main\nx y");
  CHECK_STR("read-only tables", peer_ask(p, 0, "DELETE FROM holdfast_events"),
            "error 1: table holdfast_events may not be modified");
  CHECK_STR("no trace in the schema",
            peer_ask(p, 0, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'holdfast%'"), "0");
  CHECK_INT("end", peer_end(p), 0);
}

/* The same as JSON, checked by a plain SQLite, which has not seen the shim. */
static void as_json(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK), *plain = peer_start(SHIM_NO, NULL);
  static const char *const names[] = {"holdfast_status", "holdfast_mount", "holdfast_events"};
  static const char *const questions[] = {
      "SELECT json_valid(j), j ->> '$.rule', j ->> '$.class', j ->> '$.assume', j ->> '$.wal', "
      "j ->> '$.path' LIKE '%%/js\"on ''\\.db', json_type(j, '$.protections') FROM (SELECT '%s' AS j)",
      "SELECT json_valid(j), json_array_length(j), j ->> '$[0].rule', j ->> '$[0].schema', j ->> '$[0].path' "
      "LIKE "
      "'%%js\"on%%', (SELECT group_concat(key) FROM json_each(j, '$[0]')) FROM (SELECT '%s' AS j)",
      "SELECT json_valid(j), json_array_length(j) > 0, j ->> '$[0].kind', json_type(j, '$[0].code'), (SELECT "
      "group_concat(key) FROM json_each(j, '$[0]')) FROM (SELECT '%s' AS j)"};
  static const char *const want[] = {"1|rollback-only|network|network|0|1|array",
                                     "1|1|rollback-only|main|1|schema,path,fstype,source,options,mount_point,"
                                     "class,shm,locks,durable,scope,rule,"
                                     "reason,confidence",
                                     "1|1|warned|integer|seq,time,path,kind,code,detail"};
  char sql[8000], json[6000], *to;

  db_remove("js\"on '\\.db"); /* a name that JSON has to escape */
  check_scene("JSON");
  CHECK_INT("open", peer_open(p, 0, "js\"on '\\.db", 0), SQLITE_OK);
  CHECK_INT("an event", peer_sql(p, 0, "PRAGMA journal_mode=WAL"), SQLITE_OK);
  CHECK_INT("plain", peer_open(plain, 0, ":memory:", 0), SQLITE_OK);
  for (int i = 0; i < 3; i++) {
    (void)snprintf(sql, sizeof sql, "PRAGMA %s", names[i]);
    check_scene("%s", sql);
    to = json;
    for (const char *from = peer_ask(p, 0, sql); *from && to < json + sizeof json - 3; from++) {
      if (*from == '\'') *to++ = '\'';
      *to++ = *from;
    }
    *to = 0;
    (void)snprintf(sql, sizeof sql, questions[i], json);
    CHECK_STR("JSON", peer_ask(plain, 0, sql), want[i]);
  }
  CHECK_INT("end", peer_end(p), 0);
  CHECK_INT("end", peer_end(plain), 0);
}

/* PRAGMAs need no lock and no schema: they answer while another process holds the file exclusively, or it is
 * broken. */
static void without_a_lock(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK), *plain = peer_start(SHIM_NO, NULL);

  check_scene("locked");
  made_rollback("a.db", 10);
  CHECK_INT("plain", peer_open(plain, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("locked", peer_ask(plain, 0, "BEGIN EXCLUSIVE"), "");
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_INT("it is locked", peer_sql(p, 0, "SELECT * FROM t") & 0xff, SQLITE_BUSY);
  CHECK_HAS("line", peer_ask(p, 0, "PRAGMA holdfast"), "rollback-only");
  CHECK_HAS("mount", peer_ask(p, 0, "PRAGMA holdfast_mount"), "\"rollback-only\"");
  CHECK_INT("end", peer_end(plain), 0);
  CHECK_INT("end", peer_end(p), 0);

  check_scene("broken");
  file_patch("a.db", 100, "????????????????", 16); /* the schema's b-tree page */
  p = peer_start(SHIM_YES, NETWORK);
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_INT("it is broken", peer_sql(p, 0, "SELECT * FROM t") & 0xff, SQLITE_CORRUPT);
  CHECK_HAS("line", peer_ask(p, 0, "PRAGMA holdfast"), "rollback-only");
  CHECK_HAS("events", peer_ask(p, 0, "PRAGMA holdfast_events"), "[");
  CHECK_INT("end", peer_end(p), 0);
}

static int lines_with(const char *path, const char *part)
{
  char *text = file_read(path, NULL), *save = NULL;
  int count = 0;

  for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save))
    if (strstr(line, part)) count++;
  free(text);
  return count;
}

static void one_line_for_each_cause(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK " HOLDFAST_LOG=said.log"), *holder = peer_start(SHIM_NO, NULL);

  check_scene("log");
  file_remove("said.log");
  made_rollback("a.db", 10);
  made_wal("b.db", 10, 0);
  for (int i = 0; i < 20; i++) {
    CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
    CHECK_STR("WAL", peer_ask(p, 0, "PRAGMA journal_mode=WAL"), "delete");
    CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
  }
  CHECK_INT("one line about a.db", lines_with("said.log", "/a.db"), 1);
  CHECK_INT("read-only", peer_open(p, 0, "b.db", SQLITE_OPEN_READONLY), SQLITE_CANTOPEN);
  CHECK_INT("read-only", peer_open(p, 0, "b.db", SQLITE_OPEN_READONLY), SQLITE_CANTOPEN);
  CHECK_INT("one line about b.db", lines_with("said.log", "/b.db"), 1);
  CHECK_INT("it has the cure", lines_with("said.log", "holdfast convert"), 1);
  CHECK_INT("holder", peer_open(holder, 0, "b.db", 0), SQLITE_OK);
  CHECK_STR("holder", peer_ask(holder, 0, "SELECT count(*) FROM t"), "10");
  CHECK_INT("another cause", peer_open(p, 0, "b.db", 0), SQLITE_BUSY);
  CHECK_INT("another line", lines_with("said.log", "/b.db"), 2);
  CHECK_INT("end", peer_end(holder), 0);
  CHECK_INT("converted", peer_open(p, 0, "b.db", 0), SQLITE_OK);
  CHECK_INT("a line for that", lines_with("said.log", "holdfast: converted: "), 1);
  CHECK_STR("events",
            peer_ask(p, 0, "SELECT group_concat(kind) FROM holdfast_events WHERE path LIKE '%/b.db'"),
            "refused,refused,converted");
  CHECK_STR(
      "numbered",
      peer_ask(p, 0, "SELECT min(seq), max(seq) = count(*), min(time) > 1700000000 FROM holdfast_events"),
      "1|1|1");
  CHECK_INT("end", peer_end(p), 0);
}

/* A name with a line feed and an escape sequence must not forge a second line. */
static void names_cannot_forge_lines(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK " HOLDFAST_LOG=forged.log");

  check_scene("forged line");
  file_remove("forged.log");
  CHECK_INT("open", peer_open(p, 0, "x\nholdfast: forged\033[2J.db", 0), SQLITE_OK);
  CHECK_STR("WAL", peer_ask(p, 0, "PRAGMA journal_mode=WAL"), "delete");
  CHECK_INT("one line", lines_with("forged.log", ""), 1);
  CHECK_INT("no escape sequence", lines_with("forged.log", "\033"), 0);
  CHECK_INT("end", peer_end(p), 0);
}

/* The ring is bounded, and what is oldest goes first. */
static void bounded_ring(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK);
  char name[40];

  check_scene("400 databases, one event each");
  for (int i = 0; i < 400; i++) {
    (void)snprintf(name, sizeof name, "ring%d.db", i);
    CHECK_INT("open", peer_open(p, 0, name, 0), SQLITE_OK);
    CHECK_STR("WAL", peer_ask(p, 0, "PRAGMA journal_mode=WAL"), "delete");
    CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
  }
  CHECK_INT("open", peer_open(p, 0, ":memory:", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 0, "SELECT count(*), max(seq) FROM holdfast_events"), "256|400");
  CHECK_STR("the newest is there",
            peer_ask(p, 0, "SELECT path LIKE '%/ring399.db' FROM holdfast_events WHERE seq = 400"), "1");
  CHECK_INT("end", peer_end(p), 0);
}

int main(void)
{
  pragma_line();
  table_columns();
  as_json();
  without_a_lock();
  one_line_for_each_cause();
  names_cannot_forge_lines();
  bounded_ring();
  return check_done();
}
