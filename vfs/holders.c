/*
 * holders.c - who holds the locks of a database, as rows: holdfast_lock_holders(), the table of that name and
 * the file control.
 *
 * The kernel's part comes from holders_<os>.c. About files that this library has open a question through our
 * own descriptor (F_OFD_GETLK) is answered even where /proc hides the holder, and our own connections tell
 * more than the kernel knows. What is found is a moment, not a transaction: locks come and go meanwhile.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fork.h"
#include "holders.h"
#include "records.h"
#include "statement.h"
#include "text.h"

/* ---------------------------------------------------------------- rows */

hf_holder *hf_holders_add(hf_holders *all, int target, int lock, bool write)
{
  hf_holder *grown, *row;

  if (all->count == HF_HOLDERS_MAX || all->failed) return NULL;
  if (all->count % 32 == 0) {
    grown = realloc(all->at, (size_t)(all->count + 32) * sizeof *grown);
    if (!grown) {
      all->failed = true;
      return NULL;
    }
    all->at = grown;
  }
  row = &all->at[all->count++];
  memset(row, 0, sizeof *row);
  row->target = target;
  row->lock = lock;
  snprintf(row->is.lock, sizeof row->is.lock, "%s", hf_lock_name(lock));
  snprintf(row->is.mode, sizeof row->is.mode, "%s", write ? "write" : "read");
  row->is.since_ms = -1;
  return row;
}

typedef struct own_process {
  hf_process process;
  double tick_ns;
} own_process;

static void name_process(holdfast_holder *is, const hf_process *process, int64_t pid, const char *otherwise)
{
  is->pid = pid;
  is->mine = pid == getpid();
  memcpy(is->command, process->command, sizeof is->command);
  memcpy(is->command_line, process->command_line, sizeof is->command_line);
  snprintf(is->state, sizeof is->state, "%s", process->state[0] ? process->state : otherwise);
}

/* A connection of this library has said so itself, and more than the kernel can. */
static bool is_told(const hf_holders *all, int target, int lock)
{
  for (int i = 0; i < all->count; i++)
    if (all->at[i].target == target && all->at[i].lock == lock && all->at[i].is.connection) return true;
  return false;
}

/* SQLite asks for EXCLUSIVE and keeps PENDING when readers are still there: only the kernel knows. */
static bool promote(hf_holders *all, int target)
{
  for (int i = 0; i < all->count; i++) {
    hf_holder *row = &all->at[i];
    if (row->target != target || row->lock != HF_LOCK_RESERVED || !row->is.connection) continue;
    row->lock = HF_LOCK_PENDING;
    snprintf(row->is.lock, sizeof row->is.lock, "%s", hf_lock_name(HF_LOCK_PENDING));
    return true;
  }
  return false;
}

static void add_user(hf_holders *all, const hf_found *found, const hf_process *process)
{
  hf_holder *row = hf_holders_add(all, found->target, HF_LOCKS, false);

  if (!row) return;
  name_process(&row->is, process, found->pid, "unseen");
  snprintf(row->is.lock, sizeof row->is.lock, "OPEN");
  row->is.mode[0] = 0;
}

static void add_found(hf_holders *all, const hf_found *found)
{
  hf_process process = {0};

  if (found->pid > 0) hf_process_of(found->pid, &process);
  if (all->users && !found->owned.read && !found->owned.write) add_user(all, found, &process);
  for (int lock = 0; lock < HF_LOCKS; lock++) {
    bool write = (found->owned.write & 1u << lock) != 0;
    hf_holder *row;
    if (!write && !(found->owned.read & 1u << lock)) continue;
    if (found->pid == getpid() && is_told(all, found->target, lock)) continue;
    if (found->pid == getpid() && lock == HF_LOCK_PENDING && promote(all, found->target)) continue;
    row = hf_holders_add(all, found->target, lock, write);
    if (row) name_process(&row->is, &process, found->pid, "unseen");
  }
}

static int by_weight(const void *a, const void *b)
{
  const hf_holder *x = a, *y = b;
  int order_x = x->lock <= HF_LOCK_EXCLUSIVE ? HF_LOCK_EXCLUSIVE - x->lock : x->lock,
      order_y = y->lock <= HF_LOCK_EXCLUSIVE ? HF_LOCK_EXCLUSIVE - y->lock : y->lock;

  if (x->target != y->target) return x->target - y->target;
  if (order_x != order_y) return order_x - order_y;
  if (x->is.pid != y->is.pid) return x->is.pid < y->is.pid ? -1 : 1;
  return x->is.connection < y->is.connection ? -1 : x->is.connection > y->is.connection;
}

/* ---------------------------------------------------------------- our own connections */

static bool to_write(int lock)
{
  return lock >= HF_LOCK_RESERVED && lock <= HF_LOCK_WAL_RECOVER;
}

static int target_of(const hf_holders *all, const hf_node *node)
{
  for (int i = 0; i < all->target_count; i++)
    if (all->targets[i].db.device == node->self.device && all->targets[i].db.inode == node->self.inode)
      return i;
  return -1;
}

static void add_own(hf_holders *all, const hf_node *node, int lock, const own_process *self)
{
  uint64_t since = hf_peek(&node->stats.since[lock]), now = hf_ticks();
  hf_holder *row = since ? hf_holders_add(all, target_of(all, node), lock, to_write(lock)) : NULL;
  int thread = 0;

  if (!row) return;
  name_process(&row->is, &self->process, getpid(), "running");
  row->is.connection = node->number;
  row->is.since_ms = now > since ? (int64_t)((double)(now - since) * self->tick_ns / 1e6) : 0;
  if (!to_write(lock)) return;
  hf_statement_read(node, row->is.sql, sizeof row->is.sql, &thread);
  row->is.thread = thread;
}

/* Levels first: of those a connection has one, and it includes the ones below. */
static void add_own_of(hf_holders *all, const hf_node *node, const own_process *self)
{
  for (int lock = HF_LOCK_EXCLUSIVE; lock >= HF_LOCK_SHARED; lock--)
    if (hf_peek(&node->stats.since[lock])) {
      add_own(all, node, lock, self);
      break;
    }
  for (int lock = HF_LOCK_WAL_WRITE; lock < HF_LOCK_DMS; lock++) add_own(all, node, lock, self);
}

static void add_own_all(hf_holders *all, hf_vfs *owner)
{
  own_process self;

  hf_process_of(getpid(), &self.process);
  self.tick_ns = hf_tick_ns();
  pthread_mutex_lock(&owner->mutex);
  for (const hf_node *node = owner->nodes; node; node = node->next)
    if (hf_generation_is(node->generation) && target_of(all, node) >= 0) add_own_of(all, node, &self);
  pthread_mutex_unlock(&owner->mutex);
}

/* ---------------------------------------------------------------- asking the kernel through our descriptor
 */

/* The number of the unit (records.h) that stands for a lock. */
static int unit_of(int lock)
{
  switch (lock) {
  case HF_LOCK_PENDING: return 0;
  case HF_LOCK_RESERVED: return 1;
  case HF_LOCK_SHARED: return 2;
  default: return 3 + lock - HF_LOCK_WAL_WRITE;
  }
}

/* Has /proc named somebody who has it? Our own private descriptor is never the answer to our own question. */
static bool is_explained(const hf_holders *all, int target, int lock, bool by_us)
{
  for (int i = 0; i < all->count; i++) {
    const hf_holder *row = &all->at[i];
    if (row->target != target || (row->is.mine && !by_us)) continue;
    if (row->lock == lock) return true;
    if (lock <= HF_LOCK_EXCLUSIVE && row->lock <= HF_LOCK_EXCLUSIVE && row->lock > lock) return true;
  }
  return false;
}

static void ask_about(hf_holders *all, const hf_vfs *owner, int target, int lock)
{
  const hf_target *asked = &all->targets[target];
  const hf_identity *file = lock >= HF_LOCK_WAL_WRITE ? &asked->shm : &asked->db;
  hf_process process = {0};
  bool write;
  hf_holder *row;
  int64_t pid;

  if (!file->known ||
      !hf_record_ask(owner->slot, (dev_t)file->device, (ino_t)file->inode, unit_of(lock), &write, &pid))
    return;
  if (lock == HF_LOCK_SHARED && write) lock = HF_LOCK_EXCLUSIVE;
  if (lock == HF_LOCK_PENDING && !write) return; /* a reader on its way in */
  if (is_explained(all, target, lock, pid == getpid())) return;
  row = hf_holders_add(all, target, lock, write);
  if (pid > 0) hf_process_of(pid, &process);
  if (row) name_process(&row->is, &process, pid, all->several[target] ? "remote" : "unseen");
}

static void ask_kernel(hf_holders *all, const hf_vfs *owner)
{
  static const int order[] = {HF_LOCK_SHARED, HF_LOCK_PENDING, HF_LOCK_RESERVED};

  for (int target = 0; target < all->target_count; target++) {
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) ask_about(all, owner, target, order[i]);
    for (int lock = HF_LOCK_WAL_WRITE; lock <= HF_LOCK_DMS; lock++) ask_about(all, owner, target, lock);
  }
}

/* ---------------------------------------------------------------- what could not be seen */

static void say(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say(char *out, size_t size, const char *format, ...)
{
  size_t used = strlen(out);
  va_list args;

  if (used && used + 2 < size) used += (size_t)snprintf(out + used, size - used, "; ");
  if (used >= size) return;
  va_start(args, format);
  vsnprintf(out + used, size - used, format, args);
  va_end(args);
}

static void say_unseen(const hf_holders *all, const hf_scan *scan, char *out, size_t size)
{
  bool strangers = false, several = false;

  *out = 0;
  for (int i = 0; i < all->count; i++) strangers = strangers || all->at[i].is.pid == 0;
  for (int i = 0; i < all->target_count; i++) several = several || all->several[i];
  if (several) say(out, size, "what other machines hold is kept by the server and does not show here");
  if (scan->container) say(out, size, "processes outside this container (pid namespace) do not show");
  if (scan->hidden) say(out, size, "/proc shows other users' processes to root only (hidepid)");
  if (strangers && scan->closed_doors)
    say(out, size, "%d processes of other users may not be looked into: ask as root", scan->closed_doors);
}

/* ---------------------------------------------------------------- collecting */

static int collect(hf_holders *all, hf_vfs *owner)
{
  hf_scan scan;

  if (owner) add_own_all(all, owner); /* first, because the walk takes a while and they have ages */
  hf_scan_locks(all->targets, all->target_count, all->users, &scan);
  for (int i = 0; i < scan.count; i++) add_found(all, &scan.at[i]);
  if (owner && owner->slot >= 0) ask_kernel(all, owner);
  say_unseen(all, &scan, all->unseen, sizeof all->unseen);
  all->failed = all->failed || scan.failed;
  all->no_proc = scan.no_proc;
  free(scan.at);
  if (all->failed) {
    hf_holders_free(all);
    return SQLITE_NOMEM;
  }
  if (all->count) qsort(all->at, (size_t)all->count, sizeof *all->at, by_weight);
  return SQLITE_OK;
}

static int add_target(hf_holders *all, const char *path, const hf_identity *db, const hf_identity *shm,
                      bool several)
{
  char name[HF_SIDECAR_PATH];
  hf_target *grown = NULL;

  for (int i = 0; i < all->target_count; i++)
    if (all->targets[i].db.device == db->device && all->targets[i].db.inode == db->inode) return SQLITE_OK;
  if (all->target_count == HF_TARGETS_MAX) return SQLITE_OK;
  if (all->target_count % 8 == 0) {
    grown = realloc(all->targets, (size_t)(all->target_count + 8) * sizeof *grown);
    if (!grown) return SQLITE_NOMEM;
    all->targets = grown;
  }
  hf_target *made = &all->targets[all->target_count];
  memset(made, 0, sizeof *made);
  snprintf(made->path, sizeof made->path, "%s", path);
  made->db = *db;
  made->shm = *shm;
  if (!made->shm.known && snprintf(name, sizeof name, "%s-shm", path) < (int)sizeof name)
    hf_scan_identity(name, &made->shm);
  all->several[all->target_count++] = several;
  return SQLITE_OK;
}

int hf_holders_of(hf_vfs *owner, const hf_node *only, hf_holders *out)
{
  hf_holders all = {0};
  int rc = SQLITE_OK;

  pthread_mutex_lock(&owner->mutex);
  for (const hf_node *node = owner->nodes; node && rc == SQLITE_OK; node = node->next)
    if (node->self.known && (!only || node == only))
      rc = add_target(&all, node->path, &node->self, &(hf_identity){0},
                      node->verdict.scope == HOLDFAST_SCOPE_SEVERAL);
  pthread_mutex_unlock(&owner->mutex);
  if (rc == SQLITE_OK) rc = collect(&all, owner);
  if (rc)
    hf_holders_free(&all);
  else
    *out = all;
  return rc;
}

void hf_holders_free(hf_holders *all)
{
  free(all->at);
  free(all->targets);
  memset(all, 0, sizeof *all);
}

/* ---------------------------------------------------------------- the public form */

int hf_holders_public(const hf_holders *all, holdfast_holders *out)
{
  holdfast_holder *at = calloc((size_t)all->count + 1, sizeof *at);

  if (!at) return SQLITE_NOMEM;
  for (int i = 0; i < all->count; i++) at[i] = all->at[i].is;
  out->at = at;
  out->count = all->count;
  out->complete = !all->unseen[0];
  memcpy(out->unseen, all->unseen, sizeof out->unseen);
  return SQLITE_OK;
}

static int holders_outside(const char *path, bool users, holdfast_holders *out)
{
  holdfast_mount mount = {.struct_size = sizeof mount};
  char *real;
  hf_holders all = {.users = users};
  hf_identity db;
  int rc;

  if (!path || !*path || !out || out->struct_size < sizeof *out) return SQLITE_MISUSE;
  real = realpath(path, NULL); /* SQLite puts the -shm beside the file that a symbolic link leads to */
  if (!real && errno == EACCES)
    real = strdup(path); /* a directory above may not be read: then it is as it is */
  if (!real) return errno == ENOMEM ? SQLITE_NOMEM : SQLITE_CANTOPEN;
  hf_scan_identity(real, &db);
  (void)holdfast_mount_of(real, &mount); /* not known: then nothing is said about other machines */
  rc = db.known ? add_target(&all, real, &db, &(hf_identity){0}, mount.scope == HOLDFAST_SCOPE_SEVERAL)
                : SQLITE_CANTOPEN;
  if (rc == SQLITE_OK) rc = collect(&all, NULL);
  if (rc == SQLITE_OK) rc = all.no_proc ? SQLITE_NOTFOUND : hf_holders_public(&all, out);
  hf_holders_free(&all);
  free(real);
  return rc;
}

int holdfast_lock_holders(const char *path, holdfast_holders *out)
{
  return holders_outside(path, false, out);
}

int holdfast_database_users(const char *path, holdfast_holders *out)
{
  return holders_outside(path, true, out);
}

void holdfast_holders_free(holdfast_holders *holders)
{
  if (!holders) return;
  free(holders->at);
  holders->at = NULL;
  holders->count = 0;
}
