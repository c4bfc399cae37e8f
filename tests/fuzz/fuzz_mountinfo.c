/*
 * fuzz_mountinfo.c - any text as mountinfo, any text as options: the parser and the policy stay in their
 * bounds and say something that is allowed.
 *
 *     clang -fsanitize=fuzzer,address,undefined ... && ./fuzz_mountinfo CORPUS tests/unit/fixtures
 *
 * Built without -fsanitize=fuzzer it brings its own main(): it changes the recorded fixtures at random
 * (HF_SEED repeats a run, HF_ROUNDS sets its length), or runs the files that are named.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mount.h"

#define REQUIRE(condition)                                                                                   \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      fprintf(stderr, "line %d: %s is not true\n", __LINE__, #condition);                                    \
      abort();                                                                                               \
    }                                                                                                        \
  } while (0)

static void require_ended(const char *text, size_t size)
{
  REQUIRE(memchr(text, '\0', size) != NULL);
}

static void look_at(hf_mount_facts *f)
{
  char value[16];

  require_ended(f->fstype, sizeof f->fstype);
  require_ended(f->source, sizeof f->source);
  require_ended(f->mount_options, sizeof f->mount_options);
  require_ended(f->super_options, sizeof f->super_options);
  require_ended(f->mount_point, sizeof f->mount_point);
  require_ended(f->root, sizeof f->root);
  REQUIRE(f->fstype[0] && f->mount_point[0]);
  if (hf_option(f->super_options, "lowerdir", value, sizeof value)) require_ended(value, sizeof value);

  for (int i = 0; i < 8; i++) {
    hf_verdict v;
    holdfast_mount m;

    f->split = i & 1;
    f->links = i & 2 ? 2 : 1;
    f->gvisor = i & 4;
    hf_verdict_of(f, i / 2, &v);
    require_ended(v.reason, sizeof v.reason);
    require_ended(v.notes, sizeof v.notes);
    REQUIRE(v.reason[0]);
    for (const char *p = v.reason; *p; p++) REQUIRE((unsigned char)*p >= 0x20);
    REQUIRE(strcmp(holdfast_word("rule", v.rule), "?") != 0);
    REQUIRE(strcmp(holdfast_word("class", v.mount_class), "?") != 0);
    REQUIRE(strcmp(holdfast_word("locks", v.locks), "?") != 0);
    REQUIRE(strcmp(holdfast_word("confidence", v.confidence), "?") != 0);
    /* WAL needs shared memory that is not known to be split, and locks that exclude somebody. */
    if (v.rule == HOLDFAST_RULE_WAL_OK)
      REQUIRE(v.shm != HOLDFAST_SHM_INCOHERENT && v.locks != HOLDFAST_LOCKS_FAKE &&
              v.locks != HOLDFAST_LOCKS_NONE);
    hf_mount_public(f, &v, &m);
    require_ended(m.options, sizeof m.options);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first line is the path, the rest is the table. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char *text = malloc(size + 1), *table;
  hf_mount_facts f;

  if (!text) return 0;
  memcpy(text, data, size);
  text[size] = '\0';
  table = strchr(text, '\n');
  if (table) {
    *table++ = '\0';
    for (uint64_t id = 0; id < 100; id++)
      if (hf_mountinfo_by_id(table, id, &f) == 0) {
        REQUIRE(f.mount_id == id);
        look_at(&f);
      }
    if (hf_mountinfo_by_path(table, text, &f) == 0) look_at(&f);
  }
  (void)hf_option(text, "a", NULL, 0);
  free(text);
  return 0;
}

enum { INPUT_MAX = 65536 };

static uint32_t state;

static uint32_t next(void)
{
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

static size_t load(const char *path, char *out, size_t size)
{
  FILE *f = fopen(path, "rb");
  size_t n = f ? fread(out, 1, size, f) : 0;

  if (f) fclose(f);
  return n;
}

/* One change: a byte, a piece of grammar, a line copied or cut out. */
static size_t change(char *text, size_t size)
{
  static const char *const pieces[] = {" ", "\n", " - ",       "\\040", "\\000", ",",
                                       "=", "/",  "//deleted", "\\",    "ro",    "volatile"};
  size_t at = size ? next() % size : 0, n;
  const char *piece;

  switch (next() % 4) {
  case 0:
    if (size) text[at] = (char)next();
    return size;
  case 1:
    piece = pieces[next() % (sizeof pieces / sizeof pieces[0])];
    n = strlen(piece);
    if (size + n > INPUT_MAX) return size;
    memmove(text + at + n, text + at, size - at);
    memcpy(text + at, piece, n);
    return size + n;
  case 2:
    n = next() % 80;
    if (at + n > size) return size;
    memmove(text + at, text + at + n, size - at - n);
    return size - n;
  default:
    n = next() % 400;
    if (at + n > size || size + n > INPUT_MAX) return size;
    memmove(text + at + n, text + at, size - at);
    return size + n;
  }
}

/* Weak: libFuzzer brings a main() of its own. */
__attribute__((weak)) int main(int argc, char **argv)
{
  static const char *const names[] = {"host", "docker", "stacked", "chroot", "wsl", "broken"};
  static const char *const paths[] = {"/mnt/auto/a.db\n", "/app/app.db\n", "/data/inner/a\n",
                                      "/home/nfs/a\n",    "/mnt/c/a\n",    "/x\n"};
  static char seed_text[INPUT_MAX], text[INPUT_MAX];
  const char *source = getenv("HF_SOURCE"), *seed = getenv("HF_SEED"), *rounds_text = getenv("HF_ROUNDS");
  long rounds = rounds_text ? atol(rounds_text) : 20000;

  for (int i = 1; i < argc; i++)
    LLVMFuzzerTestOneInput((const uint8_t *)text, load(argv[i], text, sizeof text));
  if (argc > 1) return 0;
  state = seed ? (uint32_t)strtoul(seed, NULL, 0) : (uint32_t)time(NULL);
  printf("HF_SEED=%u HF_ROUNDS=%ld\n", state, rounds);
  fflush(stdout);
  if (state == 0) state = 1;
  for (long round = 0; round < rounds; round++) {
    size_t which = next() % (sizeof names / sizeof names[0]), size = strlen(paths[which]);
    char path[4096];

    snprintf(path, sizeof path, "%s/tests/unit/fixtures/mountinfo-%s.txt", source ? source : ".",
             names[which]);
    memcpy(seed_text, paths[which], size);
    size += load(path, seed_text + size, sizeof seed_text - size);
    if (size == strlen(paths[which])) {
      fprintf(stderr, "%s cannot be read\n", path);
      return 1;
    }
    memcpy(text, seed_text, size);
    for (uint32_t changes = next() % 12; changes > 0; changes--) size = change(text, size);
    LLVMFuzzerTestOneInput((const uint8_t *)text, size);
  }
  return 0;
}
