/*
 * top_show.c - what `holdfast top` shows: a screen of any size, or the same as plain text.
 */
#include <string.h>
#include <time.h>

#include "holders.h"
#include "top.h"

enum { NARROW = 40, NUMBER_BYTES = 32 };

typedef struct page {
  const top_view *view;
  const top_screen *screen;
  int left; /* lines of the screen */
} page;

/* ---------------------------------------------------------------- small things */

/* Where the screen ends, what comes later is written over the same line, and the foot over that. */
static void end_line(page *p)
{
  if (!p->screen->live)
    putchar('\n');
  else if (p->left <= 1)
    putchar('\r');
  else
    fputs("\033[K\n", stdout);
  p->left -= p->left > 1;
}

/* As many characters as there is room for. */
static void put_cut(const page *p, const char *text, int used)
{
  char cut[512];
  int room = p->screen->live ? p->screen->columns - used : (int)sizeof cut;
  size_t n = 0;

  while (text[n] && n + 5 < sizeof cut && (room > 0 || ((unsigned char)text[n] & 0xC0) == 0x80)) {
    room -= ((unsigned char)text[n] & 0xC0) != 0x80;
    cut[n] = text[n];
    n++;
  }
  cut[n] = 0;
  out_text(stdout, cut);
}

static const char *size_words(long long bytes, char *out)
{
  static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  double number = (double)bytes;
  int unit = 0;

  for (; unit < 5 && (number >= 999.5 || number <= -999.5); unit++) number /= 1000;
  (void)snprintf(out, NUMBER_BYTES, unit == 0 || number >= 99.5 ? "%.0f %s" : "%.1f %s", number, units[unit]);
  return out;
}

static const char *time_words(double seconds, char *out)
{
  if (seconds < 9.95)
    (void)snprintf(out, NUMBER_BYTES, "%.1f s", seconds > 0 ? seconds : 0.0);
  else if (seconds < 600)
    (void)snprintf(out, NUMBER_BYTES, "%.0f s", seconds);
  else if (seconds < 36000)
    (void)snprintf(out, NUMBER_BYTES, "%.0f min", seconds / 60);
  else
    (void)snprintf(out, NUMBER_BYTES, "%.0f h", seconds / 3600);
  return out;
}

static const char *clock_words(long long ns, char *out)
{
  time_t seconds = (time_t)(ns / 1000000000);
  struct tm parts;

  if (!localtime_r(&seconds, &parts) || !strftime(out, NUMBER_BYTES, "%H:%M:%S", &parts)) out[0] = 0;
  return out;
}

static const char *limit_words(int limit, char *out)
{
  long long us = top_limit_us(limit);

  if (limit < 0)
    (void)snprintf(out, NUMBER_BYTES, "-");
  else if (us < 0)
    (void)snprintf(out, NUMBER_BYTES, "> 16 s");
  else if (us < 1000)
    (void)snprintf(out, NUMBER_BYTES, "< %lld us", us);
  else if (us < 1000000)
    (void)snprintf(out, NUMBER_BYTES, "< %.0f ms", (double)us / 1e3);
  else
    (void)snprintf(out, NUMBER_BYTES, "< %.0f s", (double)us / 1e6);
  return out;
}

static const char *rate_words(double rate, bool known, char *out)
{
  (void)snprintf(out, NUMBER_BYTES, !known ? "-" : rate > 0 && rate < 9.95 ? "%.1f" : "%.0f", rate);
  return out;
}

/* ---------------------------------------------------------------- the head */

static void show_file(const char *name, const top_file *file)
{
  char text[NUMBER_BYTES];

  printf("%s %s", name, file->bytes < 0 ? "none" : size_words(file->bytes, text));
}

static void show_head(page *p)
{
  const top_view *view = p->view;
  const top_look *look = view->look;
  char text[NUMBER_BYTES];
  int used;

  used = printf("%s  ", clock_words(look->time_ns, text));
  put_cut(p, view->path, used);
  end_line(p);
  show_file("database", &look->db);
  show_file("   -wal", &look->wal);
  if (view->wal_rate_known && (view->wal_per_s >= 0.5 || view->wal_per_s <= -0.5))
    printf(" (%s%s/s)", view->wal_per_s > 0 ? "+" : "", size_words((long long)view->wal_per_s, text));
  show_file("   -journal", &look->journal);
  if (top_written_ns(look))
    printf("   written %s ago", time_words((double)(look->time_ns - top_written_ns(look)) / 1e9, text));
  end_line(p);
  printf("open in %d process%s   waiting %s", view->processes, view->processes == 1 ? "" : "es",
         view->talking ? "" : "not known");
  if (view->talking) printf("%d", view->waiting);
  if (view->oldest_reader_s >= 0)
    printf("   oldest reader %s%s (pid %lld)", time_words(view->oldest_reader_s, text),
           view->oldest_reader_exact ? "" : " at every look", (long long)view->oldest_reader_pid);
  else
    fputs("   no reader", stdout);
  end_line(p);
}

/* ---------------------------------------------------------------- who */

static bool is_doubled(const top_view *view, const top_row *row)
{
  bool wal = view->look->wal.bytes >= 0;

  if (strcmp(row->is.lock, "DMS") != 0 && !(wal && !strcmp(row->is.lock, "SHARED"))) return false;
  for (int i = 0; i < view->row_count; i++) {
    const holdfast_holder *other = &view->rows[i].is;
    if (other->pid == row->is.pid && top_order(other) < 2 && strcmp(other->lock, "SHARED") != 0) return true;
    if (other->pid == row->is.pid && !strcmp(row->is.lock, "SHARED") && !strcmp(other->lock, "DMS"))
      return true;
  }
  return false;
}

static void show_row(page *p, const top_row *row)
{
  char pid[NUMBER_BYTES] = "?", seen[NUMBER_BYTES], head[120];
  const holdfast_holder *is = &row->is;
  int used;

  if (is->pid > 0) (void)snprintf(pid, sizeof pid, "%lld", (long long)is->pid);
  used = snprintf(head, sizeof head, "%-11s %-5s %8s  ", top_only_open(is) ? "-" : is->lock,
                  top_only_open(is) ? "open" : is->mode, pid);
  out_toned(!strcmp(is->mode, "waits") ? TONE_WARN : TONE_PLAIN, head);
  (void)snprintf(head, sizeof head, "%-8s", is->state);
  out_toned(holder_is_stuck(is) ? TONE_BAD : TONE_PLAIN, head);
  used += 8 + printf(" %7s  ", time_words((double)top_seen_ns(p->view, row) / 1e9, seen));
  if (row->connections > 1) used += printf("(%d connections) ", row->connections);
  put_cut(p, holder_name(is), used);
  end_line(p);
}

/* At most `room` lines. */
static void show_rows(page *p, int room)
{
  const top_view *view = p->view;
  int all = 0, shown = 0;

  for (int i = 0; i < view->row_count; i++) all += !is_doubled(view, &view->rows[i]);
  if (all > room) room--;
  for (int order = 0; order <= 3; order++)
    for (int i = 0; i < view->row_count; i++) {
      const top_row *row = &view->rows[i];
      if (top_order(&row->is) != order || is_doubled(view, row) || shown >= room) continue;
      show_row(p, row);
      shown++;
    }
  if (shown < all || view->look->left_off) {
    printf("... and %d more", all - shown + view->look->left_off);
    end_line(p);
  }
}

/* ---------------------------------------------------------------- how much */

/* The five read marks are one line: which of them a reader takes means nothing to people. */
static void sum_marks(const top_view *view, top_rate *out)
{
  uint64_t all;

  *out = view->of[TOP_READ0];
  for (int i = TOP_READ0 + 1; i <= TOP_READ4; i++) {
    const top_rate *one = &view->of[i];
    out->granted_per_s += one->granted_per_s;
    out->busy_per_s += one->busy_per_s;
    out->sum.granted += one->sum.granted;
    out->sum.waiting += one->sum.waiting;
    for (int k = 0; k < TOP_LIMITS; k++) out->window.up_to[k] += one->window.up_to[k];
  }
  all = out->window.up_to[TOP_LIMITS - 1];
  out->limit = -1;
  for (int i = TOP_LIMITS - 1; all && i >= 0 && (double)out->window.up_to[i] >= 0.99 * (double)all; i--)
    out->limit = i;
}

static bool is_quiet(const top_rate *rate)
{
  return rate->known && rate->granted_per_s + rate->busy_per_s <= 0 && !rate->sum.waiting && rate->limit < 0;
}

static int collect_rates(const top_view *view, const char **names, top_rate *out)
{
  int count = 0;

  for (int i = 0; i < TOP_LOCKS; i++) {
    if (i > TOP_READ0 && i <= TOP_READ4) continue;
    if (i == TOP_READ0)
      sum_marks(view, &out[count]);
    else
      out[count] = view->of[i];
    if (!top_is_used(&out[count]) || is_quiet(&out[count])) continue;
    names[count++] = i == TOP_READ0 ? "WAL_READ" : top_names[i];
  }
  return count;
}

static void show_rates(page *p, const char *const *names, const top_rate *rates, int count, int room)
{
  char begin[NUMBER_BYTES], granted[NUMBER_BYTES], busy[NUMBER_BYTES], limit[NUMBER_BYTES], sum[NUMBER_BYTES];
  const char *since = "the programs' start";

  if (!count || room < 2) return;
  if (p->view->looks > 1) since = clock_words(p->view->window_ns, begin);
  printf("%-12s %10s %9s %8s %9s   p99 since %s; of syncs their time", "LOCK", "GRANTED/s", "BUSY/s",
         "WAITING", "P99 WAIT", since);
  end_line(p);
  for (int i = 0; i < count && i < room - 1; i++) {
    const top_rate *one = &rates[i];
    (void)snprintf(sum, sizeof sum, one->sum.waiting ? "%llu" : "-", (unsigned long long)one->sum.waiting);
    printf("%-12s %10s %9s %8s %9s", names[i], rate_words(one->granted_per_s, one->known, granted),
           rate_words(one->busy_per_s, one->known, busy), sum, limit_words(one->limit, limit));
    end_line(p);
  }
}

/* ---------------------------------------------------------------- what else is to be said */

static const top_row *stuck_row(const top_view *view)
{
  for (int i = 0; i < view->row_count; i++)
    if (holder_is_stuck(&view->rows[i].is) && !top_only_open(&view->rows[i].is)) return &view->rows[i];
  return NULL;
}

static void show_notes(page *p)
{
  const top_view *view = p->view;
  const top_row *stuck = stuck_row(view);

  if (stuck) {
    printf("pid %lld is %s: whoever waits for it waits in vain", (long long)stuck->is.pid, stuck->is.state);
    if (!strcmp(stuck->is.state, "stopped"))
      printf("; `kill -CONT %lld` lets it go on", (long long)stuck->is.pid);
    end_line(p);
  }
  for (int i = 0; i < view->look->source_count; i++) {
    const top_source *one = &view->look->sources[i];
    if (!one->problem[0]) continue;
    put_cut(p, p->screen->live && strrchr(one->file, '/') ? strrchr(one->file, '/') + 1 : one->file,
            (int)strlen(one->problem) + 1);
    printf(" %s", one->problem);
    end_line(p);
  }
  if (!view->talking && !view->look->source_count && view->processes) {
    fputs("Rates and waits: of programs that run with HOLDFAST_METRICS (holdfast help top)", stdout);
    end_line(p);
  }
  if (!view->look->complete) {
    fputs("Not all can be seen: ", stdout);
    put_cut(p, view->look->unseen, 21);
    end_line(p);
  }
}

static int note_lines(const top_view *view)
{
  int lines = !view->look->complete;

  lines += stuck_row(view) != NULL;
  for (int i = 0; i < view->look->source_count; i++) lines += view->look->sources[i].problem[0] != 0;
  return lines + (!view->talking && !view->look->source_count && view->processes);
}

/* ---------------------------------------------------------------- the whole */

static void show_body(page *p)
{
  const char *names[TOP_LOCKS];
  top_rate rates[TOP_LOCKS];
  int count = collect_rates(p->view, names, rates), notes = note_lines(p->view), room = TOP_ROWS, tables;

  if (p->screen->live) {
    /* Head, a line before each table, foot. The rows get what is left, and at least a third. */
    tables = p->left - notes - (notes > 0) - 3 - (count ? 2 : 0);
    room = tables - count > tables / 3 ? tables - count : tables / 3;
    if (count > tables - room) count = tables - room > 0 ? tables - room : 0;
  }
  end_line(p);
  printf("%-11s %-5s %8s  %-8s %7s  %s", "LOCK", "MODE", "PID", "STATE", "SEEN FOR", "COMMAND");
  end_line(p);
  show_rows(p, room > 0 ? room : 0);
  if (count) end_line(p);
  show_rates(p, names, rates, count, count + 1);
  if (notes) end_line(p);
  show_notes(p);
}

void top_show(const top_view *view, const top_screen *screen)
{
  page p = {view, screen, screen->live ? screen->lines : 0};

  if (screen->live) fputs("\033[H", stdout);
  show_head(&p);
  if (view->look->rc) {
    fputs(holders_failed(view->look->rc), stdout);
    end_line(&p);
  } else {
    show_body(&p);
  }
  if (!screen->live) return;
  fputs("\033[J", stdout);
  printf("\033[%d;1H", screen->lines);
  fputs("q quit   r count waits from now on   space look now\033[K", stdout);
}
