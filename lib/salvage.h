/*
 * salvage.h - what the files of salvage share.
 *
 * salvage.c leads; salvage_copy.c makes a private copy and lets SQLite bring its journal home;
 * salvage_pages.c reads pages and cells of any bytes; salvage_schema.c finds what tables there were;
 * salvage_rows.c puts rows into the new database. Only salvage_pages.c looks into pages, and trusts nothing
 * that it reads there.
 */
#ifndef HF_SALVAGE_H
#define HF_SALVAGE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "holdfast.h"

/* ---------------------------------------------------------------- pages */

typedef struct hf_image {
  const unsigned char *bytes;
  size_t size;
  uint32_t page_size, usable, pages;
  int encoding;        /* SQLITE_UTF8, _UTF16LE or _UTF16BE */
  unsigned char *seen; /* [pages + 1]: it belongs to something; SEEN_... */
} hf_image;

enum { HF_SEEN_TREE = 1, HF_SEEN_OVERFLOW, HF_SEEN_FREE };

/* A row as it lies in the file. `payload` is whole, also where it was spread over overflow pages. */
typedef struct hf_cell_row {
  uint32_t page;
  int64_t rowid; /* of a table tree; an index tree has none */
  const unsigned char *payload;
  size_t size;
} hf_cell_row;

typedef struct hf_field {
  int type; /* SQLITE_INTEGER ... SQLITE_NULL */
  int64_t integer;
  double real;
  const unsigned char *bytes;
  size_t size;
} hf_field;
enum { HF_FIELDS = 2000 };

/* A part of a table tree that cannot be reached: rowids from low to high lay there. */
typedef struct hf_gap {
  int owner;
  int64_t low, high;
} hf_gap;
enum { HF_GAPS = 10000 };

typedef struct hf_walk {
  hf_image *image;
  bool (*row)(void *arg, const hf_cell_row *row); /* false: out of memory, stop */
  void *arg;
  int owner; /* for gaps */
  hf_gap *gaps;
  int *gap_count;
  int64_t broken; /* cells that were counted and could not be read */
  int pages_lost; /* pages of the tree that are not what they should be */
  bool stopped;
} hf_walk;

bool hf_image_open(hf_image *image, const char *path);
void hf_image_close(hf_image *image);
void hf_walk_tree(hf_walk *walk, uint32_t root, bool index);
void hf_walk_leaf(hf_walk *walk, uint32_t page); /* one table leaf that nothing leads to */
void hf_mark_free(hf_image *image);              /* what the freelist has */
bool hf_is_table_leaf(const hf_image *image, uint32_t page);
int hf_record_read(const unsigned char *payload, size_t size,
                   hf_field *fields);                                 /* how many; -1 = no record */
uint32_t hf_guess_page_size(const unsigned char *bytes, size_t size); /* 0 = no idea */

/* ---------------------------------------------------------------- schema */

typedef struct hf_object {
  char *type, *name, *table, *sql;
  uint32_t root;
  bool is_virtual, without_rowid;
  /* of a table, filled by salvage_rows.c */
  bool made;
  int stored;     /* fields of a whole record */
  int *column_of; /* [stored]: number in `columns`, -1 = it is computed and cannot be given */
  char **columns; /* names, of all that can be given */
  int column_count;
  int rowid_column; /* the column that is the rowid, -1 = none */
  holdfast_salvage_table account;
} hf_object;

typedef struct hf_schema {
  hf_object *objects;
  int count;
} hf_schema;

bool hf_schema_read(hf_image *image, hf_schema *schema); /* false: out of memory */
void hf_schema_free(hf_schema *schema);

/* ---------------------------------------------------------------- rows */

typedef struct hf_target {
  sqlite3 *db;
  const hf_image *image;
  hf_schema *schema;
  int lost_columns; /* of lost_and_found, 0 = not made yet */
  int64_t lost_rows;
  int rc;
} hf_target;

int hf_target_create(hf_target *target); /* all tables, empty */
bool hf_target_row(hf_target *target, hf_object *table, const hf_cell_row *row, int64_t *kept);
bool hf_target_lost(hf_target *target, const char *source, const hf_cell_row *row);
int hf_target_finish(hf_target *target, void (*say)(void *arg, const char *line), void *arg);
bool hf_target_has(hf_target *target, const hf_object *table, int64_t rowid);
bool hf_target_from_index(hf_target *target, hf_object *table, const hf_object *index,
                          const hf_cell_row *row);
void hf_target_end_table(hf_target *target); /* statements kept for one table */

/* ---------------------------------------------------------------- copy */

int hf_salvage_copy(const char *from, const char *to, char *note, size_t size);

#endif
