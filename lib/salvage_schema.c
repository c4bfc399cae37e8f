/*
 * salvage_schema.c - what tables, indexes, views and triggers there were.
 *
 * From the tree under page 1; when there is nothing to be had there, from any table page whose rows look
 * like those of a schema.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "salvage.h"

typedef struct hf_reading {
  hf_image *image;
  hf_schema *schema;
  bool failed;
} hf_reading;

static bool is_schema_row(const hf_field *f, int n)
{
  return n >= 5 && f[0].type == SQLITE_TEXT && f[1].type == SQLITE_TEXT && f[2].type == SQLITE_TEXT &&
         (f[3].type == SQLITE_INTEGER || f[3].type == SQLITE_NULL) &&
         (f[4].type == SQLITE_TEXT || f[4].type == SQLITE_NULL);
}

/* A text in UTF-8, whatever the database's encoding is. Names and SQL are nearly always ASCII: what is not
 * becomes '?' in a UTF-16 database. */
static char *text_of(const hf_image *image, const hf_field *f)
{
  bool wide = image->encoding != SQLITE_UTF8;
  size_t n = wide ? f->size / 2 : f->size;
  char *out = malloc(n + 1);

  if (!out) return NULL;
  for (size_t i = 0; i < n && !wide; i++) out[i] = (char)f->bytes[i];
  for (size_t i = 0; i < n && wide; i++) {
    unsigned char low = f->bytes[2 * i + (image->encoding == SQLITE_UTF16BE)];
    unsigned char high = f->bytes[2 * i + (image->encoding == SQLITE_UTF16LE)];
    out[i] = high || low >= 0x80 ? '?' : (char)low;
  }
  out[n] = 0;
  return out;
}

static bool has_words(const char *sql, const char *a, const char *b)
{
  const char *at = sql ? strcasestr(sql, a) : NULL;

  if (!at) return false;
  at += strlen(a);
  at += strspn(at, " \t\r\n");
  return strncasecmp(at, b, strlen(b)) == 0;
}

static bool add_object(hf_reading *r, const hf_field *f)
{
  hf_object o = {.type = text_of(r->image, &f[0]),
                 .name = text_of(r->image, &f[1]),
                 .table = text_of(r->image, &f[2]),
                 .rowid_column = -1};
  hf_object *grown;

  if (f[3].type == SQLITE_INTEGER && f[3].integer > 0 && f[3].integer <= UINT32_MAX)
    o.root = (uint32_t)f[3].integer;
  if (f[4].type == SQLITE_TEXT) o.sql = text_of(r->image, &f[4]);
  o.is_virtual = has_words(o.sql, "create", "virtual");
  o.without_rowid = strcasecmp(o.type ? o.type : "", "table") == 0 && has_words(o.sql, "without", "rowid");
  grown = realloc(r->schema->objects, (size_t)(r->schema->count + 1) * sizeof *grown);
  if (grown) r->schema->objects = grown;
  if (!grown || !o.type || !o.name || !o.table) {
    free(o.type), free(o.name), free(o.table), free(o.sql);
    return false;
  }
  r->schema->objects[r->schema->count++] = o;
  return true;
}

static bool on_row(void *arg, const hf_cell_row *row)
{
  static const char *const types[] = {"table", "index", "view", "trigger"};
  hf_reading *r = arg;
  hf_field *fields = malloc(HF_FIELDS * sizeof *fields);
  bool fits = false;
  int n;

  if (!fields) return false;
  n = hf_record_read(row->payload, row->size, fields);
  for (size_t i = 0; is_schema_row(fields, n) && i < sizeof types / sizeof *types; i++) {
    char *type = text_of(r->image, &fields[0]);
    fits = fits || (type && strcmp(type, types[i]) == 0);
    free(type);
  }
  if (fits && !add_object(r, fields)) r->failed = true;
  free(fields);
  return !r->failed;
}

bool hf_schema_read(hf_image *image, hf_schema *schema)
{
  hf_reading r = {image, schema, false};
  hf_walk walk = {.image = image, .row = on_row, .arg = &r};

  hf_walk_tree(&walk, 1, false);
  if (walk.pages_lost || schema->count == 0) {
    /* Pages of it that nothing leads to any more: only those are taken whose first row is one of a schema. */
    for (uint32_t page = 2; page <= image->pages && !r.failed; page++) {
      int before = schema->count;
      unsigned char seen = image->seen[page];
      if (seen || !hf_is_table_leaf(image, page)) continue;
      hf_walk_leaf(&walk, page);
      if (schema->count == before) image->seen[page] = seen;
    }
  }
  return !r.failed;
}

void hf_schema_free(hf_schema *schema)
{
  for (int i = 0; i < schema->count; i++) {
    hf_object *o = &schema->objects[i];
    for (int k = 0; k < o->column_count; k++) free(o->columns[k]);
    free(o->columns), free(o->column_of);
    free(o->type), free(o->name), free(o->table), free(o->sql);
  }
  free(schema->objects);
  memset(schema, 0, sizeof *schema);
}
