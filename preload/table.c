/*
 * table.c - finds SQLite's table of functions (sqlite3_api_routines, what it hands to every extension) in the
 * memory of a program or library, whether its symbols are visible or not.
 *
 * The table's layout never changes. Two entries stand side by side that do nothing but return a constant:
 * sqlite3_libversion() and sqlite3_libversion_number(). Their machine code is read, not run. Only where both
 * constants name the same version, "3.x.y" and 3xxxyyy, is it the table. Reads nothing but the object's own
 * memory.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "preload.h"

enum { CODE_BYTES = 32, VERSION_BYTES = 16, NEAR_BYTES = 2 << 20 };

/* What a function that only returns a constant returns: the number itself, or the address of a text. */
typedef struct constant {
  bool known;
  bool indirect; /* value is where the address is kept */
  uint64_t value;
} constant;

#if defined(__x86_64__)

static int32_t signed32(const uint8_t *at)
{
  int32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static uint64_t unsigned32(const uint8_t *at)
{
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

enum { STEP = 1 };

static bool starts_number(const uint8_t *code)
{
  return code[0] == 0xb8;
}

static constant decode(const uint8_t *code)
{
  static const uint8_t landing[] = {0xf3, 0x0f, 0x1e, 0xfa}, frame[] = {0x55, 0x48, 0x89, 0xe5};
  const uint8_t *p = code;
  constant c = {0};
  bool framed = false;

  if (memcmp(p, landing, sizeof landing) == 0) p += sizeof landing;
  if (memcmp(p, frame, sizeof frame) == 0) {
    framed = true;
    p += sizeof frame;
  }
  if (p[0] == 0xb8) { /* mov eax, value */
    c.value = unsigned32(p + 1);
    p += 5;
  } else if (p[0] == 0x48 && p[1] == 0xc7 && p[2] == 0xc0) { /* mov rax, value */
    c.value = (uint64_t)(int64_t)signed32(p + 3);
    p += 7;
  } else if (p[0] == 0x48 && (p[1] == 0x8d || p[1] == 0x8b) && p[2] == 0x05) { /* lea or mov rax, [rip+x] */
    c.indirect = p[1] == 0x8b;
    c.value = (uint64_t)(uintptr_t)(p + 7) + (uint64_t)(int64_t)signed32(p + 3);
    p += 7;
  } else {
    return c;
  }
  if (framed && *p++ != 0x5d) return c; /* pop rbp */
  c.known = p[0] == 0xc3 || (p[0] == 0xf3 && p[1] == 0xc3);
  return c;
}

#elif defined(__aarch64__)

static uint32_t word_at(const uint8_t *code, int index)
{
  uint32_t word;
  memcpy(&word, code + 4 * index, sizeof word);
  return word;
}

/* adrp x0, page: a signed count of 4 KiB pages from this one. */
static uint64_t page_of(uint32_t word, const uint8_t *at)
{
  uint64_t pages = ((uint64_t)(word >> 5 & 0x7ffff) << 2) | (word >> 29 & 3);
  int64_t by = (int64_t)(pages << 43) >> 43;
  return ((uint64_t)(uintptr_t)at & ~(uint64_t)0xfff) + (uint64_t)(by * 4096);
}

enum { STEP = 4 };

static bool starts_number(const uint8_t *code)
{
  return (word_at(code, 0) & 0xffe0001f) == 0x52800000;
}

static constant decode(const uint8_t *code)
{
  constant c = {0};
  int i = word_at(code, 0) == 0xd503245f; /* bti c */
  uint32_t first = word_at(code, i), second = word_at(code, i + 1);

  if ((first & 0xffe0001f) == 0x52800000 &&
      (second & 0xffe0001f) == 0x72a00000) { /* mov w0; movk w0, lsl 16 */
    c.value = (first >> 5 & 0xffff) | (uint64_t)(second >> 5 & 0xffff) << 16;
  } else if ((first & 0x9f00001f) == 0x90000000 && (second & 0xffc003ff) == 0x91000000) { /* adrp; add */
    c.value = page_of(first, code + 4 * i) + (second >> 10 & 0xfff);
  } else if ((first & 0x9f00001f) == 0x90000000 && (second & 0xffc003ff) == 0xf9400000) { /* adrp; ldr */
    c.value = page_of(first, code + 4 * i) + (uint64_t)(second >> 10 & 0xfff) * 8;
    c.indirect = true;
  } else {
    return c;
  }
  c.known = word_at(code, i + 2) == 0xd65f03c0; /* ret */
  return c;
}

#else

enum { STEP = 4 };

static bool starts_number(const uint8_t *code)
{
  (void)code;
  return false;
}

static constant decode(const uint8_t *code)
{
  (void)code;
  return (constant){0};
}

#endif

static constant constant_of(const pl_object *object, uintptr_t function)
{
  if (!pl_object_has(object, function, CODE_BYTES, PF_R | PF_X)) return (constant){0};
  return decode((const uint8_t *)function);
}

static int number_of(const char *text)
{
  unsigned major, minor, patch;
  char end;

  if (sscanf(text, "%u.%u.%u%c", &major, &minor, &patch, &end) != 3 || minor > 999 || patch > 999) return -1;
  return major == 3 ? (int)(3000000 + minor * 1000 + patch) : -1;
}

static bool is_version(constant number)
{
  return number.known && !number.indirect && number.value >= 3015000 && number.value <= 3999999;
}

static bool same_version(const pl_object *object, constant text, constant number)
{
  char copy[VERSION_BYTES];
  uintptr_t at = (uintptr_t)text.value;

  if (!text.known || !is_version(number)) return false;
  if (text.indirect) {
    if (!pl_object_has(object, at, sizeof at, PF_R)) return false;
    memcpy(&at, (const void *)at, sizeof at);
  }
  if (!pl_object_has(object, at, sizeof copy, PF_R)) return false;
  memcpy(copy, (const void *)at, sizeof copy);
  return memchr(copy, 0, sizeof copy) && number_of(copy) == (int)number.value;
}

/* The bounds of the code, so that most words can be passed over with one comparison. */
static void code_bounds(const pl_object *object, uintptr_t *low, uintptr_t *high)
{
  *low = UINTPTR_MAX;
  *high = 0;
  for (int i = 0; i < object->count; i++) {
    const ElfW(Phdr) *h = &object->headers[i];
    uintptr_t start = object->base + h->p_vaddr;
    if (h->p_type != PT_LOAD || !(h->p_flags & PF_X)) continue;
    if (start < *low) *low = start;
    if (start + h->p_memsz > *high) *high = start + h->p_memsz;
  }
}

/* What the shim must be able to call, as a last look; the version itself was the proof. */
static bool complete(const sqlite3_api_routines *t)
{
  return t->vfs_find && t->vfs_register && t->auto_extension && t->open_v2 && t->exec && t->malloc && t->free;
}

static const sqlite3_api_routines *scan(const pl_object *object, uintptr_t start, size_t size)
{
  const size_t before = offsetof(sqlite3_api_routines, libversion);
  const size_t after = offsetof(sqlite3_api_routines, uri_key) - before; /* what SQLite 3.15 has at least */
  uintptr_t low, high;

  code_bounds(object, &low, &high);
  if (size < before + after) return NULL;
  for (uintptr_t at = start + before; at + after <= start + size; at += sizeof(void *)) {
    const uintptr_t *pair = (const uintptr_t *)at;
    const sqlite3_api_routines *table = (const sqlite3_api_routines *)(at - before);
    if (pair[0] - low >= high - low || pair[1] - low >= high - low || pair[0] == pair[1]) continue;
    if (same_version(object, constant_of(object, pair[0]), constant_of(object, pair[1])) && complete(table))
      return table;
  }
  return NULL;
}

bool pl_code_near(const pl_object *object, const void *caller)
{
  uintptr_t at = (uintptr_t)caller, low = at, high = at;

  for (int i = 0; i < object->count; i++) {
    const ElfW(Phdr) *h = &object->headers[i];
    uintptr_t start = object->base + h->p_vaddr, end = start + h->p_filesz;
    if (h->p_type != PT_LOAD || !(h->p_flags & PF_R) || at < start || at >= end) continue;
    low = at - start > NEAR_BYTES ? at - NEAR_BYTES : start;
    high = end - at > NEAR_BYTES ? at + NEAR_BYTES : end;
  }
  low &= ~(uintptr_t)(STEP - 1);
  for (; low + CODE_BYTES <= high; low += STEP)
    if (starts_number((const uint8_t *)low) && is_version(decode((const uint8_t *)low))) return true;
  return false;
}

const sqlite3_api_routines *pl_table_in(const pl_object *object, bool thorough)
{
  const sqlite3_api_routines *found = NULL;

  /* A table of addresses that the loader had to fill in lies in memory that was writable then. A program at
   * fixed addresses needs no filling in, and has the table among its constants. */
  for (int pass = 0; pass < (thorough && object->base == 0 ? 2 : 1) && !found; pass++) {
    for (int i = 0; i < object->count && !found; i++) {
      const ElfW(Phdr) *h = &object->headers[i];
      bool writable = (h->p_flags & PF_W) != 0;
      if (h->p_type != PT_LOAD || !(h->p_flags & PF_R) || (h->p_flags & PF_X) || writable != (pass == 0))
        continue;
      found = scan(object, object->base + h->p_vaddr, h->p_filesz);
    }
  }
  return found;
}
