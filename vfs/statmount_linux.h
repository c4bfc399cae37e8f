/*
 * statmount_linux.h - system calls newer than the headers that holdfast must build with.
 *
 * The structures are the kernel's, written down here because the C library of a stable distribution does
 * not have them yet. Sizes are checked by the compiler, what a kernel filled in by its result mask.
 */
#ifndef HF_STATMOUNT_LINUX_H
#define HF_STATMOUNT_LINUX_H

#include <stdint.h>

#include "mount.h"

enum {
  HF_STATX_BASIC = 0x7ff,
  HF_STATX_MNT_ID = 0x1000,        /* 5.8 */
  HF_STATX_MNT_ID_UNIQUE = 0x4000, /* 6.8: instead of the former, when both are asked for */
  HF_STATX_ATTR_MOUNT_ROOT = 0x2000,
  HF_STATX_DONT_SYNC = 0x4000
};

typedef struct hf_statx {
  uint32_t mask, blksize;
  uint64_t attributes;
  uint32_t nlink, uid, gid;
  uint16_t mode, spare0;
  uint64_t ino, size, blocks, attributes_mask;
  struct {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t spare;
  } times[4];
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  uint64_t mnt_id;
  uint64_t spare2[13];
} hf_statx;

_Static_assert(sizeof(hf_statx) == 256, "struct statx of the kernel");

/* statmount_linux.c: what the kernel says about the mount of a unique id. 0 or an errno value: ENOSYS where
 * the call is missing, forbidden or says too little, ENOENT when the mount is gone. */
int hf_statmount(uint64_t id, hf_mount_facts *out);

#endif
