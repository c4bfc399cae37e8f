/*
 * walsum.c over a base that is a piece of memory: logs as SQLite leaves them, with frames that have no
 * checksum, and what is made of them. What it is good for is shown in tests/proc/f28_savepoint.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "check.h"
#include "walsum.h"

enum { LOG_HEAD = 32, HEAD = 24, ROOM = 1 << 20, FRAMES = 12 };

static unsigned char file[ROOM], right[ROOM];
static int page_size, fail_at, calls;
static sqlite3_int64 size;
static bool big;

static int base_write(sqlite3_file *f, const void *data, int amount, sqlite3_int64 offset)
{
  (void)f;
  if (++calls == fail_at) return SQLITE_FULL;
  memcpy(file + offset, data, (size_t)amount);
  return SQLITE_OK;
}

static int base_read(sqlite3_file *f, void *data, int amount, sqlite3_int64 offset)
{
  (void)f;
  if (++calls == fail_at) return SQLITE_IOERR_READ;
  if (offset + amount > size) return SQLITE_IOERR_SHORT_READ;
  memcpy(data, file + offset, (size_t)amount);
  return SQLITE_OK;
}

static const sqlite3_io_methods methods = {.iVersion = 1, .xWrite = base_write, .xRead = base_read};
static sqlite3_file base = {&methods};
static hf_walsum sum;

/* ---------------------------------------------------------------- logs, by the words of the file format */

static void put(unsigned char *at, uint32_t value)
{
  at[0] = (unsigned char)(value >> 24);
  at[1] = (unsigned char)(value >> 16);
  at[2] = (unsigned char)(value >> 8);
  at[3] = (unsigned char)value;
}

static void checksum(const unsigned char *bytes, int count, uint32_t *s0, uint32_t *s1)
{
  for (int i = 0; i < count; i += 8) {
    uint32_t x[2];
    for (int k = 0; k < 2; k++) {
      const unsigned char *at = bytes + i + 4 * k;
      x[k] = big ? (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]
                 : (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
    }
    *s0 += x[0] + *s1;
    *s1 += x[1] + *s0;
  }
}

static sqlite3_int64 place(int frame)
{
  return LOG_HEAD + (sqlite3_int64)(frame - 1) * (HEAD + page_size);
}

/* A log of FRAMES frames in `right`, and in `file`, too. */
static void make_log(int page, bool big_endian)
{
  uint32_t s0 = 0, s1 = 0;

  page_size = page;
  big = big_endian;
  size = place(FRAMES + 1);
  assert_true(size < ROOM);
  seed_fill(right, (size_t)size);
  put(right, 0x377f0682u | big);
  put(right + 8, (uint32_t)page);
  checksum(right, HEAD, &s0, &s1);
  put(right + 24, s0);
  put(right + 28, s1);
  for (int n = 1; n <= FRAMES; n++) {
    unsigned char *at = right + place(n);
    checksum(at, 8, &s0, &s1);
    checksum(at + HEAD, page, &s0, &s1);
    memcpy(at + 8, right + 16, 8);
    put(at + 16, s0);
    put(at + 20, s1);
  }
  memcpy(file, right, (size_t)size);
  sum = (hf_walsum){0};
  fail_at = calls = 0;
}

/* SQLite writes this frame, and makes no checksum. */
static void without(int frame)
{
  memset(file + place(frame) + 8, 0, 16);
  hf_walsum_look(&sum, &base, file + place(frame), HEAD, place(frame));
}

/* SQLite at commit: it reads the checksum of the frame before `first`. */
static int read_before(int first, unsigned char *out)
{
  sqlite3_int64 at = first == 1 ? 24 : place(first - 1) + 16;

  sum.mended = 0;
  if (!hf_walsum_owes(&sum, 8)) return base_read(&base, out, 8, at);
  return hf_walsum_read(&sum, &base, out, 8, at);
}

/* ---------------------------------------------------------------- tests */

static void the_missing_ones_are_made(void **state)
{
  static const int pages[] = {512, 4096, 65536};
  unsigned char out[8];

  (void)state;
  for (int p = 0; p < 3; p++)
    for (int order = 0; order < 2; order++) {
      make_log(pages[p], order);
      for (int n = 5; n <= 9; n++) without(n);
      memset(file + place(10) + 8, 0, 16); /* SQLite's own to make: it begins there */
      assert_int_equal(read_before(10, out), SQLITE_OK);
      assert_memory_equal(out, right + place(9) + 16, 8);
      assert_int_equal(sum.mended, 5);
      assert_memory_equal(file, right, (size_t)place(10));
      assert_false(hf_walsum_owes(&sum, 8));
    }
}

static void from_the_first_frame_on(void **state)
{
  unsigned char out[8];

  (void)state;
  make_log(1024, false);
  for (int n = 1; n <= 3; n++) without(n);
  assert_int_equal(read_before(4, out), SQLITE_OK);
  assert_memory_equal(out, right + place(3) + 16, 8);
  assert_memory_equal(file, right, (size_t)size);
}

/* What SQLite is to begin with was rolled back: nothing lies there, and it goes on from the last frame. */
static void behind_the_end_the_last_one_counts(void **state)
{
  unsigned char out[8], junk[8];

  (void)state;
  make_log(1024, false);
  seed_fill(file + place(8), (size_t)(size - place(8)));
  memcpy(junk, file + place(10) + 16, 8);
  for (int n = 6; n <= 7; n++) without(n);
  assert_int_equal(read_before(11, out), SQLITE_OK);
  assert_memory_not_equal(out, junk, 8);
  assert_memory_equal(out, right + place(7) + 16, 8);
  assert_int_equal(sum.mended, 2);
  assert_memory_equal(file, right, (size_t)place(8));
}

static void what_sqlite_makes_itself_is_left_alone(void **state)
{
  unsigned char out[8];

  (void)state;
  make_log(1024, false);
  for (int n = 5; n <= 9; n++) without(n);
  assert_int_equal(read_before(4, out), SQLITE_OK); /* it begins before them */
  assert_memory_equal(out, right + place(3) + 16, 8);
  assert_int_equal(sum.mended, 0);
  hf_walsum_look(&sum, &base, right + place(4), HEAD, place(4)); /* and makes them all */
  assert_false(hf_walsum_owes(&sum, 8));
}

static void a_rolled_back_end_begins_anew(void **state)
{
  unsigned char out[8];

  (void)state;
  make_log(1024, false);
  for (int n = 8; n <= 11; n++) without(n);
  for (int n = 6; n <= 7; n++) without(n); /* taken back to 5, then two more */
  assert_int_equal(read_before(9, out), SQLITE_OK);
  assert_memory_equal(out, right + place(7) + 16, 8); /* 8 is not of this log any more */
  assert_int_equal(sum.mended, 2);
}

/* 24 zeros that are the end of a page, and other reads of eight bytes. */
static void only_heads_and_only_their_checksums(void **state)
{
  unsigned char zeros[HEAD] = {0}, out[8];

  (void)state;
  make_log(512, false);
  hf_walsum_look(&sum, &base, zeros, HEAD, place(3) - HEAD);
  assert_false(hf_walsum_owes(&sum, 8));
  without(5);
  assert_int_equal(hf_walsum_read(&sum, &base, out, 8, place(7)), SQLITE_OK);
  assert_memory_equal(out, file + place(7), 8);
  assert_int_equal(sum.mended, 0);
}

static void an_error_ends_it_and_is_told(void **state)
{
  unsigned char out[8];
  int all;

  (void)state;
  make_log(1024, false);
  for (int n = 5; n <= 6; n++) without(n);
  calls = 0;
  assert_int_equal(read_before(7, out), SQLITE_OK);
  all = calls;
  assert_int_equal(all, 6); /* the log's head, what comes before, a read and a write for each */
  for (int at = 1; at <= all; at++) {
    make_log(1024, false);
    for (int n = 5; n <= 6; n++) without(n);
    calls = 0;
    fail_at = at;
    assert_int_not_equal(read_before(7, out), SQLITE_OK);
    assert_true(hf_walsum_owes(&sum, 8));
    fail_at = 0;
    assert_int_equal(read_before(7, out), SQLITE_OK);
    assert_memory_equal(file, right, (size_t)size);
  }
}

static void a_log_that_cannot_be_read_or_is_none(void **state)
{
  unsigned char zeros[HEAD] = {0};

  (void)state;
  make_log(1024, false);
  calls = 0;
  fail_at = 1;
  hf_walsum_look(&sum, &base, zeros, HEAD, place(2));
  assert_false(hf_walsum_owes(&sum, 8));
  make_log(1024, false);
  put(file + 8, 1000);
  hf_walsum_look(&sum, &base, zeros, HEAD, place(2));
  assert_false(hf_walsum_owes(&sum, 8));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_missing_ones_are_made),
      cmocka_unit_test(from_the_first_frame_on),
      cmocka_unit_test(behind_the_end_the_last_one_counts),
      cmocka_unit_test(what_sqlite_makes_itself_is_left_alone),
      cmocka_unit_test(a_rolled_back_end_begins_anew),
      cmocka_unit_test(only_heads_and_only_their_checksums),
      cmocka_unit_test(an_error_ends_it_and_is_told),
      cmocka_unit_test(a_log_that_cannot_be_read_or_is_none),
  };

  seed_start();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
