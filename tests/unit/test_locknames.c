/*
 * test_locknames.c - from byte ranges to SQLite's names: what the unix VFS locks, what the kernel makes of it
 * (it joins neighbours), and what other programs lock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "locknames.h"

enum { PENDING = 0x40000000, RESERVED, SHARED, SHARED_END = SHARED + 509 };
#define BIT(lock) (1u << (lock))

typedef struct row {
  hf_range ranges[3];
  int count;
  unsigned read, write;
} row;

static void expect(bool shm, const row *r)
{
  hf_owned owned = {0};

  for (int i = 0; i < r->count; i++) hf_owned_add(&owned, shm, &r->ranges[i]);
  hf_owned_finish(&owned);
  assert_int_equal(owned.read, r->read);
  assert_int_equal(owned.write, r->write);
}

static void levels(void **state)
{
  static const row rows[] = {
      {{{false, SHARED, SHARED_END}}, 1, BIT(HF_LOCK_SHARED), 0},
      {{{false, SHARED, SHARED_END}, {true, RESERVED, RESERVED}}, 2, 0, BIT(HF_LOCK_RESERVED)},
      {{{false, SHARED, SHARED_END}, {true, PENDING, RESERVED}}, 2, 0, BIT(HF_LOCK_PENDING)},
      {{{true, PENDING, SHARED_END}}, 1, 0, BIT(HF_LOCK_EXCLUSIVE)}, /* joined by the kernel */
      {{{true, PENDING, PENDING}, {true, SHARED, SHARED_END}},
       2,
       0,
       BIT(HF_LOCK_EXCLUSIVE)},               /* hot journal */
      {{{false, PENDING, PENDING}}, 1, 0, 0}, /* a reader on its way in */
      {{{false, SHARED, SHARED_END}, {false, PENDING, PENDING}}, 2, BIT(HF_LOCK_SHARED), 0},
      {{{false, SHARED + 17, SHARED + 17}}, 1, BIT(HF_LOCK_SHARED), 0},
      {{{true, 0, 99}}, 1, 0, 0},                         /* bytes that SQLite never locks */
      {{{true, SHARED_END + 1, INT64_MAX}}, 1, 0, 0},     /* behind them */
      {{{true, 0, INT64_MAX}}, 1, 0, BIT(HF_LOCK_OTHER)}, /* the whole file */
      {{{false, 0, INT64_MAX}}, 1, BIT(HF_LOCK_OTHER), 0},
      {{{false, RESERVED, RESERVED}}, 1, BIT(HF_LOCK_OTHER), 0},
  };

  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) expect(false, &rows[i]);
}

static void wal(void **state)
{
  static const row rows[] = {
      {{{true, 120, 120}}, 1, 0, BIT(HF_LOCK_WAL_WRITE)},
      {{{true, 121, 121}}, 1, 0, BIT(HF_LOCK_WAL_CKPT)},
      {{{true, 120, 122}}, 1, 0, BIT(HF_LOCK_WAL_WRITE) | BIT(HF_LOCK_WAL_CKPT) | BIT(HF_LOCK_WAL_RECOVER)},
      {{{false, 123, 123}, {false, 128, 128}}, 2, BIT(HF_LOCK_WAL_READ0) | BIT(HF_LOCK_DMS), 0},
      {{{false, 127, 128}}, 1, BIT(HF_LOCK_WAL_READ0 + 4) | BIT(HF_LOCK_DMS), 0},
      {{{true, 0, 119}, {true, 129, INT64_MAX}}, 2, 0, 0},
  };

  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) expect(true, &rows[i]);
}

static void names(void **state)
{
  (void)state;
  assert_string_equal(hf_lock_name(HF_LOCK_SHARED), "SHARED");
  assert_string_equal(hf_lock_name(HF_LOCK_WAL_READ0 + 4), "WAL_READ4");
  assert_string_equal(hf_lock_name(HF_LOCK_DMS), "DMS");
  assert_string_equal(hf_lock_name(HF_LOCKS - 1), "OTHER");
  assert_string_equal(hf_lock_name(HF_LOCKS), "?");
  assert_string_equal(hf_lock_name(-1), "?");
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(levels), cmocka_unit_test(wal),
                                     cmocka_unit_test(names)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
