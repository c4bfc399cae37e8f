/*
 * fsnames.h - what is known about each type of file system, and how to find it.
 *
 * Private to the mount files. The table itself is in fsnames.c, the table of mount options in
 * fsoptions.c; policy.c turns both into a verdict.
 */
#ifndef HF_FSNAMES_H
#define HF_FSNAMES_H

#include <stddef.h>
#include <stdint.h>

/* Types whose mount options mean the same. */
enum {
  HF_FAMILY_NONE = 0,
  HF_FAMILY_DISK, /* ext4, xfs, f2fs...: only durability depends on options */
  HF_FAMILY_NFS,
  HF_FAMILY_CIFS,
  HF_FAMILY_9P,
  HF_FAMILY_VIRTIOFS,
  HF_FAMILY_OVERLAY,
  HF_FAMILY_LUSTRE,
  HF_FAMILY_GFS2,
  HF_FAMILY_OCFS2,
  HF_FAMILY_ORANGEFS,
  HF_FAMILY_AFS,
  HF_FAMILY_AUTOFS
};

/* One type. The numbers are HOLDFAST_..._ values; why is a clause that follows "TYPE from SOURCE: ". */
typedef struct hf_fs_type {
  const char *name;
  uint32_t magic[2]; /* statfs f_type; 0 = none, or shared and of no use for a search */
  short mount_class, shm, locks, durable, scope, rule, confidence, family;
  const char *why;
} hf_fs_type;

/* The row of a type name as mountinfo prints it ("nfs4", "fuse.sshfs"); never NULL: a name that is not
 * in the table gives the row of unknown FUSE servers or that of unknown types. */
const hf_fs_type *hf_fs_by_name(const char *name);
/* The row of a statfs number, NULL when not known. Takes any width and sign: only 32 bits count. */
const hf_fs_type *hf_fs_by_magic(uint64_t magic);
/* Row i of the table, NULL after the last: for tests and for documentation. */
const hf_fs_type *hf_fs_row(size_t i);

/* What an option changes. Ordered: of several, the highest decides and is named in the reason. */
enum {
  HF_EFFECT_NOTE = 1,     /* nothing but a remark for the administrator */
  HF_EFFECT_MAY_LOSE,     /* a power cut may take what fsync promised */
  HF_EFFECT_NOT_DURABLE,  /* fsync does nothing */
  HF_EFFECT_SERVER_LOCKS, /* locks reach all openers: rollback journal */
  HF_EFFECT_NETWORK,      /* the other end is a network server, not this machine's host */
  HF_EFFECT_ONE_HOST,     /* caches are not kept in step with other hosts */
  HF_EFFECT_LOCAL_LOCKS,  /* locks end at this kernel */
  HF_EFFECT_FAKE_LOCKS,   /* locks are granted to everybody */
  HF_EFFECT_NO_LOCKS      /* every lock call fails */
};

/* One option: key alone (value NULL: present, with or without a value) or key=value. A value that ends
 * with '*' matches what begins like it. */
typedef struct hf_fs_option {
  int family;
  const char *key, *value;
  int effect;
  const char *why;
} hf_fs_option;

/* Row i of the option table, NULL after the last. */
const hf_fs_option *hf_fs_option_row(size_t i);

#endif
