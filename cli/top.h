/*
 * top.h - what the files of `holdfast top` share.
 *
 * One look is made by a child (top_look.c), because a server that does not answer must not take the keys
 * away; it fills shared memory. top.c compares it with the looks before (top_view.c) and shows it
 * (top_show.c).
 */
#ifndef CLI_TOP_H
#define CLI_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli.h"
#include "holdfast.h"

enum { TOP_ROWS = 256, TOP_SOURCES = 64, TOP_FILES = 16, TOP_PATH = 1024 };

/* The locks of HOLDFAST_METRICS, and the syncs. */
enum { TOP_SHARED, TOP_READ0 = 7, TOP_READ4 = 11, TOP_SYNC_DB = 13, TOP_LOCKS = 16, TOP_LIMITS = 14 };
extern const char *const top_names[TOP_LOCKS];

typedef struct top_count {
  uint64_t granted, busy, errors, abandoned, held, waiting;
  uint64_t up_to[TOP_LIMITS]; /* waits (of syncs: their time) of at most 4^n us; the last: all */
} top_count;

/* What one file of HOLDFAST_METRICS says about the database. */
typedef struct top_sample {
  long long written_ns; /* since 1970 */
  int connections;
  double oldest_reader_s;
  top_count of[TOP_LOCKS];
} top_sample;

typedef struct top_source {
  int64_t pid; /* 0: named by --metrics */
  char file[TOP_PATH];
  char problem[80]; /* why it says nothing, "" = it does */
  top_sample now;
} top_source;

typedef struct top_file {
  long long bytes, written_ns; /* bytes -1: there is none */
} top_file;

typedef struct top_look {
  long long time_ns, clock_ns; /* since 1970, and of a clock that nobody sets */
  int rc;                      /* of holdfast_database_users() */
  int complete, count, left_off;
  char unseen[512];
  holdfast_holder at[TOP_ROWS];
  top_file db, wal, journal;
  int source_count;
  top_source sources[TOP_SOURCES];
} top_look;

/* top_look.c: the child's work */
void top_look_at(const char *path, const char *const *files, int file_count, top_look *out);
/* top_metrics.c: read one file; root: in front of the paths that it names. Sets problem or now. */
void top_read_metrics(const char *path, const char *root, top_source *io);
/* top_<os>.c: the metrics file of a process, as a name that leads to it from here, and its root; false: none
 */
bool top_metrics_of(int64_t pid, char *file, size_t file_size, char *root, size_t root_size);

/* ---------------------------------------------------------------- top_view.c: several looks */

typedef struct top_row {
  holdfast_holder is; /* mode "waits": a process that says so itself */
  int connections;    /* that wait */
  long long first_ns; /* seen at every look since */
} top_row;

typedef struct top_rate {
  double granted_per_s, busy_per_s;
  bool known; /* the rates */
  top_count sum, window;
  int limit; /* index of the bucket that the 99th percentile of the window lies in, -1: no waits */
} top_rate;

/* What one source has said so far. */
typedef struct top_history {
  int64_t pid;
  char file[TOP_PATH];
  top_sample first, before, now;
  bool has_before, here;
} top_history;

typedef struct top_view {
  const char *path;
  top_look *look;
  top_row rows[TOP_ROWS];
  int row_count;
  int processes, talking; /* have it open; of those, how many say what they do */
  int waiting;            /* connections */
  double wal_per_s;
  bool wal_rate_known;
  long long wal_before, wal_before_ns;
  double oldest_reader_s; /* -1: none */
  int64_t oldest_reader_pid;
  bool oldest_reader_exact; /* said by the process; else: at every look for so long */
  top_rate of[TOP_LOCKS];
  top_history *history; /* TOP_SOURCES */
  int history_count;
  long looks;
  long long window_ns; /* begin of the window, since 1970. The first look's is the programs' start */
} top_view;

void top_view_add(top_view *view, top_look *look);
void top_view_anew(top_view *view); /* waits are counted from here */
int top_judge(const top_view *view);
long long top_limit_us(int limit); /* -1: none */
bool top_is_used(const top_rate *rate);
long long top_written_ns(const top_look *look); /* the last time that one of its files was; 0: not known */
long long top_seen_ns(const top_view *view, const top_row *row);
bool top_only_open(const holdfast_holder *is);
/* 0: holds a lock; 1: waits; 2: holds DMS, as everybody does who has a WAL database open; 3: has it open. */
int top_order(const holdfast_holder *is);

/* ---------------------------------------------------------------- top_show.c */

typedef struct top_screen {
  bool live;
  int columns, lines; /* when live */
  double every_s;
} top_screen;
void top_show(const top_view *view, const top_screen *screen);
/* top_json.c */
void top_show_json(const top_view *view);

#endif
