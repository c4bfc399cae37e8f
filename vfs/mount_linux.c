/*
 * mount_linux.c - the facts of one path on Linux, and the cache of verdicts.
 *
 * statx gives the id of the mount (two calls that ask no server), statmount or mountinfo describes it,
 * statfs is the last resort. The database is never opened: an open and close would drop this process's
 * POSIX locks. A call that a sandbox forbids (EPERM) is as good as one that is not there (ENOSYS). What
 * the facts mean is policy.c's.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "fsnames.h"
#include "mount.h"
#include "mount_text.h"
#include "statmount_linux.h"

#define DELETED_SUFFIX "//deleted"

/* Where a path lies, before anything is known about the mount. */
typedef struct place {
  uint64_t id; /* of the directory's mount, 0 = not to be had */
  uint64_t device;
  unsigned links;
  bool exists, unique, split;
  bool stale;                   /* the server does not know this directory any more */
  char directory[PATH_MAX + 2]; /* ends in "/." so that an automount point below is triggered */
} place;

/* ---------------------------------------------------------------- the place */

static int ask(const char *path, uint32_t mask, hf_statx *out)
{
  int error = 0;

  for (int tries = 0; tries < 2; tries++) {
    memset(out, 0, sizeof *out);
    if (syscall(SYS_statx, AT_FDCWD, path, HF_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, mask, out) == 0) return 0;
    error = errno;
    if (error != ESTALE) break; /* a stale handle is looked up afresh by the second try */
  }
  return error == EPERM ? ENOSYS : error;
}

static bool has_id(const hf_statx *s)
{
  return (s->mask & (HF_STATX_MNT_ID | HF_STATX_MNT_ID_UNIQUE)) != 0;
}

static bool on_other_mount(const hf_statx *file, const place *p)
{
  if (file->attributes_mask & HF_STATX_ATTR_MOUNT_ROOT) return file->attributes & HF_STATX_ATTR_MOUNT_ROOT;
  return has_id(file) && p->id && file->mnt_id != p->id;
}

/* By hand, because every open comes by here and snprintf() would be the dearest part next to the calls. */
static int name_directory(const char *path, bool is_directory, char *out, size_t size)
{
  const char *slash = strrchr(path, '/');
  size_t length = is_directory ? strlen(path) : slash ? (size_t)(slash - path) : 0;
  const char *tail = is_directory || slash ? "/." : ".";

  if (length + sizeof "/." > size) return ENAMETOOLONG;
  strcpy(mempcpy(out, path, length), tail);
  return 0;
}

/* The id of the mount of an open descriptor, for kernels whose statx has none (before 5.8) or is forbidden.
 * O_PATH: no server is asked, and closing such a descriptor drops no lock. */
static uint64_t id_by_fdinfo(const char *path)
{
  char name[64], text[1024];
  const char *found;
  uint64_t id = 0;
  ssize_t n;
  int info, fd = open(path, O_PATH | O_CLOEXEC);

  if (fd < 0) return 0;
  (void)snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
  info = open(name, O_RDONLY | O_CLOEXEC);
  if (info >= 0) {
    n = read(info, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    found = strstr(text, "mnt_id:");
    if (found) id = strtoull(found + strlen("mnt_id:"), NULL, 10);
    (void)close(info); /* read only: nothing can be lost */
  }
  (void)close(fd);
  return id;
}

static int find_place_without_statx(const char *path, place *p)
{
  struct stat st;
  bool exists = stat(path, &st) == 0, directory;
  int error = exists ? 0 : errno;

  if (error && error != ENOENT) return error;
  directory = exists && S_ISDIR(st.st_mode);
  error = name_directory(path, directory, p->directory, sizeof p->directory);
  if (error) return error;
  p->exists = exists && !directory;
  p->links = p->exists ? (unsigned)st.st_nlink : 0;
  if (!exists && stat(p->directory, &st) != 0) return errno;
  p->device = st.st_dev;
  p->id = id_by_fdinfo(p->directory);
  if (p->exists && p->id) {
    uint64_t id = id_by_fdinfo(path);

    p->split = id && id != p->id;
  }
  return 0;
}

static int find_place(const char *path, place *p)
{
  const uint32_t wanted = HF_STATX_BASIC | HF_STATX_MNT_ID | HF_STATX_MNT_ID_UNIQUE;
  hf_statx file, dir;
  int error = path[0] ? ask(path, wanted, &file) : ENOENT;
  bool directory = error == 0 && S_ISDIR(file.mode);
  bool exists = error == 0 && !directory;

  memset(p, 0, offsetof(place, directory));
  p->directory[0] = '\0';
  if (error == ENOSYS || (error == 0 && !has_id(&file))) return find_place_without_statx(path, p);
  if (!path[0] || (error && error != ENOENT && error != ESTALE)) return error;
  error = name_directory(path, directory, p->directory, sizeof p->directory);
  if (error) return error;

  if (exists && (file.attributes_mask & HF_STATX_ATTR_MOUNT_ROOT) &&
      !(file.attributes & HF_STATX_ATTR_MOUNT_ROOT)) {
    dir = file; /* a file that is no mount itself is on the mount of its directory */
  } else {
    error = ask(p->directory, wanted, &dir);
    if (error == ESTALE) p->stale = true;
    if (error && error != ESTALE) return error;
  }
  p->id = dir.mnt_id;
  p->unique = (dir.mask & HF_STATX_MNT_ID_UNIQUE) != 0;
  p->exists = exists;
  p->links = exists ? file.nlink : 0;
  if (!exists) file = dir;
  p->device = makedev(file.dev_major, file.dev_minor);
  p->split = exists && on_other_mount(&file, p);
  return 0;
}

/* Are -wal, -shm or -journal mounts of their own ("mount all three files" is a published cure that is none)?
 * Names that are looked up in vain cost a round trip on a network mount, where WAL is out of the question
 * anyway: the caller does not ask there. */
static bool siblings_split(const char *path, const place *p)
{
  static const char *const suffixes[] = {"-wal", "-shm", "-journal"};
  char name[PATH_MAX + 16];
  size_t len = strlen(path);
  hf_statx s;

  if (!p->exists || len >= PATH_MAX || !p->id) return false;
  memcpy(name, path, len);
  for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
    memcpy(name + len, suffixes[i], strlen(suffixes[i]) + 1);
    if (ask(name, HF_STATX_MNT_ID | HF_STATX_MNT_ID_UNIQUE, &s) == 0 && on_other_mount(&s, p)) return true;
  }
  return false;
}

/* ---------------------------------------------------------------- the mount */

/* All of mountinfo, from malloc(). One read gives a part only, so the table may change between two. */
static char *read_mountinfo(void)
{
  const size_t size_max = 16 << 20; /* about 80,000 mounts */
  size_t size = 32768, used = 0;
  char *text = NULL, *grown;
  ssize_t n = 1;
  int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);

  if (fd < 0) return NULL;
  while (n > 0 && size <= size_max) {
    grown = realloc(text, size);
    if (!grown) break;
    text = grown;
    while (used + 1 < size && (n = read(fd, text + used, size - used - 1)) > 0) used += (size_t)n;
    size *= 2;
  }
  (void)close(fd); /* read only: nothing can be lost */
  if (text) text[used] = '\0';
  return text;
}

static int describe_by_mountinfo(const place *p, hf_mount_facts *f)
{
  uint64_t id = p->id;
  hf_statx s;
  int found = -1;

  if (p->unique) { /* mountinfo has the short id */
    if (ask(p->directory, HF_STATX_MNT_ID, &s) != 0 || !(s.mask & HF_STATX_MNT_ID)) return -1;
    id = s.mnt_id;
  }
  for (int tries = 0; id && found != 0 && tries < 2;
       tries++) { /* the table may have changed while it was read */
    char *text = read_mountinfo();

    if (!text) return -1;
    found = hf_mountinfo_by_id(text, id, f);
    free(text);
  }
  return found;
}

static void describe_by_statfs(const place *p, hf_mount_facts *f)
{
  struct statfs s;

  if (statfs(p->directory, &s) != 0) return;
  f->magic = (uint32_t)s.f_type;
  if (!f->how[0]) memcpy(f->how, "statfs", sizeof "statfs");
}

/* A sandbox's own kernel: its releases were 4.4.0 and 4.19.0-gvisor, its date never changed. */
static bool inside_gvisor(void)
{
  struct utsname u;

  if (uname(&u) != 0) return false;
  return strstr(u.release, "gvisor") || strcmp(u.version, "#1 SMP Sun Jan 10 15:06:54 PST 2016") == 0;
}

static void describe(const place *p, hf_mount_facts *f)
{
  size_t len, tail = sizeof DELETED_SUFFIX - 1;
  int error = ENOSYS;

  memset(f, 0, sizeof *f);
  if (p->stale) return; /* nothing to be known: the verdict will say so */
  if (p->unique) error = hf_statmount(p->id, f);
  if (error && describe_by_mountinfo(p, f) != 0) {
    memset(f, 0, sizeof *f);
    f->deleted = error == ENOENT; /* statmount answers for this kernel and does not know the mount */
  }
  /* statfs waits for a dead server, so it is left out where the name says that there is one. */
  if (!f->magic && (!f->fstype[0] || hf_fs_by_name(f->fstype)->scope == HOLDFAST_SCOPE_ONE_KERNEL))
    describe_by_statfs(p, f);
  len = strlen(f->root);
  if (len >= tail && strcmp(f->root + len - tail, DELETED_SUFFIX) == 0) f->deleted = true;
  f->gvisor = inside_gvisor();
}

static void describe_file(const place *p, hf_mount_facts *f)
{
  f->mount_id = p->id;
  f->unique_id = p->unique;
  f->device = p->device;
  f->links = p->links;
  f->file_exists = p->exists;
  f->split = p->split;
}

static bool ask_siblings(const hf_mount_facts *f)
{
  return hf_fs_by_name(f->fstype)->scope == HOLDFAST_SCOPE_ONE_KERNEL;
}

int hf_mount_facts_of(const char *path, hf_mount_facts *out)
{
  place p;
  int error = find_place(path, &p);

  if (error) return error;
  describe(&p, out);
  if (!p.split && ask_siblings(out)) p.split = siblings_split(path, &p);
  describe_file(&p, out);
  return 0;
}

/* ---------------------------------------------------------------- the cache */

enum { CACHE_ENTRIES = 16, CACHE_SECONDS = 10 };

typedef struct entry {
  uint64_t id; /* 0 = free */
  time_t when;
  unsigned links;
  int assume;
  bool split, siblings;
  hf_mount_facts facts;
  hf_verdict verdict;
} entry;

/*
 * Guarded by `busy`. Whoever finds it taken does without the cache: no open ever waits for it, and a fork
 * while it is taken costs the child some microseconds per open and nothing else. Only unique ids are kept,
 * a short id is given to the next mount. An entry lives some seconds, because a remount changes options.
 */
static struct {
  atomic_flag busy;
  unsigned next;
  entry entries[CACHE_ENTRIES];
} cache = {.busy = ATOMIC_FLAG_INIT};

static bool cache_enter(void)
{
  return !atomic_flag_test_and_set_explicit(&cache.busy, memory_order_acquire);
}

static void cache_leave(void)
{
  atomic_flag_clear_explicit(&cache.busy, memory_order_release);
}

static time_t seconds(void)
{
  struct timespec t = {0, 0};

  (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t); /* cannot fail; 0 would only shorten a life */
  return t.tv_sec;
}

static bool same_file_kind(const entry *e, const place *p)
{
  return e->split == p->split && (e->links > 1 ? e->links : 1) == (p->links > 1 ? p->links : 1);
}

/* Answers from the cache; completes p->split on the way, since the entry tells whether it must be asked. */
static bool cache_find(const char *path, place *p, int assume, hf_mount_facts *facts, hf_verdict *out)
{
  time_t now = seconds();
  int siblings = -1;
  bool found = false;

  if (!p->unique || !cache_enter()) return false;
  for (int i = 0; i < CACHE_ENTRIES && siblings < 0; i++)
    if (cache.entries[i].id == p->id) siblings = cache.entries[i].siblings;
  if (siblings == 1 && !p->split) {
    cache_leave(); /* never hold it across a system call */
    p->split = siblings_split(path, p);
    if (!cache_enter()) return false;
  }
  for (int i = 0; i < CACHE_ENTRIES && siblings >= 0 && !found; i++) {
    const entry *e = &cache.entries[i];

    if (e->id != p->id || e->assume != assume || now - e->when > CACHE_SECONDS || !same_file_kind(e, p))
      continue;
    *out = e->verdict;
    if (facts) *facts = e->facts;
    found = true;
  }
  cache_leave();
  if (found && facts) describe_file(p, facts);
  return found;
}

static void cache_keep(int assume, const hf_mount_facts *facts, const hf_verdict *verdict)
{
  entry *e = NULL;

  /* A read-only mount is made writable by a remount at any moment; what statfs alone said may get better. */
  if (!facts->unique_id || !facts->fstype[0] || verdict->rule == HOLDFAST_RULE_READ_ONLY || !cache_enter())
    return;
  for (int i = 0; i < CACHE_ENTRIES && !e; i++) {
    entry *old = &cache.entries[i];

    if (old->id == facts->mount_id && old->assume == assume && old->split == facts->split &&
        old->links == facts->links)
      e = old;
  }
  if (!e) e = &cache.entries[cache.next++ % CACHE_ENTRIES];
  e->id = facts->mount_id;
  e->when = seconds();
  e->links = facts->links;
  e->assume = assume;
  e->split = facts->split;
  e->siblings = ask_siblings(facts);
  e->facts = *facts;
  e->verdict = *verdict;
  cache_leave();
}

int hf_mount_verdict(const char *path, int assume, hf_mount_facts *facts, hf_verdict *out)
{
  hf_mount_facts own;
  place p;
  int error = find_place(path, &p);

  if (error) return error;
  if (cache_find(path, &p, assume, facts, out)) return 0;
  describe(&p, &own);
  if (!p.split && ask_siblings(&own)) p.split = siblings_split(path, &p);
  describe_file(&p, &own);
  hf_verdict_of(&own, assume, out);
  cache_keep(assume, &own, out);
  if (facts) *facts = own;
  return 0;
}
