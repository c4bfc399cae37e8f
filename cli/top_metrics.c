/*
 * top_metrics.c - reads what a program writes with HOLDFAST_METRICS: Prometheus text, as vfs/metrics.c makes
 * it and docs/locks.md lists it. The file may be anybody's, so anything may be in it: what is not understood
 * is left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "top.h"

enum { METRICS_MAX = 4 * 1024 * 1024, LABEL_MAX = 1024 };

const char *const top_names[TOP_LOCKS] = {
    "SHARED",    "RESERVED",  "PENDING",   "EXCLUSIVE", "WAL_WRITE", "WAL_CKPT", "WAL_RECOVER",  "WAL_READ0",
    "WAL_READ1", "WAL_READ2", "WAL_READ3", "WAL_READ4", "DMS",       "SYNC_DB",  "SYNC_JOURNAL", "SYNC_WAL"};

typedef struct line {
  char name[64];
  char path[LABEL_MAX], lock[16], result[16], le[24], file[16];
  double value;
} line;

/* ---------------------------------------------------------------- one line */

/* key="value", with \\, \" and \n. Returns what comes behind it, NULL = it is no label. */
static const char *parse_label(const char *at, line *out)
{
  const struct {
    const char *key;
    char *to;
    size_t size;
  } known[] = {{"path", out->path, sizeof out->path},
               {"lock", out->lock, sizeof out->lock},
               {"result", out->result, sizeof out->result},
               {"le", out->le, sizeof out->le},
               {"file", out->file, sizeof out->file}};
  size_t key = strcspn(at, "=\n"), used = 0, size = 0;
  char *to = NULL;

  if (at[key] != '=' || at[key + 1] != '"') return NULL;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strlen(known[i].key) == key && strncmp(known[i].key, at, key) == 0) {
      to = known[i].to;
      size = known[i].size;
    }
  for (at += key + 2; *at && *at != '"' && *at != '\n'; at++) {
    char letter = *at;
    if (letter == '\\' && at[1]) letter = *++at == 'n' ? '\n' : *at;
    if (to && used + 1 >= size) return NULL;
    if (to) to[used++] = letter;
  }
  if (to) to[used] = 0;
  return *at == '"' ? at + 1 : NULL;
}

static bool parse(const char *at, line *out)
{
  size_t name = strcspn(at, "{ \n");
  char *end;

  out->path[0] = out->lock[0] = out->result[0] = out->le[0] = out->file[0] = 0;
  if (*at == '#' || at[name] != '{' || name >= sizeof out->name) return false;
  memcpy(out->name, at, name);
  out->name[name] = 0;
  at += name;
  do {
    at = parse_label(at + 1, out);
    if (!at) return false;
  } while (*at == ',');
  if (at[0] != '}' || at[1] != ' ') return false;
  out->value = strtod(at + 2, &end);
  return end != at + 2 && out->value >= 0;
}

/* ---------------------------------------------------------------- what it means */

static int lock_of(const line *is)
{
  char name[24];

  if (is->lock[0]) {
    for (int i = 0; i < TOP_SYNC_DB; i++)
      if (strcmp(top_names[i], is->lock) == 0) return i;
    return -1;
  }
  for (int i = TOP_SYNC_DB; i < TOP_LOCKS; i++) {
    static const char *const files[] = {"db", "journal", "wal"};
    (void)snprintf(name, sizeof name, "%s", files[i - TOP_SYNC_DB]);
    if (strcmp(name, is->file) == 0) return i;
  }
  return -1;
}

/* 1e-06 is the first, each is four times the one before. */
static int limit_of(const char *le)
{
  double limit = 1e-6, value;

  if (strcmp(le, "+Inf") == 0) return TOP_LIMITS - 1;
  value = strtod(le, NULL);
  for (int i = 0; i < TOP_LIMITS - 1; i++, limit *= 4)
    if (value > limit * 0.99 && value < limit * 1.01) return i;
  return -1;
}

static uint64_t whole(double value)
{
  return value < 1e18 ? (uint64_t)value : 0;
}

static void take_count(const line *is, top_count *to)
{
  int limit;

  if (!strcmp(is->name, "holdfast_lock_attempts_total")) {
    uint64_t *which = !strcmp(is->result, "granted") ? &to->granted
                      : !strcmp(is->result, "busy")  ? &to->busy
                                                     : &to->errors;
    *which = whole(is->value);
  } else if (!strcmp(is->name, "holdfast_lock_abandoned_total")) {
    to->abandoned = whole(is->value);
  } else if (!strcmp(is->name, "holdfast_lock_held")) {
    to->held = whole(is->value);
  } else if (!strcmp(is->name, "holdfast_lock_waiting")) {
    to->waiting = whole(is->value);
  } else if (!strcmp(is->name, "holdfast_lock_wait_seconds_bucket") ||
             !strcmp(is->name, "holdfast_sync_seconds_bucket")) {
    limit = limit_of(is->le);
    if (limit >= 0) to->up_to[limit] = whole(is->value);
  } else if (!strcmp(is->name, "holdfast_sync_seconds_count")) {
    to->granted = whole(is->value);
  }
}

static void take(const line *is, top_sample *to)
{
  int lock = lock_of(is);

  if (lock >= 0)
    take_count(is, &to->of[lock]);
  else if (!strcmp(is->name, "holdfast_connections"))
    to->connections = is->value < 1e9 ? (int)is->value : 0;
  else if (!strcmp(is->name, "holdfast_oldest_reader_seconds"))
    to->oldest_reader_s = is->value;
}

/* Are these the same file? The names may be those of another container. */
static bool same_file(const char *root, const char *path, const struct stat *db)
{
  char name[2 * TOP_PATH];
  struct stat st;

  return (size_t)snprintf(name, sizeof name, "%s%s", root, path) < sizeof name && stat(name, &st) == 0 &&
         st.st_dev == db->st_dev && st.st_ino == db->st_ino;
}

static const char *parse_all(const char *text, const char *root, const struct stat *db, top_sample *out)
{
  char last[LABEL_MAX] = "";
  bool is_it = false, any = false, ours = false;
  line one;

  for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
    if (strncmp(at, "holdfast_", 9) != 0 || !parse(at, &one)) continue;
    ours = true;
    if (!one.path[0]) continue;
    if (strcmp(one.path, last) != 0) {
      is_it = same_file(root, one.path, db);
      memcpy(last, one.path, sizeof last);
    }
    if (is_it) take(&one, out);
    any = any || is_it;
  }
  return any ? "" : ours ? "says nothing about this database" : "has no metrics of holdfast in it";
}

/* ---------------------------------------------------------------- the file */

/* A regular file of a sensible size, NULL = *problem says why not. */
static char *read_text(const char *name, const struct stat *db, long long *written_ns, const char **problem)
{
  int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  struct stat st;
  char *text = NULL;
  ssize_t n, used = 0;

  *problem = errno == ENOENT ? "is not there yet" : "cannot be read";
  if (fd < 0) return NULL;
  *problem = "is no file of metrics";
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= METRICS_MAX &&
      !(st.st_dev == db->st_dev && st.st_ino == db->st_ino))
    text = malloc((size_t)st.st_size + 1);
  while (text && used < st.st_size && (n = read(fd, text + used, (size_t)(st.st_size - used))) > 0) used += n;
  close(fd);
  if (text) text[used] = 0;
  *written_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
  return text;
}

void top_read_metrics(const char *path, const char *root, top_source *io)
{
  const char *problem = "";
  char *text;
  struct stat db;

  memset(&io->now, 0, sizeof io->now);
  if (stat(path, &db) != 0) return;
  text = read_text(io->file, &db, &io->now.written_ns, &problem);
  if (text && *text == '{')
    problem = "is JSON; without .json in its name it is text, which is read here";
  else if (text)
    problem = parse_all(text, root, &db, &io->now);
  (void)snprintf(io->problem, sizeof io->problem, "%s", problem);
  free(text);
}
