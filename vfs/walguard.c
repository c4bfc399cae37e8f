/*
 * walguard.c - CHECK, GATE and the alarm (walguard.h says what they are for).
 *
 * Works on the calls that SQLite makes anyway: one comparison of two words for each checkpoint, one lock and
 * unlock more for each restart of the log. Everything else goes straight to the base. Reporting is the
 * caller's.
 */
#include "walguard.h"

#include <string.h>

enum { WRITE = 0, CKPT = 1, READ0 = 3, READ1 = 4, READ_MARKS = SQLITE_SHM_NLOCK - READ1 };

/* Words of the wal-index: the same in every version so far. The first 12 are one copy of the header. */
enum {
  WORD_VERSION = 0,
  WORD_FRAMES = HF_WALGUARD_FRAMES,
  WORD_SALT = 8,
  WORD_BACKFILL = HF_WALGUARD_BACKFILL,
  INDEX_VERSION = 3007000
};

enum { LOCK_EXCLUSIVE = SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE };
enum { UNLOCK_EXCLUSIVE = SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE };

/* ---------------------------------------------------------------- which SQLite */

/* The fix went into the trunk on this day; a snapshot from before may carry any later version number. */
static bool before_the_fix(const char *sourceid)
{
  static const char day[] = "2026-03-03";

  return sourceid && strncmp(sourceid, "20", 2) == 0 && strncmp(sourceid, day, sizeof day - 1) <= 0;
}

bool hf_walguard_affected(int version, const char *sourceid)
{
  bool back_ported = (version >= 3044006 && version < 3045000) || (version >= 3050007 && version < 3051000);

  if (version < 3007000) return false; /* no WAL */
  if (version <= 3051002 && !back_ported) return true;
  return before_the_fix(sourceid);
}

void hf_walguard_open(hf_walguard *g, int version, const char *sourceid, int setting)
{
  if (setting == HF_WALGUARD_OFF) return;
  g->watch = true; /* whatever we are: somebody else may have done the damage */
  g->guard = setting == HF_WALGUARD_ON || hf_walguard_affected(version, sourceid);
}

/* ---------------------------------------------------------------- the wal-index */

/*
 * Other connections write these words in plain memory, also in this process. What is read here is settled by
 * locks that a thread checker cannot see, or is compared again later. What is read after it, here or by
 * SQLite, is not older.
 */
__attribute__((no_sanitize("thread"))) static uint32_t word(const hf_walguard *g, int which)
{
  return __atomic_load_n(&g->index[which], __ATOMIC_ACQUIRE);
}

static bool index_known(const hf_walguard *g)
{
  return g->index && word(g, WORD_VERSION) == INDEX_VERSION;
}

/*
 * CKPT is held and SQLite has not copied the header yet. Not known: there is no valid header, so this
 * connection is about to recover it; then nBackfill is 0, and nobody can restart the log before this
 * checkpoint has done its work.
 */
static void note_salt(hf_walguard *g)
{
  if (!g->guard || !index_known(g)) return;
  g->salt[0] = word(g, WORD_SALT);
  g->salt[1] = word(g, WORD_SALT + 1);
  g->salt_known = true;
}

static bool restarted_since(const hf_walguard *g)
{
  return g->salt[0] != word(g, WORD_SALT) || g->salt[1] != word(g, WORD_SALT + 1);
}

/*
 * A lock is held that keeps restart and recovery away (READ1..READ4 shared, or READ0 exclusively with CKPT):
 * the log can only grow, and what is copied is never more than there is. nBackfill is read first, so that a
 * commit in between can only hide a damage, not make one up.
 */
static void look_for_damage(hf_walguard *g)
{
  uint32_t backfill, frames;

  if (!g->watch || !index_known(g)) return;
  backfill = word(g, WORD_BACKFILL);
  frames = word(g, WORD_FRAMES);
  if (backfill <= frames) return;
  g->backfill = backfill;
  g->frames = frames;
  g->alarm = true;
  g->watch = false;
}

void hf_walguard_mapped(hf_walguard *g, int region, volatile void *page)
{
  if (region != 0) return;
  g->index = page;
  if ((g->held & 1 << CKPT) && !g->salt_known) note_salt(g); /* SQLite copies the header through this page */
}

/* ---------------------------------------------------------------- locks */

static int base_lock(sqlite3_file *base, int offset, int n, int flags)
{
  return base->pMethods->xShmLock(base, offset, n, flags);
}

static uint8_t mask(int offset, int n)
{
  return (uint8_t)(((1 << n) - 1) << offset);
}

/* Writers lock all of READ1..READ4 to restart the log and for nothing else; checkpoints and recovery, which
 * do so too, hold CKPT. */
static bool is_restart(const hf_walguard *g, int offset, int n)
{
  return offset == READ1 && n == READ_MARKS && !(g->held & 1 << CKPT);
}

/*
 * GATE. A checkpoint copies the header after it was given CKPT and works until it gives CKPT back, so a
 * restart under CKPT lies wholly before or wholly after it. Only try-locks: a SQLite built to wait in
 * xShmLock has that switched off here. BUSY is what a restart is told when there are readers.
 */
static int lock_for_restart(hf_walguard *g, sqlite3_file *base)
{
  int rc = base_lock(base, CKPT, 1, LOCK_EXCLUSIVE);

  if (rc) return (rc & 0xff) == SQLITE_BUSY ? SQLITE_BUSY : rc;
  rc = base_lock(base, READ1, READ_MARKS, LOCK_EXCLUSIVE);
  if (rc)
    (void)base_lock(base, CKPT, 1, UNLOCK_EXCLUSIVE); /* rc says more */
  else
    g->gate = true;
  return rc;
}

/*
 * CHECK. Every restart changes the salts. Equal when CKPT and when READ0 were granted: no restart was
 * between, so the header that SQLite copied in between is of this log; and from now on none can begin,
 * because a restarting writer holds READ0. With WRITE held nobody could restart, the header was copied under
 * it, and BUSY would make SQLite try READ0 again for ever.
 */
static int check(hf_walguard *g, sqlite3_file *base)
{
  if (!g->salt_known || (g->held & 1 << WRITE) || !restarted_since(g)) return SQLITE_OK;
  g->held &= (uint8_t) ~(1 << READ0);
  (void)base_lock(base, READ0, 1, UNLOCK_EXCLUSIVE); /* the checkpoint ends in any case */
  return SQLITE_BUSY;
}

static int lock_many(hf_walguard *g, sqlite3_file *base, int offset, int n)
{
  bool gated = g->guard && is_restart(g, offset, n) && index_known(g);
  int rc = gated ? lock_for_restart(g, base) : base_lock(base, offset, n, LOCK_EXCLUSIVE);

  if (rc == SQLITE_OK) g->held |= mask(offset, n);
  return rc;
}

static int lock_one(hf_walguard *g, sqlite3_file *base, int offset)
{
  int rc = base_lock(base, offset, 1, LOCK_EXCLUSIVE);

  if (rc) return rc;
  g->held |= (uint8_t)(1u << offset);
  if (offset == CKPT) note_salt(g);
  if (offset != READ0 || !(g->held & 1 << CKPT)) return SQLITE_OK;
  look_for_damage(g);
  return check(g, base);
}

static int unlock_exclusive(hf_walguard *g, sqlite3_file *base, int offset, int n)
{
  int rc = base_lock(base, offset, n, UNLOCK_EXCLUSIVE), gate_rc = SQLITE_OK;

  g->held &= (uint8_t)~mask(offset, n);
  if (!(g->held & 1 << CKPT)) g->salt_known = false;
  if (g->gate && offset == READ1) {
    g->gate = false;
    gate_rc = base_lock(base, CKPT, 1, UNLOCK_EXCLUSIVE);
  }
  return rc ? rc : gate_rc;
}

void hf_walguard_granted(hf_walguard *g)
{
  look_for_damage(g);
}

int hf_walguard_lock(hf_walguard *g, sqlite3_file *base, int offset, int n, int flags)
{
  int rc;

  if (flags == LOCK_EXCLUSIVE) return n == 1 ? lock_one(g, base, offset) : lock_many(g, base, offset, n);
  if (flags == UNLOCK_EXCLUSIVE) return unlock_exclusive(g, base, offset, n);
  rc = base_lock(base, offset, n, flags);
  if (rc == SQLITE_OK && offset >= READ1 && (flags & SQLITE_SHM_LOCK)) look_for_damage(g);
  return rc;
}
