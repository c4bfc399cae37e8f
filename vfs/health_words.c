/*
 * health_words.c - what a line of SQLite's integrity check is about, and what a failed statement of a
 * check means. Pure: texts and codes in, words of holdfast.h out.
 *
 * A line that is not known is "unknown" and never damage: SQLite adds complaints that are no damage ("NUMERIC
 * value in", "stores an imprecise floating-point value"), and a healthy database must not be condemned for
 * the next one. The texts are those of SQLite 3.15 to 3.54.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health.h"

/* Each begins a line; SQLite before 3.41 said "On tree page" where later ones say "Tree". */
static const struct {
  const char *begins;
  int what;
} lines[] = {
    {"Tree ", HOLDFAST_FINDING_STRUCTURE},
    {"Page ", HOLDFAST_FINDING_STRUCTURE},
    {"On tree page ", HOLDFAST_FINDING_STRUCTURE},
    {"On page ", HOLDFAST_FINDING_STRUCTURE},
    {"Freelist: ", HOLDFAST_FINDING_STRUCTURE},
    {"Main freelist: ", HOLDFAST_FINDING_STRUCTURE},
    {"List of tree roots: ", HOLDFAST_FINDING_STRUCTURE},
    {"Pointer map page ", HOLDFAST_FINDING_STRUCTURE},
    {"Bad ptr map entry", HOLDFAST_FINDING_STRUCTURE},
    {"Failed to read ptrmap", HOLDFAST_FINDING_STRUCTURE},
    {"invalid page number ", HOLDFAST_FINDING_STRUCTURE},
    {"2nd reference to page ", HOLDFAST_FINDING_STRUCTURE},
    {"max rootpage (", HOLDFAST_FINDING_STRUCTURE},
    {"incremental_vacuum enabled with ", HOLDFAST_FINDING_STRUCTURE},
    {"Outstanding page count goes from ", HOLDFAST_FINDING_STRUCTURE},
    {"row not in PRIMARY KEY order for ", HOLDFAST_FINDING_STRUCTURE},
    {"database disk image is malformed", HOLDFAST_FINDING_STRUCTURE},
    {"wrong # of entries in index ", HOLDFAST_FINDING_INDEX},
    {"non-unique entry in index ", HOLDFAST_FINDING_INDEX},
    {"rowid not at end-of-record for row ", HOLDFAST_FINDING_INDEX},
    {"NULL value in ", HOLDFAST_FINDING_CONSTRAINT},
    {"CHECK constraint failed in ", HOLDFAST_FINDING_CONSTRAINT},
    {"NUMERIC value in ", HOLDFAST_FINDING_CONSTRAINT},
    {"TEXT value in ", HOLDFAST_FINDING_CONSTRAINT},
    {"malformed inverted index for FTS", HOLDFAST_FINDING_VIRTUAL},
    {"unable to validate the inverted index for FTS", HOLDFAST_FINDING_VIRTUAL},
    {"In RTree ", HOLDFAST_FINDING_VIRTUAL},
};

static bool begins(const char *text, const char *with)
{
  return strncmp(text, with, strlen(with)) == 0;
}

int hf_finding_of(const char *line)
{
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
    if (begins(line, lines[i].begins)) return lines[i].what;
  if (begins(line, "row ") &&
      (strstr(line, " missing from index ") || strstr(line, " values differ from index ")))
    return HOLDFAST_FINDING_INDEX;
  if (begins(line, "non-") && strstr(line, " value in ")) return HOLDFAST_FINDING_CONSTRAINT;
  if (begins(line, "index ") && strstr(line, " stores an imprecise floating-point value "))
    return HOLDFAST_FINDING_CONSTRAINT;
  return HOLDFAST_FINDING_UNKNOWN;
}

/*
 * A page that could not be read is a row of the answer like any other: "unable to get the page. error
 * code=266", "failed to get page 124". Numbers of pages were looked at before, so there it was the disk, or
 * memory.
 */
int hf_line_code(const char *line)
{
  const char *code = strstr(line, "error code");

  if (strstr(line, "failed to get page ")) return SQLITE_IOERR;
  return code ? atoi(code + 11) : SQLITE_OK; /* behind "error code=" or "error code " */
}

/*
 * "malformed database schema (t) - near "STRICT": syntax error" is what an older SQLite says of a healthy
 * database that a newer one made, and it says so with SQLITE_CORRUPT. Only what a parser cannot have said
 * is damage: no text at all, or page numbers that cannot be.
 */
static bool schema_is_damaged(const char *message)
{
  const char *why = strstr(message, ") - ");

  if (!why) return true;
  return strstr(why, "invalid rootpage") || strstr(why, "orphan index") || strstr(why, "already exists");
}

int hf_why_of(int code, const char *message)
{
  switch (code & 0xff) {
  case SQLITE_CORRUPT:
    if (begins(message, "malformed database schema") && !schema_is_damaged(message))
      return HOLDFAST_WHY_SCHEMA;
    return HOLDFAST_WHY_NONE;
  case SQLITE_NOTADB: return HOLDFAST_WHY_NONE;
  case SQLITE_IOERR:
    if (code == SQLITE_IOERR_NOMEM) return HOLDFAST_WHY_MEMORY;
    return holdfast_classify(code) == HOLDFAST_CODE_SUSPECT ? HOLDFAST_WHY_NONE : HOLDFAST_WHY_IO;
  case SQLITE_NOMEM: return HOLDFAST_WHY_MEMORY;
  case SQLITE_INTERRUPT: return HOLDFAST_WHY_INTERRUPTED;
  case SQLITE_READONLY: return HOLDFAST_WHY_READONLY;
  case SQLITE_ERROR:
  case SQLITE_SCHEMA: return HOLDFAST_WHY_SCHEMA;
  default: break;
  }
  switch (holdfast_classify(code)) {
  case HOLDFAST_CODE_CONTENTION: return HOLDFAST_WHY_BUSY;
  case HOLDFAST_CODE_ENVIRONMENT: return HOLDFAST_WHY_IO;
  default: return HOLDFAST_WHY_CALLER;
  }
}

int hf_health_kind(const char *word)
{
  for (int kind = HOLDFAST_HEALTH_QUICK; kind <= HOLDFAST_HEALTH_FTS; kind++)
    if (word && strcmp(word, holdfast_word("kind", kind)) == 0) return kind;
  return -1;
}

bool hf_is_damage(int kind, int what, const char *line)
{
  switch (kind) {
  case HOLDFAST_HEALTH_FK: return what == HOLDFAST_FINDING_REFERENCE;
  case HOLDFAST_HEALTH_FTS:
    return what == HOLDFAST_FINDING_STRUCTURE ||
           (what == HOLDFAST_FINDING_VIRTUAL && !begins(line, "unable to validate"));
  default: return what == HOLDFAST_FINDING_STRUCTURE || what == HOLDFAST_FINDING_INDEX;
  }
}

char *holdfast_health_coverage(const holdfast_health_report *r, char *text, size_t size)
{
  static const struct {
    int bit;
    const char *word;
  } words[] = {{HOLDFAST_COVER_HEADER, "header"},   {HOLDFAST_COVER_TABLES, "tables"},
               {HOLDFAST_COVER_INDEXES, "indexes"}, {HOLDFAST_COVER_FREELIST, "freelist"},
               {HOLDFAST_COVER_VIRTUAL, "virtual"}, {HOLDFAST_COVER_FK, "foreign keys"},
               {HOLDFAST_COVER_CACHED, "cached"}};
  size_t used = 0;

  if (!text || size == 0) return text;
  text[0] = 0;
  for (size_t i = 0; r && i < sizeof words / sizeof *words && used < size; i++)
    if (r->coverage & words[i].bit)
      used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", words[i].word);
  if (r && r->tables_done < r->tables && used < size)
    (void)snprintf(text + used, size - used, "%s%d of %d tables", used ? ", " : "", r->tables_done,
                   r->tables);
  return text;
}
