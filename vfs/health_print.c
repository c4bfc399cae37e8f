/*
 * health_print.c - has the file changed since it was last checked?
 *
 * Looks by stat() and through the connection's own file handle and its own mapping of the wal-index, never by
 * an open(). Times of a file system are coarse: a write in the same tick as the last one does not show in
 * them, so a print is only `sure` when the file was at rest a while before it was looked at. What SQLite
 * writes shows in the change counter or the wal-index, whatever the times say.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "health.h"

enum { AT_COUNTER = 24, REST_MS = 50, REST_COARSE_MS = 2100, INDEX_WORDS = 12 };

static int64_t time_of(struct timespec t)
{
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Whole seconds on the spot: a file system that keeps no fractions, or two-second steps. */
static bool at_rest(const struct stat *st, bool coarse)
{
  struct timespec now;
  int64_t rest;

  clock_gettime(CLOCK_REALTIME, &now);
  rest = (coarse || st->st_mtim.tv_nsec == 0 ? REST_COARSE_MS : REST_MS) * (int64_t)1000000;
  return time_of(st->st_mtim) < time_of(now) - rest && time_of(st->st_ctim) < time_of(now) - rest;
}

static void look(const char *path, bool coarse, hf_print *out)
{
  char wal[HF_SIDECAR_PATH];
  struct stat st;

  memset(out, 0, sizeof *out);
  if (stat(path, &st) || snprintf(wal, sizeof wal, "%s-wal", path) >= (int)sizeof wal) return;
  out->device = (uint64_t)st.st_dev;
  out->inode = (uint64_t)st.st_ino;
  out->size = (uint64_t)st.st_size;
  out->mtime_ns = time_of(st.st_mtim);
  out->ctime_ns = time_of(st.st_ctim);
  out->known = true;
  out->sure = at_rest(&st, coarse);
  if (stat(wal, &st))
    return; /* no -wal, or a name that cannot be looked up: then the database's own times count */
  out->has_wal = true;
  out->wal_size = (uint64_t)st.st_size;
  out->wal_mtime_ns = time_of(st.st_mtim);
  out->wal_ctime_ns = time_of(st.st_ctim);
  out->sure = out->sure && at_rest(&st, coarse);
}

void hf_print_look(const char *path, hf_print *out)
{
  look(path, false, out);
}

/* Two copies, which a writer changes one after the other: when they differ, somebody is writing now. Other
 * connections write this memory while it is read: volatile, and believed only when both copies agree. */
__attribute__((no_sanitize("thread"))) static bool read_index(const volatile uint32_t *index, uint32_t *out)
{
  for (int i = 0; i < INDEX_WORDS; i++) out[i] = index[i];
  for (int i = 0; i < INDEX_WORDS; i++)
    if (index[INDEX_WORDS + i] != out[i]) return false;
  return true;
}

void hf_print_take(hf_node *node, hf_print *out)
{
  unsigned char bytes[4];
  bool exists;

  if (node->fresh)
    (void)hf_fresh_exists(node->path, node->verdict.smb, false,
                          &exists); /* its answer is in the stat() below */
  look(node->path, node->fresh, out);
  if (!out->known) return;
  if (out->device != node->self.device || out->inode != node->self.inode ||
      node->base->pMethods->xRead(node->base, bytes, sizeof bytes, AT_COUNTER) != SQLITE_OK) {
    out->known = false;
    return;
  }
  out->counter = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
  if (node->walguard.index) {
    out->has_index = true;
    if (!read_index(node->walguard.index, out->index)) out->known = false;
  } else if (out->has_wal && out->wal_size > 0) {
    out->known = false; /* a wal-index that is not in shared memory: nothing to compare */
  }
}

bool hf_print_same_files(const hf_print *a, const hf_print *b)
{
  return a->known && b->known && a->device == b->device && a->inode == b->inode && a->size == b->size &&
         a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns && a->has_wal == b->has_wal &&
         a->wal_size == b->wal_size && a->wal_mtime_ns == b->wal_mtime_ns &&
         a->wal_ctime_ns == b->wal_ctime_ns;
}

bool hf_print_same(const hf_print *a, const hf_print *b)
{
  return hf_print_same_files(a, b) && a->counter == b->counter && a->has_index == b->has_index &&
         memcmp(a->index, b->index, sizeof a->index) == 0;
}
