/*
 * salvage.c - `holdfast salvage DB NEW`: holdfast_salvage() with an account and an exit code.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "cli.h"
#include "holdfast.h"

static const char help[] =
    "holdfast salvage DB NEW [--json]\n"
    "\n"
    "Puts everything that can be read of a damaged database into the new database NEW, and says of each "
    "table how\n"
    "many rows were kept and what is missing. DB is only read. Rows that fit nowhere else are in the table\n"
    "lost_and_found of NEW. Needs room for two more databases beside NEW. What is written over in a row that "
    "still\n"
    "looks like a row cannot be noticed: compare with a backup.\n"
    "\n"
    "  --json  one JSON object: path, new, verdict (ok, incomplete or failed), code, reason, tables\n"
    "\n"
    "Exit codes: 0 everything was there; 1 NEW was made and something is missing; 3 it could not be done and "
    "there\n"
    "is no NEW; 64 usage.\n";

/* Kept until the code is known: the verdict comes first. */
typedef struct account {
  holdfast_salvage_table *tables;
  int count;
  bool failed;
} account;

static void keep(const holdfast_salvage_table *table, void *arg)
{
  account *a = arg;
  holdfast_salvage_table *grown = realloc(a->tables, (size_t)(a->count + 1) * sizeof *grown);

  a->failed = a->failed || !grown;
  if (!grown) return;
  a->tables = grown;
  a->tables[a->count++] = *table;
}

static void show_text(const account *a, int rc, const char *path, const char *new_path, const char *message)
{
  if (rc != SQLITE_OK && rc != SQLITE_CORRUPT) {
    fputs("holdfast: ", stderr);
    out_text(stderr, path);
    fprintf(stderr, ": not salvaged: ");
    out_text(stderr, message);
    fputc('\n', stderr);
    return;
  }
  for (int i = 0; i < a->count; i++) {
    const holdfast_salvage_table *t = &a->tables[i];
    printf("%10lld rows  ", (long long)t->rows_kept);
    out_text(stdout, t->name);
    if (t->rows_stray) printf(", %lld of them from pages without a parent", (long long)t->rows_stray);
    if (t->rows_by_index) printf(", %lld of them from an index", (long long)t->rows_by_index);
    if (t->rows_lost) printf(", %lld lost but for what an index had", (long long)t->rows_lost);
    if (t->rows_broken) printf(", %lld broken", (long long)t->rows_broken);
    if (t->pages_lost) printf(", %lld pages lost", (long long)t->pages_lost);
    if (t->note[0]) {
      fputs("; ", stdout);
      out_text(stdout, t->note);
    }
    fputc('\n', stdout);
  }
  out_toned(rc == SQLITE_OK ? TONE_GOOD : TONE_WARN,
            rc == SQLITE_OK ? "Everything was there: " : "Not everything was there: ");
  out_text(stdout, new_path);
  if (message[0]) {
    fputs(" (", stdout);
    out_text(stdout, message);
    fputc(')', stdout);
  }
  fputc('\n', stdout);
}

static void show_json(const account *a, int rc, const char *path, const char *new_path, const char *message)
{
  json j = {0};

  json_begin(&j, NULL, '{');
  json_text(&j, "path", path);
  json_text(&j, "new", new_path);
  json_text(&j, "verdict", rc == SQLITE_OK ? "ok" : rc == SQLITE_CORRUPT ? "incomplete" : "failed");
  json_number(&j, "code", rc);
  json_text(&j, "reason", message[0] ? message : NULL);
  json_begin(&j, "tables", '[');
  for (int i = 0; i < a->count; i++) {
    const holdfast_salvage_table *t = &a->tables[i];
    json_begin(&j, NULL, '{');
    json_text(&j, "name", t->name);
    json_number(&j, "rows_kept", t->rows_kept);
    json_number(&j, "rows_stray", t->rows_stray);
    json_number(&j, "rows_by_index", t->rows_by_index);
    json_number(&j, "rows_lost", t->rows_lost);
    json_number(&j, "rows_broken", t->rows_broken);
    json_number(&j, "pages_lost", t->pages_lost);
    json_text(&j, "note", t->note[0] ? t->note : NULL);
    json_end(&j, '}');
  }
  json_end(&j, ']');
  json_end(&j, '}');
}

static int run(int argc, char **argv)
{
  static const struct option names[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
  holdfast_config config = {.struct_size = sizeof config, .log = "none"}; /* what it says, we print */
  char message[700] = "";
  account a = {0};
  bool as_json = false;
  int c, rc;

  opterr = 0;
  while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
    if (c != 'j') return usage_error("salvage", "unknown option: %s", argv[optind - 1]);
    as_json = true;
  }
  if (optind + 2 != argc || !argv[optind][0] || !argv[optind + 1][0])
    return usage_error("salvage", "salvage takes a database and the name of a new one");
  rc = holdfast_init(&config);
  if (rc == SQLITE_OK)
    rc = holdfast_salvage(argv[optind], argv[optind + 1], keep, &a, message, sizeof message);
  else
    snprintf(message, sizeof message,
             "holdfast cannot start: is a HOLDFAST_* variable set to an unknown value?");
  if (rc == SQLITE_MISUSE && !message[0]) snprintf(message, sizeof message, "a name is too long");
  (as_json ? show_json : show_text)(&a, rc, argv[optind], argv[optind + 1], message);
  free(a.tables);
  return rc == SQLITE_OK ? EXIT_FINE : rc == SQLITE_CORRUPT ? EXIT_WARNING : EXIT_FAILED;
}

const command command_salvage = {"salvage", "DB NEW     everything that can be read of a damaged database",
                                 run, help};
