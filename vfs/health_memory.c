/*
 * health_memory.c - the last verdicts and the open incidents of the files of one SQLite library.
 *
 * A list of HF_HEALTH_FILES files; when it is full the file that was not used for the longest time goes, but
 * one with an open incident only when there is no other, so that an event is not sent a second time. All of
 * it is guarded by hf_vfs.mutex.
 */
#include <stdlib.h>
#include <string.h>

#include "health.h"

typedef struct entry {
  uint64_t device, inode;
  int64_t used;     /* 0 = free */
  int64_t whole_ms; /* last full ok */
  hf_incident incident;
  struct {
    bool known;
    holdfast_health_report report;
    hf_print print;
  } kinds[HF_HEALTH_KINDS];
} entry;

struct hf_health_memory {
  int64_t uses;
  unsigned incidents;
  entry files[HF_HEALTH_FILES];
};

static entry *find(hf_vfs *owner, uint64_t device, uint64_t inode)
{
  hf_health_memory *memory = owner->health;

  for (int i = 0; memory && i < HF_HEALTH_FILES; i++) {
    entry *one = &memory->files[i];
    if (one->used && one->device == device && one->inode == inode) return one;
  }
  return NULL;
}

static bool goes_before(const entry *a, const entry *b)
{
  if (!a->used || !b->used) return !a->used;
  if (a->incident.open != b->incident.open) return !a->incident.open;
  return a->used < b->used;
}

/* NULL: no memory. The verdict was given to the caller all the same. */
static entry *find_or_make(hf_vfs *owner, uint64_t device, uint64_t inode)
{
  entry *found = find(owner, device, inode);

  if (!owner->health) owner->health = calloc(1, sizeof *owner->health);
  if (!owner->health) return NULL;
  if (!found) {
    found = &owner->health->files[0];
    for (int i = 1; i < HF_HEALTH_FILES; i++)
      if (goes_before(&owner->health->files[i], found)) found = &owner->health->files[i];
    memset(found, 0, sizeof *found);
    found->device = device;
    found->inode = inode;
  }
  found->used = ++owner->health->uses;
  return found;
}

void hf_memory_put(hf_vfs *owner, const holdfast_health_report *report, const hf_print *print)
{
  entry *at;

  pthread_mutex_lock(&owner->mutex);
  at = find_or_make(owner, report->device, report->inode);
  if (at) {
    at->kinds[report->kind - 1].known = true;
    at->kinds[report->kind - 1].report = *report;
    at->kinds[report->kind - 1].print = *print;
  }
  pthread_mutex_unlock(&owner->mutex);
}

bool hf_memory_get(hf_vfs *owner, uint64_t device, uint64_t inode, int kind, holdfast_health_report *report,
                   hf_print *print)
{
  entry *at;
  int of = kind - 1;
  bool found;

  pthread_mutex_lock(&owner->mutex);
  at = find(owner, device, inode);
  /* A full ok is a quick ok, too, when it is the later one. */
  if (at && kind == HOLDFAST_HEALTH_QUICK && at->kinds[of + 1].known &&
      at->kinds[of + 1].report.verdict == HOLDFAST_HEALTH_OK &&
      (!at->kinds[of].known || at->kinds[of].report.when_ms <= at->kinds[of + 1].report.when_ms))
    of++;
  found = at && at->kinds[of].known;
  if (found) {
    *report = at->kinds[of].report;
    *print = at->kinds[of].print;
  }
  pthread_mutex_unlock(&owner->mutex);
  return found;
}

bool hf_memory_damage(hf_vfs *owner, uint64_t device, uint64_t inode, const char *first, int64_t now_ms,
                      unsigned *number)
{
  entry *at;
  bool opens = true; /* without memory: better twice than never */

  *number = 0;
  pthread_mutex_lock(&owner->mutex);
  at = find_or_make(owner, device, inode);
  if (at) {
    opens = !at->incident.open;
    if (opens) {
      at->incident = (hf_incident){.open = true, .number = ++owner->health->incidents, .since_ms = now_ms};
      strncpy(at->incident.first, first, sizeof at->incident.first - 1);
    }
    *number = at->incident.number;
  }
  pthread_mutex_unlock(&owner->mutex);
  return opens;
}

bool hf_memory_whole(hf_vfs *owner, uint64_t device, uint64_t inode, int64_t now_ms)
{
  entry *at;
  bool closes = false;

  pthread_mutex_lock(&owner->mutex);
  at = find_or_make(owner, device, inode);
  if (at) {
    closes = at->incident.open;
    at->incident.open = false;
    at->whole_ms = now_ms;
  }
  pthread_mutex_unlock(&owner->mutex);
  return closes;
}

int64_t hf_memory_whole_since(hf_vfs *owner, uint64_t device, uint64_t inode)
{
  entry *at;
  int64_t when;

  pthread_mutex_lock(&owner->mutex);
  at = find(owner, device, inode);
  when = at ? at->whole_ms : 0;
  pthread_mutex_unlock(&owner->mutex);
  return when;
}
