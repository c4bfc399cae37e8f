/*
 * object_linux.c - loaded programs and libraries: which one an address belongs to, what its memory is, and
 * its calls to others.
 *
 * Asks dl_iterate_phdr() only, which does not wait for a dlopen() that runs constructors.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "preload.h"

typedef struct search {
  uintptr_t address;
  pl_object *out;
} search;

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
  search *s = arg;
  uintptr_t low = UINTPTR_MAX;
  bool here = false;

  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *h = &info->dlpi_phdr[i];
    uintptr_t start = info->dlpi_addr + h->p_vaddr;
    if (h->p_type != PT_LOAD) continue;
    if (start < low) low = start;
    if (s->address >= start && s->address - start < h->p_memsz) here = true;
  }
  if (!here) return 0;
  snprintf(s->out->path, sizeof s->out->path, "%s", info->dlpi_name ? info->dlpi_name : "");
  s->out->key = low ? low : 1;
  s->out->base = info->dlpi_addr;
  s->out->headers = info->dlpi_phdr;
  s->out->count = info->dlpi_phnum;
  s->out->unloaded =
      size >= offsetof(struct dl_phdr_info, dlpi_subs) + sizeof info->dlpi_subs ? info->dlpi_subs : 0;
  return 1;
}

bool pl_object_at(const void *address, pl_object *out)
{
  search s = {(uintptr_t)address, out};
  ssize_t length;

  if (dl_iterate_phdr(look, &s) != 1) return false;
  if (out->path[0]) return true;
  /* The program itself has no name in the loader's list. */
  length = readlink("/proc/self/exe", out->path, sizeof out->path - 1);
  snprintf(out->path + (length > 0 ? length : 0), length > 0 ? 1 : sizeof out->path, "%s",
           length > 0 ? "" : "the program");
  return true;
}

bool pl_object_has(const pl_object *object, uintptr_t at, size_t size, unsigned flags)
{
  for (int i = 0; i < object->count; i++) {
    const ElfW(Phdr) *h = &object->headers[i];
    uintptr_t start = object->base + h->p_vaddr;
    if (h->p_type == PT_LOAD && (h->p_flags & flags) == flags && at >= start && size <= h->p_memsz &&
        at - start <= h->p_memsz - size)
      return true;
  }
  return false;
}

/* ---------------------------------------------------------------- calls to other objects */

typedef struct dynamic {
  const char *strings;
  const ElfW(Sym) * symbols;
  const ElfW(Rela) * rela[2]; /* of the procedure table, and all others */
  size_t count[2];
} dynamic;

static const ElfW(Dyn) * dynamic_section(const pl_object *object)
{
  for (int i = 0; i < object->count; i++)
    if (object->headers[i].p_type == PT_DYNAMIC)
      return (const ElfW(Dyn) *)(object->base + object->headers[i].p_vaddr);
  return NULL;
}

static dynamic dynamic_of(const pl_object *object)
{
  dynamic d = {0};
  const ElfW(Dyn) *entry = dynamic_section(object);

  for (; entry && entry->d_tag != DT_NULL; entry++) {
    /* glibc has made these absolute on most processors. */
    uintptr_t at = entry->d_un.d_ptr < object->base ? object->base + entry->d_un.d_ptr : entry->d_un.d_ptr;
    switch (entry->d_tag) {
    case DT_STRTAB: d.strings = (const char *)at; break;
    case DT_SYMTAB: d.symbols = (const ElfW(Sym) *)at; break;
    case DT_JMPREL: d.rela[0] = (const ElfW(Rela) *)at; break;
    case DT_RELA: d.rela[1] = (const ElfW(Rela) *)at; break;
    case DT_PLTRELSZ: d.count[0] = entry->d_un.d_val / sizeof(ElfW(Rela)); break;
    case DT_RELASZ: d.count[1] = entry->d_un.d_val / sizeof(ElfW(Rela)); break;
    default: break;
    }
  }
  return d;
}

static bool is_call_slot(unsigned long type)
{
#if defined(__x86_64__)
  return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT;
#elif defined(__aarch64__)
  return type == R_AARCH64_JUMP_SLOT || type == R_AARCH64_GLOB_DAT;
#else
  (void)type;
  return false;
#endif
}

static bool sealed(const pl_object *object, uintptr_t at)
{
  for (int i = 0; i < object->count; i++) {
    const ElfW(Phdr) *h = &object->headers[i];
    if (h->p_type == PT_GNU_RELRO && at >= object->base + h->p_vaddr &&
        at - object->base - h->p_vaddr < h->p_memsz)
      return true;
  }
  return false;
}

static bool store(const pl_object *object, void **slot, void *value)
{
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)slot & ~(page - 1);
  bool closed = sealed(object, (uintptr_t)slot);

  if (closed && mprotect((void *)start, page, PROT_READ | PROT_WRITE) != 0) return false;
  __atomic_store_n(slot, value, __ATOMIC_SEQ_CST);
  if (closed) (void)mprotect((void *)start, page, PROT_READ); /* left writable: as in an unsealed library */
  return true;
}

bool pl_object_patch(const pl_object *object, const char *name, void *to, pl_patch *undo)
{
  dynamic d = dynamic_of(object);

  undo->count = 0;
  if (!d.strings || !d.symbols) return false;
  for (int table = 0; table < 2; table++) {
    for (size_t i = 0; d.rela[table] && i < d.count[table] && undo->count < PL_SLOTS; i++) {
      const ElfW(Rela) *r = &d.rela[table][i];
      void **slot = (void **)(object->base + r->r_offset);
      if (!is_call_slot(ELF64_R_TYPE(r->r_info)) ||
          strcmp(d.strings + d.symbols[ELF64_R_SYM(r->r_info)].st_name, name) != 0)
        continue;
      undo->slot[undo->count] = slot;
      undo->old[undo->count] = *slot;
      if (!store(object, slot, to)) {
        pl_object_undo(object, undo);
        return false;
      }
      undo->count++;
    }
  }
  return undo->count > 0;
}

void pl_object_undo(const pl_object *object, const pl_patch *undo)
{
  for (int i = 0; i < undo->count; i++) (void)store(object, undo->slot[i], undo->old[i]); /* could once */
}
