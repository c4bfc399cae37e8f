/*
 * fsnames.c - the table of file system types.
 *
 * One row per name that mountinfo prints. A row is what is true of the type with default options;
 * fsoptions.c has what options change, policy.c everything that depends on the one file. The number
 * of statfs is used only where there is no name: for 9p it is whatever the server sends, and all FUSE
 * servers share one.
 */
#include "fsnames.h"

#include <string.h>

#include "holdfast.h"

/* Columns that go together: class, shm, locks, durable, scope, rule, confidence. */
#define C(x)       HOLDFAST_CLASS_##x
#define LOW        HOLDFAST_CONFIDENCE_LOW
#define HIGH       HOLDFAST_CONFIDENCE_HIGH
#define SURE       HOLDFAST_DURABLE_YES
#define LOST       HOLDFAST_DURABLE_NO
#define MAYBE      HOLDFAST_DURABLE_UNKNOWN
#define OPEN_TO(x) HOLDFAST_SCOPE_##x
#define WAL(confidence)                                                                                      \
  HOLDFAST_SHM_COHERENT, HOLDFAST_LOCKS_KERNEL, SURE, OPEN_TO(ONE_KERNEL), HOLDFAST_RULE_WAL_OK, confidence
#define WAL_STACKED                                                                                          \
  HOLDFAST_SHM_UNKNOWN, HOLDFAST_LOCKS_KERNEL, MAYBE, OPEN_TO(ONE_KERNEL), HOLDFAST_RULE_WAL_OK, LOW
#define SERVER(shm, durable, confidence)                                                                     \
  HOLDFAST_SHM_##shm, HOLDFAST_LOCKS_SERVER, durable, OPEN_TO(SEVERAL), HOLDFAST_RULE_ROLLBACK_ONLY,         \
      confidence
#define HOST(durable, confidence)                                                                            \
  HOLDFAST_SHM_INCOHERENT, HOLDFAST_LOCKS_LOCAL_ONLY, durable, OPEN_TO(SEVERAL),                             \
      HOLDFAST_RULE_ROLLBACK_ONE_HOST, confidence
#define UNKNOWN_TYPE                                                                                         \
  HOLDFAST_SHM_UNKNOWN, HOLDFAST_LOCKS_LOCAL_ONLY, MAYBE, OPEN_TO(SEVERAL), HOLDFAST_RULE_ROLLBACK_ONE_HOST, \
      LOW
#define IN_MEMORY                                                                                            \
  HOLDFAST_SHM_COHERENT, HOLDFAST_LOCKS_KERNEL, LOST, OPEN_TO(ONE_KERNEL), HOLDFAST_RULE_WAL_OK, HIGH
#define LITEFS                                                                                               \
  HOLDFAST_SHM_COHERENT, HOLDFAST_LOCKS_SERVER, SURE, OPEN_TO(ONE_KERNEL), HOLDFAST_RULE_WAL_OK, HIGH
#define READ_ONLY                                                                                            \
  HOLDFAST_SHM_COHERENT, HOLDFAST_LOCKS_KERNEL, SURE, OPEN_TO(ONE_KERNEL), HOLDFAST_RULE_READ_ONLY, HIGH
#define NO_PLACE                                                                                             \
  HOLDFAST_SHM_INCOHERENT, HOLDFAST_LOCKS_NONE, LOST, OPEN_TO(ONE_KERNEL), HOLDFAST_RULE_REFUSE, HIGH
#define LOCKLESS                                                                                             \
  HOLDFAST_SHM_INCOHERENT, HOLDFAST_LOCKS_NONE, MAYBE, OPEN_TO(SEVERAL), HOLDFAST_RULE_REFUSE, HIGH
#define DISK HF_FAMILY_DISK
#define NONE HF_FAMILY_NONE

#define FUSE_MAGIC 0x65735546

static const char local[] = "a local file system: one kernel has its locks and its page cache";
static const char memory[] =
    "kept in memory: one kernel has its locks and pages, and all is gone at a reboot";
static const char picky_mmap[] =
    "local, but its memory maps can fail on compressed or sparse files, so this is not certain";
static const char stacked[] =
    "a layer over another file system: openers of the layer below share neither its locks nor its pages, "
    "and what is below is not known";
static const char packed[] = "a read-only file system: nothing can be written, not even a rollback";
static const char network[] =
    "other machines can open the file, and memory shared on this one is not shared with them";
static const char cluster[] =
    "other nodes can open the file; their locks are shared, but nobody has shown that shared memory is";
static const char cluster_local[] =
    "other nodes can open the file, and byte-range locks of this type end at this node by default";
static const char guest[] =
    "the host and other guests can open the file, and neither this kernel's locks nor its shared memory "
    "reach them";
static const char container[] = "the host's files through a user-space share: this kernel's locks and shared "
                                "memory do not reach the host";
static const char user_server[] =
    "a user-space server on a remote place: locks end at this machine, and writers elsewhere are not noticed";
static const char objects[] =
    "an object store: whole objects are rewritten at close, and locks end at this machine";
static const char pseudo[] = "a kernel interface and no place for a database";
static const char unknown_fuse[] =
    "a user-space file system that holdfast does not know: how far its locks and its shared memory reach "
    "is not known";
static const char flash[] =
    "local flash whose files cannot be mapped for shared writing, so WAL may not start";
static const char overlaid[] = "one kernel serves all openers of this overlay; openers of the layers below "
                               "are not among them, and what the layers lie on is not visible from here";
static const char user_disk[] =
    "a local disk behind a user-space driver: one kernel has its locks, but its memory maps are not certain";
static const char litefs[] = "made for SQLite: its server follows the lock bytes and expects WAL";
static const char mirror[] =
    "a mirror of another directory: its openers and those of the original do not share locks";
static const char user_share[] =
    "a user share spread over several disks: use the path of the disk or pool below it";
static const char portal[] = "the document portal, which refuses every byte-range lock";
static const char archive[] = "an archive that is written back as a whole, if at all";
static const char afs_locks[] = "other machines can open the file, and byte-range locks end at this one: "
                                "only whole-file locks are shared";
static const char disconnected[] =
    "locks end at this machine, and work done while disconnected becomes a second version of the file";
static const char lustre_silent[] =
    "other nodes can open the file, and the mount shows neither flock nor localflock";
static const char beegfs_locks[] = "other nodes can open the file, and locks end at this one unless the "
                                   "client's configuration has tuneUseGlobalFileLocks";
static const char ocfs2_o2cb[] =
    "other nodes can open the file, and with the o2cb cluster stack byte-range locks end at this node";
static const char orangefs_locks[] = "every byte-range lock fails unless it is mounted with local_lock";
static const char no_files[] = "an empty root that holds no files";

static const hf_fs_type types[] = {
    /* Disks of one kernel. */
    {"ext4", {0xEF53, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"ext3", {0xEF53, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"ext2", {0xEF53, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"xfs", {0x58465342, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"btrfs", {0x9123683E, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"f2fs", {0xF2F52010, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"zfs", {0x2FC12FC1, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"bcachefs", {0xCA451A4E, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"jfs", {0x3153464A, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"nilfs2", {0x3434, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"ubifs", {0x24051905, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"reiserfs", {0x52654973, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"reiser4", {0x52345362, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"minix", {0x137F, 0x2478}, C(LOCAL), WAL(HIGH), DISK, local},
    {"hfs", {0x4244, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"hfsplus", {0x482B, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"ufs", {0x00011954, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"vfat", {0x4D44, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"msdos", {0x4D44, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"exfat", {0x2011BAB0, 0}, C(LOCAL), WAL(HIGH), DISK, local},
    {"ntfs3", {0x7366746E, 0}, C(LOCAL), WAL(LOW), DISK, picky_mmap},
    {"ntfs", {0x5346544E, 0}, C(LOCAL), WAL(LOW), DISK, picky_mmap},
    {"jffs2", {0x72B6, 0}, C(LOCAL), WAL(LOW), DISK, flash},
    {"tmpfs", {0x01021994, 0}, C(MEMORY), IN_MEMORY, NONE, memory},
    {"ramfs", {0x858458F6, 0}, C(MEMORY), IN_MEMORY, NONE, memory},

    /* Layers and user-space servers of one machine. */
    {"overlay", {0x794C7630, 0}, C(LOCAL), WAL(HIGH), HF_FAMILY_OVERLAY, overlaid},
    {"fuse.fuse-overlayfs", {0, 0}, C(FUSE), WAL_STACKED, NONE, stacked},
    {"fuse.mergerfs", {0, 0}, C(FUSE), WAL_STACKED, NONE, stacked},
    {"mergerfs", {0, 0}, C(FUSE), WAL_STACKED, NONE, stacked},
    {"aufs", {0x61756673, 0}, C(LOCAL), WAL_STACKED, NONE, stacked},
    {"unionfs", {0, 0}, C(LOCAL), WAL_STACKED, NONE, stacked},
    {"fuse.unionfs", {0, 0}, C(FUSE), WAL_STACKED, NONE, stacked},
    {"fuse.unionfs-fuse", {0, 0}, C(FUSE), WAL_STACKED, NONE, stacked},
    {"ecryptfs", {0xF15F, 0}, C(LOCAL), WAL_STACKED, NONE, stacked},
    {"fuse.gocryptfs", {0, 0}, C(FUSE), WAL_STACKED, NONE, stacked},
    {"fuse.encfs", {0, 0}, C(FUSE), WAL_STACKED, NONE, stacked},
    {"fuse.cryfs", {0, 0}, C(FUSE), WAL_STACKED, NONE, stacked},
    {"fuse.securefs", {0, 0}, C(FUSE), WAL_STACKED, NONE, stacked},
    {"fuseblk", {0, 0}, C(LOCAL), WAL(LOW), NONE, user_disk},
    {"fuse.litefs", {0, 0}, C(FUSE), LITEFS, NONE, litefs},
    {"fuse", {FUSE_MAGIC, 0}, C(FUSE), UNKNOWN_TYPE, NONE, unknown_fuse},
    {"fuse.bindfs", {0, 0}, C(FUSE), UNKNOWN_TYPE, NONE, mirror},
    {"fuse.shfs", {0, 0}, C(FUSE), UNKNOWN_TYPE, NONE, user_share},
    {"fuse.portal", {0, 0}, C(FUSE), LOCKLESS, NONE, portal},

    /* Read-only images. */
    {"squashfs", {0x73717368, 0}, C(READ_ONLY), READ_ONLY, NONE, packed},
    {"erofs", {0xE0F5E1E2, 0}, C(READ_ONLY), READ_ONLY, NONE, packed},
    {"iso9660", {0x9660, 0}, C(READ_ONLY), READ_ONLY, NONE, packed},
    {"cramfs", {0x28CD3D45, 0x453DCD28}, C(READ_ONLY), READ_ONLY, NONE, packed},
    {"romfs", {0x7275, 0}, C(READ_ONLY), READ_ONLY, NONE, packed},
    {"udf", {0x15013346, 0}, C(LOCAL), WAL(LOW), DISK, local},
    {"fuse.archivemount", {0, 0}, C(FUSE), HOST(LOST, HIGH), NONE, archive},

    /* Network file systems. */
    {"nfs", {0x6969, 0}, C(NETWORK), SERVER(INCOHERENT, SURE, HIGH), HF_FAMILY_NFS, network},
    {"nfs4", {0x6969, 0}, C(NETWORK), SERVER(INCOHERENT, SURE, HIGH), HF_FAMILY_NFS, network},
    {"cifs", {0xFF534D42, 0xFE534D42}, C(NETWORK), SERVER(INCOHERENT, SURE, HIGH), HF_FAMILY_CIFS, network},
    {"smb3", {0xFE534D42, 0}, C(NETWORK), SERVER(INCOHERENT, SURE, HIGH), HF_FAMILY_CIFS, network},
    {"smbfs", {0x517B, 0}, C(NETWORK), SERVER(INCOHERENT, MAYBE, LOW), NONE, network},
    {"ncpfs", {0x564C, 0}, C(NETWORK), SERVER(INCOHERENT, MAYBE, LOW), NONE, network},
    {"afs", {0x6B414653, 0x5346414F}, C(NETWORK), HOST(SURE, HIGH), HF_FAMILY_AFS, afs_locks},
    {"auristorfs", {0, 0}, C(NETWORK), HOST(SURE, LOW), HF_FAMILY_AFS, network},
    {"coda", {0x73757245, 0}, C(NETWORK), HOST(MAYBE, HIGH), NONE, disconnected},
    {"fuse.sshfs", {0, 0}, C(NETWORK), HOST(MAYBE, HIGH), NONE, user_server},
    {"fuse.gvfsd-fuse", {0, 0}, C(NETWORK), HOST(MAYBE, HIGH), NONE, user_server},
    {"fuse.kio-fuse", {0, 0}, C(NETWORK), HOST(MAYBE, HIGH), NONE, user_server},
    {"fuse.curlftpfs", {0, 0}, C(NETWORK), HOST(MAYBE, HIGH), NONE, user_server},
    {"fuse.smbnetfs", {0, 0}, C(NETWORK), HOST(MAYBE, HIGH), NONE, user_server},
    {"fuse.davfs", {0, 0}, C(NETWORK), HOST(MAYBE, HIGH), NONE, user_server},
    {"davfs", {0, 0}, C(NETWORK), HOST(MAYBE, HIGH), NONE, user_server},
    {"fuse.rclone", {0, 0}, C(OBJECT_STORE), HOST(MAYBE, HIGH), NONE, objects},
    {"fuse.s3fs", {0, 0}, C(OBJECT_STORE), HOST(MAYBE, HIGH), NONE, objects},
    {"fuse.goofys", {0, 0}, C(OBJECT_STORE), HOST(MAYBE, HIGH), NONE, objects},
    {"fuse.gcsfuse", {0, 0}, C(OBJECT_STORE), HOST(MAYBE, HIGH), NONE, objects},
    {"fuse.blobfuse", {0, 0}, C(OBJECT_STORE), HOST(MAYBE, HIGH), NONE, objects},
    {"fuse.blobfuse2", {0, 0}, C(OBJECT_STORE), HOST(MAYBE, HIGH), NONE, objects},
    {"fuse.mount-s3", {0, 0}, C(OBJECT_STORE), HOST(MAYBE, HIGH), NONE, objects},

    /* Clusters. */
    {"ceph", {0x00C36400, 0}, C(CLUSTER), SERVER(INCOHERENT, SURE, HIGH), NONE, network},
    {"fuse.ceph-fuse", {0, 0}, C(CLUSTER), SERVER(INCOHERENT, SURE, HIGH), NONE, network},
    {"fuse.ceph", {0, 0}, C(CLUSTER), SERVER(INCOHERENT, SURE, HIGH), NONE, network},
    {"fuse.glusterfs", {0, 0}, C(CLUSTER), SERVER(INCOHERENT, SURE, LOW), NONE, network},
    {"lustre", {0x0BD00BD0, 0}, C(CLUSTER), HOST(SURE, LOW), HF_FAMILY_LUSTRE, lustre_silent},
    {"beegfs", {0x19830326, 0}, C(CLUSTER), HOST(SURE, HIGH), NONE, beegfs_locks},
    {"fhgfs", {0x19830326, 0}, C(CLUSTER), HOST(SURE, HIGH), NONE, cluster_local},
    {"gpfs", {0x47504653, 0}, C(CLUSTER), SERVER(UNKNOWN, SURE, LOW), NONE, cluster},
    {"panfs", {0xAAD7AAEA, 0}, C(CLUSTER), SERVER(UNKNOWN, SURE, LOW), NONE, cluster},
    {"acfs", {0x61636673, 0}, C(CLUSTER), SERVER(UNKNOWN, SURE, LOW), NONE, cluster},
    {"ibrix", {0x013111A8, 0}, C(CLUSTER), SERVER(UNKNOWN, SURE, LOW), NONE, cluster},
    {"snfs", {0xBEEFDEAD, 0}, C(CLUSTER), SERVER(UNKNOWN, SURE, LOW), NONE, cluster},
    {"vxfs", {0xA501FCF5, 0}, C(CLUSTER), SERVER(UNKNOWN, SURE, LOW), NONE, cluster},
    {"gfs2", {0x01161970, 0}, C(CLUSTER), SERVER(UNKNOWN, SURE, HIGH), HF_FAMILY_GFS2, cluster},
    {"gfs", {0, 0}, C(CLUSTER), SERVER(UNKNOWN, SURE, LOW), HF_FAMILY_GFS2, cluster},
    {"ocfs2", {0x7461636F, 0}, C(CLUSTER), HOST(SURE, HIGH), HF_FAMILY_OCFS2, ocfs2_o2cb},
    {"orangefs", {0x20030528, 0}, C(CLUSTER), LOCKLESS, HF_FAMILY_ORANGEFS, orangefs_locks},
    {"pvfs2", {0x20030528, 0}, C(CLUSTER), LOCKLESS, HF_FAMILY_ORANGEFS, orangefs_locks},
    {"fuse.juicefs", {0, 0}, C(CLUSTER), SERVER(INCOHERENT, SURE, HIGH), NONE, network},
    {"fuse.seaweedfs", {0, 0}, C(CLUSTER), SERVER(INCOHERENT, MAYBE, LOW), NONE, network},
    {"fuse.mfs", {0, 0}, C(CLUSTER), SERVER(INCOHERENT, MAYBE, LOW), NONE, network},

    /* Shares between a virtual machine, a container or a subsystem and its host. */
    {"9p", {0x01021997, 0}, C(VM_SHARE), HOST(MAYBE, HIGH), HF_FAMILY_9P, guest},
    {"virtiofs", {0, 0}, C(VM_SHARE), HOST(MAYBE, HIGH), HF_FAMILY_VIRTIOFS, guest},
    {"fuse.virtiofs", {0, 0}, C(VM_SHARE), HOST(MAYBE, HIGH), HF_FAMILY_VIRTIOFS, guest},
    {"vboxsf", {0x786F4256, 0}, C(VM_SHARE), HOST(LOST, HIGH), NONE, guest},
    {"vmhgfs", {0xBACBACBC, 0}, C(VM_SHARE), HOST(MAYBE, HIGH), NONE, guest},
    {"fuse.vmhgfs-fuse", {0, 0}, C(VM_SHARE), HOST(MAYBE, HIGH), NONE, guest},
    {"prl_fs", {0x7C7C6673, 0}, C(VM_SHARE), HOST(MAYBE, LOW), NONE, guest},
    {"fuse.prl_fsd", {0, 0}, C(VM_SHARE), HOST(MAYBE, LOW), NONE, guest},
    {"hostfs", {0x00C0FFEE, 0}, C(VM_SHARE), HOST(SURE, HIGH), NONE, guest},
    {"drvfs", {0x53464846, 0}, C(VM_SHARE), HOST(MAYBE, LOW), NONE, guest},
    {"wslfs", {0x53464846, 0}, C(VM_SHARE), HOST(MAYBE, LOW), NONE, guest},
    {"lxfs", {0x53464846, 0}, C(VM_SHARE), HOST(MAYBE, LOW), NONE, guest},
    {"fakeowner", {0, 0}, C(CONTAINER_SHARE), HOST(MAYBE, HIGH), NONE, container},
    {"fuse.grpcfuse", {0, 0}, C(CONTAINER_SHARE), HOST(MAYBE, HIGH), NONE, container},
    {"grpcfuse", {0, 0}, C(CONTAINER_SHARE), HOST(MAYBE, HIGH), NONE, container},
    {"fuse.osxfs", {0, 0}, C(CONTAINER_SHARE), HOST(MAYBE, HIGH), NONE, container},
    {"osxfs", {0, 0}, C(CONTAINER_SHARE), HOST(MAYBE, HIGH), NONE, container},

    /* Not for files. */
    {"proc", {0x9FA0, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"sysfs", {0x62656572, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"devpts", {0x1CD1, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"devtmpfs", {0, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"cgroup", {0x0027E0EB, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"cgroup2", {0x63677270, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"debugfs", {0x64626720, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"tracefs", {0x74726163, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"securityfs", {0x73636673, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"configfs", {0x62656570, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"pstore", {0x6165676C, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"efivarfs", {0xDE5E81E4, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"bpf", {0xCAFE4A11, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"mqueue", {0x19800202, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"binfmt_misc", {0x42494E4D, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"fusectl", {0x65735543, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"nsfs", {0x6E736673, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"fuse.lxcfs", {0, 0}, C(PSEUDO), NO_PLACE, NONE, pseudo},
    {"nullfs", {0x4E554C4C, 0}, C(PSEUDO), NO_PLACE, NONE, no_files},
    {"autofs",
     {0x0187, 0},
     C(UNKNOWN),
     UNKNOWN_TYPE,
     HF_FAMILY_AUTOFS,
     "an automount point that nothing is mounted on yet, so what will be there is not known"},
};

static const hf_fs_type other_fuse = {"fuse.*", {0, 0}, C(FUSE), UNKNOWN_TYPE, NONE, unknown_fuse};
static const hf_fs_type other = {"*",          {0, 0}, C(UNKNOWN),
                                 UNKNOWN_TYPE, NONE,   "a type that holdfast does not know"};

const hf_fs_type *hf_fs_row(size_t i)
{
  return i < sizeof types / sizeof types[0] ? &types[i] : NULL;
}

const hf_fs_type *hf_fs_by_name(const char *name)
{
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (strcmp(types[i].name, name) == 0) return &types[i];
  /* A subtype says which driver, not that the disk is elsewhere. */
  if (strncmp(name, "fuseblk.", 8) == 0) return hf_fs_by_name("fuseblk");
  if (strncmp(name, "fuse.", 5) == 0) return &other_fuse;
  return &other;
}

const hf_fs_type *hf_fs_by_magic(uint64_t magic)
{
  /* A 32-bit number that passed through a signed long arrives as 0xFFFFFFFFFF534D42. */
  uint32_t wanted = (uint32_t)magic;

  if (wanted == 0) return NULL;
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (types[i].magic[0] == wanted || types[i].magic[1] == wanted) return &types[i];
  return NULL;
}
