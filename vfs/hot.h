/*
 * hot.h - words for the compiler, used where a call of SQLite is made so often that single instructions
 * count.
 *
 * The pattern: a short method looks whether anything is unusual and, if not, ends with a jump into the base;
 * what is unusual goes to a function of its own, so that the short one needs no stack.
 */
#ifndef HF_HOT_H
#define HF_HOT_H

#define HF_LIKELY(x)   __builtin_expect(!!(x), 1)
#define HF_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define HF_SLOW        __attribute__((noinline, cold))

/* -fvisibility=hidden does not reach a declaration: without this a variable is looked up in a table. */
#define HF_HIDDEN __attribute__((visibility("hidden")))

#endif
