/*
 * lockkind_linux.c - who keeps the locks of a file: this kernel, a server, or nobody knows.
 *
 * From the type of the file system under a descriptor, and for NFS and SMB from what a mount's verdict has
 * said of the device. Which descriptor then carries the locks is records_linux.c's business.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "records.h"

enum { DEVICES = 64 };

static pthread_mutex_t adding = PTHREAD_MUTEX_INITIALIZER;
static struct {
  _Atomic uint64_t device;
  _Atomic hf_lock_kind kind;
} devices[DEVICES]; /* only grows; an entry's kind may change, because numbers are used again after an unmount
                     */
atomic_int hf_device_count;
atomic_bool hf_smb_seen;

static int device_index(uint64_t device)
{
  int count = atomic_load_explicit(&hf_device_count, memory_order_acquire);
  for (int i = 0; i < count; i++)
    if (atomic_load_explicit(&devices[i].device, memory_order_relaxed) == device) return i;
  return -1;
}

bool hf_lockkind_on_server(dev_t device)
{
  return device_index((uint64_t)device) >= 0;
}

bool hf_records_is_smb(uint64_t device)
{
  int i = device_index(device);
  return i >= 0 && atomic_load_explicit(&devices[i].kind, memory_order_relaxed) == HF_KIND_SMB;
}

bool hf_records_device(uint64_t device, hf_lock_kind kind)
{
  int i;

  pthread_mutex_lock(&adding);
  i = device_index(device);
  if (i < 0 && hf_device_count < DEVICES) {
    i = hf_device_count;
    atomic_store(&devices[i].device, device);
    atomic_store(&devices[i].kind, kind);
    atomic_fetch_add(&hf_device_count, 1);
  } else if (i >= 0) {
    atomic_store(&devices[i].kind, kind);
  }
  pthread_mutex_unlock(&adding);
  if (i >= 0 && kind == HF_KIND_SMB) atomic_store(&hf_smb_seen, true);
  return i >= 0;
}

/*
 * The kernel of the descriptor says what it is, so files that were never shown to the mount code (a nested
 * connection's, a -shm) are right, too. Only file systems whose locks this kernel keeps and whose OFD locks
 * end with the descriptor are owned; FUSE and whatever is not listed stays with POSIX locks, which are then
 * verified.
 */
hf_lock_kind hf_lockkind_of(int fd, dev_t device)
{
  static const uint32_t kernel_held[] = {0xEF53 /* ext2 ext3 ext4 */, 0x58465342 /* xfs */,
                                         0x9123683E /* btrfs */,      0x01021994 /* tmpfs */,
                                         0x858458F6 /* ramfs */,      0x794C7630 /* overlay */,
                                         0xF2F52010 /* f2fs */,       0x2FC12FC1 /* zfs */,
                                         0xCA451A4E /* bcachefs */,   0x3153464A /* jfs */,
                                         0x4D44 /* vfat */,           0x2011BAB0 /* exfat */,
                                         0x7366746E /* ntfs3 */,      0x3434 /* nilfs2 */,
                                         0x24051905 /* ubifs */,      0x52654973 /* reiserfs */};
  int known = device_index((uint64_t)device);
  struct statfs fs;
  struct stat st;
  uint32_t magic;

  if (known >= 0 && devices[known].kind != HF_KIND_SMB)
    return devices[known].kind; /* fstatfs() would ask the server */
  if (fstatfs(fd, &fs) || fstat(fd, &st) || !S_ISREG(st.st_mode)) return HF_KIND_PASS;
  magic = (uint32_t)fs.f_type;
  if (magic == 0xFF534D42u || magic == 0xFE534D42u) return known >= 0 ? HF_KIND_SMB : HF_KIND_PASS;
  for (size_t i = 0; i < sizeof kernel_held / sizeof *kernel_held; i++)
    if (magic == kernel_held[i]) return HF_KIND_OWN;
  return HF_KIND_PASS;
}

bool hf_lockkind_has_ofd(int fd)
{
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

  hf_unit_range(0, &lock.l_start, &lock.l_len);
  return fcntl(fd, F_OFD_GETLK, &lock) == 0;
}

/* May our own POSIX locks be looked at? NFS and SMB answer such questions wrongly. */
bool hf_lockkind_verifiable(int fd, dev_t device)
{
  struct statfs fs;
  if (hf_lockkind_on_server(device)) return false;
  uint32_t magic = fstatfs(fd, &fs) ? 0 : (uint32_t)fs.f_type;
  return magic && magic != 0x6969u && magic != 0xFF534D42u && magic != 0xFE534D42u && hf_posix_can_ask(fd);
}
