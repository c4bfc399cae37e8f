/*
 * turns.c - a writer that waits for another one on a server.
 *
 * SQLite lets go of everything between two tries, and each try begins anew: SHARED, the journal's existence,
 * the change counter, and only then the question for RESERVED, by which it ends. On a server these are ten
 * calls and more, and the writer that is waited for has to share the server with them. So a statement that
 * writes, and was refused RESERVED a moment ago, is told at SHARED that it is still taken: one call. SQLite
 * treats both refusals alike (it has locked nothing, and asks the same busy handler). Statements that read
 * are let in as ever.
 */
#include "turns.h"

#include "guard.h"
#include "statement.h"

static const int64_t RECENT_NS = 1000000000; /* SQLite's own waits are a tenth of it at most */

/* Nobody is worse off when this errs: RESERVED is asked for later in any case. */
int hf_turn_before(hf_node *node)
{
  int taken = 0;

  if (node->refused_ns == 0 || !hf_guard_at_home(node)) return SQLITE_OK; /* a child: hf_xLock() sees to it */
  if (hf_now_ns() - node->refused_ns > RECENT_NS || !hf_statement_writes(node)) {
    node->refused_ns = 0;
    return SQLITE_OK;
  }
  if (node->base->pMethods->xCheckReservedLock(node->base, &taken) || !taken) return SQLITE_OK;
  node->refused_ns = hf_now_ns();
  return hf_stat_failed(&node->stats, HF_LOCK_RESERVED, 1, SQLITE_BUSY);
}

int hf_turn_after(hf_node *node, int level, int rc)
{
  if (level == SQLITE_LOCK_RESERVED) node->refused_ns = rc == SQLITE_BUSY ? hf_now_ns() : 0;
  return rc;
}
