/*
 * bad_input.c - names and files that are no database, and places where nothing can be written.
 *
 * Every case is run by a plain SQLite and with the shim, on the mount as it is and on one that is taken for
 * network. The codes must be equal, one by one; where the shim refuses on purpose, the case says so.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "made.h"

#define NETWORK "HOLDFAST_ASSUME=network"
enum { NOBODY = 65534 };

static const char *const as_is = "HOLDFAST_LOG=none", *const network = NETWORK;

typedef struct outcome {
  int open, read, write;
  char text[600];
} outcome;

static outcome try_in(int shim, const char *env, const char *name, int flags, void (*before)(void),
                      peer_function *after_load)
{
  peer *p = peer_start_in(shim, env, before);
  outcome o = {0};

  if (after_load) CHECK_INT("prepare", peer_call(p, after_load), 0);
  o.open = peer_open(p, 0, name, flags);
  if (o.open == SQLITE_OK) {
    o.read = peer_sql(p, 0, "SELECT count(*) FROM sqlite_master");
    (void)snprintf(o.text, sizeof o.text, "%.300s, ", peer_text(p));
    o.write = peer_sql(p, 0, "CREATE TABLE made_here(x)");
    if (o.write == SQLITE_OK) o.write = peer_sql(p, 0, "DROP TABLE made_here");
  }
  (void)snprintf(o.text + strlen(o.text), sizeof o.text - strlen(o.text), "%.250s", peer_text(p));
  CHECK_INT("end", peer_end(p), 0);
  return o;
}

static void same_codes(const char *what, const char *name, int flags, void (*before)(void),
                       peer_function *after_load)
{
  outcome plain = try_in(SHIM_NO, NULL, name, flags, before, after_load);

  for (int i = 0; i < 2; i++) {
    outcome o = try_in(SHIM_YES, i ? network : as_is, name, flags, before, after_load);
    check_scene("%s, %s", what, i ? "network" : "as it is");
    CHECK_INT("open", o.open, plain.open);
    CHECK_INT("read", o.read, plain.read);
    CHECK_INT("write", o.write, plain.write);
    CHECK_STR("text", o.text, plain.text);
  }
  printf("%s: %d %d %d\n", what, plain.open, plain.read, plain.write);
}

static char *long_name(size_t length)
{
  static char name[8000];

  memset(name, 'n', length);
  for (size_t i = 100; i + 10 < length; i += 100) name[i] = '/';
  name[length] = 0;
  return name;
}

/* Paths around the limit of the unix VFS (512 bytes) and names around that of the file system (255). */
static void long_paths(void)
{
  char directory[242], name[600];

  memset(directory, 'd', 240);
  directory[240] = 0;
  if (mkdir(directory, 0755)) check_broken("mkdir");
  for (int length = 180; length <= 255; length += 5) {
    (void)snprintf(name, sizeof name, "%s/%0*d", directory, length, 1);
    same_codes("long path", name, 0, NULL, NULL);
  }
}

static void odd_names(void)
{
  CHECK_INT("mkdir", mkdir("directory.db", 0755), 0);
  CHECK_INT("symlink", symlink("loop.db", "loop.db"), 0);
  CHECK_INT("symlink", symlink("no/such/place.db", "dangling.db"), 0);
  same_codes("missing directory", "no/such/directory/a.db", 0, NULL, NULL);
  same_codes("directory", "directory.db", 0, NULL, NULL);
  same_codes("directory, read-only", "directory.db", SQLITE_OPEN_READONLY, NULL, NULL);
  same_codes("file as directory", "/etc/passwd/a.db", 0, NULL, NULL);
  same_codes("missing, not to be created", "missing.db", SQLITE_OPEN_READWRITE, NULL, NULL);
  same_codes("missing, read-only", "missing.db", SQLITE_OPEN_READONLY, NULL, NULL);
  same_codes("symbolic link to itself", "loop.db", 0, NULL, NULL);
  same_codes("dangling symbolic link", "dangling.db", 0, NULL, NULL);
  same_codes("URI with an authority", "file://host/a.db", 0, NULL, NULL);
  same_codes("unknown VFS", "file:a.db?vfs=nothing", 0, NULL, NULL);
  same_codes("absurd mode", "file:a.db?mode=rwx", 0, NULL, NULL);
  same_codes("path of 4,096 bytes", long_name(4096), 0, NULL, NULL);
  same_codes("path of 7,000 bytes", long_name(7000), 0, NULL, NULL);
  same_codes("name of 240 bytes", long_name(90), 0, NULL, NULL);
  long_paths();
}

/* No place for a database, though SQLite would try: refused with a reason. */
static void pseudo_file_systems(void)
{
  static const char *const names[] = {"/proc/version", "/dev/null", "/sys/kernel/notes"};

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    peer *p = peer_start(SHIM_YES, NULL);
    check_scene("%s", names[i]);
    CHECK_INT("open", peer_open(p, 0, names[i], SQLITE_OPEN_READONLY), SQLITE_CANTOPEN);
    CHECK_INT("a memory database tells", peer_open(p, 1, ":memory:", 0), SQLITE_OK);
    CHECK_HAS("why", peer_ask(p, 1, "SELECT kind, code, path, detail FROM holdfast_events"), "refused|14|/");
    CHECK_INT("end", peer_end(p), 0);
  }
}

static void made_file(const char *what, const char *name, const void *bytes, size_t size)
{
  db_remove(name);
  file_write(name, bytes, size);
  same_codes(what, name, 0, NULL, NULL);
}

static void no_databases(void)
{
  char bytes[8192] = {0}, *whole, *header = bytes;
  size_t size;

  made_file("empty", "a.db", "", 0);
  made_file("one byte", "a.db", "S", 1);
  made_file("text", "a.db", "This is a letter, and not a short one, but no database at all.", 62);
  made_file("zeros", "a.db", bytes, sizeof bytes);
  memcpy(header, "SQLite format 3", 16);
  made_file("a header and zeros", "a.db", bytes, sizeof bytes);
  made_file("a header alone", "a.db", bytes, 100);
  made_file("half a header", "a.db", bytes, 50);
  seed_fill(bytes + 16, sizeof bytes - 16);
  bytes[18] = bytes[19] = 1;
  made_file("a header and noise", "a.db", bytes, sizeof bytes);
  bytes[18] = bytes[19] = 77;
  made_file("a future version", "a.db", bytes, sizeof bytes);

  made_rollback("whole.db", MADE_ROWS);
  whole = file_read("whole.db", &size);
  if (!whole) check_broken("whole.db");
  made_file("one page is missing", "a.db", whole, size - 4096);
  made_file("half a page is missing", "a.db", whole, size - 2000);
  made_file("cut after the first page", "a.db", whole, 4096);
  made_file("cut within the first page", "a.db", whole, 1000);
  free(whole);
}

/* A WAL header on a file that is not whole. The shim's conversion finds what SQLite finds; no file may grow
 * or shrink. */
static void broken_wal_databases(void)
{
  static const size_t cuts[] = {100, 512, 4096, 4097, 9000};
  char *whole;
  size_t size;
  peer *p;

  made_rollback("whole.db", MADE_ROWS);
  file_patch("whole.db", 18, "\002\002", 2);
  whole = file_read("whole.db", &size);
  if (!whole) check_broken("whole.db");
  for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
    outcome plain, o;
    check_scene("WAL header, cut to %zu bytes", cuts[i]);
    db_remove("a.db");
    file_write("a.db", whole, cuts[i]);
    plain = try_in(SHIM_NO, NULL, "a.db", 0, NULL, NULL);
    db_remove("a.db");
    file_write("a.db", whole, cuts[i]);
    o = try_in(SHIM_YES, network, "a.db", 0, NULL, NULL);
    printf("WAL header, cut to %zu bytes: plain %d %d %d, shim %d %d %d\n", cuts[i], plain.open, plain.read,
           plain.write, o.open, o.read, o.write);
    CHECK_INT("the first error",
              o.open   ? o.open
              : o.read ? o.read
                       : o.write,
              plain.open   ? plain.open
              : plain.read ? plain.read
                           : plain.write);
    CHECK_TRUE("no shared memory", !db_beside("a.db", "-shm"));
  }
  free(whole);

  check_scene("garbage as -wal");
  made_rollback("a.db", MADE_ROWS);
  file_write("a.db-wal", "this is no write-ahead log, whatever its name may say", 53);
  p = peer_start(SHIM_YES, network);
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_INT("end", peer_end(p), 0);
}

/* ---------------------------------------------------------------- permissions */

/* After loading, because the build directory may be closed to others. */
static int drop_root(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  if (geteuid() != 0) return 0;
  return setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY);
}

static void closed_to_us(void)
{
  CHECK_INT("chmod", chmod(".", 0777), 0);
  made_rollback("ro.db", 10);
  CHECK_INT("chmod", chmod("ro.db", 0444), 0);
  same_codes("read-only file", "ro.db", 0, NULL, drop_root);
  CHECK_INT("chmod", chmod("ro.db", 0), 0);
  same_codes("file without permissions", "ro.db", 0, NULL, drop_root);
  CHECK_INT("chmod", chmod("ro.db", 0644), 0);
  CHECK_INT("mkdir", mkdir("closed", 0755), 0);
  made_rollback("closed/a.db", 10);
  CHECK_INT("chmod", chmod("closed/a.db", 0666), 0);
  CHECK_INT("chmod", chmod("closed", 0555), 0);
  same_codes("read-only directory", "closed/a.db", 0, NULL, drop_root);
  same_codes("read-only directory, new file", "closed/new.db", 0, NULL, drop_root);
  CHECK_INT("chmod", chmod("closed", 0), 0);
  same_codes("directory without permissions", "closed/a.db", 0, NULL, drop_root);
  CHECK_INT("chmod", chmod("closed", 0755), 0);
}

/* A WAL database that may not be written: plain reads it through -shm, the shim refuses it and says how to
 * convert. */
static void closed_wal_database(void)
{
  unsigned long long before;
  outcome o;

  check_scene("WAL database in a read-only directory");
  made_wal("closed/w.db", 10, 0);
  CHECK_INT("chmod", chmod("closed/w.db", 0444) | chmod("closed", 0555), 0);
  before = db_print("closed/w.db");
  o = try_in(SHIM_YES, network, "closed/w.db", 0, NULL, drop_root);
  CHECK_INT("open", o.open, SQLITE_CANTOPEN);
  CHECK_TRUE("not one byte has changed", db_print("closed/w.db") == before);
  CHECK_INT("chmod", chmod("closed/w.db", 0666), 0);
  before = db_print("closed/w.db");
  o = try_in(SHIM_YES, network, "closed/w.db", 0, NULL, drop_root);
  CHECK_TRUE("a writable file in it", o.open != SQLITE_OK);
  CHECK_TRUE("not one byte has changed", db_print("closed/w.db") == before);
  printf("WAL database, writable, in a read-only directory: %d\n", o.open);
  CHECK_INT("chmod", chmod("closed", 0755), 0);
}

/* ---------------------------------------------------------------- namespaces */

static void own_mounts(void)
{
  if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) check_broken("unshare");
}

static void without_proc(void)
{
  own_mounts();
  if (mount("none", "/proc", "tmpfs", 0, NULL)) check_broken("mount over /proc");
}

static const char *disk_size;

static void small_disk(void)
{
  own_mounts();
  if (mkdir("small", 0755) && errno != EEXIST) check_broken("mkdir");
  if (mount("none", "small", "tmpfs", 0, disk_size)) check_broken("mount");
}

static int chroot_here(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return chroot(".");
}

static const char *fill(int shim, const char *env)
{
  static char text[300];
  peer *p;
  int rc;

  disk_size = "size=40k"; /* room for a database of some pages, not for its growth */
  p = peer_start_in(shim, env, small_disk);

  CHECK_INT("open", peer_open(p, 0, "small/a.db", 0), SQLITE_OK);
  CHECK_STR("table", peer_ask(p, 0, "CREATE TABLE t(x); INSERT INTO t VALUES('first')"), "");
  rc = peer_sql(
      p, 0,
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 100) INSERT INTO t SELECT "
      "randomblob(1000) FROM n");
  (void)snprintf(text, sizeof text, "%d %.60s|", rc, peer_text(p));
  rc = peer_sql(p, 0, "SELECT count(*), x FROM t; PRAGMA integrity_check");
  (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%d %.60s", rc, peer_text(p));
  CHECK_INT("end", peer_end(p), 0);
  return text;
}

static int copy_in(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  db_copy("full.db", "small/full.db");
  return 0;
}

static int copy_out(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  db_copy("small/full.db", "out.db");
  return 0;
}

/* No room for the -wal's rows in the file: the conversion fails, and every row is still there afterwards. */
static void conversion_on_a_full_disk(void)
{
  peer *p;
  int rc;

  check_scene("conversion on a full disk");
  made_wal("full.db", 500, 0);
  disk_size = "size=112k"; /* room for the -wal of 98,912 bytes, page 1, and two pages more */
  p = peer_start_in(SHIM_YES, network, small_disk);
  CHECK_INT("without its -shm", unlink("full.db-shm"), 0);
  CHECK_INT("its -wal", file_size("full.db-wal"), 98912);
  CHECK_INT("copy", peer_call(p, copy_in), 0);
  rc = peer_open(p, 0, "small/full.db", 0);
  CHECK_TRUE("open", rc == SQLITE_FULL || (rc & 0xff) == SQLITE_IOERR);
  CHECK_INT("copy", peer_call(p, copy_out), 0);
  CHECK_INT("end", peer_end(p), 0);
  p = peer_start(SHIM_NO, NULL);
  CHECK_INT("open", peer_open(p, 0, "out.db", 0), SQLITE_OK);
  CHECK_STR("every row", peer_ask(p, 0, MADE_ASK), made_answer(500));
  CHECK_INT("end", peer_end(p), 0);
}

static void in_namespaces(void)
{
  char plain[300];

  if (geteuid() != 0) {
    printf("not run, because they need root: chroot, a missing /proc, a full disk\n");
    return;
  }
  made_rollback("a.db", 10);
  same_codes("no /proc", "a.db", 0, without_proc, NULL);
  same_codes("chroot", "/a.db", 0, NULL, chroot_here);
  same_codes("chroot, missing directory", "/no/a.db", 0, NULL, chroot_here);
  check_scene("full disk");
  (void)snprintf(plain, sizeof plain, "%s", fill(SHIM_NO, NULL));
  CHECK_HAS("plain SQLite says so", plain, "13 ");
  CHECK_STR("as it is", fill(SHIM_YES, as_is), plain);
  CHECK_STR("network", fill(SHIM_YES, network), plain);
  conversion_on_a_full_disk();
}

int main(void)
{
  seed_start();
  odd_names();
  pseudo_file_systems();
  no_databases();
  broken_wal_databases();
  closed_to_us();
  closed_wal_database();
  in_namespaces();
  return check_done();
}
