/*
 * peer.c - see peer.h. One request and one answer are a fixed head and a text, over two pipes.
 */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { STEP_MS_MAX = 60 * 1000 };
enum { OP_OPEN, OP_SQL, OP_CALL, OP_CLOSE, OP_END };

struct peer {
  pid_t pid;
  int to, from;
  char text[PEER_TEXT];
};

struct head {
  int op, slot, flags, rc;
  peer_function *function; /* the child is a fork: the same address is the same function */
  size_t size;
};

const char *shim_path(void)
{
  static char path[1024];
  const char *build = getenv("HF_BUILD");

  if (!build) check_skip("HF_BUILD is not set: run by `make check`");
  if (snprintf(path, sizeof path, "%s/holdfast.so", build) >= (int)sizeof path)
    check_broken("HF_BUILD is too long");
  if (access(path, R_OK)) check_skip("holdfast.so was not built");
  return path;
}

int shim_load(void)
{
  sqlite3 *db = NULL;
  char *message = NULL;
  int rc = sqlite3_open(":memory:", &db);

  if (rc == SQLITE_OK) rc = sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_load_extension(db, shim_path(), NULL, &message);
  if (message) printf("load_extension: %s\n", message);
  sqlite3_free(message);
  (void)sqlite3_close(db); /* the shim stays loaded: that is its contract */
  return rc;
}

int sql_text(sqlite3 *db, const char *sql, char *out, size_t size)
{
  sqlite3_stmt *stmt = NULL;
  const char *rest = sql;
  size_t used = 0;
  int rc = SQLITE_OK;

  out[0] = 0;
  while (rc == SQLITE_OK && *rest) {
    rc = sqlite3_prepare_v2(db, rest, -1, &stmt, &rest);
    if (rc || !stmt) continue; /* an error, or a comment at the end */
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
      for (int i = 0, n = sqlite3_column_count(stmt); i < n && used < size; i++) {
        const char *text = (const char *)sqlite3_column_text(stmt, i);
        used += (size_t)snprintf(out + used, size - used, "%s%s",
                                 i      ? "|"
                                 : used ? "\n"
                                        : "",
                                 text ? text : "");
      }
    rc = sqlite3_finalize(stmt);
  }
  if (rc == SQLITE_OK) return rc;
  rc = sqlite3_extended_errcode(db);
  (void)snprintf(out, size, "%s", sqlite3_errmsg(db)); /* a cut message is good enough */
  return rc;
}

static bool transfer(int fd, bool out, void *bytes, size_t size)
{
  char *at = bytes;
  ssize_t n;

  while (size > 0) {
    n = out ? write(fd, at, size) : read(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= (size_t)n;
  }
  return true;
}

static int child_open(sqlite3 **db, const char *name, int flags, char *out)
{
  int rc;

  if (*db) return SQLITE_MISUSE; /* the slot is taken: the test forgot to close */
  if (!flags) flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
  rc = sqlite3_open_v2(name, db, flags, NULL);
  if (rc == SQLITE_OK) {
    (void)sqlite3_extended_result_codes(*db, 1); /* fails only for a bad handle */
    return rc;
  }
  rc = *db ? sqlite3_extended_errcode(*db) : rc;
  (void)snprintf(out, PEER_TEXT, "%s", sqlite3_errmsg(*db));
  (void)sqlite3_close(*db); /* a handle without a database */
  *db = NULL;
  return rc;
}

static int child_step(sqlite3 **db, const struct head *h, const char *text, char *out)
{
  int rc;

  switch (h->op) {
  case OP_OPEN: return child_open(&db[h->slot], text, h->flags, out);
  case OP_SQL: return db[h->slot] ? sql_text(db[h->slot], text, out, PEER_TEXT) : SQLITE_MISUSE;
  case OP_CALL: return h->function(db, out, PEER_TEXT);
  default: break;
  }
  rc = sqlite3_close(db[h->slot]);
  if (rc == SQLITE_OK) db[h->slot] = NULL;
  return rc;
}

static void child_main(int in, int out)
{
  static char text[PEER_TEXT], answer[PEER_TEXT];
  sqlite3 *db[PEER_SLOTS] = {NULL};
  struct head h;

  while (transfer(in, false, &h, sizeof h) && transfer(in, false, text, h.size)) {
    if (h.op == OP_END) break;
    answer[0] = 0;
    h.rc = child_step(db, &h, text, answer);
    h.size = strlen(answer) + 1;
    if (!transfer(out, true, &h, sizeof h) || !transfer(out, true, answer, h.size)) break;
  }
  for (int i = 0; i < PEER_SLOTS; i++) (void)sqlite3_close(db[i]); /* the way out; NULL is fine */
}

static void child_environment(const char *env)
{
  char *copy = strdup(env ? env : ""), *save = NULL;

  if (!copy) check_broken("memory");
  (void)setenv("HOLDFAST_LOG", "none", 1); /* the caller's env may say otherwise */
  for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
    char *value = strchr(word, '=');
    if (!value) check_broken("env of a peer");
    *value++ = 0;
    if (setenv(word, value, 1)) check_broken("setenv");
  }
  free(copy);
}

peer *peer_start_in(int shim, const char *env, void (*before)(void))
{
  int to[2], from[2];
  peer *p = calloc(1, sizeof *p);

  if (shim) (void)shim_path(); /* skips here, in the main process */
  if (!p || pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC)) check_broken("pipe");
  (void)fflush(stdout); /* else the child prints it once more */
  p->pid = fork();
  if (p->pid < 0) check_broken("fork");
  if (p->pid == 0) {
    (void)close(to[1]); /* the parent's ends: closing them lets its death be seen */
    (void)close(from[0]);
    free(p); /* the parent's: here it would count as a leak under valgrind */
    (void)signal(SIGPIPE, SIG_IGN);
    child_environment(env);
    if (before) before();
    if (shim && shim_load() != SQLITE_OK) exit(3);
    child_main(to[0], from[1]);
    exit(0);
  }
  (void)close(to[0]);
  (void)close(from[1]);
  p->to = to[1];
  p->from = from[0];
  return p;
}

peer *peer_start(int shim, const char *env)
{
  return peer_start_in(shim, env, NULL);
}

static int ended(peer *p)
{
  int status = 0;

  (void)close(p->to); /* pipes: nothing can be lost that somebody waits for */
  (void)close(p->from);
  if (waitpid(p->pid, &status, 0) != p->pid) check_broken("waitpid");
  free(p);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int step(peer *p, struct head h, const char *text)
{
  struct pollfd wait = {.fd = p->from, .events = POLLIN};
  int n;

  h.size = strlen(text) + 1;
  if (h.size > PEER_TEXT) check_broken("a step's text is too long");
  if (!transfer(p->to, true, &h, sizeof h) || !transfer(p->to, true, (void *)(uintptr_t)text, h.size))
    check_broken("a peer is gone");
  do n = poll(&wait, 1, STEP_MS_MAX);
  while (n < 0 && errno == EINTR);
  if (n > 0 && transfer(p->from, false, &h, sizeof h) && h.size <= PEER_TEXT &&
      transfer(p->from, false, p->text, h.size))
    return h.rc;
  printf("a peer %s in the step \"%.200s\"\n", n > 0 ? "died" : "hangs", text);
  (void)kill(p->pid, SIGKILL);
  printf("its end: %d\n", ended(p));
  check_broken("a peer");
}

int peer_open(peer *p, int slot, const char *name, int flags)
{
  return step(p, (struct head){.op = OP_OPEN, .slot = slot, .flags = flags}, name);
}

int peer_sql(peer *p, int slot, const char *sql)
{
  return step(p, (struct head){.op = OP_SQL, .slot = slot}, sql);
}

int peer_call(peer *p, peer_function *function)
{
  return step(p, (struct head){.op = OP_CALL, .function = function}, "");
}

int peer_close(peer *p, int slot)
{
  return step(p, (struct head){.op = OP_CLOSE, .slot = slot}, "");
}

const char *peer_text(const peer *p)
{
  return p->text;
}

const char *peer_ask(peer *p, int slot, const char *sql)
{
  char message[512];
  int rc = peer_sql(p, slot, sql);

  if (rc == SQLITE_OK) return p->text;
  (void)snprintf(message, sizeof message, "%.500s", p->text); /* the text moves to make room */
  (void)snprintf(p->text, sizeof p->text, "error %d: %s", rc, message);
  return p->text;
}

void peer_kill(peer *p)
{
  (void)kill(p->pid, SIGKILL); /* it may have died already */
  (void)ended(p);
}

int peer_end(peer *p)
{
  struct head h = {.op = OP_END, .size = 1};

  if (!transfer(p->to, true, &h, sizeof h) || !transfer(p->to, true, (char[]){0}, 1))
    check_broken("a peer is gone");
  return ended(p);
}

pid_t peer_pid(const peer *p)
{
  return p->pid;
}
