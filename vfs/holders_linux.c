/*
 * holders_linux.c - who holds the locks, from /proc: the descriptors of every process, and /proc/locks for
 * what belongs to processes that may not be looked into.
 *
 * /proc/locks alone does not do: of an OFD lock it names no owner, and on btrfs and overlayfs its device is
 * not the one that stat() tells. So descriptors are compared with the database by their own stat, through
 * /proc/PID/fd, which opens nothing and asks no server; /proc/PID/fdinfo then shows the locks that were taken
 * through each. The walk takes about two microseconds for each open descriptor of the machine.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "holders.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { LISTED_MAX = 4000, LISTED_PASSES = 8, LISTED_BUFFER = 65536, LINE = 256 };
#define FIRST_PID_NAMESPACE 0xEFFFFFFCu /* the kernel's PROC_PID_INIT_INO */
#define KERNEL_THREAD       0x00200000u /* PF_KTHREAD */

/* ---------------------------------------------------------------- small helpers */

static void identity_at(int dir, const char *name, int flags, hf_identity *out)
{
  struct statx now;

  out->known = statx(dir, name, flags | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &now) == 0 &&
               S_ISREG(now.stx_mode);
  if (!out->known) return;
  out->device = makedev(now.stx_dev_major, now.stx_dev_minor);
  out->inode = now.stx_ino;
}

void hf_scan_identity(const char *path, hf_identity *out)
{
  identity_at(AT_FDCWD, path, 0, out);
}

static bool same(const hf_identity *a, const hf_identity *b)
{
  return a->known && b->known && a->device == b->device && a->inode == b->inode;
}

/* The beginning of a small file of /proc; what is longer is cut. -1 = not there, or not allowed. */
static ssize_t read_text(int dir, const char *name, char *out, size_t size)
{
  int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  ssize_t n, used = 0;

  out[0] = 0;
  if (fd < 0) return -1;
  while ((n = read(fd, out + used, size - 1 - (size_t)used)) > 0) used += n;
  close(fd); /* of /proc: no lock hangs on it */
  out[used] = 0;
  return n < 0 && used == 0 ? -1 : used;
}

/* ---------------------------------------------------------------- lines about locks */

typedef struct listed {
  uint64_t device, inode; /* as the kernel's own lists name the file */
  int64_t pid;            /* -1: an OFD lock */
  hf_range range;
} listed;

/* "1: POSIX  ADVISORY  WRITE 4711 08:02:1234 1073741825 1073741825", also "OFDLCK ... -1" and "EOF". Leases,
 * flock() and those who wait ("->") are not what SQLite's locks run into. */
static bool parse_lock(const char *line, listed *out)
{
  char kind[12], access[12], last[24];
  unsigned major, minor;
  unsigned long inode;
  long long first;
  long pid;

  if (sscanf(line, "%*d: %11s %*s %11s %ld %x:%x:%lu %lld %23s", kind, access, &pid, &major, &minor, &inode,
             &first, last) != 8)
    return false;
  if (strcmp(kind, "POSIX") != 0 && strcmp(kind, "OFDLCK") != 0) return false;
  *out = (listed){.device = makedev(major, minor),
                  .inode = inode,
                  .pid = strcmp(kind, "OFDLCK") == 0 ? -1 : pid,
                  .range = {strcmp(access, "WRITE") == 0, first,
                            strcmp(last, "EOF") == 0 ? INT64_MAX : strtoll(last, NULL, 10)}};
  return true;
}

static bool same_lock(const listed *a, const listed *b)
{
  return a->device == b->device && a->inode == b->inode && a->pid == b->pid &&
         a->range.write == b->range.write && a->range.first == b->range.first &&
         a->range.last == b->range.last;
}

/* ---------------------------------------------------------------- the walk */

/* As the kernel's lock lists call a file of ours: learned from the descriptors that were found. */
typedef struct alias {
  uint64_t device, inode;
  int target;
  bool shm;
} alias;

typedef struct walk {
  const hf_target *targets;
  int count;
  bool users;
  hf_scan *out;
  listed *seen; /* locks whose owner was found, LISTED_MAX */
  int seen_count;
  alias *aliases; /* two for each target */
  int alias_count;
} walk;

static hf_found *found_for(walk *w, int target, int64_t pid)
{
  hf_found *grown;

  for (int i = w->out->count - 1; i >= 0; i--)
    if (w->out->at[i].target == target && w->out->at[i].pid == pid) return &w->out->at[i];
  if (w->out->count == HF_HOLDERS_MAX) return NULL;
  if (w->out->count % 32 == 0) {
    grown = realloc(w->out->at, (size_t)(w->out->count + 32) * sizeof *grown);
    if (!grown) {
      w->out->failed = true;
      return NULL;
    }
    w->out->at = grown;
  }
  w->out->at[w->out->count] = (hf_found){.target = target, .pid = pid};
  return &w->out->at[w->out->count++];
}

static void learn_alias(walk *w, const listed *lock, int target, bool shm)
{
  for (int i = 0; i < w->alias_count; i++)
    if (w->aliases[i].target == target && w->aliases[i].shm == shm) return;
  w->aliases[w->alias_count++] = (alias){lock->device, lock->inode, target, shm};
}

/* The locks that were taken through one descriptor. */
static void look_at_locks(walk *w, int process, const char *fd, int64_t pid, int target, bool shm)
{
  char name[40], text[16384], *save = NULL;

  snprintf(name, sizeof name, "fdinfo/%.20s", fd);
  if (read_text(process, name, text, sizeof text) <= 0) return;
  for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
    hf_found *found;
    listed lock;
    if (strncmp(line, "lock:", 5) != 0 || !parse_lock(line + 5, &lock)) continue;
    learn_alias(w, &lock, target, shm);
    if (w->seen_count < LISTED_MAX) w->seen[w->seen_count++] = lock;
    found = found_for(w, target, pid);
    if (found) hf_owned_add(&found->owned, shm, &lock.range);
  }
}

static void look_at_fd(walk *w, int process, int fds, const char *fd, int64_t pid)
{
  hf_identity now;

  identity_at(fds, fd, 0, &now); /* follows the link to the open file: no name is looked up */
  if (!now.known) return;
  for (int i = 0; i < w->count; i++) {
    bool shm = same(&now, &w->targets[i].shm);
    if (!shm && !same(&now, &w->targets[i].db)) continue;
    if (w->users) (void)found_for(w, i, pid);
    look_at_locks(w, process, fd, pid, i, shm);
  }
}

static bool is_kernel_thread(int process)
{
  char text[512];
  const char *end;
  unsigned flags = 0;

  if (read_text(process, "stat", text, sizeof text) <= 0) return true; /* it has ended */
  end = strrchr(text, ')');
  return end && sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) == 1 && (flags & KERNEL_THREAD) != 0;
}

static void look_at_process(walk *w, int proc, const char *pid)
{
  int process = openat(proc, pid, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fds;
  struct dirent *entry;
  DIR *list;

  if (process < 0) return; /* it has ended */
  fds = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  list = fds >= 0 ? fdopendir(fds) : NULL;
  if (!list) {
    if ((errno == EACCES || errno == EPERM) && !is_kernel_thread(process)) w->out->closed_doors++;
    if (fds >= 0) close(fds);
    close(process);
    return;
  }
  errno = 0;
  while ((entry = readdir(list)) != NULL)
    if (entry->d_name[0] != '.') look_at_fd(w, process, fds, entry->d_name, strtoll(pid, NULL, 10));
  if (errno == EACCES) w->out->closed_doors++;
  closedir(list);
  close(process);
}

static void walk_processes(walk *w)
{
  DIR *proc = opendir("/proc");
  struct dirent *entry;

  if (!proc) {
    w->out->no_proc = true;
    return;
  }
  while ((entry = readdir(proc)) != NULL)
    if (isdigit((unsigned char)entry->d_name[0])) look_at_process(w, dirfd(proc), entry->d_name);
  closedir(proc);
}

/* ---------------------------------------------------------------- locks without a visible owner */

static bool is_among(const listed *list, int count, const listed *lock)
{
  for (int i = 0; i < count; i++)
    if (same_lock(&list[i], lock)) return true;
  return false;
}

/* Adds the list's locks that out does not have yet; *size: how long the list was. */
static int add_listed(listed *out, int count, size_t *size)
{
  FILE *list = fopen("/proc/locks", "re");
  char line[LINE];

  *size = 0;
  if (!list) return count;
  (void)setvbuf(list, NULL, _IOFBF, LISTED_BUFFER); /* stdio's own would be a quarter of a page */
  while (count < LISTED_MAX && fgets(line, sizeof line, list)) {
    *size += strlen(line);
    if (parse_lock(line, &out[count]) && !is_among(out, count, &out[count])) count++;
  }
  fclose(list);
  return count;
}

/* The kernel gives a page at a time and finds its place again by counting lines: when other locks come and go
 * in between, a lock that nobody touched is left out. A list of more than a page is therefore read until it
 * is unlikely that one was left out each time. */
static int read_listed(listed *out)
{
  size_t size, page = (size_t)sysconf(_SC_PAGESIZE);
  int count = 0;

  for (int pass = 0; pass < LISTED_PASSES; pass++) {
    count = add_listed(out, count, &size);
    if (size + LINE < page) break;
  }
  return count;
}

/* The kernel's own device number of a mount, which is what its lock lists show. */
static bool super_device(const char *path, uint64_t *device)
{
  char line[4096];
  struct statx now;
  FILE *list;
  bool found = false;

  if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_MNT_ID, &now) || !(now.stx_mask & STATX_MNT_ID))
    return false;
  list = fopen("/proc/self/mountinfo", "re");
  if (!list) return false;
  while (!found && fgets(line, sizeof line, list)) {
    unsigned id, major, minor;
    if (sscanf(line, "%u %*u %u:%u ", &id, &major, &minor) != 3 || id != now.stx_mnt_id) continue;
    *device = makedev(major, minor);
    found = true;
  }
  fclose(list);
  return found;
}

static void guess_alias(walk *w, int target, bool shm)
{
  const hf_identity *is = shm ? &w->targets[target].shm : &w->targets[target].db;
  listed lock = {.inode = is->inode};

  if (is->known && super_device(w->targets[target].path, &lock.device)) learn_alias(w, &lock, target, shm);
}

static bool was_seen(const walk *w, const listed *lock)
{
  for (int i = 0; i < w->seen_count; i++)
    if (same_lock(&w->seen[i], lock)) return true;
  return false;
}

/* Held before the walk and after it, and by nobody who was met on the way. */
static void add_unseen(walk *w, const listed *before, int before_count, const listed *after, int after_count)
{
  for (int i = 0; i < after_count; i++)
    for (int k = 0; k < w->alias_count; k++) {
      hf_found *found;
      if (after[i].device != w->aliases[k].device || after[i].inode != w->aliases[k].inode) continue;
      if (was_seen(w, &after[i]) || !is_among(before, before_count, &after[i])) continue;
      found = found_for(w, w->aliases[k].target, after[i].pid > 0 ? after[i].pid : 0);
      if (found) hf_owned_add(&found->owned, w->aliases[k].shm, &after[i].range);
    }
}

/* ---------------------------------------------------------------- the whole */

static void note_limits(hf_scan *out)
{
  struct stat st;
  char text[65536];

  out->container = stat("/proc/self/ns/pid", &st) == 0 && st.st_ino != FIRST_PID_NAMESPACE;
  if (read_text(AT_FDCWD, "/proc/self/mounts", text, sizeof text) <= 0) return;
  for (char *line = strstr(text, " /proc proc "); line; line = strstr(line + 1, " /proc proc ")) {
    char *end = strchr(line, '\n'), *option = strstr(line, "hidepid=");
    out->hidden = option && (!end || option < end) && strncmp(option, "hidepid=0", 9) != 0 &&
                  strncmp(option, "hidepid=off", 11) != 0 && geteuid() != 0;
  }
}

void hf_scan_locks(const hf_target *targets, int count, bool users, hf_scan *out)
{
  listed *lists = malloc(3 * LISTED_MAX * sizeof *lists);
  walk w = {.targets = targets, .count = count, .users = users, .out = out, .seen = lists};
  int before, after;

  memset(out, 0, sizeof *out);
  w.aliases = calloc((size_t)count * 2 + 1, sizeof *w.aliases);
  if (!lists || !w.aliases) {
    out->failed = true;
    goto done;
  }
  note_limits(out);
  before = read_listed(lists + LISTED_MAX);
  walk_processes(&w);
  for (int i = 0; i < count; i++) {
    guess_alias(&w, i, false);
    guess_alias(&w, i, true);
  }
  after = read_listed(lists + 2 * LISTED_MAX);
  add_unseen(&w, lists + LISTED_MAX, before, lists + 2 * LISTED_MAX, after);
  for (int i = 0; i < out->count; i++) hf_owned_finish(&out->at[i].owned);
done:
  free(lists);
  free(w.aliases);
}

/* ---------------------------------------------------------------- a process */

static const char *word_of_state(char state, const char *waits_in)
{
  /* A container that was paused sleeps like any other: only the place where it sleeps tells. */
  if (strcmp(waits_in, "do_freezer_trap") == 0 || strcmp(waits_in, "__refrigerator") == 0) return "frozen";
  switch (state) {
  case 'T': return "stopped";
  case 't': return "traced";
  case 'D': return "blocked";
  case 'Z':
  case 'X': return "ended";
  default: return "running";
  }
}

void hf_process_of(int64_t pid, hf_process *out)
{
  char name[40], text[1024], waits_in[64] = "";
  const char *open_bracket, *close_bracket;
  ssize_t n;
  int process;

  memset(out, 0, sizeof *out);
  snprintf(name, sizeof name, "/proc/%lld", (long long)pid);
  process = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (process < 0) return;
  n = read_text(process, "cmdline", out->command_line, sizeof out->command_line);
  for (ssize_t i = 0; i + 1 < n; i++)
    if (!out->command_line[i]) out->command_line[i] = ' ';
  (void)read_text(process, "wchan", waits_in, sizeof waits_in); /* not allowed: then it is not known */
  if (read_text(process, "stat", text, sizeof text) > 0 && (open_bracket = strchr(text, '(')) != NULL &&
      (close_bracket = strrchr(text, ')')) != NULL && close_bracket[1] == ' ') {
    snprintf(out->command, sizeof out->command, "%.*s", (int)(close_bracket - open_bracket - 1),
             open_bracket + 1);
    snprintf(out->state, sizeof out->state, "%s", word_of_state(close_bracket[2], waits_in));
  }
  close(process);
}
