/*
 * tables.h - what people read, as rows: each table is both a SQL table and a PRAGMA of the same name.
 *
 * tables.c fills the rows, sql.c shows them as an eponymous virtual table, pragma.c as one JSON value.
 */
#ifndef HF_TABLES_H
#define HF_TABLES_H

#include "text.h"
#include "vfs.h"

enum { HF_COLUMNS_MAX = 16 };

typedef struct hf_cell {
  char *text; /* owned; NULL with is_integer = a number, NULL without = SQL NULL */
  int64_t integer;
  bool is_integer;
} hf_cell;

typedef struct hf_rows {
  int columns;
  int count, room;
  hf_cell *cells; /* count * columns */
  bool failed;    /* an allocation failed: what is there is not all */
} hf_rows;

typedef struct hf_table {
  const char *name;
  const char *const *columns; /* ends with NULL */
  /* db may be NULL: then columns that only a connection knows are NULL */
  void (*fill)(hf_vfs *owner, sqlite3 *db, hf_rows *rows);
} hf_table;

extern const hf_table hf_tables[];
extern const int hf_table_count;

int hf_rows_of(const hf_table *table, hf_vfs *owner, sqlite3 *db,
               hf_rows *out); /* SQLITE_OK or SQLITE_NOMEM */
void hf_rows_free(hf_rows *rows);
void hf_rows_json(const hf_table *table, const hf_rows *rows, hf_text *out);

#endif
