/*
 * selftest_hosts_linux.c - the lock self-test, level 3: two hosts on one directory.
 *
 * One side is called a, the other b. They meet by small files PREFIX-a1, PREFIX-b1, ..., one for each step
 * and side and never written twice, so that no client's cache of contents matters; whether one exists is
 * asked of the server (fresh_linux.c). Each carries the numbers of both sides, so files of an earlier run are
 * not taken for an answer. What is tried lies in PREFIX-data: data, then locks, each way, then a counter that
 * both raise under the lock. Every wait has a limit. Only PREFIX-... is touched, and removed at the end.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "selftest.h"
#include "vfs.h"

enum {
  STEPS = 8,
  STEP_MS = 30000, /* for one answer, once both have met */
  POLL_MS = 50,
  FREE_MS = 10000, /* a released lock must be free by then */
  COUNT_MS = 3000,
  STALL_MS = 2000, /* a lock that was long in coming */
  NAME_MS = 3000,  /* how long a plain look may miss a new name */
  WORD = 120
};

typedef struct meeting {
  const char *prefix;
  char me, other;
  bool smb;
  uint64_t mine, theirs;
  int fd;
  holdfast_selftest_report *report;
} meeting;

static int64_t now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void nap_ms(int ms)
{
  struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
  (void)nanosleep(&t, NULL); /* woken early is fine */
}

/* ---------------------------------------------------------------- messages */

static void name_of(const meeting *m, char side, int step, char *out)
{
  snprintf(out, PATH_MAX, "%s-%c%d", m->prefix, side, step);
}

static int tell(const meeting *m, int step, const char *word)
{
  char name[PATH_MAX], text[WORD + 80];
  int fd,
      n = snprintf(text, sizeof text, "hf %016" PRIx64 " %016" PRIx64 " %.*s\n", m->mine, m->theirs, WORD,
                   word),
      error = 0;

  name_of(m, m->me, step, name);
  fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) return errno;
  if (write(fd, text, (size_t)n) != n || fsync(fd)) error = errno ? errno : EIO;
  if (close(fd) && !error) error = errno;
  return error || m->smb ? error : hf_fresh_announce(name);
}

/* One look. 0, ENOENT (nothing yet, or of an earlier run), or what failed. */
static int look(meeting *m, int step, char *word)
{
  char name[PATH_MAX], text[WORD + 80] = "";
  uint64_t theirs, mine;
  int fd, at = 0, error;
  bool exists = false;
  ssize_t n;

  name_of(m, m->other, step, name);
  error = hf_fresh_exists(name, m->smb, false, &exists);
  if (error || !exists) return error ? error : ENOENT;
  fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return errno;
  n = read(fd, text, sizeof text - 1);
  error = n < 0 ? errno : 0;
  close(fd);
  if (error || n == 0 || text[n - 1] != '\n') return error ? error : ENOENT;
  text[n - 1] = 0;
  if (sscanf(text, "hf %" SCNx64 " %" SCNx64 " %n", &theirs, &mine, &at) < 2 || at == 0) return ENOENT;
  if (step == 1 && m->me == 'b') {
    m->theirs = theirs; /* a begins and does not know us yet */
  } else if (mine != m->mine || (step > 1 && theirs != m->theirs)) {
    return ENOENT;
  }
  m->theirs = theirs;
  snprintf(word, WORD, "%s", text + at);
  return 0;
}

static int hear(meeting *m, int step, int limit_ms, char *word)
{
  int64_t until = now_ms() + limit_ms;
  int error;

  while ((error = look(m, step, word)) == ENOENT || error == ESTALE) {
    if (now_ms() > until) return ETIMEDOUT;
    nap_ms(POLL_MS);
  }
  return error;
}

static void clean(const meeting *m, bool all)
{
  char name[PATH_MAX];

  for (int step = 1; step <= STEPS + 1; step++) {
    name_of(m, m->me, step, name);
    (void)unlink(name); /* most of them are not there */
    if (!all) continue;
    name_of(m, m->other, step, name);
    (void)unlink(name);
  }
  if (!all) return;
  snprintf(name, sizeof name, "%s-data", m->prefix);
  (void)unlink(name);
  snprintf(name, sizeof name, "%s-name", m->prefix);
  (void)unlink(name);
}

/* ---------------------------------------------------------------- the steps */

static void add(meeting *m, const char *name, bool good, const char *detail)
{
  hf_step_add(m->report, name, good ? HOLDFAST_STEP_PASSED : HOLDFAST_STEP_FAILED, "%s", detail);
}

/* b may meet the file of a run that is long over: it answers again whenever a begins anew. */
static int meet(meeting *m, int wait_ms, char *host)
{
  int64_t until = now_ms() + wait_ms;
  uint64_t answered = 0;
  char own[WORD] = "", word[WORD] = "";
  int error;

  if (gethostname(own, sizeof own - 1)) snprintf(own, sizeof own, "?");
  if (m->me == 'a') {
    error = tell(m, 1, own);
    return error ? error : hear(m, 1, wait_ms, host);
  }
  for (;;) {
    error = look(m, 1, host);
    if (error && error != ENOENT && error != ESTALE) return error;
    if (error == 0 && m->theirs != answered) {
      clean(m, false);
      answered = m->theirs;
      error = tell(m, 1, own);
      if (error) return error;
    }
    if (answered && look(m, 2, word) == 0) return 0; /* a goes on: it has our answer */
    if (now_ms() > until) return ETIMEDOUT;
    nap_ms(POLL_MS);
  }
}

static int lock(const meeting *m, short type)
{
  return hf_lock_range(m->fd, F_SETLK, type, HF_RESERVED, 1);
}

static int lock_within(const meeting *m, int limit_ms, int *waited_ms)
{
  int64_t began = now_ms();
  int error;

  while ((error = lock(m, F_WRLCK)) != 0 && hf_lock_refused(error) && now_ms() - began < limit_ms) nap_ms(5);
  *waited_ms = (int)(now_ms() - began);
  return error;
}

/* a writes under the lock, b reads under the lock. */
static int step_data(meeting *m)
{
  char text[64] = "", expect[64], name[PATH_MAX], word[WORD];
  int error, waited;

  snprintf(name, sizeof name, "%s-data", m->prefix);
  snprintf(expect, sizeof expect, "data %016" PRIx64, m->me == 'a' ? m->mine : m->theirs);
  if (m->me == 'a') {
    m->fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    error = m->fd < 0 ? errno : lock(m, F_WRLCK);
    if (!error && (pwrite(m->fd, expect, sizeof expect, 4096) != sizeof expect || fsync(m->fd)))
      error = errno;
    if (m->fd >= 0) (void)lock(m, F_UNLCK);
    if (!error) error = tell(m, 2, "written");
    if (!error) error = hear(m, 2, STEP_MS, word);
    if (error) return error;
    add(m, "data", strcmp(word, "same") == 0,
        strcmp(word, "same") == 0 ? "what was written here was read there"
                                  : "what was written here under the lock was not read there");
    return 0;
  }
  m->fd = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  error = m->fd < 0 ? errno : lock_within(m, FREE_MS, &waited);
  if (error) return error;
  if (pread(m->fd, text, sizeof text, 4096) < 0) error = errno;
  (void)lock(m, F_UNLCK);
  add(m, "data", !error && memcmp(text, expect, strlen(expect)) == 0,
      !error && memcmp(text, expect, strlen(expect)) == 0
          ? "what was written there was read here"
          : "what was written there under the lock is not seen here");
  return tell(m, 2, memcmp(text, expect, strlen(expect)) == 0 ? "same" : "other");
}

/* One side holds, the other must be refused and then be let in. Two messages each way: steps `step`, +1. */
static int step_lock(meeting *m, bool holder, int step, int *waited_ms)
{
  const char *name = holder ? "lock-here" : "lock-there";
  char word[WORD];
  int error;

  *waited_ms = 0;
  if (holder) {
    error = lock_within(m, FREE_MS, waited_ms);
    if (!error) error = tell(m, step, "held");
    if (!error) error = hear(m, step, STEP_MS, word);
    (void)lock(m, F_UNLCK);
    if (!error) error = tell(m, step + 1, "free");
    if (error) return error;
    add(m, name, strcmp(word, "refused") == 0,
        strcmp(word, "refused") == 0 ? "a lock held here keeps the other host out"
                                     : "a lock held here does not keep the other host out");
    return hear(m, step + 1, STEP_MS, word);
  }
  error = hear(m, step, STEP_MS, word);
  if (error) return error;
  error = lock(m, F_WRLCK);
  if (error == 0) (void)lock(m, F_UNLCK);
  add(m, name, hf_lock_refused(error),
      hf_lock_refused(error) ? "a lock held there keeps this host out"
      : error                ? strerror(error)
                             : "a lock held there does not keep this host out");
  error = tell(m, step, error == 0 ? "granted" : "refused");
  if (!error) error = hear(m, step + 1, STEP_MS, word);
  if (error) return error;
  error = lock_within(m, FREE_MS, waited_ms);
  (void)lock(m, F_UNLCK);
  if (error) add(m, "released", false, "a lock that was released there is not free after 10 s");
  return tell(m, step + 1, "done");
}

static int count(const meeting *m, int *worst_ms)
{
  int64_t until = now_ms() + COUNT_MS;
  int done = 0;

  while (now_ms() < until) {
    unsigned value = 0;
    int waited, error = lock_within(m, (int)(until - now_ms()), &waited);
    if (waited > *worst_ms) *worst_ms = waited;
    if (error) {
      if (hf_lock_refused(error)) break;
      return -error;
    }
    if (pread(m->fd, &value, sizeof value, 0) < 0) error = errno;
    value++;
    if (!error && pwrite(m->fd, &value, sizeof value, 0) != sizeof value) error = errno ? errno : EIO;
    if (lock(m, F_UNLCK) && !error) error = errno;
    if (error) return -error;
    done++;
    nap_ms(1 + (int)(m->mine >> (done % 32) & 3)); /* or one side takes all the turns */
  }
  return done;
}

static int step_counter(meeting *m, int step, int *worst_ms)
{
  unsigned value = 0;
  char word[WORD];
  int mine, other, error, waited;

  error = tell(m, step, "count");
  if (!error) error = hear(m, step, STEP_MS, word);
  if (error) return error;
  mine = count(m, worst_ms);
  snprintf(word, sizeof word, "%d", mine);
  error = tell(m, step + 1, word);
  if (!error) error = hear(m, step + 1, STEP_MS, word);
  if (error) return error;
  other = atoi(word);
  error = lock_within(m, FREE_MS, &waited);
  if (!error && pread(m->fd, &value, sizeof value, 0) < 0) error = errno;
  (void)lock(m, F_UNLCK);
  if (mine < 0 || other < 0 || error)
    hf_step_add(m->report, "counter", HOLDFAST_STEP_FAILED, "%s host failed: %s",
                mine < 0 || error ? "this" : "the other",
                strerror(error      ? error
                         : mine < 0 ? -mine
                                    : -other));
  else if ((unsigned)(mine + other) != value)
    hf_step_add(m->report, "counter", HOLDFAST_STEP_FAILED,
                "%d changes here and %d there under the lock, and %u are found", mine, other, value);
  else if (mine == 0 || other == 0)
    hf_step_add(m->report, "counter", HOLDFAST_STEP_SKIPPED, "%s host never got the lock in %d s",
                mine ? "the other" : "this", COUNT_MS / 1000);
  else
    hf_step_add(m->report, "counter", HOLDFAST_STEP_PASSED, "%d changes here, %d there, none lost", mine,
                other);
  return 0;
}

/* A plain look, as plain SQLite looks for a journal: b has learned that there is none, then a makes it. */
static int step_name(meeting *m, int step)
{
  char name[PATH_MAX], word[WORD];
  int64_t began;
  struct stat st;
  int fd, error;

  snprintf(name, sizeof name, "%s-name", m->prefix);
  if (m->me == 'a') {
    error = hear(m, step, STEP_MS, word);
    if (error) return error;
    fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0 || write(fd, "x", 1) != 1) error = errno;
    if (fd >= 0) close(fd);
    return error ? error : tell(m, step, "made");
  }
  (void)stat(name, &st); /* it is not there, and this client will remember that */
  error = tell(m, step, "looked");
  if (!error) error = hear(m, step, STEP_MS, word);
  if (error) return error;
  for (began = now_ms(); stat(name, &st) && now_ms() - began < NAME_MS;) nap_ms(20);
  if (now_ms() - began < NAME_MS)
    hf_step_add(m->report, "new-name", HOLDFAST_STEP_PASSED, "a new file there is seen here after %d ms",
                (int)(now_ms() - began));
  else
    hf_step_add(
        m->report, "new-name", HOLDFAST_STEP_EXPECTED,
        "a new file there is not seen here for %d s and longer: plain SQLite misses the journal of a crashed "
        "writer, holdfast asks the server (NFS: lookupcache=positive helps plain programs)",
        NAME_MS / 1000);
  return 0;
}

static int play(meeting *m)
{
  int waited[2] = {0, 0}, worst = 0, error = step_data(m);

  if (!error) error = step_lock(m, m->me == 'a', 3, &waited[0]);
  if (!error) error = step_lock(m, m->me == 'b', 5, &waited[1]);
  if (!error) error = step_counter(m, 7, &worst);
  for (int i = 0; i < 2; i++)
    if (waited[i] > worst) worst = waited[i];
  if (!error && worst > STALL_MS)
    hf_step_add(m->report, "stall", HOLDFAST_STEP_EXPECTED,
                "one lock took %d ms: on Samba, \"posix locking = no\" for the share cures that%s", worst,
                m->smb ? "" : ", if this is one");
  return error;
}

int holdfast_selftest_hosts(const char *prefix, int as, int smb, int wait_s, holdfast_selftest_report *report)
{
  holdfast_selftest_report found = {
      .struct_size = sizeof found, .excludes = -1, .kernel_records = -1, .maps = -1};
  char host[WORD] = "", own[WORD] = "";
  meeting m = {.prefix = prefix,
               .me = (char)as,
               .other = as == 'a' ? 'b' : 'a',
               .smb = smb != 0,
               .fd = -1,
               .report = &found};
  int error;

  if (!prefix || strlen(prefix) > PATH_MAX - 16 || (as != 'a' && as != 'b') || wait_s < 1 || !report ||
      report->struct_size < sizeof found)
    return SQLITE_MISUSE;
  if (getrandom(&m.mine, sizeof m.mine, 0) != sizeof m.mine) return SQLITE_IOERR;
  clean(&m, as == 'a');
  error = meet(&m, wait_s * 1000, host);
  if (!error) {
    (void)gethostname(own, sizeof own - 1);
    hf_step_add(&found, "hosts", strcmp(own, host) ? HOLDFAST_STEP_PASSED : HOLDFAST_STEP_EXPECTED,
                strcmp(own, host) ? "the other host is %s"
                                  : "both ran on %s: this says nothing about a second host",
                host);
    error = play(&m);
  }
  if (!error) error = step_name(&m, STEPS + 1);
  if (m.fd >= 0) close(m.fd);
  if (as == 'b' || error)
    clean(&m, as == 'b' && !error); /* b is the last to look: it removes all, later than a */
  if (error && found.count > 0)
    hf_step_add(&found, "answer", HOLDFAST_STEP_FAILED, "the test could not be finished: %s",
                error == ETIMEDOUT ? "the other host stopped answering" : strerror(error));
  for (int i = 0; i < found.count; i++)
    if (strncmp(found.steps[i].name, "lock-", 5) == 0)
      found.excludes = found.excludes != 0 && found.steps[i].result == HOLDFAST_STEP_PASSED;
  errno = error;
  if (error && found.count == 0) return error == ETIMEDOUT ? SQLITE_BUSY : SQLITE_CANTOPEN;
  found.struct_size = report->struct_size;
  *report = found;
  return SQLITE_OK;
}
