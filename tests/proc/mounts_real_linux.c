/*
 * mounts_real_linux.c - verdicts on real mounts of this machine, in a mount namespace of the test's own.
 *
 * Each scene builds what misleads a simpler check (a control shows that it does) and compares the verdict,
 * and where the mount table alone can tell, also that of holdfast_mount_of_text(). Needs the right to mount;
 * the FUSE scene needs bindfs and /dev/fuse and is named when it is left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "holdfast.h"

static char home[PATH_MAX];

static void must(int rc, const char *what)
{
  if (rc != 0) check_broken(what);
}

static void make_dir(const char *name)
{
  must(mkdir(name, 0755) != 0 && errno != EEXIST, name);
}

static void make_file(const char *name)
{
  file_write(name, "", 0);
}

static void mount_tmpfs(const char *source, const char *on)
{
  must(mount(source, on, "tmpfs", 0, "size=1m"), on);
}

/* Absolute form of a name in the test's directory. */
static const char *absolute(const char *name)
{
  static char path[PATH_MAX + 300];

  snprintf(path, sizeof path, "%s/%s", home, name);
  return path;
}

static holdfast_mount ask(const char *name)
{
  holdfast_mount m = {.struct_size = sizeof m};

  CHECK_INT(name, holdfast_mount_of(absolute(name), &m), 0);
  return m;
}

static void expect(const char *name, const char *source, const char *rule, const char *confidence)
{
  holdfast_mount m = ask(name);

  if (source) CHECK_STR("source", m.source, source);
  CHECK_STR("rule", holdfast_word("rule", m.rule), rule);
  CHECK_STR("confidence", holdfast_word("confidence", m.confidence), confidence);
}

/* The same found in the text of the mount table alone. */
static void expect_text(const char *name, const char *source)
{
  holdfast_mount m = {.struct_size = sizeof m};

  CHECK_INT("by text", holdfast_mount_of_text(absolute(name), &m), 0);
  CHECK_STR("source by text", m.source, source);
}

static bool table_has(const char *part)
{
  FILE *f = fopen("/proc/self/mountinfo", "r");
  char line[2 * PATH_MAX];
  bool found = false;

  must(f == NULL, "mountinfo");
  while (!found && fgets(line, sizeof line, f)) found = strstr(line, part) != NULL;
  fclose(f);
  return found;
}

static void memory_and_odd_names(void)
{
  holdfast_mount m;

  check_scene("tmpfs, names with spaces, commas and line ends");
  make_dir("my dir");
  make_dir("my dir/a\nb\\c\t#");
  mount_tmpfs("src, x", "my dir/a\nb\\c\t#");
  m = ask("my dir/a\nb\\c\t#/app.db");
  CHECK_STR("type", m.fstype, "tmpfs");
  CHECK_STR("source", m.source, "src, x");
  CHECK_STR("mount point", m.mount_point, absolute("my dir/a\nb\\c\t#"));
  CHECK_STR("class", holdfast_word("class", m.mount_class), "memory");
  CHECK_STR("durable", holdfast_word("durable", m.durable), "no");
  expect("my dir/a\nb\\c\t#/app.db", "src, x", "wal-ok", "high");
  expect_text("my dir/a\nb\\c\t#/app.db", "src, x");
}

static void hidden_and_stacked(void)
{
  check_scene("a mount hidden under a later one");
  make_dir("cover");
  make_dir("cover/deep");
  mount_tmpfs("hidden", "cover/deep");
  mount_tmpfs("cover", "cover");
  make_dir("cover/deep");
  CHECK_TRUE("control: the longest prefix is still listed", table_has("cover/deep "));
  expect("cover/deep/app.db", "cover", "wal-ok", "high");
  expect_text("cover/deep/app.db", "cover");

  check_scene("two mounts on one directory");
  make_dir("stack");
  mount_tmpfs("first", "stack");
  make_dir("stack/inner");
  mount_tmpfs("inner", "stack/inner");
  mount_tmpfs("second", "stack");
  make_dir("stack/inner");
  expect("stack/app.db", "second", "wal-ok", "high");
  expect("stack/inner/app.db", "second", "wal-ok", "high");
  expect_text("stack/inner/app.db", "second");
}

static void split_files(void)
{
  struct stat file, dir;
  holdfast_mount m;

  check_scene("a file mounted without its directory");
  make_dir("one");
  make_dir("two");
  mount_tmpfs("one", "one");
  make_file("one/app.db");
  /* The usual container: its directory and the file come from the same file system. */
  make_dir("one/sub");
  must(mount("one/sub", "two", NULL, MS_BIND, NULL), "bind a directory");
  make_file("two/app.db");
  expect("two/app.db", "one", "wal-ok", "high"); /* this verdict is cached for the mount from here on */
  must(mount("one/app.db", "two/app.db", NULL, MS_BIND, NULL), "bind a file");
  must(stat("two/app.db", &file), "stat");
  must(stat("two", &dir), "stat");
  CHECK_INT("control: st_dev is the same", file.st_dev, dir.st_dev);
  expect("two/app.db", "one", "rollback-one-host", "low");
  m = ask("two/app.db");
  CHECK_HAS("reason", m.reason, "mount the directory instead");
  expect("one/app.db", "one", "wal-ok", "high"); /* where the file lies with its directory nothing changes */

  check_scene("the -wal on a mount of its own");
  make_file("two/b.db");
  make_file("two/b.db-wal");
  make_file("one/other-wal");
  expect("two/b.db", "one", "wal-ok", "high");
  must(mount("one/other-wal", "two/b.db-wal", NULL, MS_BIND, NULL), "bind a -wal");
  expect("two/b.db", "one", "rollback-one-host", "low");
  must(umount("two/b.db-wal"), "umount");
  expect("two/b.db", "one", "wal-ok", "high");
}

static void layers(void)
{
  holdfast_mount m;

  check_scene("overlay");
  make_dir("ov");
  mount_tmpfs("layers", "ov");
  make_dir("ov/lower");
  make_dir("ov/upper");
  make_dir("ov/work");
  make_dir("ov/merged");
  make_file("ov/lower/app.db");
  if (mount("ov", "ov/merged", "overlay", 0, "lowerdir=ov/lower,upperdir=ov/upper,workdir=ov/work") != 0) {
    printf("not tried: overlay (%s)\n", strerror(errno));
    return;
  }
  m = ask("ov/merged/app.db");
  CHECK_STR("type", m.fstype, "overlay");
  CHECK_STR("durable", holdfast_word("durable", m.durable), "yes");
  CHECK_HAS("options", m.options, "upperdir=");
  expect("ov/merged/app.db", "ov", "wal-ok", "high");
  expect_text("ov/merged/app.db", "ov");
  must(umount("ov/merged"), "umount");

  make_dir("ov/work2");
  make_dir("ov/low,er"); /* the comma of a name must not become an option */
  if (mount("ov", "ov/merged", "overlay", 0,
            "lowerdir=ov/low\\,er,upperdir=ov/upper,workdir=ov/work2,volatile") == 0) {
    m = ask("ov/merged/app.db");
    CHECK_STR("durable", holdfast_word("durable", m.durable), "no");
    CHECK_STR("rule", holdfast_word("rule", m.rule), "wal-ok");
  } else {
    printf("not tried: volatile overlay (%s)\n", strerror(errno));
  }
}

static void read_only(void)
{
  check_scene("read-only by mount, by file system, and writable again");
  make_dir("ro");
  mount_tmpfs("ro", "ro");
  make_file("ro/app.db");
  expect("ro/app.db", "ro", "wal-ok", "high");
  make_dir("ro/bound");
  make_dir("view");
  must(mount("ro", "view", NULL, MS_BIND, NULL), "bind");
  must(mount("none", "view", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), "remount the bind");
  expect("view/app.db", "ro", "read-only", "high");
  must(mount("none", "view", NULL, MS_REMOUNT | MS_BIND, NULL), "remount the bind");
  expect("view/app.db", "ro", "wal-ok", "high"); /* at once: not from the cache */
  must(mount("none", "ro", NULL, MS_REMOUNT | MS_RDONLY, NULL), "remount");
  make_dir("fresh");
  must(mount("ro", "fresh", NULL, MS_BIND, NULL), "bind");
  expect("fresh/app.db", "ro", "read-only", "high");
}

static void links_lead_to_the_real_place(void)
{
  check_scene("a symbolic link to a database elsewhere");
  make_dir("links");
  make_dir("real");
  mount_tmpfs("real", "real");
  make_file("real/app.db");
  must(symlink(absolute("real/app.db"), "links/app.db"), "symlink");
  expect("links/app.db", "real", "wal-ok", "high");
  check_scene("a hard link");
  must(link("real/app.db", "real/second.db"), "link");
  expect("real/app.db", "real", "rollback-one-host", "low");
}

/* As an unprivileged user in a chroot without /proc: statmount is refused, the mount table is not there. */
static void chroot_without_proc(void)
{
  int status = 0;
  pid_t child;

  check_scene("chroot without /proc");
  make_dir("jail");
  mount_tmpfs("jail", "jail");
  make_dir("jail/root");
  make_dir("jail/root/db");
  fflush(stdout);
  child = fork();
  must(child < 0, "fork");
  if (child == 0) {
    holdfast_mount m = {.struct_size = sizeof m};

    must(chroot("jail/root"), "chroot");
    must(chdir("/"), "chdir");
    CHECK_INT("as root", holdfast_mount_of("/db/app.db", &m), 0);
    CHECK_STR("rule", holdfast_word("rule", m.rule), "wal-ok");
    must(setgid(65534) || setuid(65534), "become nobody");
    CHECK_INT("as nobody, new directory", holdfast_mount_of("/app.db", &m), 0);
    CHECK_HAS("only the number is left", m.reason, "as of tmpfs");
    CHECK_STR("confidence", holdfast_word("confidence", m.confidence), "low");
    CHECK_STR("rule", holdfast_word("rule", m.rule), "wal-ok");
    status = check_done();
    fflush(stdout);
    _exit(status);
  }
  must(waitpid(child, &status, 0) != child, "waitpid");
  CHECK_INT("in the chroot", WEXITSTATUS(status), 0);
}

static int run(const char *const args[])
{
  int status = 0;
  pid_t child = fork();

  if (child == 0) {
    execvp(args[0], (char *const *)args);
    _exit(127);
  }
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void fuse(void)
{
  const char *const mount_it[] = {"bindfs", "fuse-src", "fuse-mnt", NULL};
  const char *const with_subtype[] = {"bindfs", "-o", "subtype=novel", "fuse-src", "fuse-mnt", NULL};
  holdfast_mount m;
  int code;

  check_scene("bindfs");
  make_dir("fuse-src");
  make_dir("fuse-mnt");
  make_file("fuse-src/app.db");
  if (access("/dev/fuse", R_OK | W_OK) != 0 || (code = run(mount_it)) != 0) {
    printf("not tried: bindfs (not installed, or no /dev/fuse)\n");
    return;
  }
  m = ask("fuse-mnt/app.db");
  CHECK_TRUE("type is fuse or fuse.bindfs", strncmp(m.fstype, "fuse", 4) == 0);
  CHECK_STR("class", holdfast_word("class", m.mount_class), "fuse");
  expect("fuse-mnt/app.db", NULL, "rollback-one-host", "low");
  must(umount("fuse-mnt"), "umount"); /* which also ends the server */

  check_scene("FUSE with a subtype");
  must(run(with_subtype), "bindfs -o subtype=novel");
  m = ask("fuse-mnt/app.db");
  CHECK_STR("type", m.fstype, "fuse.novel");
  expect_text("fuse-mnt/app.db", m.source);
  must(umount("fuse-mnt"), "umount");
}

int main(void)
{
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
    check_skip("needs the right to make mounts (root, or CAP_SYS_ADMIN)");
  must(getcwd(home, sizeof home) == NULL, "getcwd");
  memory_and_odd_names();
  hidden_and_stacked();
  split_files();
  layers();
  read_only();
  links_lead_to_the_real_place();
  chroot_without_proc();
  fuse();
  return check_done();
}
