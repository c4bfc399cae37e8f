/*
 * salvage.c - everything that can be read of a damaged database, into a new file.
 *
 * The order of belief: rows in the tree of their table; rows on pages that nothing leads to any more, where
 * only one table can have lost them; whole rows that an index has; and all else that looks like a row, in
 * lost_and_found. The damaged database is copied first and never touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "salvage.h"

enum { NAME = 4200 };

typedef struct hf_salvage {
  hf_image image;
  hf_schema schema;
  hf_target target;
  hf_gap *gaps;
  int gap_count;
  char message[600];
} hf_salvage;

typedef struct hf_part {
  hf_salvage *all;
  hf_object *object, *index;
  int64_t kept;
} hf_part;

static void say(void *arg, const char *line)
{
  hf_salvage *s = arg;
  size_t used = strlen(s->message);

  (void)snprintf(s->message + used, sizeof s->message - used, "%s%s", used ? "; " : "", line);
}

/* ---------------------------------------------------------------- tables */

static bool table_row(void *arg, const hf_cell_row *row)
{
  hf_part *part = arg;

  return hf_target_row(&part->all->target, part->object, row, &part->kept);
}

static void salvage_table(hf_salvage *s, int number)
{
  hf_object *o = &s->schema.objects[number];
  hf_part part = {.all = s, .object = o};
  hf_walk walk = {.image = &s->image,
                  .row = table_row,
                  .arg = &part,
                  .owner = number,
                  .gaps = s->gaps,
                  .gap_count = &s->gap_count};

  if (strcasecmp(o->name, "sqlite_sequence") == 0)
    (void)sqlite3_exec(s->target.db, "DELETE FROM sqlite_sequence", NULL, NULL, NULL);
  hf_walk_tree(&walk, o->root, o->without_rowid);
  o->account.rows_kept += part.kept;
  o->account.rows_broken += walk.broken;
  o->account.pages_lost += walk.pages_lost;
}

/* The one table that has a gap in which all rowids of this page lie. -1: none, -2: several. */
static int owner_of(const hf_salvage *s, int64_t low, int64_t high, int fields)
{
  int found = -1;

  for (int i = 0; i < s->gap_count; i++) {
    const hf_gap *gap = &s->gaps[i];
    const hf_object *o = &s->schema.objects[gap->owner];
    if (low < gap->low || high > gap->high || o->without_rowid || !o->made || fields > o->stored) continue;
    if (found >= 0 && found != gap->owner) return -2;
    found = gap->owner;
  }
  return found;
}

typedef struct hf_look {
  int64_t low, high;
  int fields;
  bool any;
} hf_look;

static bool look_row(void *arg, const hf_cell_row *row)
{
  hf_look *look = arg;
  hf_field *f = malloc(HF_FIELDS * sizeof *f);
  int n = f ? hf_record_read(row->payload, row->size, f) : -1;

  if (n > look->fields) look->fields = n;
  if (!look->any || row->rowid < look->low) look->low = row->rowid;
  if (!look->any || row->rowid > look->high) look->high = row->rowid;
  look->any = true;
  free(f);
  return true;
}

static bool stray_row(void *arg, const hf_cell_row *row)
{
  hf_part *part = arg;

  return hf_target_lost(&part->all->target, "a page that nothing leads to", row);
}

static void salvage_strays(hf_salvage *s)
{
  for (uint32_t page = 2; page <= s->image.pages; page++) {
    hf_look look = {0};
    hf_part part = {.all = s};
    hf_walk walk = {.image = &s->image, .row = look_row, .arg = &look};
    int owner;
    if (s->image.seen[page] || !hf_is_table_leaf(&s->image, page)) continue;
    hf_walk_leaf(&walk, page);
    owner = look.any ? owner_of(s, look.low, look.high, look.fields) : -1;
    walk = (hf_walk){.image = &s->image, .row = owner >= 0 ? table_row : stray_row, .arg = &part};
    if (owner >= 0) part.object = &s->schema.objects[owner];
    hf_walk_leaf(&walk, page);
    if (owner >= 0) part.object->account.rows_kept += part.kept;
    if (owner >= 0) part.object->account.rows_stray += part.kept;
  }
}

/* ---------------------------------------------------------------- by index */

static bool index_row(void *arg, const hf_cell_row *row)
{
  hf_part *part = arg;

  return hf_target_from_index(&part->all->target, part->object, part->index, row);
}

static hf_object *table_of(hf_salvage *s, const char *name)
{
  for (int i = 0; i < s->schema.count; i++)
    if (strcmp(s->schema.objects[i].type, "table") == 0 && strcasecmp(s->schema.objects[i].name, name) == 0)
      return &s->schema.objects[i];
  return NULL;
}

/* Only where rows are missing: an index of a whole table has nothing to add. */
static void salvage_indexes(hf_salvage *s)
{
  for (int i = 0; i < s->schema.count; i++) {
    hf_object *index = &s->schema.objects[i], *o = table_of(s, index->table);
    hf_part part = {.all = s, .object = o, .index = index};
    hf_walk walk = {.image = &s->image, .row = index_row, .arg = &part};
    if (strcmp(index->type, "index") != 0 || !index->root || !o || !o->made || o->without_rowid) continue;
    if (!o->account.pages_lost && !o->account.rows_broken) continue;
    if (index->sql && strcasestr(index->sql, " where "))
      continue; /* it has not all rows, and may lack what matters */
    if (index->sql)
      (void)sqlite3_exec(s->target.db, index->sql, NULL, NULL, NULL); /* to be asked for its columns */
    hf_walk_tree(&walk, index->root, true);
  }
}

/* ---------------------------------------------------------------- everything */

static int salvage_all(hf_salvage *s)
{
  int rc;

  hf_mark_free(&s->image);
  s->gaps = malloc(HF_GAPS * sizeof *s->gaps);
  if (!s->gaps || !hf_schema_read(&s->image, &s->schema)) return SQLITE_NOMEM;
  s->target.image = &s->image;
  s->target.schema = &s->schema;
  rc = hf_target_create(&s->target);
  if (rc) return rc;
  for (int i = 0; i < s->schema.count; i++) {
    const hf_object *o = &s->schema.objects[i];
    if (strcmp(o->type, "table") == 0 && !o->is_virtual && o->root) salvage_table(s, i);
  }
  salvage_strays(s);
  salvage_indexes(s);
  rc = hf_target_finish(&s->target, say, s);
  return rc;
}

static bool all_kept(const hf_salvage *s)
{
  for (int i = 0; i < s->schema.count; i++) {
    const holdfast_salvage_table *a = &s->schema.objects[i].account;
    if (a->rows_lost || a->rows_broken || a->pages_lost || a->note[0]) return false;
  }
  return s->schema.count > 0 && s->target.lost_rows == 0 && !s->message[0];
}

static void report(hf_salvage *s, holdfast_salvage_fn fn, void *arg)
{
  holdfast_salvage_table found = {
      .struct_size = sizeof found, .name = "lost_and_found", .rows_kept = s->target.lost_rows};

  for (int i = 0; fn && i < s->schema.count; i++) {
    hf_object *o = &s->schema.objects[i];
    if (strcmp(o->type, "table") != 0 || o->is_virtual) continue;
    o->account.struct_size = sizeof o->account;
    fn(&o->account, arg);
  }
  if (fn && s->target.lost_rows) fn(&found, arg);
}

/* The file is new and ours alone: SQLite's own "create" would take an existing one. */
static int claim(const char *path)
{
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

  if (fd < 0) return SQLITE_CANTOPEN;
  (void)close(fd); /* nothing was written yet */
  return SQLITE_OK;
}

static void remove_copy(const char *copy)
{
  static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
  char name[NAME];

  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    (void)snprintf(name, sizeof name, "%s%s", copy, suffixes[i]);
    (void)unlink(name); /* most of them are not there */
  }
}

static int run(const char *path, const char *new_path, hf_salvage *s, const char **stage)
{
  char copy[NAME];
  int rc;

  (void)snprintf(copy, sizeof copy, "%s-salvage", new_path);
  *stage = "it cannot be copied";
  rc = hf_salvage_copy(path, copy, s->message, sizeof s->message);
  if (rc == SQLITE_OK) {
    *stage = "it is too small to be a database";
    rc = hf_image_open(&s->image, copy) ? SQLITE_OK : SQLITE_NOTADB;
  }
  if (rc == SQLITE_OK) {
    *stage = "the new database cannot be written";
    rc = sqlite3_open_v2(new_path, &s->target.db, SQLITE_OPEN_READWRITE, NULL);
    if (rc == SQLITE_OK) rc = salvage_all(s);
  }
  if (sqlite3_close(s->target.db) != SQLITE_OK && rc == SQLITE_OK) rc = SQLITE_BUSY;
  hf_image_close(&s->image);
  remove_copy(copy);
  return rc;
}

int holdfast_salvage(const char *path, const char *new_path, holdfast_salvage_fn fn, void *arg, char *message,
                     size_t size)
{
  static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
  hf_salvage *s;
  const char *stage = "the new file exists already, or cannot be made";
  int rc;

  if (!path || !*path || !new_path || !*new_path || strlen(path) > 4000 || strlen(new_path) > 4000)
    return SQLITE_MISUSE;
  s = calloc(1, sizeof *s);
  if (!s) return SQLITE_NOMEM;
  pthread_mutex_lock(&one_at_a_time);
  rc = access(path, F_OK) ? SQLITE_CANTOPEN : claim(new_path);
  if (access(path, F_OK)) stage = strerror(errno);
  if (rc == SQLITE_OK) {
    rc = run(path, new_path, s, &stage);
    if (rc)
      (void)unlink(
          new_path); /* what is not complete must not be taken for what was saved; it was made here */
  }
  pthread_mutex_unlock(&one_at_a_time);
  if (rc == SQLITE_OK) report(s, fn, arg);
  if (message && size && rc) (void)snprintf(message, size, "%s (%s)", stage, sqlite3_errstr(rc));
  if (message && size && !rc) (void)snprintf(message, size, "%s", s->message);
  if (rc == SQLITE_OK && !all_kept(s)) rc = SQLITE_CORRUPT;
  hf_schema_free(&s->schema);
  free(s->gaps);
  free(s);
  return rc;
}
