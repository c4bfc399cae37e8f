/*
 * report.c - what the preloaded library is told in HOLDFAST_EXEC, and what it says: one line for each SQLite
 * that it cannot reach and, where that was asked for, one line about each program at its end.
 *
 * Lines go where HOLDFAST_LOG says. Nothing here calls SQLite at the end: it may be unmapped by then.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload.h"

typedef struct options {
  bool report, require, alone;
  long first; /* pid of the program that `holdfast exec` became */
} options;

enum { LIBRARIES = 8, FILES = 1024, EXIT_NOT_REACHED = 3 };

typedef struct library {
  char path[256];
  char version[16]; /* "" = not reached */
} library;

static struct {
  library library[LIBRARIES];
  atomic_int seen, connections, files;
  _Atomic(uint_least64_t) file[FILES]; /* hashes of names: each database counts once */
  bool child;                          /* of a fork */
} counted;

const char *pl_environment(const char *name)
{
  size_t length = strlen(name);

  for (char **at = environ; at && *at; at++)
    if (strncmp(*at, name, length) == 0 && (*at)[length] == '=') return *at + length + 1;
  return NULL;
}

/* A word of a list that is divided by commas. */
static const char *word_in(const char *list, const char *word)
{
  size_t length = strlen(word);

  for (const char *at = list; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (strncmp(at, word, length) == 0) return at + length;
  return NULL;
}

static options read_options(void)
{
  const char *list = pl_environment("HOLDFAST_EXEC"), *first = list ? word_in(list, "report=") : NULL;

  return (options){.report = first != NULL,
                   .require = list && word_in(list, "require"),
                   .alone = list && word_in(list, "alone"),
                   .first = first ? strtol(first, NULL, 10) : 0};
}

/* As they were at the start: PHP frees its environment before it ends. A constructor that uses SQLite before
 * ours has run finds them all the same. */
static options kept;
static bool is_kept;

static options options_now(void)
{
  return is_kept ? kept : read_options();
}

static void write_line(const char *where, const char *line)
{
  int saved = errno, fd = STDERR_FILENO;
  ssize_t ignored = 0;

  if (strcmp(where, "stderr") != 0)
    fd = open(where, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
  if (fd >= 0) ignored = write(fd, line, strlen(line));
  if (fd >= 0 && fd != STDERR_FILENO) close(fd);
  (void)ignored; /* a log that cannot be written changes nothing for the program */
  errno = saved;
}

__attribute__((format(printf, 2, 0))) static void say(const char *where, const char *format, va_list args)
{
  char line[2048];
  int length = snprintf(line, sizeof line, "holdfast: ");

  vsnprintf(line + length, sizeof line - (size_t)length - 1, format, args);
  for (char *p = line; *p; p++)
    if ((unsigned char)*p < ' ' || *p == 0x7f) *p = '?';
  strcat(line, "\n");
  write_line(where, line);
}

/* HOLDFAST_LOG as in vfs/config.c. */
static char kept_log[512];

static const char *log_place(void)
{
  const char *where;

  if (kept_log[0]) return kept_log;
  where = pl_environment("HOLDFAST_LOG");
  return where && *where ? where : "stderr";
}

__attribute__((format(printf, 1, 2))) static void warn(const char *format, ...)
{
  va_list args;

  if (strcmp(log_place(), "none") == 0) return;
  va_start(args, format);
  say(log_place(), format, args);
  va_end(args);
}

/* ---------------------------------------------------------------- the report */

static bool is_new(const char *name)
{
  uint64_t hash = 14695981039346656037u; /* FNV-1a */

  for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 1099511628211u;
  if (hash == 0) hash = 1;
  for (int i = 0; i < FILES; i++) {
    uint_least64_t there = 0;
    if (atomic_compare_exchange_strong(&counted.file[i], &there, hash)) return true;
    if (there == hash) return false;
  }
  return true; /* more files than can be remembered: then each connection counts as one */
}

/* At the end of every open, while a report is wanted. Fails none. */
static int count_connection(sqlite3 *db, char **error, const sqlite3_api_routines *routines)
{
  const char *file = routines->db_filename(db, "main");
  char *vfs = NULL;

  (void)error;
  if (!file || !*file) return SQLITE_OK; /* in memory, or temporary */
  if (routines->file_control(db, "main", SQLITE_FCNTL_VFSNAME, &vfs) == SQLITE_OK && vfs) {
    if (strncmp(vfs, "holdfast", 8) == 0) {
      atomic_fetch_add(&counted.connections, 1);
      if (is_new(file)) atomic_fetch_add(&counted.files, 1);
    }
    routines->free(vfs);
  }
  return SQLITE_OK;
}

static void note(const char *path, const char *version)
{
  int n = atomic_fetch_add(&counted.seen, 1);

  if (n >= LIBRARIES) return;
  snprintf(counted.library[n].version, sizeof counted.library[n].version, "%s", version);
  snprintf(counted.library[n].path, sizeof counted.library[n].path, "%.255s", path);
}

void pl_note_reached(const pl_object *object, const char *version)
{
  note(object->path, version);
}

void pl_note_started(const sqlite3_api_routines *table)
{
  if (options_now().report)
    (void)table->auto_extension((void (*)(void))count_connection); /* without memory nothing is counted */
}

/* What was asked for is said although HOLDFAST_LOG is "none". */
__attribute__((format(printf, 1, 2))) static void say_anyway(const char *format, ...)
{
  const char *where = strcmp(log_place(), "none") == 0 ? "stderr" : log_place();
  va_list args;

  va_start(args, format);
  say(where, format, args);
  va_end(args);
}

void pl_note_missed(const pl_object *object, const char *why)
{
  note(object->path, "");
  if (!options_now().require) {
    warn("warned: %s: %s: its databases are not protected", object->path, why);
    return;
  }
  say_anyway("refused: %s: %s: ended before it opens a database", object->path, why);
  _exit(EXIT_NOT_REACHED); /* SQLite is still starting: no database is open in it */
}

static size_t name_libraries(char *text, size_t size)
{
  int n = atomic_load(&counted.seen);
  size_t used = 0;

  for (int i = 0; i < n && i < LIBRARIES && used < size; i++) {
    const library *one = &counted.library[i];
    int length =
        snprintf(text + used, size - used, one->version[0] ? "%sSQLite %s in %s" : "%snot reached%s: %s",
                 i ? ", " : "", one->version, one->path);
    used += (size_t)length;
  }
  return used;
}

__attribute__((destructor)) static void report_at_exit(void)
{
  options want = options_now();
  bool first = want.first == (long)getpid();
  int connections = atomic_load(&counted.connections), files = atomic_load(&counted.files);
  char libraries[1400] = "";

  if (!want.report) return;
  if (counted.child ? connections == 0 : !first && atomic_load(&counted.seen) == 0) return;
  if (name_libraries(libraries, sizeof libraries) == 0)
    say_anyway("report: %s (pid %ld): no SQLite was started", program_invocation_short_name, (long)getpid());
  else
    say_anyway("report: %s (pid %ld): %d connection%s to %d database%s under holdfast; %s",
               program_invocation_short_name, (long)getpid(), connections, connections == 1 ? "" : "s", files,
               files == 1 ? "" : "s", libraries);
}

/* A child counts what it opens itself. */
static void start_again(void)
{
  counted.child = true;
  atomic_store(&counted.connections, 0);
  atomic_store(&counted.files, 0);
  memset(counted.file, 0, sizeof counted.file);
}

/* ---------------------------------------------------------------- at the start */

/*
 * Programs that this one starts shall be left alone: our path goes out of LD_PRELOAD. In place, because
 * main() may have been handed the very array, and hands that on.
 */
static void leave_children_alone(void)
{
  char *list = (char *)pl_environment("LD_PRELOAD"), *end;

  if (!list) return;
  end = strpbrk(list, ": "); /* `holdfast exec` puts us first */
  if (end)
    memmove(list, end + 1, strlen(end + 1) + 1);
  else
    unsetenv("LD_PRELOAD");
}

__attribute__((constructor)) static void begin(void)
{
  kept = read_options();
  is_kept = true;
  snprintf(kept_log, sizeof kept_log, "%s", log_place());
  if (kept.alone) leave_children_alone();
  if (kept.report) (void)pthread_atfork(NULL, NULL, start_again); /* fails only without memory */
}
