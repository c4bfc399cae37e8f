/*
 * fsnames.c: every type of docs/mounts.md, written down here once more by hand, and the numbers of statfs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fsnames.h"
#include "mount.h"

static hf_mount_facts facts(const char *fstype, const char *options)
{
  hf_mount_facts f = {.links = 1, .file_exists = true};

  snprintf(f.fstype, sizeof f.fstype, "%s", fstype);
  snprintf(f.source, sizeof f.source, "SOURCE");
  snprintf(f.mount_options, sizeof f.mount_options, "rw,relatime");
  snprintf(f.super_options, sizeof f.super_options, "rw%s%s", options[0] ? "," : "", options);
  return f;
}

static hf_verdict verdict(const char *fstype, const char *options)
{
  hf_mount_facts f = facts(fstype, options);
  hf_verdict v;

  hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
  return v;
}

static const char *rule(const hf_verdict *v)
{
  return holdfast_word("rule", v->rule);
}
static const char *class_of(const hf_verdict *v)
{
  return holdfast_word("class", v->mount_class);
}
static const char *locks(const hf_verdict *v)
{
  return holdfast_word("locks", v->locks);
}
static const char *confidence(const hf_verdict *v)
{
  return holdfast_word("confidence", v->confidence);
}

#define W "wal-ok"
#define R "rollback-only"
#define X "rollback-one-host"

static const struct {
  const char *fstype, *rule, *mount_class, *locks, *confidence;
} types[] = {
    {"ext2", W, "local", "kernel", "high"},
    {"ext3", W, "local", "kernel", "high"},
    {"ext4", W, "local", "kernel", "high"},
    {"xfs", W, "local", "kernel", "high"},
    {"btrfs", W, "local", "kernel", "high"},
    {"f2fs", W, "local", "kernel", "high"},
    {"zfs", W, "local", "kernel", "high"},
    {"bcachefs", W, "local", "kernel", "high"},
    {"jfs", W, "local", "kernel", "high"},
    {"nilfs2", W, "local", "kernel", "high"},
    {"ubifs", W, "local", "kernel", "high"},
    {"reiserfs", W, "local", "kernel", "high"},
    {"vfat", W, "local", "kernel", "high"},
    {"msdos", W, "local", "kernel", "high"},
    {"exfat", W, "local", "kernel", "high"},
    {"tmpfs", W, "memory", "kernel", "high"},
    {"ramfs", W, "memory", "kernel", "high"},
    {"overlay", W, "local", "kernel", "high"},
    {"ntfs3", W, "local", "kernel", "low"},
    {"ntfs", W, "local", "kernel", "low"},
    {"fuseblk", W, "local", "kernel", "low"},
    {"fuseblk.ntfs-3g", W, "local", "kernel", "low"},
    {"fuse.mergerfs", W, "fuse", "kernel", "low"},
    {"fuse.fuse-overlayfs", W, "fuse", "kernel", "low"},
    {"aufs", W, "local", "kernel", "low"},
    {"fuse.unionfs", W, "fuse", "kernel", "low"},
    {"ecryptfs", W, "local", "kernel", "low"},
    {"fuse.gocryptfs", W, "fuse", "kernel", "low"},
    {"fuse.encfs", W, "fuse", "kernel", "low"},
    {"fuse.cryfs", W, "fuse", "kernel", "low"},
    {"fuse.litefs", W, "fuse", "server", "high"},
    {"fuse", X, "fuse", "local-only", "low"},
    {"fuse.bindfs", X, "fuse", "local-only", "low"},
    {"fuse.shfs", X, "fuse", "local-only", "low"},
    {"fuse.somethingnew", X, "fuse", "local-only", "low"},
    {"somethingnew", X, "unknown", "local-only", "low"},
    {"autofs", X, "unknown", "local-only", "low"},
    {"squashfs", "read-only", "read-only", "kernel", "high"},
    {"erofs", "read-only", "read-only", "kernel", "high"},
    {"iso9660", "read-only", "read-only", "kernel", "high"},
    {"cramfs", "read-only", "read-only", "kernel", "high"},
    {"nfs", R, "network", "server", "high"},
    {"nfs4", R, "network", "server", "high"},
    {"cifs", R, "network", "server", "high"},
    {"smb3", R, "network", "server", "high"},
    {"smbfs", R, "network", "server", "low"},
    {"ncpfs", R, "network", "server", "low"},
    {"afs", X, "network", "local-only", "high"},
    {"coda", X, "network", "local-only", "high"},
    {"ceph", R, "cluster", "server", "high"},
    {"fuse.ceph-fuse", R, "cluster", "server", "high"},
    {"fuse.glusterfs", R, "cluster", "server", "low"},
    {"lustre", X, "cluster", "local-only", "low"},
    {"beegfs", X, "cluster", "local-only", "high"},
    {"fhgfs", X, "cluster", "local-only", "high"},
    {"gpfs", R, "cluster", "server", "low"},
    {"panfs", R, "cluster", "server", "low"},
    {"acfs", R, "cluster", "server", "low"},
    {"ibrix", R, "cluster", "server", "low"},
    {"snfs", R, "cluster", "server", "low"},
    {"vxfs", R, "cluster", "server", "low"},
    {"gfs2", R, "cluster", "server", "high"},
    {"ocfs2", X, "cluster", "local-only", "high"},
    {"orangefs", "refuse", "cluster", "none", "high"},
    {"pvfs2", "refuse", "cluster", "none", "high"},
    {"fuse.juicefs", R, "cluster", "server", "high"},
    {"fuse.seaweedfs", R, "cluster", "server", "low"},
    {"fuse.mfs", R, "cluster", "server", "low"},
    {"9p", X, "vm-share", "local-only", "high"},
    {"virtiofs", X, "vm-share", "local-only", "high"},
    {"vboxsf", X, "vm-share", "local-only", "high"},
    {"vmhgfs", X, "vm-share", "local-only", "high"},
    {"fuse.vmhgfs-fuse", X, "vm-share", "local-only", "high"},
    {"prl_fs", X, "vm-share", "local-only", "low"},
    {"hostfs", X, "vm-share", "local-only", "high"},
    {"drvfs", X, "vm-share", "local-only", "low"},
    {"fakeowner", X, "container-share", "local-only", "high"},
    {"fuse.grpcfuse", X, "container-share", "local-only", "high"},
    {"osxfs", X, "container-share", "local-only", "high"},
    {"fuse.sshfs", X, "network", "local-only", "high"},
    {"fuse.gvfsd-fuse", X, "network", "local-only", "high"},
    {"fuse.curlftpfs", X, "network", "local-only", "high"},
    {"davfs", X, "network", "local-only", "high"},
    {"fuse.rclone", X, "object-store", "local-only", "high"},
    {"fuse.s3fs", X, "object-store", "local-only", "high"},
    {"fuse.goofys", X, "object-store", "local-only", "high"},
    {"fuse.gcsfuse", X, "object-store", "local-only", "high"},
    {"fuse.blobfuse2", X, "object-store", "local-only", "high"},
    {"fuse.portal", "refuse", "fuse", "none", "high"},
    {"proc", "refuse", "pseudo", "none", "high"},
    {"sysfs", "refuse", "pseudo", "none", "high"},
    {"cgroup2", "refuse", "pseudo", "none", "high"},
    {"fuse.lxcfs", "refuse", "pseudo", "none", "high"},
};

static void each_type_has_its_verdict(void **state)
{
  (void)state;
  assert_true(sizeof types / sizeof types[0] >= 60);
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    hf_verdict v = verdict(types[i].fstype, "");

    if (strcmp(rule(&v), types[i].rule) || strcmp(class_of(&v), types[i].mount_class) ||
        strcmp(locks(&v), types[i].locks) || strcmp(confidence(&v), types[i].confidence))
      fail_msg("%s: %s %s %s %s", types[i].fstype, rule(&v), class_of(&v), locks(&v), confidence(&v));
    assert_true(strncmp(v.reason, types[i].fstype, strlen(types[i].fstype)) == 0);
    assert_non_null(strstr(v.reason, " from SOURCE: "));
    assert_int_equal(v.nfs, !strncmp(types[i].fstype, "nfs", 3));
    assert_int_equal(v.smb, !strcmp(types[i].fstype, "cifs") || !strcmp(types[i].fstype, "smb3"));
    assert_int_equal(v.refuse_when_strict, v.smb || !strcmp(types[i].rule, X));
  }
}

/* No row contradicts itself, and names are not listed twice. */
static void the_table_is_consistent(void **state)
{
  const hf_fs_type *t;
  (void)state;

  for (size_t i = 0; (t = hf_fs_row(i)) != NULL; i++) {
    assert_ptr_equal(hf_fs_by_name(t->name), t);
    assert_true(t->rule >= HOLDFAST_RULE_WAL_OK && t->rule <= HOLDFAST_RULE_READ_ONLY);
    assert_true(t->why && t->why[0] && t->why[strlen(t->why) - 1] != '.');
    if (t->rule == HOLDFAST_RULE_WAL_OK) {
      assert_int_not_equal(t->shm, HOLDFAST_SHM_INCOHERENT);
      assert_int_equal(t->scope, HOLDFAST_SCOPE_ONE_KERNEL);
      if (t->confidence == HOLDFAST_CONFIDENCE_HIGH) assert_int_equal(t->shm, HOLDFAST_SHM_COHERENT);
    }
    if (t->rule == HOLDFAST_RULE_ROLLBACK_ONLY) {
      assert_int_equal(t->locks, HOLDFAST_LOCKS_SERVER);
      assert_int_equal(t->scope, HOLDFAST_SCOPE_SEVERAL);
    }
    if (t->rule == HOLDFAST_RULE_ROLLBACK_ONE_HOST) assert_int_equal(t->locks, HOLDFAST_LOCKS_LOCAL_ONLY);
    if (t->rule == HOLDFAST_RULE_REFUSE) assert_int_equal(t->locks, HOLDFAST_LOCKS_NONE);
  }
}

static void magics_are_32_bits(void **state)
{
  static const struct {
    uint64_t magic;
    const char *name; /* NULL: unknown */
  } cases[] = {
      {0xEF53, "ext4"},
      {0x58465342, "xfs"},
      {0x9123683E, "btrfs"},
      {0xFFFFFFFF9123683E, "btrfs"}, /* passed through a signed long of 32 bits */
      {0xFF534D42, "cifs"},
      {0xFFFFFFFFFF534D42, "cifs"},
      {0xFE534D42, "cifs"},
      {0xFFFFFFFFFE534D42, "cifs"},
      {0x6969, "nfs"},
      {0x01021994, "tmpfs"},
      {0x01021997, "9p"}, /* three away from tmpfs */
      {0xFFFFFFFF858458F6, "ramfs"},
      {0xCA451A4E, "bcachefs"},
      {0x65735546, "fuse"},
      {0x794C7630, "overlay"},
      {0xFFFFFFFFF2F52010, "f2fs"},
      {0x00C36400, "ceph"},
      {0x6B414653, "afs"},
      {0x5346414F, "afs"},
      {0x12345678, NULL},
      {0, NULL},
  };
  (void)state;

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const hf_fs_type *t = hf_fs_by_magic(cases[i].magic);

    if (!cases[i].name) {
      assert_null(t);
    } else {
      assert_non_null(t);
      assert_string_equal(t->name, cases[i].name);
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_type_has_its_verdict),
      cmocka_unit_test(the_table_is_consistent),
      cmocka_unit_test(magics_are_32_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
