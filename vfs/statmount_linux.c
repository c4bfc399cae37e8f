/*
 * statmount_linux.c - the description of one mount by statmount(2), kernel 6.8 and newer.
 *
 * Gives the same facts as a line of mountinfo at a tenth of its cost. Kernels before 6.13 do not tell the
 * source and the subtype; since a "fuse" without its subtype says nothing, their answer is not used.
 */
#include "statmount_linux.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mount_text.h"

#if defined(SYS_statmount)
#define STATMOUNT_CALL SYS_statmount
#elif defined(__alpha__) || defined(__mips__) || (defined(__x86_64__) && defined(__ILP32__))
#define STATMOUNT_CALL (-1) /* tables of their own: mountinfo serves */
#else
#define STATMOUNT_CALL 457 /* the same on every other architecture */
#endif

enum {
  WANT_SB_BASIC = 0x1,
  WANT_MNT_BASIC = 0x2,
  WANT_MNT_ROOT = 0x8,
  WANT_MNT_POINT = 0x10,
  WANT_FS_TYPE = 0x20,
  WANT_MNT_OPTS = 0x80,
  WANT_FS_SUBTYPE = 0x100, /* not set in the answer of a type that has none */
  WANT_SB_SOURCE = 0x200
};

struct request {
  uint32_t size, spare;
  uint64_t id, param;
};

struct answer {
  uint32_t size, options;
  uint64_t mask;
  uint32_t device_major, device_minor;
  uint64_t magic;
  uint32_t sb_flags, fs_type;
  uint64_t id, parent_id;
  uint32_t id_short, parent_id_short;
  uint64_t attributes, propagation, peer_group, master, propagate_from;
  uint32_t root, point;
  uint64_t namespace_id;
  uint32_t fs_subtype, source;
  uint64_t spare[48];
  char strings[7680];
};

_Static_assert(sizeof(struct request) == 24, "struct mnt_id_req, first version");
_Static_assert(offsetof(struct answer, strings) == 512, "struct statmount of the kernel");

#define ATIME_BITS 0x70 /* none of them: relatime, the default */

/* Bits of attributes and of sb_flags, and the words that mountinfo has for them. */
static const struct word {
  uint32_t bit;
  const char *text;
} mount_words[] = {{0x2, "nosuid"}, {0x4, "nodev"}, {0x8, "noexec"}, {0x10, "noatime"}, {0x80, "nodiratime"}},
  super_words[] = {{0x10, "sync"}, {0x80, "dirsync"}, {0x2000000, "lazytime"}};

static const char *string(const struct answer *a, uint32_t offset)
{
  return offset < sizeof a->strings ? a->strings + offset : "";
}

static void add_words(char *out, size_t size, uint64_t bits, const struct word *words, size_t count)
{
  size_t used = (size_t)snprintf(out, size, "%s", bits & 1 ? "ro" : "rw");

  for (size_t i = 0; i < count; i++)
    if (bits & words[i].bit) used += (size_t)snprintf(out + used, size - used, ",%s", words[i].text);
}

static void copy(char *out, size_t size, const char *text)
{
  (void)snprintf(out, size, "%s", text); /* cut */
}

static void add_super_options(const struct answer *a, hf_mount_facts *f)
{
  size_t used;

  add_words(f->super_options, sizeof f->super_options, a->sb_flags, super_words,
            sizeof super_words / sizeof super_words[0]);
  if (!(a->mask & WANT_MNT_OPTS) || !string(a, a->options)[0]) return;
  used = strlen(f->super_options);
  f->super_options[used++] = ',';
  hf_text_options(f->super_options + used, sizeof f->super_options - used, string(a, a->options),
                  strlen(string(a, a->options)));
}

/* ENOSYS never turns into anything else: asked once per process. */
static atomic_bool missing;

int hf_statmount(uint64_t id, hf_mount_facts *f)
{
  const uint64_t needed =
      WANT_SB_BASIC | WANT_MNT_BASIC | WANT_MNT_ROOT | WANT_MNT_POINT | WANT_FS_TYPE | WANT_SB_SOURCE;
  struct request ask = {sizeof ask, 0, id, needed | WANT_MNT_OPTS | WANT_FS_SUBTYPE};
  struct answer a;
  long rc = -1;

  a.mask = 0;
  errno = ENOSYS;
  if (STATMOUNT_CALL > 0 && !atomic_load_explicit(&missing, memory_order_relaxed))
    rc = syscall(STATMOUNT_CALL, &ask, &a, sizeof a, 0);
  if (rc != 0) {
    if (errno == ENOSYS) atomic_store_explicit(&missing, true, memory_order_relaxed);
    return errno == ENOENT ? ENOENT : ENOSYS; /* EPERM: a sandbox; EOVERFLOW: very long options */
  }
  if ((a.mask & needed) != needed) return ENOSYS;
  a.strings[sizeof a.strings - 1] = '\0';

  memset(f, 0, sizeof *f);
  copy(f->fstype, sizeof f->fstype, string(&a, a.fs_type));
  if (a.mask & WANT_FS_SUBTYPE && string(&a, a.fs_subtype)[0]) {
    size_t used = strlen(f->fstype);

    (void)snprintf(f->fstype + used, sizeof f->fstype - used, ".%s", string(&a, a.fs_subtype));
  }
  copy(f->source, sizeof f->source, string(&a, a.source));
  copy(f->root, sizeof f->root, string(&a, a.root));
  copy(f->mount_point, sizeof f->mount_point, string(&a, a.point));
  add_words(f->mount_options, sizeof f->mount_options, a.attributes, mount_words,
            sizeof mount_words / sizeof mount_words[0]);
  if (!(a.attributes & ATIME_BITS)) strcat(f->mount_options, ",relatime"); /* far from full: six words */
  add_super_options(&a, f);
  f->magic = (uint32_t)a.magic;
  copy(f->how, sizeof f->how, "statmount");
  return 0;
}
