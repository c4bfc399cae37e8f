/* mount.c: recorded and broken texts of mountinfo, the way from a path to its mount, and option search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mount.h"
#include "mount_text.h"

static char *fixture(const char *name)
{
  const char *source = getenv("HF_SOURCE");
  char path[4096], *text = NULL;
  FILE *f;
  long size;

  snprintf(path, sizeof path, "%s/tests/unit/fixtures/mountinfo-%s.txt", source ? source : ".", name);
  f = fopen(path, "rb");
  if (!f) fail_msg("%s cannot be read", path);
  fseek(f, 0, SEEK_END);
  size = ftell(f);
  rewind(f);
  text = malloc((size_t)size + 1);
  assert_non_null(text);
  assert_int_equal(fread(text, 1, (size_t)size, f), size);
  text[size] = '\0';
  fclose(f);
  return text;
}

static void every_path_finds_its_mount(void **state)
{
  static const struct {
    const char *text, *path;
    uint64_t id; /* 0: none */
    const char *fstype, *source;
  } cases[] = {
      {"host", "/", 28, "ext4", "/dev/nvme0n1p2"},
      {"host", "/home", 41, "btrfs", "/dev/nvme0n1p3"},
      {"host", "/homeless/a.db", 28, "ext4", "/dev/nvme0n1p2"}, /* a name that only begins alike */
      {"host", "/home/anna/a.db", 41, "btrfs", "/dev/nvme0n1p3"},
      {"host", "/home/anna/remote/a.db", 80, "fuse.sshfs", "anna@box:/data"},
      {"host", "/srv/data/x/y", 42, "btrfs", "/dev/nvme0n1p3"},
      {"host", "/srv/databases", 28, "ext4", "/dev/nvme0n1p2"},
      {"host", "/media/My USB\\stick/a.db", 43, "exfat", "/dev/sdb1"},
      {"host", "/media/line\nfeed\ttab/a.db", 45, "ntfs3", "/dev/sdb3"},
      {"host", "/mnt/nfs3/a.db", 50, "nfs", "filer:/export/home"},
      {"host", "/mnt/nfs4soft/a.db", 53, "nfs4", "[fd00::5]:/export/pub"},
      {"host", "/mnt/smb/a.db", 60, "cifs", "//nas/Team share"},
      {"host", "/mnt/smbloose/a.db", 62, "smb3", "//nas/a,b"},
      {"host", "/mnt/auto/a.db", 71, "nfs4", "filer:/export/auto"}, /* above its trigger */
      {"host", "/mnt/later/home/a.db", 72, "autofs", "/etc/auto.later"},
      {"host", "/mnt/src, x/a.db", 95, "tmpfs", "src, x"},
      {"docker", "/app/app.db", 623, "ext4", "/dev/nvme0n1p2"},
      {"docker", "/app/app.db-wal", 612, "overlay", "overlay"},
      {"docker", "/app/data/a.db", 622, "ext4", "/dev/nvme0n1p2"},
      {"docker", "/share/a.db", 626, "fakeowner", "/run/host_mark/Users"},
      {"stacked", "/a.db", 20, "ext4", "/dev/sda1"},            /* not the rootfs below it */
      {"stacked", "/data/a.db", 23, "xfs", "second"},           /* the upper of two */
      {"stacked", "/data/inner/a.db", 23, "xfs", "second"},     /* a mount in the lower one is out of reach */
      {"stacked", "/srv/a/b/a.db", 25, "nfs4", "filer:/cover"}, /* hidden by a later mount above it */
      {"stacked", "/srv/ab/a.db", 20, "ext4", "/dev/sda1"},
      {"stacked", "/mnt/x/y/z/a.db", 29, "tmpfs", "z"},
      {"stacked", "/mnt/x/y/zz", 28, "tmpfs", "y"},
      {"stacked", "/mnt/one.db", 30, "ext4", "/dev/sda1"},
      {"chroot", "/home/a.db", 452, "ext4", "/dev/sda1"},
      {"chroot", "/home/nfs/a.db", 453, "nfs4", "filer:/h"},
      {"chroot", "/var/a.db", 0, "", ""}, /* the mount of the root itself is not listed there */
      {"wsl", "/mnt/c/a.db", 77, "9p", "C:\\"},
      {"wsl", "/mnt/e/a.db", 80, "virtiofs", "drvfse"},
      {"broken", "/x", 14, "ext4", "/dev/sda1"},
      {"broken", "/ring/x", 14, "ext4", "/dev/sda1"}, /* two mounts that claim each other as parent */
      {"broken", "/empty-source/x", 18, "tmpfs", ""},
      {"host", "relative/a.db", 0, "", ""},
      {"host", "", 0, "", ""},
  };
  (void)state;

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *text = fixture(cases[i].text);
    hf_mount_facts facts = {.mount_id = 4711};
    int rc = hf_mountinfo_by_path(text, cases[i].path, &facts);

    free(text);
    if (rc != (cases[i].id ? 0 : -1) || facts.mount_id != (cases[i].id ? cases[i].id : 4711))
      fail_msg("%s %s: rc %d, id %llu", cases[i].text, cases[i].path, rc, (unsigned long long)facts.mount_id);
    if (!cases[i].id) continue;
    assert_string_equal(facts.fstype, cases[i].fstype);
    assert_string_equal(facts.source, cases[i].source);
    assert_string_equal(facts.how, "mountinfo");
  }
}

static void a_line_gives_all_its_facts(void **state)
{
  char *text = fixture("host");
  hf_mount_facts f;
  (void)state;

  assert_int_equal(hf_mountinfo_by_id(text, 41, &f), 0);
  assert_string_equal(f.root, "/@home");
  assert_string_equal(f.mount_point, "/home");
  assert_string_equal(f.mount_options, "rw,relatime");
  assert_string_equal(f.super_options, "rw,compress=zstd:3,ssd,space_cache=v2,subvolid=257,subvol=/@home");
  assert_false(f.deleted);
  assert_int_equal(hf_mountinfo_by_id(text, 43, &f), 0);
  assert_string_equal(f.mount_point, "/media/My USB\\stick");
  assert_int_equal(hf_mountinfo_by_id(text, 4, &f), -1); /* only part of a number */
  assert_int_equal(hf_mountinfo_by_id("", 41, &f), -1);
  free(text);

  text = fixture("stacked");
  assert_int_equal(hf_mountinfo_by_id(text, 26, &f), 0);
  assert_true(f.deleted);
  free(text);
  text = fixture("docker");
  assert_int_equal(hf_mountinfo_by_id(text, 623, &f), 0);
  assert_string_equal(f.root, "/srv/app/app.db");
  free(text);
}

static void broken_lines_are_skipped(void **state)
{
  static const uint64_t bad[] = {0, 1, 5000, 10, 11, 12, 13, 17};
  static const uint64_t good[] = {14, 15, 16, 18, 19};
  char *text = fixture("broken");
  hf_mount_facts f;
  (void)state;

  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    memset(&f, 0x55, sizeof f);
    assert_int_equal(hf_mountinfo_by_id(text, bad[i], &f), -1);
    assert_int_equal(f.fstype[0], 0x55); /* not touched on failure */
  }
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    assert_int_equal(hf_mountinfo_by_id(text, good[i], &f), 0);
  assert_int_equal(hf_mountinfo_by_id(text, 15, &f), 0);
  assert_string_equal(f.mount_point, "/bad\\0escape\\9\\04"); /* what is no escape stays */
  assert_string_equal(f.source, "a\\400b");
  assert_int_equal(hf_mountinfo_by_id(text, 16, &f), 0);
  assert_string_equal(f.mount_point, "/nul\\000name"); /* an escaped zero must not end the text */
  assert_int_equal(hf_mountinfo_by_id(text, 18, &f), 0);
  assert_string_equal(f.super_options, "rw,size=1k");
  assert_int_equal(hf_mountinfo_by_id(text, 19, &f), 0);
  assert_string_equal(f.super_options, "");
  free(text);
}

/* Fields of any length: cut to size, and never a byte beyond. */
static void absurd_lengths_are_cut(void **state)
{
  enum { LONG = 70000 };
  char *text = malloc(6 * LONG + 200), *fill = malloc(LONG + 1);
  hf_mount_facts f;
  (void)state;

  assert_non_null(text);
  assert_non_null(fill);
  memset(fill, 'x', LONG);
  fill[LONG] = '\0';
  sprintf(text, "7 1 0:30 /%s /%s rw,%s - %s %s rw,%s\n8 7 0:31 / /short rw - tmpfs s rw\n", fill, fill, fill,
          fill, fill, fill);
  memset(&f, 0x55, sizeof f);
  assert_int_equal(hf_mountinfo_by_id(text, 7, &f), 0);
  assert_int_equal(strlen(f.fstype), sizeof f.fstype - 1);
  assert_int_equal(strlen(f.source), sizeof f.source - 1);
  assert_int_equal(strlen(f.root), sizeof f.root - 1);
  assert_int_equal(strlen(f.mount_point), sizeof f.mount_point - 1);
  assert_string_equal(f.mount_options, "rw"); /* an option that does not fit is left out, never cut in two */
  assert_string_equal(f.super_options, "rw");
  assert_int_equal(hf_mountinfo_by_id(text, 8, &f), 0);
  assert_string_equal(f.mount_point, "/short");
  free(text);
  free(fill);
}

/* Overlay prints "volatile" after its layers, which may fill pages: it must not be cut off. */
static void a_deciding_option_survives_long_ones(void **state)
{
  char text[20000], value[64];
  hf_mount_facts f;
  size_t n;
  (void)state;

  n = (size_t)sprintf(text, "7 1 0:30 / / rw - overlay overlay rw,lowerdir=");
  for (int i = 0; i < 100; i++) n += (size_t)sprintf(text + n, "/var/lib/docker/overlay2/l/LAYER%021d:", i);
  sprintf(text + n, "/z,upperdir=/up,workdir=/work,volatile\n");
  assert_int_equal(hf_mountinfo_by_id(text, 7, &f), 0);
  assert_true(hf_option(f.super_options, "volatile", NULL, 0));
  assert_true(hf_option(f.super_options, "upperdir", value, sizeof value));
  assert_string_equal(value, "/up");
  assert_true(hf_option(f.super_options, "lowerdir", value, sizeof value));

  n = (size_t)sprintf(text, "7 1 0:30 / / rw - overlay overlay rw"); /* newer kernels: one option per layer */
  for (int i = 0; i < 100; i++)
    n += (size_t)sprintf(text + n, ",lowerdir+=/var/lib/docker/overlay2/l/LAYER%021d", i);
  sprintf(text + n, ",volatile\n");
  assert_int_equal(hf_mountinfo_by_id(text, 7, &f), 0);
  assert_true(hf_option(f.super_options, "volatile", NULL, 0));
}

/* A directory named "a,volatile" is escaped by the kernel; resolving that would invent an option. */
static void an_escaped_comma_divides_nothing(void **state)
{
  char *text = fixture("docker"), value[64];
  hf_mount_facts f;
  (void)state;

  assert_int_equal(hf_mountinfo_by_id(text, 624, &f), 0);
  assert_false(hf_option(f.super_options, "volatile", NULL, 0));
  assert_true(hf_option(f.super_options, "lowerdir", value, sizeof value));
  assert_string_equal(value, "/a\\054volatile:x:/b");
  assert_int_equal(hf_mountinfo_by_id(text, 625, &f), 0);
  assert_true(hf_option(f.super_options, "volatile", NULL, 0));
  free(text);
}

static void options_are_whole_tokens(void **state)
{
  static const char options[] = "rw,nolock,local_lock=all,forcemandatorylock,vers=4.2,empty=,a=b=c,last";
  static const struct {
    const char *key, *value; /* value NULL: absent */
  } cases[] = {
      {"rw", ""},        {"lock", NULL},   {"nolock", ""}, {"local_lock", "all"}, {"local", NULL},
      {"vers", "4.2"},   {"ver", NULL},    {"empty", ""},  {"a", "b=c"},          {"last", ""},
      {"las", NULL},     {"lastly", NULL}, {"4.2", NULL},  {"all", NULL},         {"forcemandatorylock", ""},
      {"nolock,", NULL},
  };
  char value[64];
  (void)state;

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    strcpy(value, "untouched");
    assert_int_equal(hf_option(options, cases[i].key, value, sizeof value), cases[i].value != NULL);
    assert_string_equal(value, cases[i].value ? cases[i].value : "untouched");
  }
  assert_true(hf_option(options, "local_lock", value, 3));
  assert_string_equal(value, "al");
  assert_false(hf_option("", "rw", value, sizeof value));
  assert_false(hf_option(",,,", "rw", value, sizeof value));
  assert_true(hf_option(",,rw,", "rw", NULL, 0));
}

static void texts_are_unescaped_within_their_size(void **state)
{
  char out[8];
  (void)state;

  hf_text_unescape(out, sizeof out, "a\\040b\\012\\134", 14);
  assert_string_equal(out, "a b\n\\");
  hf_text_unescape(out, sizeof out, "1234567\\040", 11);
  assert_string_equal(out, "1234567");
  hf_text_unescape(out, sizeof out, "x\\04", 4); /* ends within an escape */
  assert_string_equal(out, "x\\04");
  hf_text_options(out, sizeof out, "rw,size=123456789", 17); /* the value does not fit: the option goes */
  assert_string_equal(out, "rw");
}

/* Parents that lead round in a ring below the root: the walk must end. */
static void a_ring_of_parents_ends(void **state)
{
  static const char text[] = "1 0 8:1 / / rw - ext4 a rw\n"
                             "2 1 8:2 / /r rw - ext4 b rw\n"
                             "3 2 8:3 / /r rw - ext4 c rw\n"
                             "2 3 8:4 / /r rw - ext4 d rw\n";
  static const char rootfs_last[] = "20 1 8:1 / / rw - ext4 a rw\n1 1 0:1 / / rw - rootfs rootfs rw\n";
  hf_mount_facts f;
  (void)state;

  assert_int_equal(hf_mountinfo_by_path(rootfs_last, "/a.db", &f), 0); /* its own parent, and not on top */
  assert_int_equal(f.mount_id, 20);
  assert_int_equal(hf_mountinfo_by_path(text, "/r/a.db", &f), -1);
  assert_int_equal(hf_mountinfo_by_path(text, "/a.db", &f), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_path_finds_its_mount),
      cmocka_unit_test(a_line_gives_all_its_facts),
      cmocka_unit_test(broken_lines_are_skipped),
      cmocka_unit_test(absurd_lengths_are_cut),
      cmocka_unit_test(a_deciding_option_survives_long_ones),
      cmocka_unit_test(an_escaped_comma_divides_nothing),
      cmocka_unit_test(options_are_whole_tokens),
      cmocka_unit_test(texts_are_unescaped_within_their_size),
      cmocka_unit_test(a_ring_of_parents_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
