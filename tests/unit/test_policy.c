/*
 * policy.c, fsoptions.c: the table of options as the documentation has it (docs/mounts.md), written down
 * here once more by hand, and everything that is odd about one file or one mount.
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
static const char *shm(const hf_verdict *v)
{
  return holdfast_word("shm", v->shm);
}
static const char *durable(const hf_verdict *v)
{
  return holdfast_word("durable", v->durable);
}
static const char *confidence(const hf_verdict *v)
{
  return holdfast_word("confidence", v->confidence);
}

#define W "wal-ok"
#define R "rollback-only"
#define X "rollback-one-host"

static const struct {
  const char *fstype, *options, *rule, *locks, *durable;
  const char *says; /* in the reason when the option decides, else in the notes */
} options[] = {
    {"nfs", "vers=3,nolock,local_lock=all", X, "local-only", "yes", "with local_lock=all: "},
    {"nfs", "vers=3,nolock", X, "local-only", "yes", "with nolock: "},
    {"nfs", "vers=3,local_lock=posix", X, "local-only", "yes", "with local_lock=posix: "},
    {"nfs", "vers=3,local_lock=flock", R, "server", "yes", "local_lock=flock: SQLite's"},
    {"nfs", "vers=3,local_lock=none", R, "server", "yes", "vers=3: "},
    {"nfs4", "vers=4.2,local_lock=none", R, "server", "yes", "vers=4.2: locks are leases"},
    {"nfs4", "vers=4.1,soft", R, "server", "yes", "soft: "},
    {"nfs4", "vers=4.1,softerr", R, "server", "yes", "softerr: "},
    {"nfs4", "noac", R, "server", "yes", "noac: "},
    {"nfs4", "sync", R, "server", "yes", "does not make WAL work"},
    {"nfs4", "actimeo=0", R, "server", "yes", "does not make WAL work"},
    {"nfs4", "lookupcache=pos", R, "server", "yes", "lookupcache=pos: an absent journal"},
    {"nfs4", "lookupcache=none", R, "server", "yes", "lookupcache=none: an absent journal"},
    {"nfs4", "nocto", R, "server", "yes", "nocto: "},
    {"nfs4", "acdirmax=600", R, "server", "yes", "acdirmax=600: "},
    {"nfs4", "fsc", R, "server", "yes", "fsc: "},
    {"cifs", "vers=3.1.1,cache=strict,nobrl", X, "local-only", "yes", "with nobrl: "},
    {"cifs", "cache=loose", X, "server", "yes", "with cache=loose: "},
    {"cifs", "cache=singleclient", X, "server", "yes", "with cache=singleclient: "},
    {"cifs", "cache=strict", R, "server", "yes", NULL},
    {"cifs", "cache=none", R, "server", "yes", "cache=none: "},
    {"cifs", "nostrictsync", R, "server", "no", "nostrictsync: fsync does not"},
    {"cifs", "forcemandatorylock", R, "server", "yes", "forcemandatorylock: "},
    {"cifs", "nounix", R, "server", "yes", "nounix: "},
    {"cifs", "soft", R, "server", "yes", "soft: "},
    {"cifs", "persistenthandles", R, "server", "yes", "persistenthandles: "},
    {"cifs", "nohandlecache", R, "server", "yes", "nohandlecache: "},
    {"cifs", "noserverino", R, "server", "yes", "noserverino: "},
    {"smb3", "nobrl,cache=loose,nostrictsync", X, "local-only", "no", "with nobrl: "},
    {"9p", "trans=virtio,noextend", "refuse", "fake", "unknown", "with noextend: "},
    {"9p", "trans=virtio,version=9p2000.u", "refuse", "fake", "unknown", "with version=9p2000.u: "},
    {"9p", "trans=virtio,version=9p2000.L", X, "local-only", "unknown", NULL},
    {"9p", "cache=loose", X, "local-only", "unknown", "with cache=loose: "},
    {"9p", "cache=0x8f", X, "local-only", "unknown", "with cache=0x8f: "},
    {"9p", "cache=none", X, "local-only", "unknown", "cache=none: files cannot be mapped"},
    {"9p", "cache=0x5", X, "local-only", "unknown", "cache=0x5: maps"},
    {"9p", "aname=drvfs;path=C:\\;uid=1000,mmap", X, "local-only", "unknown", "a Windows drive in WSL"},
    {"9p", "aname=drvfsa;path=D:\\,cache=mmap", X, "local-only", "unknown", "a Windows drive in WSL"},
    {"9p", "aname=drivers;fmask=222", X, "local-only", "unknown", NULL},
    {"virtiofs", "dax=always", X, "local-only", "unknown", "dax=always: "},
    {"overlay", "lowerdir=/a,upperdir=/b,volatile", W, "kernel", "no", "volatile: every sync"},
    {"overlay", "lowerdir=/a,fsync=volatile", W, "kernel", "no", "fsync=volatile: every sync"},
    {"overlay", "lowerdir=/a,upperdir=/b", W, "kernel", "yes", "not visible from here"},
    {"lustre", "flock", R, "server", "yes", "with flock: "},
    {"lustre", "localflock", X, "local-only", "yes", "with localflock: "},
    {"lustre", "noflock", "refuse", "none", "yes", "with noflock: "},
    {"gfs2", "localflocks", X, "local-only", "yes", "with localflocks: "},
    {"gfs2", "lockproto=lock_nolock", X, "local-only", "yes", "with lockproto=lock_nolock: "},
    {"gfs2", "lockproto=lock_dlm", R, "server", "yes", NULL},
    {"ocfs2", "cluster_stack=pcmk", R, "server", "yes", "with cluster_stack=pcmk: "},
    {"ocfs2", "cluster_stack=pcmk,localflocks", X, "local-only", "yes", "with localflocks: "},
    {"orangefs", "local_lock", X, "local-only", "unknown", "with local_lock: "},
    {"afs", "flock=openafs", X, "local-only", "yes", "with flock=openafs: "},
    {"afs", "flock=strict", R, "server", "yes", "with flock=strict: "},
    {"ext4", "nobarrier", W, "kernel", "unknown", "nobarrier: "},
    {"ext4", "barrier=0", W, "kernel", "unknown", "barrier=0: "},
    {"ext4", "barrier=1", W, "kernel", "yes", NULL},
    {"ext4", "data=writeback", W, "kernel", "yes", "data=writeback: "},
    {"f2fs", "fsync_mode=nobarrier", W, "kernel", "unknown", "fsync_mode=nobarrier: "},
    /* Options of one family mean nothing to another. */
    {"ext4", "nobrl,nolock,local_lock=all,localflock,noextend", W, "kernel", "yes", NULL},
    {"fuse.sshfs", "nolock,flock", X, "local-only", "unknown", NULL},
};

static void each_option_has_its_effect(void **state)
{
  (void)state;
  assert_true(sizeof options / sizeof options[0] >= 25);
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
    hf_verdict v = verdict(options[i].fstype, options[i].options);
    bool said = !options[i].says || strstr(v.reason, options[i].says) || strstr(v.notes, options[i].says);

    if (strcmp(rule(&v), options[i].rule) || strcmp(locks(&v), options[i].locks) ||
        strcmp(durable(&v), options[i].durable) || !said)
      fail_msg("%s %s: %s %s %s: %s (%s)", options[i].fstype, options[i].options, rule(&v), locks(&v),
               durable(&v), v.reason, v.notes);
    if (!options[i].says) assert_non_null(strstr(v.reason, " from SOURCE: ")); /* no option is blamed */
  }
}

/* Half the rows of the option table could be gone without a test noticing: each is tried as mounted. */
static void every_option_row_is_reached(void **state)
{
  static const char *const family[] = {"",       "ext4", "nfs4",  "cifs",     "9p",  "virtiofs", "overlay",
                                       "lustre", "gfs2", "ocfs2", "orangefs", "afs", "autofs"};
  const hf_fs_option *o;
  size_t rows = 0;
  (void)state;

  for (; (o = hf_fs_option_row(rows)) != NULL; rows++) {
    char text[80], said[120];
    hf_verdict v;

    snprintf(text, sizeof text, "%s%s%s", o->key, o->value ? "=" : "", o->value ? o->value : "");
    if (strchr(text, '*')) *strchr(text, '*') = 'x';
    v = verdict(family[o->family], text);
    snprintf(said, sizeof said, "%s: %.30s", text, o->why);
    if (!strstr(v.notes, said)) fail_msg("%s: \"%s\" is not in \"%s\"", family[o->family], said, v.notes);
  }
  assert_true(rows >= 25);
}

/* A number alone: the type's rule, but never with confidence, and never WAL where the number says nothing. */
static void a_magic_alone_is_not_sure(void **state)
{
  static const struct {
    uint32_t magic;
    const char *rule, *says;
  } cases[] = {
      {0xEF53, W, "file system number 0x0000ef53, as of ext4"},
      {0xFF534D42, R, "as of cifs"},
      {0x6969, R, "as of nfs"},
      {0x65735546, X, "as of fuse"},
      {0x12345678, X, "file system number 0x12345678: "},
      {0, X, "unknown file system: the system does not say"},
  };
  (void)state;

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    hf_mount_facts f = {.magic = cases[i].magic};
    hf_verdict v;

    hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
    assert_string_equal(rule(&v), cases[i].rule);
    assert_string_equal(confidence(&v), "low");
    assert_non_null(strstr(v.reason, cases[i].says));
  }
  hf_verdict v = verdict("9p", ""); /* the name wins over a number that the server sent */
  hf_mount_facts f = facts("9p", "");
  f.magic = 0x2FC12FC1;
  hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
  assert_string_equal(rule(&v), X);
}

static void a_split_file_has_no_wal(void **state)
{
  static const char *const names[] = {"ext4", "tmpfs", "nfs4", "overlay"};
  (void)state;

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    hf_mount_facts f = facts(names[i], "");
    hf_verdict v;

    f.split = true;
    hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
    assert_string_equal(rule(&v), X);
    assert_string_equal(confidence(&v), "low"); /* so that an existing WAL file is refused, not converted */
    assert_string_equal(shm(&v), "incoherent");
    assert_true(v.refuse_when_strict);
    assert_non_null(strstr(v.reason, "mount the directory instead"));
  }
  hf_mount_facts f = facts("proc", "");
  hf_verdict v;
  f.split = true;
  hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
  assert_string_equal(rule(&v), "refuse"); /* never a better answer than without */
}

static void hard_links_and_deleted_mounts_lower_the_confidence(void **state)
{
  hf_mount_facts f = facts("ext4", "");
  hf_verdict v;
  (void)state;

  f.links = 3;
  hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
  assert_string_equal(rule(&v), "rollback-one-host"); /* F16: each name has a -wal of its own */
  assert_string_equal(confidence(&v), "low");
  assert_non_null(strstr(v.reason, "several names"));
  assert_non_null(strstr(v.notes, "3 names"));
  f = facts("ext4", "");
  f.deleted = true;
  hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
  assert_string_equal(rule(&v), W);
  assert_string_equal(confidence(&v), "low");
  f = facts("ext4", "");
  f.links = 0; /* not there yet */
  hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
  assert_string_equal(confidence(&v), "high");
}

static void read_only_by_mount_or_file_system(void **state)
{
  static const struct {
    const char *fstype, *mount, *super, *rule, *mount_class, *shm;
  } cases[] = {
      {"ext4", "ro,relatime", "rw", "read-only", "local", "coherent"},
      {"ext4", "rw,relatime", "ro", "read-only", "local", "coherent"},
      {"ext4", "rw,relatime", "rw,errors=remount-ro", W, "local", "coherent"},
      {"ext4", "", "rw,data=ro", W, "local", "coherent"},
      {"nfs4", "ro", "rw,vers=4.2", "read-only", "network", "incoherent"},
      {"virtiofs", "ro", "ro", "read-only", "vm-share", "incoherent"},
      {"squashfs", "ro", "ro", "read-only", "read-only", "coherent"},
      {"proc", "ro", "ro", "refuse", "pseudo", "incoherent"},
  };
  (void)state;

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    hf_mount_facts f = facts(cases[i].fstype, "");
    hf_verdict v;

    snprintf(f.mount_options, sizeof f.mount_options, "%s", cases[i].mount);
    snprintf(f.super_options, sizeof f.super_options, "%s", cases[i].super);
    hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
    assert_string_equal(rule(&v), cases[i].rule);
    assert_string_equal(class_of(&v), cases[i].mount_class);
    assert_string_equal(shm(&v), cases[i].shm);
    hf_verdict_of(&f, HOLDFAST_ASSUME_LOCAL, &v); /* a fact that no word of the user changes */
    if (!strcmp(cases[i].rule, "read-only")) assert_string_equal(rule(&v), "read-only");
  }
}

static void gvisor_names_everything_9p(void **state)
{
  hf_mount_facts f = facts("9p", "trans=fd,dfltuid=4294967294,cache=remote_revalidating");
  hf_verdict v;
  (void)state;

  f.gvisor = true;
  hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
  assert_string_equal(rule(&v), W);
  assert_string_equal(confidence(&v), "low");
  assert_string_equal(class_of(&v), "container-share");
  assert_false(v.refuse_when_strict);
  f = facts("nfs4", ""); /* a name that is not a lie stays */
  f.gvisor = true;
  hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
  assert_string_equal(rule(&v), R);
}

static void wsl_and_9p_over_tcp(void **state)
{
  hf_mount_facts f = facts("virtiofs", "");
  hf_verdict v;
  (void)state;

  snprintf(f.source, sizeof f.source, "drvfse");
  hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
  assert_string_equal(rule(&v), X);
  assert_non_null(strstr(v.reason, "a Windows drive in WSL"));
  v = verdict("9p", "trans=tcp,port=564");
  assert_string_equal(class_of(&v), "network");
  assert_string_equal(rule(&v), X);
  v = verdict("9p", "trans=virtio");
  assert_string_equal(class_of(&v), "vm-share");
}

static void the_override_works_both_ways(void **state)
{
  enum { LOCAL = HOLDFAST_ASSUME_LOCAL, ONE = HOLDFAST_ASSUME_ONE_HOST, NET = HOLDFAST_ASSUME_NETWORK };
  static const struct {
    const char *fstype, *options;
    int assume;
    const char *rule, *locks;
    bool strict;
  } cases[] = {
      {"ext4", "", NET, R, "server", false}, /* stricter */
      {"ext4", "", ONE, X, "kernel", false},
      {"ext4", "", LOCAL, W, "kernel", false},
      {"nfs4", "", LOCAL, W, "kernel", false}, /* milder */
      {"nfs4", "", ONE, X, "kernel", false},
      {"nfs4", "", NET, R, "server", false},
      {"fuse", "", LOCAL, W, "kernel", false},
      {"fuse.novel", "", NET, R, "server", false},
      {"virtiofs", "", LOCAL, W, "kernel", false},
      {"virtiofs", "", NET, R, "server", false},
      {"cifs", "nobrl", LOCAL, W, "kernel", false},
      {"cifs", "nobrl", ONE, X, "kernel", false},
      {"cifs", "nobrl", NET, X, "local-only", true}, /* locks do end here, whoever says what */
      {"cifs", "", NET, R, "server", true},
      {"9p", "noextend", LOCAL, X, "fake", false}, /* not even two processes exclude each other */
      {"9p", "noextend", ONE, X, "fake", false},
      {"9p", "noextend", NET, "refuse", "fake", false},
      {"orangefs", "", LOCAL, X, "none", false},
      {"proc", "", ONE, X, "none", false},
  };
  (void)state;

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    hf_mount_facts f = facts(cases[i].fstype, cases[i].options);
    hf_verdict v;

    hf_verdict_of(&f, cases[i].assume, &v);
    if (strcmp(rule(&v), cases[i].rule) || strcmp(locks(&v), cases[i].locks) ||
        v.refuse_when_strict != cases[i].strict)
      fail_msg("%s %s assume=%d: %s %s %d", cases[i].fstype, cases[i].options, cases[i].assume, rule(&v),
               locks(&v), v.refuse_when_strict);
    assert_string_equal(confidence(&v), "high");
    assert_non_null(strstr(v.reason, " as you said)"));
    assert_int_equal(v.nfs, !strcmp(cases[i].fstype, "nfs4")); /* how the client works does not change */
  }
  hf_mount_facts split = facts("ext4", ""); /* a split file can be vouched for as well */
  hf_verdict v;
  split.split = true;
  hf_verdict_of(&split, LOCAL, &v);
  assert_string_equal(rule(&v), W);
  hf_verdict_of(&split, 99, &v); /* a value out of range overrides nothing */
  assert_string_equal(rule(&v), X);
}

/* What the kernel prints reaches logs and terminals: no control bytes, and always an end. */
static void the_reason_is_one_clean_line(void **state)
{
  hf_mount_facts f = facts("nfs4", "nolock");
  hf_verdict v;
  (void)state;

  memset(f.source, 'x', sizeof f.source - 1);
  memcpy(f.source, "a\nb\033[31m\177", 9);
  memset(f.fstype, 'y', sizeof f.fstype - 1);
  hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
  for (const char *p = v.reason; *p; p++) assert_true((unsigned char)*p >= 0x20 && *p != 0x7F);
  assert_true(strlen(v.reason) < sizeof v.reason);
  f = facts("tmpfs", "");
  snprintf(f.source, sizeof f.source, "tmpfs");
  hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
  assert_true(strncmp(v.reason, "tmpfs: ", 7) == 0);
}

static void words_and_their_limits(void **state)
{
  static const char *const kinds[] = {"rule", "class", "shm", "locks", "durable", "scope", "confidence"};
  (void)state;

  assert_string_equal(holdfast_word("rule", HOLDFAST_RULE_ROLLBACK_ONE_HOST), "rollback-one-host");
  assert_string_equal(holdfast_word("class", HOLDFAST_CLASS_UNKNOWN), "unknown");
  assert_string_equal(holdfast_word("mode", HOLDFAST_MODE_OFF), "off");
  assert_string_equal(holdfast_word("assume", HOLDFAST_ASSUME_ONE_HOST), "one-host");
  assert_string_equal(holdfast_word("journal", HOLDFAST_JOURNAL_WAL_EXCLUSIVE), "wal-exclusive");
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    assert_string_equal(holdfast_word(kinds[i], 0), "?");
    assert_string_equal(holdfast_word(kinds[i], 12), "?");
    assert_string_equal(holdfast_word(kinds[i], -1), "?");
  }
  assert_string_equal(holdfast_word("colour", 1), "?");
  assert_string_equal(holdfast_word(NULL, 1), "?");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_option_has_its_effect),
      cmocka_unit_test(every_option_row_is_reached),
      cmocka_unit_test(a_magic_alone_is_not_sure),
      cmocka_unit_test(a_split_file_has_no_wal),
      cmocka_unit_test(hard_links_and_deleted_mounts_lower_the_confidence),
      cmocka_unit_test(read_only_by_mount_or_file_system),
      cmocka_unit_test(gvisor_names_everything_9p),
      cmocka_unit_test(wsl_and_9p_over_tcp),
      cmocka_unit_test(the_override_works_both_ways),
      cmocka_unit_test(the_reason_is_one_clean_line),
      cmocka_unit_test(words_and_their_limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
