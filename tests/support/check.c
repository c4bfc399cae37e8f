/*
 * check.c - see check.h.
 */
#include "check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char scene[256];
static int compared, failed;
static uint64_t random_state = 1;

void check_scene(const char *format, ...)
{
  va_list ap;

  va_start(ap, format);
  (void)vsnprintf(scene, sizeof scene, format, ap); /* a cut heading is still a heading */
  va_end(ap);
}

static bool count(bool good, const char *file, int line, const char *what)
{
  compared++;
  if (good) return true;
  failed++;
  printf("%s:%d: FAILED [%s] %s\n", file, line, scene, what);
  return false;
}

bool check_int(const char *file, int line, const char *what, long long got, long long want)
{
  if (count(got == want, file, line, what)) return true;
  printf("    got %lld, want %lld\n", got, want);
  (void)fflush(stdout); /* a child may be forked next: nothing must be printed twice */
  return false;
}

bool check_str(const char *file, int line, const char *what, const char *got, const char *want)
{
  if (count(strcmp(got, want) == 0, file, line, what)) return true;
  printf("    got  \"%.600s\"\n    want \"%.600s\"\n", got, want);
  (void)fflush(stdout);
  return false;
}

bool check_has(const char *file, int line, const char *what, const char *got, const char *part, bool wanted)
{
  if (count((strstr(got, part) != NULL) == wanted, file, line, what)) return true;
  printf("    got \"%.600s\"\n    %s \"%.300s\" in it\n", got, wanted ? "want" : "want no", part);
  (void)fflush(stdout);
  return false;
}

int check_done(void)
{
  printf("%d comparisons, %d failed\n", compared, failed);
  return failed > 0 || compared == 0;
}

void check_skip(const char *why)
{
  printf("skipped: %s\n", why);
  (void)fflush(stdout);
  _exit(77);
}

void check_broken(const char *what)
{
  printf("cannot go on: %s (%s)\n", what, strerror(errno));
  (void)fflush(stdout);
  _exit(1);
}

void seed_start(void)
{
  const char *given = getenv("HF_SEED");
  struct timespec now;
  unsigned long seed;

  (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with this clock */
  seed = given ? strtoul(given, NULL, 0) : (unsigned long)now.tv_nsec ^ (unsigned long)getpid();
  printf("seed: HF_SEED=%lu\n", seed);
  random_state = seed * 2 + 1; /* never zero, where the generator would stay */
}

uint32_t seed_next(void)
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 16);
}

uint32_t seed_below(uint32_t limit)
{
  return (uint32_t)(((uint64_t)seed_next() * limit) >> 32);
}

void seed_fill(void *bytes, size_t size)
{
  unsigned char *to = bytes;

  for (size_t i = 0; i < size; i++) to[i] = (unsigned char)seed_next();
}
