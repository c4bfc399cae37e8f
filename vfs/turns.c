/*
 * turns.c - a writer that waits for another one, in rollback mode.
 *
 * SQLite lets go of everything between two tries, and each try begins anew: SHARED, the journal's existence,
 * the change counter, and only then the question for RESERVED, by which it ends. On a server these are ten
 * calls and more, and the writer that is waited for has to share the server with them; on a local disk they
 * are ten system calls. So the statement that was refused RESERVED a moment ago is told at SHARED that it is
 * still taken: one call. SQLite treats both refusals alike (it has locked nothing, and asks the same busy
 * handler). All other statements are let in as ever: they may only read this file.
 *
 * While it waits, a handle has another xLock, so that nobody else pays for this.
 */
#include "turns.h"

#include "statement.h"

static const int64_t RECENT_NS = 1000000000; /* SQLite's own naps are a tenth of it at most */

/* By its text: the next statement often has the memory of the last one. */
static uint64_t statement(const hf_node *node)
{
  const char *sql = hf_statement_that_writes(node);
  return sql ? hf_hash(HF_HASH_BEGIN, sql) | 1 : 0;
}

/* When this errs, RESERVED is asked for after SHARED, as SQLite does. */
static bool still_taken(hf_node *node)
{
  int taken = 0;

  if (hf_now_ns() - node->refused_ns > RECENT_NS) return false;
  if (!node->refused || statement(node) != node->refused) return false;
  if (node->base->pMethods->xCheckReservedLock(node->base, &taken)) return false;
  return taken != 0;
}

static int turn_xLock(sqlite3_file *file, int level)
{
  hf_node *node = hf_node_of(file);

  if (level == SQLITE_LOCK_SHARED && node->level == SQLITE_LOCK_NONE && hf_guard_at_home(node) &&
      still_taken(node)) {
    node->refused_ns = hf_now_ns();
    return hf_stat_failed(&node->stats, HF_LOCK_RESERVED, 1, SQLITE_BUSY);
  }
  node->methods.xLock = node->lock_next;
  return node->lock_next(file, level);
}

void hf_turn_refused(hf_node *node)
{
  node->refused_ns = hf_now_ns();
  node->refused = statement(node);
  if (node->methods.xLock == turn_xLock) return;
  node->lock_next = node->methods.xLock;
  node->methods.xLock = turn_xLock;
}
