/*
 * demo_pool.c - the side with holdfast: one pool for the process, transactions and the health check through
 * it.
 *
 * The check runs on a connection of the pool, and what did not run is "not checked", never damage. The rest
 * of the program stays as careless as it was: it goes on opening and closing the file, where holdfast owns
 * the locks. Where it does not, `PRAGMA holdfast` does not name "locks", and the look is left out.
 */
#include <stdio.h>
#include <string.h>

#include "demo.h"
#include "holdfast.h"

/* ---------------------------------------------------------------- statements of both sides */

int board_prepare(demo_connection *c, const char *sql, sqlite3_stmt **out)
{
  if (c->lease) return holdfast_prepare(c->lease, sql, out);
  return sqlite3_prepare_v2(c->db, sql, -1, out, NULL);
}

void board_put(demo_connection *c, sqlite3_stmt *statement)
{
  if (c->lease)
    (void)sqlite3_reset(statement); /* the pool keeps it; its error was returned by the step */
  else
    (void)sqlite3_finalize(statement); /* likewise */
}

/* ---------------------------------------------------------------- the pool */

typedef struct call {
  demo_step *step;
  void *arg;
} call;

static int step_on_lease(holdfast_lease *lease, void *arg)
{
  call *c = arg;
  demo_connection connection = {holdfast_lease_db(lease), lease};

  return c->step(&connection, c->arg);
}

static int pool_write(demo_program *p, demo_step *step, void *arg)
{
  call c = {step, arg};
  int rc = holdfast_write(p->pool, step_on_lease, &c);

  if (rc < 0) (void)snprintf(p->said, sizeof p->said, "%s", holdfast_errmsg());
  if (rc > 0 && !p->said[0]) (void)snprintf(p->said, sizeof p->said, "%s", holdfast_strerror(rc));
  return rc;
}

static int pool_read(demo_program *p, demo_step *step, void *arg)
{
  call c = {step, arg};

  return holdfast_read(p->pool, step_on_lease, &c);
}

/* Is `word` one of the protections in the line of `PRAGMA holdfast`? They are parted by commas. */
static bool is_protected(const char *line, const char *word)
{
  const char *p = strstr(line, "protections: ");
  size_t n = strlen(word);

  if (p) p += strlen("protections: ");
  while (p && !(!strncmp(p, word, n) && (p[n] == ',' || p[n] == '\0'))) {
    p = strchr(p, ',');
    if (p) p++;
  }
  return p != NULL;
}

/* Owned locks: a stray close costs nothing here. */
static int ask_shim(holdfast_lease *lease, void *arg)
{
  demo_program *p = arg;
  sqlite3_stmt *s = NULL;
  char text[DEMO_TEXT] = "";
  int rc = holdfast_prepare(lease, "PRAGMA holdfast", &s);

  if (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
    (void)snprintf(text, sizeof text, "%s", (const char *)sqlite3_column_text(s, 0));
  if (p->who == 0) {
    (void)snprintf(p->shared->note, sizeof p->shared->note, "%s", text);
    p->shared->careless = is_protected(text, "locks");
  }
  return rc;
}

static int pool_open(demo_program *p)
{
  holdfast_config shim = {.struct_size = sizeof shim, .log = "none"};
  holdfast_pool_config config = {.struct_size = sizeof config, .name = p->name};
  int rc = holdfast_init(&shim); /* a line about the mount would fall between ours */

  if (rc == SQLITE_OK) rc = holdfast_pool_open(p->path, &config, &p->pool);
  if (rc == SQLITE_OK) rc = holdfast_read(p->pool, ask_shim, p);
  if (rc != SQLITE_OK)
    (void)snprintf(p->said, sizeof p->said, "%s", rc < 0 ? holdfast_errmsg() : holdfast_strerror(rc));
  return rc;
}

static void pool_close(demo_program *p)
{
  int rc = holdfast_pool_close(p->pool, 0);

  if (rc != SQLITE_OK) demo_failed(p, rc, rc < 0 ? holdfast_errmsg() : holdfast_strerror(rc));
}

typedef struct verdict {
  int is, code;
  char *said;
  size_t size;
} verdict;

static int check_on_lease(holdfast_lease *lease, void *arg)
{
  verdict *v = arg;
  sqlite3_stmt *s = NULL;
  int rc = holdfast_prepare(lease, "PRAGMA integrity_check(1)", &s);

  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) {
    (void)snprintf(v->said, v->size, "%s", (const char *)sqlite3_column_text(s, 0));
    v->is = sqlite3_stricmp(v->said, "ok") ? CHECK_ALARM : CHECK_OK;
    return SQLITE_OK;
  }
  v->code = rc & 0xFF;
  v->is = v->code == SQLITE_CORRUPT || v->code == SQLITE_NOTADB ? CHECK_ALARM : CHECK_NOT_DONE;
  (void)snprintf(v->said, v->size, "%s", sqlite3_errmsg(holdfast_lease_db(lease)));
  return rc;
}

static int pool_check(demo_program *p, int *code, char *said, size_t size)
{
  verdict v = {.is = CHECK_NOT_DONE, .said = said, .size = size};
  int rc = holdfast_read(p->pool, check_on_lease, &v);

  *code = v.code ? v.code : v.is == CHECK_NOT_DONE ? rc : SQLITE_OK;
  return v.is;
}

const demo_side demo_pool = {"holdfast", "holdfast", pool_open, pool_write,
                             pool_read,  pool_check, pool_close};
