/*
 * metrics.c - the counters as Prometheus text and as JSON.
 *
 * Names, units and buckets follow Prometheus' conventions: seconds and bytes, `_total` on counters, powers of
 * four from a microsecond to 16 s. Labels are the file, the lock and the result, never SQL or a process.
 * Each metric is one block, as the format wants it, so the files are gone through once for each.
 */
#include "metrics.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stattable.h"

enum { LIMITS = 13, FIRST_LIMIT_NS = 1000 };

typedef struct view {
  const hf_path_stats *all;
  double tick_ns;
  hf_text *out;
} view;

static void add_label(hf_text *out, const char *value)
{
  hf_text_add(out, "\"");
  for (const char *p = value; *p; p++)
    if (*p == '\n')
      hf_text_add(out, "\\n");
    else
      hf_text_add(out, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
  hf_text_add(out, "\"");
}

static void head(const view *v, const char *name, const char *type, const char *help)
{
  hf_text_add(v->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void sample(const view *v, const char *name, const char *path, const char *key, const char *value)
{
  hf_text_add(v->out, "%s{path=", name);
  add_label(v->out, path);
  if (key) hf_text_add(v->out, ",%s=\"%s\"", key, value);
}

static bool is_used(const hf_stat_total *of)
{
  return of->granted + of->busy + of->errors > 0;
}

static long long wal_bytes(const char *path)
{
  char name[HF_SIDECAR_PATH];
  struct stat st;

  if (snprintf(name, sizeof name, "%s-wal", path) >= (int)sizeof name || stat(name, &st)) return 0;
  return (long long)st.st_size;
}

/* One histogram of one lock: what lies in a bucket of ours counts for its middle. */
static void histogram(const view *v, const char *name, const char *path, const char *key, const char *value,
                      const uint64_t *buckets, uint64_t sum)
{
  double limit_ns = FIRST_LIMIT_NS;
  uint64_t count = 0;
  unsigned at = 0;
  char full[64];

  snprintf(full, sizeof full, "%s_bucket", name);
  for (int i = 0; i < LIMITS; i++, limit_ns *= 4) {
    for (; at < HF_BUCKETS && (double)hf_bucket_ticks(at) * v->tick_ns <= limit_ns; at++)
      count += buckets[at];
    sample(v, full, path, key, value);
    hf_text_add(v->out, ",le=\"%g\"} %llu\n", limit_ns / 1e9, (unsigned long long)count);
  }
  for (; at < HF_BUCKETS; at++) count += buckets[at];
  sample(v, full, path, key, value);
  hf_text_add(v->out, ",le=\"+Inf\"} %llu\n", (unsigned long long)count);
  snprintf(full, sizeof full, "%s_sum", name);
  sample(v, full, path, key, value);
  hf_text_add(v->out, "} %.9f\n", (double)sum * v->tick_ns / 1e9);
  snprintf(full, sizeof full, "%s_count", name);
  sample(v, full, path, key, value);
  hf_text_add(v->out, "} %llu\n", (unsigned long long)count);
}

static void number(const view *v, const char *name, const char *path, const char *lock, const char *more,
                   uint64_t value)
{
  sample(v, name, path, "lock", lock);
  hf_text_add(v->out, "%s} %llu\n", more, (unsigned long long)value);
}

typedef void each_lock(const view *v, const char *path, const char *lock, const hf_stat_total *of);

static void attempts(const view *v, const char *path, const char *lock, const hf_stat_total *of)
{
  number(v, "holdfast_lock_attempts_total", path, lock, ",result=\"granted\"", of->granted);
  number(v, "holdfast_lock_attempts_total", path, lock, ",result=\"busy\"", of->busy);
  number(v, "holdfast_lock_attempts_total", path, lock, ",result=\"error\"", of->errors);
}
static void abandoned(const view *v, const char *path, const char *lock, const hf_stat_total *of)
{
  number(v, "holdfast_lock_abandoned_total", path, lock, "", of->abandoned);
}
static void held(const view *v, const char *path, const char *lock, const hf_stat_total *of)
{
  number(v, "holdfast_lock_held", path, lock, "", of->held);
}
static void waiting(const view *v, const char *path, const char *lock, const hf_stat_total *of)
{
  number(v, "holdfast_lock_waiting", path, lock, "", of->waiting);
}
static void waits(const view *v, const char *path, const char *lock, const hf_stat_total *of)
{
  histogram(v, "holdfast_lock_wait_seconds", path, "lock", lock, of->wait, of->wait_sum);
}
static void holds(const view *v, const char *path, const char *lock, const hf_stat_total *of)
{
  histogram(v, "holdfast_lock_hold_seconds", path, "lock", lock, of->hold, of->hold_sum);
}

static void locks(const view *v, each_lock *each)
{
  for (const hf_path_stats *one = v->all; one; one = one->next)
    for (int i = 0; i < HF_STAT_SYNC_DB; i++)
      if (is_used(&one->of[i])) each(v, one->path, hf_stat_name(i), &one->of[i]);
}

static void syncs(const view *v)
{
  static const char *const files[] = {"db", "journal", "wal"};

  head(v, "holdfast_sync_seconds", "histogram", "Time of the calls that sync a file.");
  for (const hf_path_stats *one = v->all; one; one = one->next)
    for (int i = 0; i < 3; i++) {
      const hf_stat_total *of = &one->of[HF_STAT_SYNC_DB + i];
      if (is_used(of))
        histogram(v, "holdfast_sync_seconds", one->path, "file", files[i], of->hold, of->hold_sum);
    }
}

/* The longest that a reader has been reading: SHARED, or a read mark of WAL mode, where SHARED is held all
 * the time. */
static uint64_t oldest_reader(const hf_path_stats *one)
{
  bool wal = false;
  uint64_t oldest = 0;

  for (int i = HF_LOCK_WAL_READ0; i < HF_LOCK_DMS; i++) {
    wal = wal || is_used(&one->of[i]);
    if (one->of[i].oldest > oldest) oldest = one->of[i].oldest;
  }
  return wal ? oldest : one->of[HF_LOCK_SHARED].oldest;
}

static void gauges(const view *v)
{
  head(v, "holdfast_wal_bytes", "gauge", "Size of the -wal file.");
  for (const hf_path_stats *one = v->all; one; one = one->next) {
    sample(v, "holdfast_wal_bytes", one->path, NULL, NULL);
    hf_text_add(v->out, "} %lld\n", wal_bytes(one->path));
  }
  head(v, "holdfast_connections", "gauge", "Open connections of this process.");
  for (const hf_path_stats *one = v->all; one; one = one->next) {
    sample(v, "holdfast_connections", one->path, NULL, NULL);
    hf_text_add(v->out, "} %d\n", one->open);
  }
  head(v, "holdfast_oldest_reader_seconds", "gauge", "Age of the oldest read transaction of this process.");
  for (const hf_path_stats *one = v->all; one; one = one->next) {
    sample(v, "holdfast_oldest_reader_seconds", one->path, NULL, NULL);
    hf_text_add(v->out, "} %.6f\n", (double)oldest_reader(one) * v->tick_ns / 1e9);
  }
}

void hf_metrics_text(hf_vfs *owner, hf_text *out)
{
  hf_path_stats *all;
  view v = {.tick_ns = hf_tick_ns(), .out = out};

  if (hf_stats_of(owner, &all) != SQLITE_OK) {
    out->failed = true;
    return;
  }
  v.all = all;
  head(&v, "holdfast_build_info", "gauge", "What is running.");
  hf_text_add(out, "holdfast_build_info{version=\"%s\",sqlite=\"%s\"} 1\n", holdfast_version(),
              owner->api.libversion());
  head(&v, "holdfast_lock_attempts_total", "counter", "Locks that were asked for.");
  locks(&v, attempts);
  head(&v, "holdfast_lock_abandoned_total", "counter", "Waits that were given up.");
  locks(&v, abandoned);
  head(&v, "holdfast_lock_held", "gauge", "Connections that hold the lock now.");
  locks(&v, held);
  head(&v, "holdfast_lock_waiting", "gauge", "Connections that wait for the lock now.");
  locks(&v, waiting);
  head(&v, "holdfast_lock_wait_seconds", "histogram", "Waits, from the first busy answer on.");
  locks(&v, waits);
  head(&v, "holdfast_lock_hold_seconds", "histogram", "From the grant to the unlock.");
  locks(&v, holds);
  syncs(&v);
  gauges(&v);
  hf_path_stats_free(all);
}

/* ---------------------------------------------------------------- JSON */

static void json_lock(const view *v, const char *name, const hf_stat_total *of)
{
  const struct {
    const char *key;
    uint64_t value;
  } numbers[] = {{"attempts", of->granted + of->busy + of->errors},
                 {"granted", of->granted},
                 {"busy", of->busy},
                 {"errors", of->errors},
                 {"abandoned", of->abandoned},
                 {"held", of->held},
                 {"waiting", of->waiting}},
    times[] = {{"oldest_ns", of->oldest},
               {"wait_ns", of->wait_sum},
               {"wait_max_ns", of->wait_max},
               {"wait_p50_ns", hf_stat_percentile(of->wait, 0.5, of->wait_max)},
               {"wait_p99_ns", hf_stat_percentile(of->wait, 0.99, of->wait_max)},
               {"hold_ns", of->hold_sum},
               {"hold_max_ns", of->hold_max},
               {"hold_p50_ns", hf_stat_percentile(of->hold, 0.5, of->hold_max)},
               {"hold_p99_ns", hf_stat_percentile(of->hold, 0.99, of->hold_max)}};

  hf_text_add(v->out, "{\"lock\":\"%s\"", name);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    hf_text_add(v->out, ",\"%s\":%llu", numbers[i].key, (unsigned long long)numbers[i].value);
  for (size_t i = 0; i < sizeof times / sizeof *times; i++)
    hf_text_add(v->out, ",\"%s\":%llu", times[i].key,
                (unsigned long long)((double)times[i].value * v->tick_ns));
  hf_text_add(v->out, "}");
}

void hf_metrics_json(hf_vfs *owner, hf_text *out)
{
  hf_path_stats *all;
  view v = {.tick_ns = hf_tick_ns(), .out = out};
  const char *comma = "";

  if (hf_stats_of(owner, &all) != SQLITE_OK) {
    out->failed = true;
    return;
  }
  hf_text_add(out, "{\"version\":\"%s\",\"sqlite_version\":\"%s\",\"pid\":%lld,\"time\":%lld,\"files\":[",
              holdfast_version(), owner->api.libversion(), (long long)getpid(), (long long)time(NULL));
  for (const hf_path_stats *one = all; one; one = one->next) {
    hf_text_add(out, "%s{\"path\":", comma);
    hf_text_json(out, one->path);
    hf_text_add(out, ",\"connections\":%d,\"wal_bytes\":%lld,\"oldest_reader_ms\":%lld,\"locks\":[",
                one->open, wal_bytes(one->path), (long long)((double)oldest_reader(one) * v.tick_ns / 1e6));
    comma = "";
    for (int i = 0; i < HF_STATS; i++) {
      if (!is_used(&one->of[i])) continue;
      hf_text_add(out, "%s", comma);
      json_lock(&v, hf_stat_name(i), &one->of[i]);
      comma = ",";
    }
    hf_text_add(out, "]}");
    comma = ",";
  }
  hf_text_add(out, "]}\n");
  hf_path_stats_free(all);
}
