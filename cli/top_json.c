/*
 * top_json.c - what `holdfast top --json` prints: one object for each look.
 */
#include "holders.h"
#include "top.h"

static void json_rows(json *j, const top_view *view, const char *key, int order, int to_order)
{
  json_begin(j, key, '[');
  for (int i = 0; i < view->row_count; i++) {
    const holdfast_holder *is = &view->rows[i].is;
    if (top_order(is) < order || top_order(is) > to_order) continue;
    json_begin(j, NULL, '{');
    if (!top_only_open(is)) json_text(j, "lock", is->lock);
    if (order == 0) json_text(j, "mode", is->mode);
    if (is->pid > 0)
      json_number(j, "pid", is->pid);
    else
      json_text(j, "pid", NULL);
    json_text(j, "command", *is->command ? is->command : NULL);
    json_text(j, "command_line", *is->command_line ? is->command_line : NULL);
    json_text(j, "state", *is->state ? is->state : NULL);
    if (order == 1) json_number(j, "connections", view->rows[i].connections);
    json_number(j, "seen_ms", top_seen_ns(view, &view->rows[i]) / 1000000);
    json_end(j, '}');
  }
  json_end(j, ']');
}

static void json_locks(json *j, const top_view *view)
{
  json_begin(j, "locks", '[');
  for (int i = 0; i < TOP_LOCKS; i++) {
    const top_rate *one = &view->of[i];
    if (!top_is_used(one)) continue;
    json_begin(j, NULL, '{');
    json_text(j, "lock", top_names[i]);
    json_number(j, "granted", (long long)one->sum.granted);
    json_number(j, "busy", (long long)one->sum.busy);
    json_number(j, "errors", (long long)one->sum.errors);
    json_number(j, "abandoned", (long long)one->sum.abandoned);
    json_number(j, "waiting", (long long)one->sum.waiting);
    if (one->known) {
      json_real(j, "granted_per_s", one->granted_per_s);
      json_real(j, "busy_per_s", one->busy_per_s);
    } else {
      json_text(j, "granted_per_s", NULL);
      json_text(j, "busy_per_s", NULL);
    }
    json_number(j, "waits", (long long)one->window.up_to[TOP_LIMITS - 1]);
    if (top_limit_us(one->limit) < 0)
      json_text(j, "wait_p99_us_max", NULL);
    else
      json_number(j, "wait_p99_us_max", top_limit_us(one->limit));
    json_end(j, '}');
  }
  json_end(j, ']');
}

static void json_sources(json *j, const top_view *view)
{
  json_begin(j, "metrics", '[');
  for (int i = 0; i < view->look->source_count; i++) {
    const top_source *one = &view->look->sources[i];
    json_begin(j, NULL, '{');
    json_text(j, "file", one->file);
    if (one->pid > 0)
      json_number(j, "pid", one->pid);
    else
      json_text(j, "pid", NULL);
    json_text(j, "problem", one->problem[0] ? one->problem : NULL);
    json_end(j, '}');
  }
  json_end(j, ']');
}

static void json_bytes(json *j, const char *key, const top_file *file)
{
  if (file->bytes < 0)
    json_text(j, key, NULL);
  else
    json_number(j, key, file->bytes);
}

static void json_oldest(json *j, const top_view *view)
{
  if (view->oldest_reader_s < 0) {
    json_text(j, "oldest_reader_ms", NULL);
    return;
  }
  json_number(j, "oldest_reader_ms", (long long)(view->oldest_reader_s * 1e3));
  json_number(j, "oldest_reader_pid", view->oldest_reader_pid);
  json_flag(j, "oldest_reader_exact", view->oldest_reader_exact);
}

void top_show_json(const top_view *view)
{
  static const char *const words[] = {"ok", "warning", "", "failed"};
  const top_look *look = view->look;
  json j = {0};

  json_begin(&j, NULL, '{');
  json_text(&j, "path", view->path);
  json_text(&j, "verdict", words[top_judge(view)]);
  json_text(&j, "reason", look->rc ? holders_failed(look->rc) : NULL);
  json_number(&j, "time_ms", look->time_ns / 1000000);
  json_flag(&j, "complete", look->rc ? -1 : look->complete);
  json_text(&j, "unseen", look->rc || look->complete ? NULL : look->unseen);
  json_bytes(&j, "database_bytes", &look->db);
  json_bytes(&j, "wal_bytes", &look->wal);
  json_bytes(&j, "journal_bytes", &look->journal);
  if (view->wal_rate_known)
    json_real(&j, "wal_bytes_per_s", view->wal_per_s);
  else
    json_text(&j, "wal_bytes_per_s", NULL);
  json_number(&j, "written_ms_ago", (look->time_ns - top_written_ns(look)) / 1000000);
  json_oldest(&j, view);
  json_number(&j, "processes", view->processes);
  json_rows(&j, view, "holders", 0, 0);
  json_rows(&j, view, "waiters", 1, 1);
  json_rows(&j, view, "open", 2, 3);
  json_locks(&j, view);
  json_sources(&j, view);
  json_end(&j, '}');
}
