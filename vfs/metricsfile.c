/*
 * metricsfile.c - HOLDFAST_METRICS: the counters in a file that is always whole.
 *
 * A thread of its own writes it every two seconds while a database is open, because a program that waits for
 * a lock, or holds one and does nothing, makes no call in which it could be written. The thread blocks all
 * signals, calls nothing of SQLite, and ends when no database is open any more. A forked child starts its
 * own with its first open.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fork.h"
#include "metrics.h"

enum { EVERY_MS = 2000, TURN_MS = 1, TURN_MS_MAX = 1000 };

void hf_metrics_from_env(char *out, size_t size)
{
  const char *where = secure_getenv("HOLDFAST_METRICS");
  char cwd[PATH_MAX];

  *out = 0;
  if (!where || !*where) return;
  if (*where == '/')
    snprintf(out, size, "%s", where);
  else if (getcwd(cwd, sizeof cwd))
    snprintf(out, size, "%s/%s", cwd, where);
}

/* "%p" is the number of this process, so that several do not write to one file. */
static bool expand(const char *pattern, char *out, size_t size)
{
  const char *mark = strstr(pattern, "%p");
  int n =
      mark ? snprintf(out, size, "%.*s%lld%s", (int)(mark - pattern), pattern, (long long)getpid(), mark + 2)
           : snprintf(out, size, "%s", pattern);
  return n > 0 && (size_t)n < size;
}

static bool write_all(int fd, const char *text, size_t length)
{
  while (length > 0) {
    ssize_t n = write(fd, text, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text += n;
    length -= (size_t)n;
  }
  return true;
}

/* Beside the file under another name, then renamed: whoever reads finds the old or the new one, whole. */
static void write_file(hf_vfs *owner)
{
  char name[PATH_MAX], fresh[PATH_MAX + 32];
  hf_text text = {0};
  size_t length;
  int fd;

  if (!expand(owner->metrics, name, sizeof name)) return;
  length = strlen(name);
  if (length > 5 && strcmp(name + length - 5, ".json") == 0)
    hf_metrics_json(owner, &text);
  else
    hf_metrics_text(owner, &text);
  /* When the wait for the turn was too long, two may do this at the same time. */
  snprintf(fresh, sizeof fresh, "%s.%lld", name, (long long)syscall(SYS_gettid));
  fd = text.failed ? -1 : open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0644);
  if (fd >= 0) {
    bool whole = write_all(fd, text.at, text.used);
    if (close(fd) != 0 || !whole || rename(fresh, name) != 0) (void)unlink(fresh); /* the old one stays */
  }
  hf_text_free(&text);
}

/*
 * One at a time, or the thread could put what it read before the last close over what that close has written.
 * Not a mutex: a forked child would have it locked for ever, and a file on a dead server must not keep a
 * close waiting.
 */
static void write_in_turn(hf_vfs *owner)
{
  const struct timespec nap = {0, TURN_MS * 1000000L};
  unsigned me = hf_generation(), seen;
  bool mine = false;

  for (int i = 0; i < TURN_MS_MAX / TURN_MS && !mine; i++) {
    seen =
        atomic_load(&owner->metrics_writing); /* another generation: the parent's, whose thread is not here */
    mine = seen != me && atomic_compare_exchange_strong(&owner->metrics_writing, &seen, me);
    if (!mine) (void)nanosleep(&nap, NULL);
  }
  write_file(owner);
  if (mine) atomic_store(&owner->metrics_writing, 0);
}

static bool any_open(hf_vfs *owner)
{
  bool any;

  pthread_mutex_lock(&owner->mutex);
  any = owner->nodes != NULL;
  if (!any) owner->metrics_generation = 0; /* the next open starts another thread */
  pthread_mutex_unlock(&owner->mutex);
  return any;
}

static void *writer(void *arg)
{
  const struct timespec nap = {EVERY_MS / 1000, EVERY_MS % 1000 * 1000000L};
  hf_vfs *owner = arg;

  while (any_open(owner)) {
    write_in_turn(owner);
    (void)nanosleep(&nap, NULL);
  }
  return NULL;
}

void hf_metrics_opened(hf_vfs *owner)
{
  sigset_t all, before;
  pthread_t thread;
  bool start;

  if (!owner->metrics[0]) return;
  pthread_mutex_lock(&owner->mutex);
  start = owner->metrics_generation != hf_generation();
  owner->metrics_generation = hf_generation();
  pthread_mutex_unlock(&owner->mutex);
  if (!start) return;
  (void)sigfillset(&all);
  if (pthread_sigmask(SIG_SETMASK, &all, &before)) return;
  if (pthread_create(&thread, NULL, writer, owner) == 0) (void)pthread_detach(thread);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void hf_metrics_closed(hf_vfs *owner)
{
  if (owner->metrics[0]) write_in_turn(owner);
}
