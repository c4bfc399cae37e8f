/*
 * locks.c - `holdfast locks DB`: holdfast_lock_holders() as a table, with a sentence for what needs one.
 */
#include <getopt.h>
#include <string.h>

#include <sqlite3.h>

#include "holders.h"

static const char help[] =
    "holdfast locks DB [--json]\n"
    "\n"
    "Who holds a lock of this database now, by SQLite's names for them:\n"
    "\n"
    "  SHARED       reads (rollback journal); keeps a writer from finishing\n"
    "  RESERVED     is preparing a write; others may still read\n"
    "  PENDING      is waiting for readers to leave, and lets no new one in\n"
    "  EXCLUSIVE    writes the database file; nobody else may read\n"
    "  WAL_WRITE    is the writer of a WAL database\n"
    "  WAL_READn    reads a WAL database; holds back checkpoints\n"
    "  WAL_CKPT     is copying the -wal into the database\n"
    "  WAL_RECOVER  is building the index of the -wal anew\n"
    "  DMS          has the WAL database open, no more\n"
    "  OTHER        some other program has locked the whole file\n"
    "\n"
    "A level of the database file includes those before it. The database is never opened and nobody is\n"
    "disturbed. Run it as root to see the owners of other users' locks.\n"
    "\n"
    "  --json  one JSON object: path, verdict (ok, warning or failed), complete, unseen, holders\n"
    "\n"
    "Exit codes: 0 all is shown, 1 a holder is stopped or something could not be seen, 3 there is no such\n"
    "file, 64 usage.\n";

bool holder_is_stuck(const holdfast_holder *holder)
{
  return !strcmp(holder->state, "stopped") || !strcmp(holder->state, "frozen") ||
         !strcmp(holder->state, "traced");
}

static int judge(const holdfast_holders *all)
{
  if (!all->complete) return EXIT_WARNING;
  for (int i = 0; i < all->count; i++)
    if (holder_is_stuck(&all->at[i])) return EXIT_WARNING;
  return EXIT_FINE;
}

const char *holder_name(const holdfast_holder *holder)
{
  if (holder->command_line[0]) return holder->command_line;
  return holder->command[0] ? holder->command : "(cannot be seen)";
}

void show_holder(const holdfast_holder *holder)
{
  char pid[24] = "?", head[80];

  if (holder->pid) (void)snprintf(pid, sizeof pid, "%lld", (long long)holder->pid);
  (void)snprintf(head, sizeof head, "%-11s %-5s %8s  ", holder->lock, holder->mode, pid);
  out_toned(TONE_PLAIN, head);
  (void)snprintf(head, sizeof head, "%-8s", holder->state);
  out_toned(holder_is_stuck(holder) ? TONE_BAD : TONE_PLAIN, head);
  fputs("  ", stdout);
}

static void show_text(const char *path, const holdfast_holders *all)
{
  out_text(stdout, path);
  printf(all->count ? "\n%-11s %-5s %8s  %-8s  %s\n" : ": no lock is held\n", "LOCK", "MODE", "PID", "STATE",
         "COMMAND");
  for (int i = 0; i < all->count; i++) {
    show_holder(&all->at[i]);
    out_text(stdout, holder_name(&all->at[i]));
    putchar('\n');
  }
  for (int i = 0; i < all->count; i++) {
    const holdfast_holder *holder = &all->at[i];
    bool said = false;
    for (int k = 0; k < i; k++) said = said || all->at[k].pid == holder->pid;
    if (said || !holder_is_stuck(holder)) continue;
    printf("\npid %lld is %s: whoever waits for it waits in vain", (long long)holder->pid, holder->state);
    if (!strcmp(holder->state, "stopped"))
      printf("; `kill -CONT %lld` lets it go on", (long long)holder->pid);
    putchar('\n');
  }
  if (!all->complete) printf("\nNot all can be seen: %s.\n", all->unseen);
}

static void json_text_or_null(json *j, const char *key, const char *text)
{
  json_text(j, key, *text ? text : NULL);
}

static void number_or_null(json *j, const char *key, int64_t number, bool known)
{
  if (known)
    json_number(j, key, number);
  else
    json_text(j, key, NULL);
}

void json_holders(json *j, const holdfast_holders *all)
{
  json_begin(j, "holders", '[');
  for (int i = 0; i < all->count; i++) {
    const holdfast_holder *is = &all->at[i];
    json_begin(j, NULL, '{');
    json_text(j, "lock", is->lock);
    json_text(j, "mode", is->mode);
    number_or_null(j, "pid", is->pid, is->pid > 0);
    json_text_or_null(j, "command", is->command);
    json_text_or_null(j, "command_line", is->command_line);
    json_text(j, "state", is->state);
    json_end(j, '}');
  }
  json_end(j, ']');
}

static void show_json(const char *path, int code, const holdfast_holders *all, const char *reason)
{
  json j = {0};

  json_begin(&j, NULL, '{');
  json_text(&j, "path", path);
  json_text(&j, "verdict", code == EXIT_FINE ? "ok" : code == EXIT_WARNING ? "warning" : "failed");
  json_text(&j, "reason", reason);
  json_flag(&j, "complete", reason ? -1 : all->complete);
  json_text(&j, "unseen", !reason && !all->complete ? all->unseen : NULL);
  json_holders(&j, all);
  json_end(&j, '}');
}

const char *holders_failed(int rc)
{
  switch (rc) {
  case SQLITE_CANTOPEN: return "there is no such file, or it cannot be reached";
  case SQLITE_NOTFOUND: return "this system does not say who holds locks (no /proc)";
  default: return sqlite3_errstr(rc);
  }
}

static int run(int argc, char **argv)
{
  static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
  holdfast_holders all = {.struct_size = sizeof all};
  bool as_json = false;
  int c, rc, code;

  opterr = 0;
  while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (c != 'j') return usage_error("locks", "unknown option: %s", argv[optind - 1]);
    as_json = true;
  }
  if (optind + 1 != argc || !argv[optind][0]) return usage_error("locks", "locks takes one database");
  rc = holdfast_lock_holders(argv[optind], &all);
  code = rc ? EXIT_FAILED : judge(&all);
  if (as_json) {
    show_json(argv[optind], code, &all, rc ? holders_failed(rc) : NULL);
  } else if (rc) {
    fputs("holdfast: ", stderr);
    out_text(stderr, argv[optind]);
    fprintf(stderr, ": %s\n", holders_failed(rc));
  } else {
    show_text(argv[optind], &all);
  }
  holdfast_holders_free(&all);
  return code;
}

const command command_locks = {"locks", "DB         who holds a lock of this database?", run, help};
