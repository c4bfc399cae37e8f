/*
 * top_view.c - what several looks say together: since when a lock is seen, how fast a counter grows, and
 * where the waits of the time since then lie.
 *
 * Metrics are written every two seconds, not when we look. So a rate is taken between two versions of a file,
 * over the time between them, and a version that is too old says nothing any more.
 */
#include <string.h>

#include "holders.h"
#include "top.h"

enum { STALE_S = 8 };

long long top_limit_us(int limit)
{
  return limit < 0 || limit == TOP_LIMITS - 1 ? -1 : 1LL << 2 * limit;
}

/* ---------------------------------------------------------------- locks */

static const top_row *row_before(const top_row *rows, int count, const holdfast_holder *is)
{
  for (int i = 0; i < count; i++)
    if (rows[i].is.pid == is->pid && !strcmp(rows[i].is.lock, is->lock) && !strcmp(rows[i].is.mode, is->mode))
      return &rows[i];
  return NULL;
}

static const holdfast_holder *process_of(const top_look *look, int64_t pid)
{
  for (int i = 0; i < look->count; i++)
    if (look->at[i].pid == pid) return &look->at[i];
  return NULL;
}

static void add_waits(top_view *view, const top_source *source)
{
  for (int i = 0; i < TOP_SYNC_DB; i++) {
    const holdfast_holder *process = process_of(view->look, source->pid);
    uint64_t waiting = source->now.of[i].waiting;
    top_row *row = &view->rows[view->row_count];
    if (!waiting) continue;
    view->waiting += (int)waiting;
    if (view->row_count == TOP_ROWS) continue;
    memset(row, 0, sizeof *row);
    if (process) row->is = *process;
    (void)snprintf(row->is.lock, sizeof row->is.lock, "%s", top_names[i]);
    (void)snprintf(row->is.mode, sizeof row->is.mode, "waits");
    row->connections = (int)waiting;
    view->row_count++;
  }
}

static bool is_stale(const top_look *look, const top_sample *sample)
{
  return look->time_ns - sample->written_ns > STALE_S * 1000000000LL;
}

static void merge_rows(top_view *view)
{
  static top_row before[TOP_ROWS];
  int before_count = view->row_count;

  memcpy(before, view->rows, sizeof before);
  view->row_count = view->waiting = 0;
  for (int i = 0; i < view->look->count; i++)
    view->rows[view->row_count++] = (top_row){view->look->at[i], 0, 0};
  for (int i = 0; i < view->look->source_count; i++)
    if (!view->look->sources[i].problem[0]) add_waits(view, &view->look->sources[i]);
  for (int i = 0; i < view->row_count; i++) {
    const top_row *same = row_before(before, before_count, &view->rows[i].is);
    view->rows[i].first_ns = same ? same->first_ns : view->look->clock_ns;
  }
}

static void count_processes(top_view *view)
{
  const top_look *look = view->look;

  view->processes = view->talking = 0;
  for (int i = 0; i < look->count; i++)
    view->processes += look->at[i].pid > 0 && process_of(look, look->at[i].pid) == &look->at[i];
  for (int i = 0; i < look->source_count; i++) view->talking += !look->sources[i].problem[0];
}

/* A process says it itself; of others it is known for how long every look has found the same lock. */
static void find_oldest_reader(top_view *view)
{
  const top_look *look = view->look;
  bool wal = look->wal.bytes >= 0;

  view->oldest_reader_s = -1;
  for (int i = 0; i < look->source_count; i++) {
    const top_source *source = &look->sources[i];
    if (source->problem[0] || source->now.oldest_reader_s <= view->oldest_reader_s ||
        source->now.oldest_reader_s <= 0)
      continue;
    view->oldest_reader_s = source->now.oldest_reader_s;
    view->oldest_reader_pid = source->pid;
    view->oldest_reader_exact = true;
  }
  for (int i = 0; i < view->row_count; i++) {
    const holdfast_holder *is = &view->rows[i].is;
    double seen_s = (double)(look->clock_ns - view->rows[i].first_ns) / 1e9;
    bool reads = wal ? !strncmp(is->lock, "WAL_READ", 8) : !strcmp(is->lock, "SHARED");
    if (!reads || strcmp(is->mode, "read") != 0 || seen_s <= view->oldest_reader_s) continue;
    view->oldest_reader_s = seen_s;
    view->oldest_reader_pid = is->pid;
    view->oldest_reader_exact = false;
  }
}

/* ---------------------------------------------------------------- counters */

static uint64_t grown(uint64_t now, uint64_t before)
{
  return now >= before ? now - before : now; /* it was set back */
}

static void add_sum(top_count *to, const top_count *now)
{
  to->granted += now->granted;
  to->busy += now->busy;
  to->errors += now->errors;
  to->abandoned += now->abandoned;
  to->held += now->held;
  to->waiting += now->waiting;
}

static void add_window(top_count *to, const top_count *now, const top_count *first)
{
  bool set_back = now->up_to[TOP_LIMITS - 1] < first->up_to[TOP_LIMITS - 1];

  for (int i = 0; i < TOP_LIMITS; i++)
    to->up_to[i] += set_back ? now->up_to[i] : grown(now->up_to[i], first->up_to[i]);
}

static int percentile_99(const top_count *of)
{
  uint64_t all = of->up_to[TOP_LIMITS - 1];

  for (int i = 0; all && i < TOP_LIMITS; i++)
    if ((double)of->up_to[i] >= 0.99 * (double)all) return i;
  return -1;
}

static void add_rates(top_view *view, const top_history *one)
{
  double seconds = (double)(one->now.written_ns - one->before.written_ns) / 1e9;
  bool known = one->has_before && seconds > 0;

  for (int i = 0; i < TOP_LOCKS; i++) {
    const top_count *now = &one->now.of[i];
    top_rate *to = &view->of[i];
    add_sum(&to->sum, now);
    add_window(&to->window, now, &one->first.of[i]);
    if (!known) continue;
    to->known = true;
    to->granted_per_s += (double)grown(now->granted, one->before.of[i].granted) / seconds;
    to->busy_per_s += (double)grown(now->busy, one->before.of[i].busy) / seconds;
  }
}

static top_history *history_of(top_view *view, const top_source *source)
{
  top_history *one = NULL;

  for (int i = 0; i < view->history_count; i++) {
    one = &view->history[i];
    if (one->pid == source->pid && strcmp(one->file, source->file) == 0) return one;
  }
  one = NULL;
  for (int i = 0; i < view->history_count && !one; i++)
    if (!view->history[i].here) one = &view->history[i];
  if (!one && view->history_count < TOP_SOURCES) one = &view->history[view->history_count++];
  if (!one) return NULL;
  memset(one, 0, sizeof *one);
  one->pid = source->pid;
  memcpy(one->file, source->file, sizeof one->file);
  one->now = source->now;
  return one;
}

static void remember(top_history *one, const top_sample *sample)
{
  if (sample->written_ns != one->now.written_ns) {
    one->before = one->now;
    one->has_before = true;
  }
  one->now = *sample;
  one->here = true;
}

static void merge_sources(top_view *view)
{
  memset(view->of, 0, sizeof view->of);
  for (int i = 0; i < view->history_count; i++) {
    bool here = false;
    for (int k = 0; k < view->look->source_count && !here; k++)
      here = view->history[i].pid == view->look->sources[k].pid &&
             strcmp(view->history[i].file, view->look->sources[k].file) == 0;
    view->history[i].here = here;
  }
  for (int i = 0; i < view->look->source_count; i++) {
    const top_source *source = &view->look->sources[i];
    top_history *one = source->problem[0] ? NULL : history_of(view, source);
    if (!one) continue;
    remember(one, &source->now);
    add_rates(view, one);
  }
  for (int i = 0; i < TOP_LOCKS; i++) view->of[i].limit = percentile_99(&view->of[i].window);
}

/* ---------------------------------------------------------------- the whole */

static void mark_stale(top_look *look)
{
  for (int i = 0; i < look->source_count; i++) {
    top_source *one = &look->sources[i];
    if (!one->problem[0] && is_stale(look, &one->now))
      (void)snprintf(one->problem, sizeof one->problem, "was not written for %lld s: is the process stopped?",
                     (look->time_ns - one->now.written_ns) / 1000000000);
  }
}

static void measure_wal(top_view *view)
{
  const top_look *look = view->look;
  double seconds = (double)(look->clock_ns - view->wal_before_ns) / 1e9;

  view->wal_rate_known = view->looks > 0 && look->wal.bytes >= 0 && view->wal_before >= 0 && seconds > 0;
  if (view->wal_rate_known) view->wal_per_s = (double)(look->wal.bytes - view->wal_before) / seconds;
  view->wal_before = look->wal.bytes;
  view->wal_before_ns = look->clock_ns;
}

void top_view_add(top_view *view, top_look *look)
{
  view->look = look;
  mark_stale(look);
  measure_wal(view);
  merge_rows(view);
  count_processes(view);
  merge_sources(view);
  find_oldest_reader(view);
  if (view->looks++ == 0) top_view_anew(view);
}

/* Programs that come later have begun to wait later: all their waits count. */
void top_view_anew(top_view *view)
{
  view->window_ns = view->look->time_ns;
  for (int i = 0; i < view->history_count; i++) view->history[i].first = view->history[i].now;
}

int top_judge(const top_view *view)
{
  const top_look *look = view->look;

  if (look->rc) return EXIT_FAILED;
  if (!look->complete || look->left_off) return EXIT_WARNING;
  for (int i = 0; i < look->count; i++)
    if (holder_is_stuck(&look->at[i])) return EXIT_WARNING;
  return EXIT_FINE;
}

/* ---------------------------------------------------------------- for those who show it */

bool top_is_used(const top_rate *rate)
{
  return rate->sum.granted + rate->sum.busy + rate->sum.errors > 0;
}

long long top_written_ns(const top_look *look)
{
  const long long times[] = {look->db.written_ns, look->wal.bytes >= 0 ? look->wal.written_ns : 0,
                             look->journal.bytes >= 0 ? look->journal.written_ns : 0};
  long long last = 0;

  for (size_t i = 0; i < sizeof times / sizeof *times; i++)
    if (times[i] > last) last = times[i];
  return last;
}

long long top_seen_ns(const top_view *view, const top_row *row)
{
  return view->look->clock_ns - row->first_ns;
}

bool top_only_open(const holdfast_holder *is)
{
  return !is->mode[0];
}

int top_order(const holdfast_holder *is)
{
  if (!strcmp(is->mode, "waits")) return 1;
  if (top_only_open(is)) return 3;
  return !strcmp(is->lock, "DMS") ? 2 : 0;
}
