/*
 * walframe.c over a base that counts, and a file in memory: what arrives in the file, in how many calls,
 * and what is never held back. The writer is a model of SQLite's, with all that it does to a -wal.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "check.h"
#include "walframe.h"

enum { LOG_HEAD = 32, HEAD = 24, ROOM = 1 << 20 };

/* ---------------------------------------------------------------- a base, and what the file ought to be */

static unsigned char wanted[ROOM];
static int file = -1;
static int calls, writes, fail_at; /* to us and to the base; fail_at: this write fails, 0 = none */
static sqlite3_int64 wanted_end;

static int base_write(sqlite3_file *f, const void *data, int amount, sqlite3_int64 offset)
{
  (void)f;
  if (++writes == fail_at) return SQLITE_IOERR_WRITE;
  return pwrite(file, data, (size_t)amount, (off_t)offset) == amount ? SQLITE_OK : SQLITE_FULL;
}

static int base_read(sqlite3_file *f, void *data, int amount, sqlite3_int64 offset)
{
  (void)f;
  return pread(file, data, (size_t)amount, (off_t)offset) == amount ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static const sqlite3_io_methods methods = {.iVersion = 1, .xWrite = base_write, .xRead = base_read};
static sqlite3_file base = {&methods};
static hf_walframe frame;

static void put(const void *data, int amount, sqlite3_int64 offset)
{
  assert_true(offset + amount <= ROOM);
  memcpy(wanted + offset, data, (size_t)amount);
  if (offset + amount > wanted_end) wanted_end = offset + amount;
  assert_int_equal(hf_walframe_write(&frame, &base, data, amount, offset), SQLITE_OK);
  calls++;
}

static void assert_same(void)
{
  static unsigned char found[ROOM];

  assert_false(frame.held);
  assert_int_equal(pread(file, found, sizeof found, 0), wanted_end);
  assert_memory_equal(found, wanted, (size_t)wanted_end);
}

static int fresh(void **state)
{
  (void)state;
  if (ftruncate(file, 0)) return 1;
  memset(wanted, 0, sizeof wanted);
  frame = (hf_walframe){.fd = file};
  calls = writes = fail_at = 0;
  wanted_end = 0;
  return 0;
}

/* ---------------------------------------------------------------- a writer as SQLite's */

static int page_size;

static sqlite3_int64 place(int number)
{
  return LOG_HEAD + (sqlite3_int64)(number - 1) * (HEAD + page_size);
}

static void begin_log(int size)
{
  unsigned char head[LOG_HEAD];

  page_size = size;
  seed_fill(head, sizeof head);
  head[8] = (unsigned char)(size >> 24);
  head[9] = (unsigned char)(size >> 16);
  head[10] = (unsigned char)(size >> 8);
  head[11] = (unsigned char)size;
  put(head, LOG_HEAD, 0);
}

/* cut > 0: a sync falls into this write, and it is made in two, the first one ending there. */
static void put_cut(const void *data, int amount, sqlite3_int64 offset, sqlite3_int64 cut)
{
  int first = (int)(cut - offset);

  if (cut <= offset || cut > offset + amount) {
    put(data, amount, offset);
    return;
  }
  put(data, first, offset);
  if (frame.held) assert_int_equal(hf_walframe_settle(&frame, &base), SQLITE_OK); /* as xSync does */
  if (amount > first) put((const char *)data + first, amount - first, offset + first);
}

static void put_frame(int number, sqlite3_int64 cut)
{
  static unsigned char page[65536];
  unsigned char head[HEAD];

  seed_fill(head, sizeof head);
  seed_fill(page, (size_t)page_size);
  put_cut(head, HEAD, place(number), cut);
  put_cut(page, page_size, place(number) + HEAD, cut);
}

static void put_page_again(int number)
{
  static unsigned char page[65536];

  seed_fill(page, (size_t)page_size);
  put(page, page_size, place(number) + HEAD);
}

static void put_head_again(int number)
{
  unsigned char head[HEAD];

  seed_fill(head, sizeof head);
  put(head, HEAD, place(number));
}

/* ---------------------------------------------------------------- tests */

/* What is written as one does not pass the base. */
static void a_frame_is_one_write(void **state)
{
  static const int sizes[] = {512, 4096, 65536};

  (void)state;
  for (int i = 0; i < 3; i++) {
    fresh(NULL);
    begin_log(sizes[i]);
    for (int n = 1; n <= 10; n++) put_frame(n, 0);
    assert_same();
    assert_int_equal(writes, 1);
  }
}

static void in_a_log_that_others_began_too(void **state)
{
  (void)state;
  begin_log(1024);
  put_frame(1, 0);
  frame = (hf_walframe){.fd = file};
  writes = 0;
  put_frame(2, 0); /* where the last one ends is not known, nor is the size of a page: heads go as they are */
  put_frame(3, 0);
  for (int i = 4; i <= 10; i++) put_frame(i, 0);
  assert_same();
  assert_int_equal(writes, 4);
}

static void another_writer_came_between(void **state)
{
  (void)state;
  begin_log(1024);
  put_frame(1, 0);
  put_frame(5, 0);
  assert_same();
  assert_int_equal(writes, 1 + 2);
  put_frame(2, 0); /* and it was rolled back */
  assert_same();
}

static void heads_of_known_frames_are_written_at_once(void **state)
{
  (void)state;
  begin_log(1024);
  for (int again = 1; again <= 4; again++) {
    for (int i = 1; i <= 4; i++) put_frame(i, 0);
    put_page_again(again);
    put_head_again(again == 4 ? 1 : again + 1); /* not in SQLite's order, and right behind that page */
    assert_same();
    for (int i = again; i <= 4; i++) {
      put_head_again(i);
      assert_same();
    }
    put_frame(5, 0);
    assert_same();
  }
}

/* The end of a page of which a sync took the first part, at 24 bytes. */
static void what_is_left_of_a_page_is_no_head(void **state)
{
  (void)state;
  begin_log(512);
  put_frame(1, 0);
  put_frame(2, place(3) - HEAD);
  assert_same();
  put_frame(3, place(3) + 7); /* a sync inside of a head */
  assert_same();
  put_frame(4, place(4) + HEAD); /* and between head and page */
  assert_same();
}

static void off_means_off(void **state)
{
  (void)state;
  frame.fd = -1;
  begin_log(1024);
  for (int n = 1; n <= 3; n++) put_frame(n, 0);
  assert_same();
  assert_int_equal(writes, 1 + 6);
}

/* The size of its pages is none. */
static void a_log_that_is_damaged_is_left_to_the_base(void **state)
{
  (void)state;
  begin_log(1000);
  for (int n = 1; n <= 3; n++) put_frame(n, 0);
  assert_same();
  assert_int_equal(writes, 1 + 6);
}

/* What the base says counts, and it is asked whenever the one write did not do. */
static void an_error_is_told_once_and_nothing_is_held(void **state)
{
  unsigned char bytes[1024] = {1};

  (void)state;
  for (int bad = 1; bad <= 2; bad++) {
    fresh(NULL);
    begin_log(1024);
    put_frame(1, 0);
    assert_int_equal(writes, 1);
    frame.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(hf_walframe_write(&frame, &base, bytes, HEAD, place(2)), SQLITE_OK);
    assert_int_equal(writes, 1);
    fail_at = writes + bad; /* the head, the page */
    assert_int_equal(hf_walframe_write(&frame, &base, bytes, 1024, place(2) + HEAD), SQLITE_IOERR_WRITE);
    assert_false(frame.held);
    put_frame(2, 0);
    assert_same();
    close(frame.fd);
  }
  frame.fd = file;
  put_frame(3, 0);
  put_frame(4, 0);
  fail_at = writes + 1; /* what settles it fails */
  assert_int_equal(hf_walframe_write(&frame, &base, bytes, HEAD, place(5)), SQLITE_OK);
  assert_true(frame.held);
  assert_int_equal(hf_walframe_settle(&frame, &base), SQLITE_IOERR_WRITE);
  assert_same();
}

static void whatever_comes_after_a_head_finds_it_written(void **state)
{
  unsigned char head[HEAD] = {7}, other[100] = {9};

  (void)state;
  begin_log(1024);
  put_frame(1, 0);
  put(head, HEAD, place(2));
  put(other, sizeof other, place(9)); /* not its page */
  assert_same();
  put_frame(2, 0);
  put(head, HEAD, place(3));
  assert_true(frame.held);
  assert_int_equal(hf_walframe_settle(&frame, &base), SQLITE_OK);
  assert_same();
}

/* Whole lives of logs: after each transaction the file is what it would be without all this. */
static void lives_of_logs(void **state)
{
  int last, commits = 0, frames = 0;

  (void)state;
  for (int life = 0; life < 300; life++) {
    begin_log(512 << seed_below(4));
    last = 0;
    while (place(last + 60) < ROOM / 2 && seed_below(20)) {
      int first = last + 1, count = 1 + (int)seed_below(6);
      for (int i = 0; i < count; i++) put_frame(++last, 0);
      frames += count;
      if (seed_below(4) == 0) {
        int again = first + (int)seed_below((uint32_t)count);
        put_page_again(again);
        if (seed_below(2)) put_page_again(again + (int)seed_below((uint32_t)(last - again + 1)));
        if (seed_below(2)) put_frame(++last, 0);
        for (int i = again; i <= last; i++) put_head_again(i);
      }
      assert_same();
      if (seed_below(3) == 0) { /* a commit that fills its sector up, and syncs there */
        sqlite3_int64 cut = (place(last + 1) + 511) / 512 * 512;
        while (place(last + 1) < cut) put_frame(++last, cut);
        assert_same();
      }
      if (seed_below(8) == 0) last = (int)seed_below((uint32_t)last + 1); /* rolled back */
      if (seed_below(8) == 0) hf_walframe_forget(&frame);
      commits++;
    }
  }
  assert_true(commits > 1000);
  assert_true(writes < calls - frames); /* not one each: after a gap the head goes alone */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_frame_is_one_write, fresh),
      cmocka_unit_test_setup(in_a_log_that_others_began_too, fresh),
      cmocka_unit_test_setup(another_writer_came_between, fresh),
      cmocka_unit_test_setup(heads_of_known_frames_are_written_at_once, fresh),
      cmocka_unit_test_setup(what_is_left_of_a_page_is_no_head, fresh),
      cmocka_unit_test_setup(a_log_that_is_damaged_is_left_to_the_base, fresh),
      cmocka_unit_test_setup(off_means_off, fresh),
      cmocka_unit_test_setup(an_error_is_told_once_and_nothing_is_held, fresh),
      cmocka_unit_test_setup(whatever_comes_after_a_head_finds_it_written, fresh),
      cmocka_unit_test_setup(lives_of_logs, fresh),
  };

  seed_start();
  file = memfd_create("log", MFD_CLOEXEC);
  if (file < 0) return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
