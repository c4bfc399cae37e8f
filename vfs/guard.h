/*
 * guard.h - may this handle still do that? The three questions that lock.c, shm.c and io.c ask: is this the
 * process that opened the file (fork), has an earlier failure ended its writing (latch), are the files still
 * the ones that their names lead to (identity).
 */
#ifndef HF_GUARD_H
#define HF_GUARD_H

#include "fork.h"
#include "vfs.h"

/* Why a handle is latched. It stays so until it is closed; a handle that is opened later is not. */
enum { HF_LATCH_NONE, HF_LATCH_IO, HF_LATCH_MOVED, HF_LATCH_LOST };

/* Is this the process that may use the connection? If not, hf_guard_process() adopts it where that is safe.
 */
static inline bool hf_guard_at_home(const hf_node *node)
{
  return hf_generation_is(node->generation);
}
HF_SLOW bool hf_guard_adopt(hf_node *node);
static inline bool hf_guard_process(hf_node *node)
{
  return hf_guard_at_home(node) || hf_guard_adopt(node);
}

/* The code with which a latched handle refuses what begins to write, 0 when it is not latched. */
HF_SLOW int hf_guard_refusal(const hf_node *node);
static inline bool hf_guard_is_latched(const hf_node *node)
{
  return HF_UNLIKELY(atomic_load_explicit(&node->latched, memory_order_relaxed) != HF_LATCH_NONE);
}
static inline int hf_guard_latched(const hf_node *node)
{
  return hf_guard_is_latched(node) ? hf_guard_refusal(node) : SQLITE_OK;
}
void hf_guard_latch(hf_node *node, int why, int code, const char *detail);
/* Looks at the result of a write, sync or truncate of the database or its -wal; returns it. */
HF_SLOW int hf_guard_failed(hf_node *node, int rc, const char *what);
static inline int hf_guard_written(hf_node *node, int rc, const char *what)
{
  return HF_LIKELY(rc == SQLITE_OK) ? rc : hf_guard_failed(node, rc, what);
}

/*
 * At a write lock: SQLITE_OK, or SQLITE_READONLY_DBMOVED. wal: -wal and -shm are looked at, too, and a
 * mismatch latches: a file that is moved back may have been written meanwhile. In rollback mode each lock
 * looks again.
 */
int hf_guard_identity(hf_node *node, bool wal);
/* Has this handle's RESERVED just seen that the name leads to the file? Then SQLite need not look again. */
bool hf_guard_just_seen(const hf_node *node);
/* At EXCLUSIVE in WAL mode, when nobody else has this inode open: may SQLite checkpoint and unlink the -wal?
 */
int hf_guard_last_close(hf_node *node);
void hf_guard_checkpointed(hf_node *node); /* this handle has written the database under CKPT */
void hf_guard_note(hf_node *node, hf_identity *which, const char *suffix); /* remember who a file is */
/* After the -shm was mapped, where locks are not owned: is there a second SQLite library in this process?
 * Reports it. */
void hf_guard_second_library(hf_node *node);
/* Where ownership cannot be had: is the lock of this transaction still there? SQLITE_OK or SQLITE_IOERR_LOCK.
 */
int hf_guard_still_held(hf_node *node);
int hf_guard_held(hf_node *node); /* before the first write of the database: asked once */

#endif
