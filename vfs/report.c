/*
 * report.c - the bounded ring of events and the one log line for each database and cause.
 *
 * Everything here may fail silently (a log that cannot be written, a message cut at its limit) and never
 * changes what SQLite is told. Reading the ring is in tables.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vfs.h"

enum { SAY_AGAIN_S = 3600 }; /* a cause that goes on is said once an hour, with a count */

static uint64_t key_of(const char *path, const char *cause)
{
  uint64_t hash = hf_hash(hf_hash(hf_hash(HF_HASH_BEGIN, path), "\n"), cause);
  return hash ? hash : 1;
}

/* May this be said now? *more is how often it was kept back since. A full table forgets its oldest line. */
static bool may_say(hf_vfs *owner, uint64_t key, time_t now, int every_s, unsigned *more)
{
  hf_cause *oldest = &owner->causes[0];

  for (int i = 0; i < HF_CAUSES; i++) {
    hf_cause *cause = &owner->causes[i];
    if (cause->key == key) {
      if (now - cause->said < every_s) {
        cause->suppressed++;
        return false;
      }
      *more = cause->suppressed;
      cause->said = now;
      cause->suppressed = 0;
      return true;
    }
    if (cause->key == 0 || cause->said < oldest->said) oldest = cause;
    if (cause->key == 0) break;
  }
  *oldest = (hf_cause){.key = key, .said = now};
  *more = 0;
  return true;
}

static void remember(hf_vfs *owner, const char *kind, const char *path, int code, const char *detail,
                     time_t now)
{
  hf_event *event = &owner->events[owner->event_seq % HF_EVENTS];

  event->seq = ++owner->event_seq;
  event->time = now;
  event->code = code;
  snprintf(event->kind, sizeof event->kind, "%s", kind);
  snprintf(event->path, sizeof event->path, "%s", path);
  snprintf(event->detail, sizeof event->detail, "%s", detail);
}

/* One write(2) of a whole line, so that lines of several processes do not mix. */
static void write_line(const char *where, const char *line)
{
  int fd, saved = errno;
  ssize_t ignored;

  if (strcmp(where, "none") == 0) return;
  if (strcmp(where, "stderr") == 0) {
    ignored = write(STDERR_FILENO, line, strlen(line));
  } else {
    fd = open(where, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
    if (fd >= 0) {
      ignored = write(fd, line, strlen(line));
      close(fd);
    }
  }
  (void)ignored; /* a log that cannot be written must not fail the call that is reported */
  errno = saved;
}

/* A file name may hold a line feed or an escape sequence: it must not forge lines or drive a terminal. */
static void one_line(char *line)
{
  for (char *p = line; *p; p++)
    if (((unsigned char)*p < ' ' && !(*p == '\n' && p[1] == 0)) || *p == 0x7f) *p = '?';
}

static void report(int every_s, hf_vfs *owner, const char *kind, const char *cause, const char *path,
                   int code, const char *format, va_list args)
{
  char detail[HF_EVENT_DETAIL], line[HF_EVENT_DETAIL + 1200], where[sizeof owner->log];
  time_t now = time(NULL);
  unsigned more = 0;
  bool say;

  vsnprintf(detail, sizeof detail, format, args);

  pthread_mutex_lock(&owner->mutex);
  say = may_say(owner, key_of(path, cause), now, every_s, &more);
  /* A refusal that a program retries in a loop is one event, too: a flood would push out the others. */
  if (say) remember(owner, kind, path, code, detail, now);
  memcpy(where, owner->log, sizeof where);
  pthread_mutex_unlock(&owner->mutex);
  if (!say) return;

  if (more)
    snprintf(line, sizeof line, "holdfast: %s: %.1000s: %s (and %u times more since it was last said)\n",
             kind, path, detail, more);
  else
    snprintf(line, sizeof line, "holdfast: %s: %.1000s: %s\n", kind, path, detail);
  one_line(line);
  write_line(where, line);
  owner->api.log(code ? code : SQLITE_NOTICE, "holdfast: %s: %s: %s", kind, path, detail);
}

void hf_report(hf_vfs *owner, const char *kind, const char *cause, const char *path, int code,
               const char *format, ...)
{
  va_list args;

  va_start(args, format);
  report(SAY_AGAIN_S, owner, kind, cause, path, code, format, args);
  va_end(args);
}

void hf_report_every(int seconds, hf_vfs *owner, const char *kind, const char *cause, const char *path,
                     int code, const char *format, ...)
{
  va_list args;

  va_start(args, format);
  report(seconds, owner, kind, cause, path, code, format, args);
  va_end(args);
}
