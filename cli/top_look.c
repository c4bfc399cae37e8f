/*
 * top_look.c - one look at a database for `holdfast top`. Runs in a child, which may hang with a server.
 *
 * Sizes and times come from stat(), locks and users from /proc, all else from the files that the programs
 * write themselves. Nothing of the database is opened.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "top.h"

static long long ns_of(struct timespec t)
{
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long now_ns(clockid_t clock)
{
  struct timespec t;

  clock_gettime(clock, &t);
  return ns_of(t);
}

static top_file file_of(const char *path, const char *suffix)
{
  char name[4200];
  struct stat st;

  if ((size_t)snprintf(name, sizeof name, "%s%s", path, suffix) >= sizeof name || stat(name, &st) != 0)
    return (top_file){.bytes = -1};
  return (top_file){.bytes = st.st_size, .written_ns = ns_of(st.st_mtim)};
}

/* The same name by which others would call it, for people and to find doubles. */
static void settle_name(char *name, size_t size)
{
  char *real = realpath(name, NULL);

  if (real) (void)snprintf(name, size, "%s", real);
  free(real);
}

static void add_source(const char *path, int64_t pid, const char *file, const char *root, top_look *out)
{
  top_source *made = &out->sources[out->source_count];

  if (out->source_count == TOP_SOURCES) return;
  memset(made, 0, sizeof *made);
  made->pid = pid;
  (void)snprintf(made->file, sizeof made->file, "%s", file);
  top_read_metrics(path, root, made);
  settle_name(made->file, sizeof made->file);
  for (int i = 0; i < out->source_count; i++) {
    top_source *other = &out->sources[i];
    if (strcmp(other->file, made->file) != 0) continue;
    if (pid) /* else it was named by --metrics, too */
      (void)snprintf(other->problem, sizeof other->problem,
                     "is written by several processes: it needs a %%p");
    return;
  }
  out->source_count++;
}

/* Once for each process. */
static bool is_new(const top_look *out, int row)
{
  if (out->at[row].pid <= 0) return false;
  for (int i = 0; i < row; i++)
    if (out->at[i].pid == out->at[row].pid) return false;
  return true;
}

static void look_at_metrics(const char *path, const char *const *files, int file_count, top_look *out)
{
  char file[TOP_PATH], root[64];

  for (int i = 0; i < out->count; i++)
    if (is_new(out, i) && top_metrics_of(out->at[i].pid, file, sizeof file, root, sizeof root))
      add_source(path, out->at[i].pid, file, root, out);
  for (int i = 0; i < file_count; i++) add_source(path, 0, files[i], "", out);
}

void top_look_at(const char *path, const char *const *files, int file_count, top_look *out)
{
  holdfast_holders users = {.struct_size = sizeof users};

  char *real = realpath(path, NULL); /* SQLite puts the -wal beside the file that a link leads to */

  if (real) path = real;
  out->time_ns = now_ns(CLOCK_REALTIME);
  out->clock_ns = now_ns(CLOCK_MONOTONIC);
  out->db = file_of(path, "");
  out->wal = file_of(path, "-wal");
  out->journal = file_of(path, "-journal");
  out->rc = holdfast_database_users(path, &users);
  out->complete = users.complete;
  out->count = out->rc ? 0 : users.count < TOP_ROWS ? users.count : TOP_ROWS;
  out->left_off = out->rc ? 0 : users.count - out->count;
  (void)snprintf(out->unseen, sizeof out->unseen, "%s", users.unseen);
  if (out->count) memcpy(out->at, users.at, (size_t)out->count * sizeof *out->at);
  out->source_count = 0;
  if (!out->rc) look_at_metrics(path, files, file_count, out);
  holdfast_holders_free(&users);
  free(real);
}
