/*
 * statement.c - which statement took a lock to write.
 *
 * Why it is safe to ask SQLite from inside a lock call: SQLITE_FCNTL_PDB gave us the address at which SQLite
 * keeps "the connection that is using this file now" (with a shared cache it changes from call to call), and
 * that connection is the one whose mutex this very thread holds. sqlite3_next_stmt() takes that mutex, which
 * is recursive; the other three look at one statement of a connection that nobody else can be in. None of
 * them reads the file, allocates, or calls back. Asking from another thread would wait for the connection.
 *
 * The slot is read by others while it is written: a number that is odd meanwhile tells them.
 */
#include "statement.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fork.h"

enum { STATEMENTS_MAX = 32, SQL_BYTES = HF_SQL_WORDS * 8 };

static int own_number(void)
{
  static __thread int number HF_TLS;
  static __thread unsigned generation HF_TLS; /* a child's thread has another number than its parent's */

  if (!hf_generation_is(generation)) {
    generation = hf_generation();
    number = (int)syscall(SYS_gettid);
  }
  return number;
}

/* The one that runs and writes; where none does, the first that runs. */
static sqlite3_stmt *running(const hf_api *api, sqlite3 *db)
{
  sqlite3_stmt *statement = NULL, *reads = NULL;

  for (int i = 0; i < STATEMENTS_MAX; i++) {
    statement = api->next_stmt(db, statement);
    if (!statement) break;
    if (!api->stmt_busy(statement)) continue;
    if (!api->stmt_readonly(statement)) return statement;
    if (!reads) reads = statement;
  }
  return reads;
}

const char *hf_statement_that_writes(const hf_node *node)
{
  const hf_api *api = &node->owner->api;
  sqlite3 *db = node->pdb ? *node->pdb : NULL;
  sqlite3_stmt *statement = db ? running(api, db) : NULL;

  return statement && !api->stmt_readonly(statement) ? api->sql(statement) : NULL;
}

static __attribute__((noinline)) void note(hf_lockstats *stats, const char *sql, int thread)
{
  unsigned turn = atomic_load_explicit(&stats->statement, memory_order_relaxed);
  uint64_t words[HF_SQL_WORDS + 1];
  char *end = memccpy(words, sql, 0, SQL_BYTES);
  size_t used = end ? (size_t)(end - (char *)words) : SQL_BYTES;

  if (end) memset(end, 0, sizeof *words); /* the rest of its last word */
  memcpy(stats->noted, words, used);
  atomic_store_explicit(&stats->statement, turn + 1, memory_order_relaxed);
  atomic_thread_fence(memory_order_release);
  for (size_t i = 0; i * 8 < used; i++) hf_poke(&stats->sql[i], words[i]);
  atomic_store_explicit(&stats->thread, thread, memory_order_relaxed);
  atomic_store_explicit(&stats->statement, turn + 2, memory_order_release);
}

/* Mostly it is the statement of the last time, and to compare is half the work of copying. */
void hf_statement_note(hf_node *node)
{
  hf_lockstats *stats = &node->stats;
  sqlite3 *db = HF_LIKELY(node->pdb != NULL) ? *node->pdb : NULL;
  sqlite3_stmt *statement = HF_LIKELY(db != NULL) ? running(&node->owner->api, db) : NULL;
  const char *sql = statement ? node->owner->api.sql(statement) : NULL;
  int thread = own_number();

  while (sql && (*sql == ' ' || *sql == '\n')) sql++; /* what stood before it in the program's text */
  if (!sql) sql = "";
  if (HF_UNLIKELY(strncmp(stats->noted, sql, SQL_BYTES) != 0 ||
                  thread != atomic_load_explicit(&stats->thread, memory_order_relaxed)))
    note(stats, sql, thread);
}

void hf_statement_read(const hf_node *node, char *sql, size_t size, int *thread)
{
  const hf_lockstats *stats = &node->stats;
  unsigned turn = atomic_load_explicit(&stats->statement, memory_order_acquire);
  char text[SQL_BYTES];

  *sql = 0;
  *thread = 0;
  if (turn & 1) return;
  for (int i = 0; i < HF_SQL_WORDS; i++) {
    uint64_t word = hf_peek(&stats->sql[i]);
    memcpy(text + (size_t)i * 8, &word, 8);
  }
  *thread = atomic_load_explicit(&stats->thread, memory_order_relaxed);
  atomic_thread_fence(memory_order_acquire);
  if (atomic_load_explicit(&stats->statement, memory_order_relaxed) != turn) {
    *thread = 0;
    return;
  }
  text[SQL_BYTES - 1] = 0;
  size_t length = strlen(text) < size ? strlen(text) : size - 1;
  memcpy(sql, text, length);
  sql[length] = 0;
}
