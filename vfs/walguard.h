/*
 * walguard.h - what stands between one connection and SQLite's WAL-reset bug (F19).
 *
 * SQLite 3.7.0 to 3.51.2: a checkpoint that copied the wal-index header before a writer restarted the log,
 * and goes on after it, counts frames as copied that were never copied. Commits vanish or the file is
 * damaged. Two rules in xShmLock prevent that, each of them alone when the other side of the race is plain
 * SQLite:
 *
 *   CHECK, on the checkpointer: when READ0 is granted without WRITE being held, and the salts in the
 *   wal-index are not those of when CKPT was granted, the answer is BUSY, as if a reader were there.
 *
 *   GATE, on the writer: a restart of the log is done with CKPT held; where CKPT is taken, the answer is
 *   BUSY, and the writer appends to the log instead.
 *
 * And an alarm for a wal-index that is damaged already. The wal-index is only ever read.
 *
 * One hf_walguard belongs to one open file and, like the file, to one thread at a time (SQLite holds the
 * connection's mutex). What several connections share is the mapped wal-index, under the WAL locks.
 */
#ifndef HF_WALGUARD_H
#define HF_WALGUARD_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

/* Setting "walguard": the words auto, on, off in this order; 0 (not said) is auto. */
enum { HF_WALGUARD_AUTO = 1, HF_WALGUARD_ON = 2, HF_WALGUARD_OFF = 3 };

/* printf format of the alarm's detail, with `backfill` and `frames`. */
#define HF_WALGUARD_ALARM                                                                                    \
  "the wal-index counts %u frames as copied of a log of %u: commits are lost unless you act now (SQLite's "  \
  "WAL-reset bug). Copy the database and its -wal, not its -shm, before anybody closes it or writes to it"

typedef struct hf_walguard {
  const volatile uint32_t *index; /* first page of the wal-index, NULL = not mapped */
  uint32_t salt[2];               /* as they were when CKPT was granted, if salt_known */
  uint32_t backfill, frames;      /* what the alarm saw */
  uint8_t held;                   /* locks that SQLite holds exclusively, bit = slot */
  bool guard;                     /* CHECK and GATE are on */
  bool watch;                     /* the alarm is on; it goes off once */
  bool alarm;                     /* it went off: the caller reports it and sets this to false */
  bool salt_known;
  bool gate; /* CKPT is held for a restart, without SQLite's knowledge */
} hf_walguard;

/* Has this SQLite the bug? sourceid (sqlite3_sourceid(), may be NULL) tells snapshots from before the fix. */
bool hf_walguard_affected(int version, const char *sourceid);

/*
 * At xOpen, before the first lock, on zeroed memory. AUTO: CHECK and GATE on where this SQLite has the bug;
 * ON: on with every version; OFF: nothing, not even the alarm.
 */
void hf_walguard_open(hf_walguard *g, int version, const char *sourceid, int setting);

/* After an xShmMap that answered SQLITE_OK (page may be NULL), and with (0, NULL) before every xShmUnmap. */
void hf_walguard_mapped(hf_walguard *g, int region, volatile void *page);

/*
 * After the base has granted a read mark (READ1..READ4) shared, if hf_walguard_suspects(): the alarm's look.
 * Sets g->alarm. To suspect is only the first part of that look, made so that it costs next to nothing;
 * nBackfill is read first (see look_for_damage).
 */
void hf_walguard_granted(hf_walguard *g);
enum { HF_WALGUARD_FRAMES = 4, HF_WALGUARD_BACKFILL = 24 }; /* words of the wal-index */
__attribute__((no_sanitize("thread"))) static inline bool hf_walguard_suspects(const hf_walguard *g)
{
  uint32_t backfill;

  if (!g->index) return false;
  backfill = __atomic_load_n(&g->index[HF_WALGUARD_BACKFILL], __ATOMIC_ACQUIRE);
  return backfill > __atomic_load_n(&g->index[HF_WALGUARD_FRAMES], __ATOMIC_RELAXED);
}

/* WRITE, which the guard has only to know of, may be locked without it, if that is noted here. */
static inline void hf_walguard_note(hf_walguard *g, int offset, bool held)
{
  g->held = (uint8_t)(held ? g->held | 1u << offset : g->held & ~(1u << offset));
}

/* Performs the base's xShmLock; its result, or SQLITE_BUSY by one of the rules. Look at g->alarm then. */
int hf_walguard_lock(hf_walguard *g, sqlite3_file *base, int offset, int n, int flags);

#endif
