/*
 * demo_plain.c - the side as such programs are written, with plain SQLite.
 *
 * A connection for each transaction, which asks for WAL and waits five seconds like Python's; a second
 * connection for the health check, which does not wait; and whatever that check says but "ok" is taken
 * for damage. None of this is rare: docs/failures.md, F1, F2 and F5, has where it was found.
 */
#include <stdio.h>

#include "demo.h"

enum { BUSY_MS = 5000 };

static int plain_open(demo_program *p)
{
  p->shared->careless = true; /* there is nothing else to do */
  return SQLITE_OK;
}

static void plain_close(demo_program *p)
{
  (void)p;
}

static int connect(demo_program *p, demo_connection *c)
{
  int rc = sqlite3_open_v2(p->path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);

  if (rc != SQLITE_OK) return rc;
  (void)sqlite3_busy_timeout(c->db, BUSY_MS); /* fails only for a bad handle */
  return sqlite3_exec(c->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
}

static int transact(demo_program *p, const char *begin, demo_step *step, void *arg)
{
  demo_connection c = {0};
  int rc = connect(p, &c);

  if (rc == SQLITE_OK) rc = sqlite3_exec(c.db, begin, NULL, NULL, NULL);
  if (rc == SQLITE_OK) {
    rc = step(&c, arg);
    if (rc == SQLITE_OK) rc = sqlite3_exec(c.db, "COMMIT", NULL, NULL, NULL);
  }
  if (rc != SQLITE_OK && !p->said[0]) (void)snprintf(p->said, sizeof p->said, "%s", sqlite3_errmsg(c.db));
  (void)sqlite3_close(c.db); /* rolls back what is open */
  return rc;
}

static int plain_write(demo_program *p, demo_step *step, void *arg)
{
  return transact(p, "BEGIN IMMEDIATE", step, arg);
}

/* The other thread's: p->said is not its own. */
static int plain_read(demo_program *p, demo_step *step, void *arg)
{
  demo_connection c = {0};
  int rc = connect(p, &c);

  if (rc == SQLITE_OK) rc = step(&c, arg);
  (void)sqlite3_close(c.db); /* the step has put its statement back */
  return rc;
}

static int plain_check(demo_program *p, int *code, char *said, size_t size)
{
  sqlite3_stmt *s = NULL;
  sqlite3 *db = NULL;
  bool good = false;
  int rc = sqlite3_open_v2(p->path, &db, SQLITE_OPEN_READONLY, NULL);

  if (rc == SQLITE_OK) rc = sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &s, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) {
    (void)snprintf(said, size, "%s", (const char *)sqlite3_column_text(s, 0));
    good = !sqlite3_stricmp(said, "ok");
  } else {
    (void)snprintf(said, size, "%s", sqlite3_errmsg(db));
  }
  *code = rc == SQLITE_ROW ? SQLITE_OK : rc & 0xFF;
  (void)sqlite3_finalize(s); /* its error was taken above */
  (void)sqlite3_close(db);
  return good ? CHECK_OK : CHECK_ALARM;
}

const demo_side demo_plain = {"plain",    "plain SQLite", plain_open, plain_write,
                              plain_read, plain_check,    plain_close};
