/*
 * open.c - xOpen and xClose: which files are ours, what they lie on, and what follows from that.
 *
 * Only main databases are wrapped; all else goes to the base as it came. The base opens first, so that
 * symbolic links are resolved, automounts are triggered, and a dead server hangs the call in which SQLite
 * would hang anyway. Then the mount is asked for once and the answers are kept in the node. What a verdict
 * means for a WAL database is in convert.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "metrics.h"
#include "nfs.h"
#include "records.h"
#include "smb.h"
#include "stattable.h"

/* ---------------------------------------------------------------- nodes */

static hf_node *node_new(hf_vfs *owner, const char *path)
{
  size_t length = strlen(path), base_size = ((size_t)owner->base->szOsFile + 15) & ~(size_t)15;
  size_t side_size = hf_side_size(owner);
  const char *slash = strrchr(path, '/');
  hf_node *node = calloc(1, sizeof *node + base_size + side_size + 2 * (length + 1));

  if (!node) return NULL;
  node->owner = owner;
  node->journal = (struct hf_side *)((char *)node->base + base_size);
  node->path = (char *)node->journal + side_size;
  node->path_length = length;
  memcpy(node->path, path, length + 1);
  if (slash) {
    node->directory_path = node->path + length + 1;
    memcpy(node->directory_path, path, slash > path ? (size_t)(slash - path) : 1);
  }
  atomic_init(&node->references, 1);
  node->generation = hf_generation();
  return node;
}

static void link_node(hf_node *node)
{
  hf_vfs *owner = node->owner;

  pthread_mutex_lock(&owner->mutex);
  node->number = ++owner->opened;
  node->next = owner->nodes;
  if (node->next) node->next->prev = node;
  owner->nodes = node;
  pthread_mutex_unlock(&owner->mutex);
  if (!node->fresh) return;
  atomic_fetch_add(&owner->fresh_files, 1);
  owner->vfs.xAccess =
      hf_xAccess; /* from the first file on a server on; until then it is the base's own (register.c) */
}

/* True when no other is left. */
static bool unlink_node(hf_node *node)
{
  hf_vfs *owner = node->owner;
  bool last;

  if (node->fresh) atomic_fetch_sub(&owner->fresh_files, 1);
  pthread_mutex_lock(&owner->mutex);
  hf_stats_keep(node);
  if (node->prev)
    node->prev->next = node->next;
  else
    owner->nodes = node->next;
  if (node->next) node->next->prev = node->prev;
  last = owner->nodes == NULL;
  pthread_mutex_unlock(&owner->mutex);
  return last;
}

/* A journal that is still open (it never should be) keeps the memory, not the file. */
void hf_node_release(hf_node *node)
{
  if (atomic_fetch_sub(&node->references, 1) == 1) free(node);
}

int hf_xClose(sqlite3_file *file)
{
  hf_node *node = hf_node_of(file);
  int rc = node->base->pMethods->xClose(node->base);

  bool last = unlink_node(node);
  hf_vfs *owner = node->owner;
  hf_node_release(node);
  if (last) hf_metrics_closed(owner);
  file->pMethods = NULL;
  return rc;
}

hf_node *hf_node_by_sidecar(hf_vfs *owner, const char *name, size_t *stem)
{
  size_t length = strlen(name), cut = 0;

  if (length > 8 && strcmp(name + length - 8, "-journal") == 0) cut = 8;
  if (length > 4 && strcmp(name + length - 4, "-wal") == 0) cut = 4;
  if (!cut) return NULL;
  *stem = length - cut;
  for (hf_node *node = owner->nodes; node; node = node->next)
    if (strncmp(node->path, name, *stem) == 0 && node->path[*stem] == 0) return node;
  return NULL;
}

/* ---------------------------------------------------------------- what the verdict means */

/*
 * May SQLite use shared memory here? On a read-only mount of a local file system nobody can start WAL, and a
 * reader of somebody's live WAL database (a read-only bind mount in a container) shares one kernel with it:
 * left to SQLite.
 */
static bool wal_allowed(const hf_verdict *verdict)
{
  return verdict->rule == HOLDFAST_RULE_WAL_OK ||
         (verdict->rule == HOLDFAST_RULE_READ_ONLY && verdict->wal_but_read_only);
}

/* Heap wal-index under an exclusive lock: not where the lock can be lost unnoticed (network, but for NFS,
 * whose -wal gets a lock of its own) or is the daemon's (FUSE). */
static bool wal_exclusive_possible(const hf_node *node)
{
  const hf_verdict *verdict = &node->verdict;

  if (node->nfs.on && verdict->locks == HOLDFAST_LOCKS_SERVER) return true;
  switch (verdict->mount_class) {
  case HOLDFAST_CLASS_NETWORK:
  case HOLDFAST_CLASS_CLUSTER:
  case HOLDFAST_CLASS_OBJECT_STORE:
  case HOLDFAST_CLASS_FUSE:
  case HOLDFAST_CLASS_PSEUDO:
  case HOLDFAST_CLASS_UNKNOWN: return false;
  default: return verdict->locks == HOLDFAST_LOCKS_KERNEL || verdict->locks == HOLDFAST_LOCKS_LOCAL_ONLY;
  }
}

static int refuse(hf_node *node, const char *cause, int code, const char *why)
{
  hf_report(node->owner, "refused", cause, node->path, code, "%s", why);
  return code;
}

static int apply_enforced(hf_node *node, bool read_only)
{
  const hf_verdict *verdict = &node->verdict;
  char why[HF_EVENT_DETAIL];

  if (verdict->rule == HOLDFAST_RULE_REFUSE) {
    snprintf(why, sizeof why, "%.300s: not opened; holdfast_assume=one-host overrides", verdict->reason);
    return refuse(node, "rule", SQLITE_CANTOPEN, why);
  }
  if (node->set.strict && verdict->refuse_when_strict) {
    snprintf(why, sizeof why, "%.300s: not opened because strict is on", verdict->reason);
    return refuse(node, "strict", SQLITE_CANTOPEN, why);
  }
  node->wal_allowed = wal_allowed(verdict);
  node->fresh = verdict->nfs || verdict->smb;
  node->overridden = node->overridden && hf_syscalls_reach(node->owner, node->base);
  node->verify = node->overridden && !node->fresh;
  if (verdict->nfs && hf_nfs_begin(node)) return SQLITE_CANTOPEN;
  if (verdict->smb) {
    node->smb_locks = node->overridden && hf_records_device(node->facts.device, HF_KIND_SMB) &&
                      hf_syscalls_ready(node->owner); /* now with fstat */
    hf_smb_begin(node);
    if (!node->smb_locks && !read_only)
      hf_report(node->owner, "warned", "smb-locks", node->path, 0,
                "locks on SMB cannot be converted for this VFS or system: writes will answer \"database is "
                "locked\"");
  }
  if (verdict->smb)
    hf_report(node->owner, "warned", "smb", node->path, 0,
              "SMB: tried with Samba, killed writers and dropped sessions, but not for long: calls on their "
              "way at a "
              "drop are not cured (docs/limits.md)");
  if (node->set.journal == HOLDFAST_JOURNAL_WAL_EXCLUSIVE && !node->wal_allowed) {
    node->wal_exclusive = wal_exclusive_possible(node);
    if (!node->wal_exclusive)
      hf_report(node->owner, "warned", "wal-exclusive", node->path, 0,
                "journal=wal-exclusive cannot be had on %s (%s) yet: the rollback journal is used",
                node->facts.fstype, holdfast_word("class", verdict->mount_class));
  }
  if (verdict->rule == HOLDFAST_RULE_ROLLBACK_ONE_HOST)
    hf_report(node->owner, "warned", "one-host", node->path, 0, "%s: safe for this host alone, no WAL",
              verdict->reason);
  else if (verdict->confidence == HOLDFAST_CONFIDENCE_LOW)
    hf_report(node->owner, "warned", "confidence", node->path, 0, "%s: `holdfast doctor` can tell more",
              verdict->reason);
  return SQLITE_OK;
}

/* mode=observe: everything stays as the base does it, and the same sentences are said as "would". */
static void apply_observed(hf_node *node)
{
  const hf_verdict *verdict = &node->verdict;

  node->wal_allowed = true;
  if (verdict->rule == HOLDFAST_RULE_REFUSE || (node->set.strict && verdict->refuse_when_strict))
    hf_report(node->owner, "warned", "observe", node->path, 0, "observed only: %s: would be refused",
              verdict->reason);
  else if (!wal_allowed(verdict))
    hf_report(node->owner, "warned", "observe", node->path, 0, "observed only: %s: WAL would not start",
              verdict->reason);
}

/* SQLITE_OPEN_URI says that the name carries parameters; a name without it may end without the second NUL. */
static bool ours_to_leave(const hf_api *api, const char *name, int flags)
{
  if (!(flags & SQLITE_OPEN_URI)) return false;
  return api->uri_boolean(name, "immutable", 0) || api->uri_boolean(name, "nolock", 0);
}

static int apply(hf_node *node, const char *name, int flags, bool read_only)
{
  const hf_api *api = &node->owner->api;
  int error = hf_mount_verdict(node->path, node->set.assume, &node->facts, &node->verdict);

  if (error) { /* a sandbox that allows no question: the same as a type that nobody knows */
    memset(&node->facts, 0, sizeof node->facts);
    hf_verdict_of(&node->facts, node->set.assume, &node->verdict);
    hf_report(node->owner, "warned", "facts", node->path, 0, "the kernel does not say what it lies on (%s)",
              strerror(error));
  }
  if (node->set.mode == HOLDFAST_MODE_OBSERVE) {
    apply_observed(node);
    return SQLITE_OK;
  }
  error = apply_enforced(node, read_only);
  if (error) return error;
  /* The user said that nobody else writes (immutable) or that nobody locks: SQLite never starts WAL then. */
  if (node->wal_allowed || ours_to_leave(api, name, flags)) return SQLITE_OK;
  return hf_settle_wal(node, name, read_only);
}

/* ---------------------------------------------------------------- xOpen */

static int settings_for(hf_vfs *owner, const char *name, int flags, hf_settings *out)
{
  char message[300] = "";
  int rc = SQLITE_OK;

  pthread_mutex_lock(&owner->mutex);
  *out = owner->settings;
  pthread_mutex_unlock(&owner->mutex);
  if (flags & SQLITE_OPEN_URI) rc = hf_config_from_uri(&owner->api, name, out, message, sizeof message);
  if (rc) hf_report(owner, "refused", message, name, SQLITE_CANTOPEN, "%s", message);
  return rc ? SQLITE_CANTOPEN : SQLITE_OK;
}

static int open_database(hf_vfs *owner, const char *name, sqlite3_file *file, int flags, int *out_flags,
                         const hf_settings *set)
{
  hf_node *node = node_new(owner, name);
  int got = flags, rc;

  if (!node) return SQLITE_NOMEM;
  node->set = *set;
  hf_walguard_open(&node->walguard, owner->api.libversion_number(), owner->api.sourceid(), set->walguard);
  if (set->mode == HOLDFAST_MODE_OBSERVE) node->walguard.guard = false; /* the alarm changes nothing */
  /* Before the base opens it: a descriptor that is older than the override counts as locked by POSIX. */
  node->overridden = set->mode == HOLDFAST_MODE_ENFORCE && hf_syscalls_ready(owner);
  rc = owner->base->xOpen(owner->base, name, node->base, flags, &got);
  if (rc == SQLITE_OK) rc = apply(node, name, flags, (got & SQLITE_OPEN_READONLY) != 0);
  if (rc) {
    if (node->base->pMethods) (void)node->base->pMethods->xClose(node->base); /* rc says more */
    free(node);
    return rc;
  }
  hf_guard_note(node, &node->self, "");
  hf_pass_io_methods(&node->methods, node->base->pMethods, node->wal_allowed,
                     set->mode == HOLDFAST_MODE_ENFORCE);
  hf_nfs_methods(node);
  hf_smb_methods(node);
  ((hf_file *)file)->base = node->base;
  file->pMethods = &node->methods;
  link_node(node);
  hf_metrics_opened(owner);
  if (out_flags) *out_flags = got;
  return SQLITE_OK;
}

/* A -wal of a file that must not have one. Reached under locking_mode=EXCLUSIVE, where SQLite needs no shared
 * memory. */
static bool wal_refused(hf_vfs *owner, const char *name)
{
  char path[HF_EVENT_PATH] = "";
  hf_node *node;
  size_t stem;

  pthread_mutex_lock(&owner->mutex);
  node = hf_node_by_sidecar(owner, name, &stem);
  if (node && !node->wal_allowed && !node->wal_exclusive) snprintf(path, sizeof path, "%s", node->path);
  pthread_mutex_unlock(&owner->mutex);
  if (!*path) return false;
  hf_report(owner, "refused", "wal-file", path, SQLITE_CANTOPEN, "WAL cannot work here: no -wal is created");
  return true;
}

int hf_xOpen(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
  hf_vfs *owner = hf_vfs_of(vfs);
  hf_settings set;
  int rc;

  file->pMethods = NULL;
  if (name && (flags & SQLITE_OPEN_WAL) && wal_refused(owner, name)) return SQLITE_CANTOPEN;
  if (name && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)))
    return hf_side_open(owner, name, file, flags, out_flags);
  if (!name || !(flags & SQLITE_OPEN_MAIN_DB))
    return owner->base->xOpen(owner->base, name, file, flags, out_flags);

  rc = settings_for(owner, name, flags, &set);
  if (rc) return rc;
  if (set.mode == HOLDFAST_MODE_OFF) return owner->base->xOpen(owner->base, name, file, flags, out_flags);
  return open_database(owner, name, file, flags, out_flags, &set);
}
