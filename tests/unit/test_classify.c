/*
 * test_classify.c - every result code of SQLite has a line in the table, and the ones that matter are sorted
 * right. The codes are read from the sqlite3.h that the compiler finds, so a newer SQLite that has a code
 * more fails here, and from the list of SQLite 3.54 below, for machines with an older one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "health.h"
#include "holdfast.h"

/* Extended codes that are newer than some sqlite3.h: primary, number. */
static const struct {
  int primary, number;
} newer[] = {{1, 1},   {1, 2},   {1, 3},   {1, 4},   {1, 5},   {1, 6},  {10, 30}, {10, 31}, {10, 32},
             {10, 33}, {10, 34}, {10, 35}, {10, 36}, {6, 2},   {5, 3},  {14, 5},  {14, 6},  {11, 2},
             {11, 3},  {8, 5},   {8, 6},   {19, 11}, {19, 12}, {27, 3}, {23, 1},  {0, 2}};

/* Where does the compiler find it? NULL: there is no compiler here. From popen(), at most 64 kB. */
static char *header_text(void)
{
  const char *cc = getenv("CC");
  char command[300], path[1000] = "", *text = NULL;
  size_t used;
  FILE *out;

  (void)snprintf(command, sizeof command,
                 "echo '#include <sqlite3.h>' | %s -E -x c - 2>/dev/null | sed -n 's/^# [0-9]* "
                 "\"\\(.*sqlite3\\.h\\)\".*/\\1/p' | head -n 1",
                 cc && *cc ? cc : "cc");
  out = popen(command, "r");
  if (!out) return NULL;
  if (!fgets(path, sizeof path, out)) path[0] = 0;
  (void)pclose(out); /* an empty path says enough */
  path[strcspn(path, "\n")] = 0;
  out = path[0] ? fopen(path, "r") : NULL;
  if (!out) return NULL;
  text = malloc(1 << 20);
  assert_non_null(text);
  used = fread(text, 1, (1 << 20) - 1, out);
  text[used] = 0;
  (void)fclose(out);
  return text;
}

/* "#define SQLITE_NAME 12" or "... (SQLITE_IOERR | (3<<8))" on one line; -1: something else. */
static int code_of(const char *line)
{
  char name[100], primary[100];
  int number;

  if (sscanf(line, "#define SQLITE_%99s (SQLITE_%99[A-Z] | (%d<<8))", name, primary, &number) == 3 ||
      sscanf(line, "#define SQLITE_%99s (SQLITE_%99[A-Z] |(%d<<8))", name, primary, &number) == 3) {
    static const struct {
      const char *name;
      int code;
    } all[] = {{"OK", 0},       {"ERROR", 1},   {"ABORT", 4},    {"BUSY", 5},      {"LOCKED", 6},
               {"READONLY", 8}, {"IOERR", 10},  {"CORRUPT", 11}, {"CANTOPEN", 14}, {"CONSTRAINT", 19},
               {"AUTH", 23},    {"NOTICE", 27}, {"WARNING", 28}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
      if (strcmp(primary, all[i].name) == 0) return all[i].code | number << 8;
    fail_msg("an extended code of a primary one that this test does not know: %s", line);
  }
  if (sscanf(line, "#define SQLITE_%99s %d", name, &number) == 2) return number;
  return -1;
}

static void every_code_has_a_line(void **state)
{
  char *text = header_text(), *at, *end;
  int seen = 0;

  (void)state;
  if (!text) {
    print_message("no compiler with a sqlite3.h here\n");
    skip();
  }
  at = strstr(text, "#define SQLITE_OK ");
  assert_non_null(at);
  end = strstr(at, "SQLITE_OPEN_READONLY"); /* what follows the codes */
  assert_non_null(end);
  *end = 0;
  for (char *line = strtok(at, "\n"); line; line = strtok(NULL, "\n")) {
    int code = strncmp(line, "#define SQLITE_", 15) == 0 ? code_of(line) : -1;
    if (code < 0) continue;
    if (!hf_classify_knows(code)) fail_msg("the table lacks: %s", line);
    seen++;
  }
  assert_true(seen > 100);
  free(text);
}

static void newer_codes_have_a_line(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof newer / sizeof *newer; i++)
    assert_true(hf_classify_knows(newer[i].primary | newer[i].number << 8));
}

static void only_these_are_suspect(void **state)
{
  static const int suspect[] = {SQLITE_CORRUPT, SQLITE_CORRUPT_VTAB,     11 | 2 << 8,  11 | 3 << 8,
                                SQLITE_NOTADB,  SQLITE_IOERR_SHORT_READ, 10 | 32 << 8, 10 | 33 << 8};
  int count = 0;

  (void)state;
  for (int code = 0; code < 1 << 16; code++)
    if (hf_classify_knows(code) && holdfast_classify(code) == HOLDFAST_CODE_SUSPECT) count++;
  for (size_t i = 0; i < sizeof suspect / sizeof *suspect; i++)
    assert_int_equal(holdfast_classify(suspect[i]), HOLDFAST_CODE_SUSPECT);
  assert_int_equal(count, sizeof suspect / sizeof *suspect);
}

static void the_unknown_is_never_suspect(void **state)
{
  (void)state;
  assert_int_equal(holdfast_classify(99), HOLDFAST_CODE_ENVIRONMENT);
  assert_int_equal(holdfast_classify(-5), HOLDFAST_CODE_ENVIRONMENT);
  assert_int_equal(holdfast_classify(5 | 77 << 8), HOLDFAST_CODE_CONTENTION);
  assert_int_equal(holdfast_classify(10 | 99 << 8), HOLDFAST_CODE_ENVIRONMENT);
  assert_int_equal(holdfast_classify(11 | 99 << 8), HOLDFAST_CODE_SUSPECT);
}

static void words(void **state)
{
  (void)state;
  assert_int_equal(holdfast_classify(SQLITE_BUSY), HOLDFAST_CODE_CONTENTION);
  assert_int_equal(holdfast_classify(SQLITE_NOMEM), HOLDFAST_CODE_ENVIRONMENT);
  assert_int_equal(holdfast_classify(SQLITE_MISUSE), HOLDFAST_CODE_CALLER);
  assert_string_equal(holdfast_word("code", holdfast_classify(SQLITE_CORRUPT)), "suspect");
  assert_string_equal(holdfast_word("verdict", HOLDFAST_HEALTH_NOT_CHECKED), "not_checked");
  assert_string_equal(holdfast_word("verdict", HOLDFAST_HEALTH_STALE), "stale");
  assert_string_equal(holdfast_word("reason", HOLDFAST_WHY_NEVER), "never");
  assert_string_equal(holdfast_word("finding", HOLDFAST_FINDING_UNKNOWN), "unknown");
}

static void lines_of_integrity_check(void **state)
{
  static const struct {
    const char *line;
    int what;
  } all[] = {{"Tree 5 page 7 cell 2: Rowid 12 out of order", HOLDFAST_FINDING_STRUCTURE},
             {"On tree page 5 cell 0: 2nd reference to page 9", HOLDFAST_FINDING_STRUCTURE},
             {"Page 12: never used", HOLDFAST_FINDING_STRUCTURE},
             {"Page 12 is never used", HOLDFAST_FINDING_STRUCTURE},
             {"Freelist: 2nd reference to page 22", HOLDFAST_FINDING_STRUCTURE},
             {"row 4 missing from index ak", HOLDFAST_FINDING_INDEX},
             {"wrong # of entries in index ak", HOLDFAST_FINDING_INDEX},
             {"non-unique entry in index bv", HOLDFAST_FINDING_INDEX},
             {"row 5 values differ from index i", HOLDFAST_FINDING_INDEX},
             {"rowid not at end-of-record for row 3 of index i", HOLDFAST_FINDING_INDEX},
             {"NULL value in t.a", HOLDFAST_FINDING_CONSTRAINT},
             {"CHECK constraint failed in t", HOLDFAST_FINDING_CONSTRAINT},
             {"non-INT value in t.a", HOLDFAST_FINDING_CONSTRAINT},
             {"NUMERIC value in t.a", HOLDFAST_FINDING_CONSTRAINT},
             {"TEXT value in t.a", HOLDFAST_FINDING_CONSTRAINT},
             {"index i stores an imprecise floating-point value for row 7", HOLDFAST_FINDING_CONSTRAINT},
             {"malformed inverted index for FTS5 table main.f", HOLDFAST_FINDING_VIRTUAL},
             {"something that SQLite 4 says", HOLDFAST_FINDING_UNKNOWN},
             {"row of ducks", HOLDFAST_FINDING_UNKNOWN}};

  (void)state;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    assert_int_equal(hf_finding_of(all[i].line), all[i].what);
  assert_true(hf_is_damage(HOLDFAST_HEALTH_FULL, HOLDFAST_FINDING_INDEX, ""));
  assert_false(hf_is_damage(HOLDFAST_HEALTH_FULL, HOLDFAST_FINDING_CONSTRAINT, ""));
  assert_false(hf_is_damage(HOLDFAST_HEALTH_FULL, HOLDFAST_FINDING_VIRTUAL, ""));
  assert_false(hf_is_damage(HOLDFAST_HEALTH_FULL, HOLDFAST_FINDING_UNKNOWN, ""));
  assert_true(hf_is_damage(HOLDFAST_HEALTH_FTS, HOLDFAST_FINDING_VIRTUAL, "malformed inverted index"));
  assert_false(hf_is_damage(HOLDFAST_HEALTH_FTS, HOLDFAST_FINDING_VIRTUAL, "unable to validate it"));
}

/* A page that the disk did not give is no damage, though integrity_check lists it as if it were. */
static void lines_that_tell_of_io(void **state)
{
  (void)state;
  assert_int_equal(hf_line_code("Page 20: unable to get the page. error code=266"), SQLITE_IOERR_READ);
  assert_int_equal(hf_line_code("Tree 2 page 9: unable to get the page. error code=7"), SQLITE_NOMEM);
  assert_int_equal(hf_line_code("Main freelist: failed to get page 124"), SQLITE_IOERR);
  assert_int_equal(hf_line_code("Page 9: btreeInitPage() returns error code 11"), SQLITE_CORRUPT);
  assert_int_equal(hf_line_code("Tree 2 page 9: Rowid 3 out of order"), 0);
}

static void failures_of_a_check(void **state)
{
  (void)state;
  assert_int_equal(hf_why_of(SQLITE_BUSY, ""), HOLDFAST_WHY_BUSY);
  assert_int_equal(hf_why_of(SQLITE_BUSY_SNAPSHOT, ""), HOLDFAST_WHY_BUSY);
  assert_int_equal(hf_why_of(SQLITE_LOCKED_SHAREDCACHE, ""), HOLDFAST_WHY_BUSY);
  assert_int_equal(hf_why_of(SQLITE_PROTOCOL, ""), HOLDFAST_WHY_BUSY);
  assert_int_equal(hf_why_of(SQLITE_IOERR_READ, ""), HOLDFAST_WHY_IO);
  assert_int_equal(hf_why_of(SQLITE_IOERR_LOCK, ""), HOLDFAST_WHY_IO);
  assert_int_equal(hf_why_of(SQLITE_CANTOPEN, ""), HOLDFAST_WHY_IO);
  assert_int_equal(hf_why_of(SQLITE_IOERR_NOMEM, ""), HOLDFAST_WHY_MEMORY);
  assert_int_equal(hf_why_of(SQLITE_NOMEM, ""), HOLDFAST_WHY_MEMORY);
  assert_int_equal(hf_why_of(SQLITE_ERROR, "no such function: f"), HOLDFAST_WHY_SCHEMA);
  assert_int_equal(hf_why_of(SQLITE_INTERRUPT, ""), HOLDFAST_WHY_INTERRUPTED);
  assert_int_equal(hf_why_of(SQLITE_READONLY_ROLLBACK, ""), HOLDFAST_WHY_READONLY);
  assert_int_equal(hf_why_of(SQLITE_AUTH, ""), HOLDFAST_WHY_CALLER);
  assert_int_equal(hf_why_of(SQLITE_TOOBIG, ""), HOLDFAST_WHY_CALLER);
  assert_int_equal(hf_why_of(SQLITE_CORRUPT, "database disk image is malformed"), HOLDFAST_WHY_NONE);
  assert_int_equal(hf_why_of(SQLITE_IOERR_SHORT_READ, ""), HOLDFAST_WHY_NONE);
  /* A newer schema, read by an older SQLite, and a schema that was hit. */
  assert_int_equal(hf_why_of(SQLITE_CORRUPT, "malformed database schema (t) - near \"STRICT\": syntax error"),
                   HOLDFAST_WHY_SCHEMA);
  assert_int_equal(hf_why_of(SQLITE_CORRUPT, "malformed database schema (t)"), HOLDFAST_WHY_NONE);
  assert_int_equal(hf_why_of(SQLITE_CORRUPT, "malformed database schema (i) - invalid rootpage"),
                   HOLDFAST_WHY_NONE);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_code_has_a_line),
      cmocka_unit_test(newer_codes_have_a_line),
      cmocka_unit_test(only_these_are_suspect),
      cmocka_unit_test(the_unknown_is_never_suspect),
      cmocka_unit_test(words),
      cmocka_unit_test(lines_of_integrity_check),
      cmocka_unit_test(lines_that_tell_of_io),
      cmocka_unit_test(failures_of_a_check),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
