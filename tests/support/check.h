/*
 * check.h - compare, count, report: the few words that the scenario programs share.
 *
 * A failed comparison is printed with both values and counted; the program goes on, so that one run
 * shows everything that is wrong. Not thread-safe: compare in the main thread of the main process.
 */
#ifndef HFT_CHECK_H
#define HFT_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK_INT(what, got, want)     check_int(__FILE__, __LINE__, (what), (got), (want))
#define CHECK_STR(what, got, want)     check_str(__FILE__, __LINE__, (what), (got), (want))
#define CHECK_TRUE(what, condition)    check_int(__FILE__, __LINE__, (what), !!(condition), 1)
#define CHECK_HAS(what, got, part)     check_has(__FILE__, __LINE__, (what), (got), (part), true)
#define CHECK_HAS_NOT(what, got, part) check_has(__FILE__, __LINE__, (what), (got), (part), false)

bool check_int(const char *file, int line, const char *what, long long got, long long want);
bool check_str(const char *file, int line, const char *what, const char *got, const char *want);
bool check_has(const char *file, int line, const char *what, const char *got, const char *part, bool wanted);

/* A heading for the comparisons that follow; it is repeated with each failure. printf form. */
void check_scene(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints the totals. What main() returns: 0, or 1 when something differed or nothing was compared. */
int check_done(void);

/* This program cannot run here: says why and ends it with the code that means "skipped". */
void check_skip(const char *why) __attribute__((noreturn));

/* The world of the test is broken (no disk, no fork): say where, end with 1. */
void check_broken(const char *what) __attribute__((noreturn));

/*
 * Random numbers that can be repeated: the seed is printed, and HF_SEED sets it.
 */
void seed_start(void);
uint32_t seed_next(void);            /* 32 random bits */
uint32_t seed_below(uint32_t limit); /* 0 .. limit - 1 */
void seed_fill(void *bytes, size_t size);

#endif
