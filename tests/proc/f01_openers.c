/*
 * f01_openers.c - F1 again, for connections that are opened in unusual ways.
 *
 * Who owns a lock is decided from what the process has open, so the order and the manner of opening must not
 * matter: read-only first, several connections and any order of letting go, opened before the shim came,
 * after privileges were dropped, after chroot, with hardly any descriptors left, under a name used again and
 * again.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "scene.h"

enum { NOBODY = 65534 };

static peer *outside;

/* The lock that p holds keeps others out, before and after a stray close of all three files. */
static void holds(const char *what, peer *p)
{
  CHECK_INT(what, scene_gets_in(outside), false);
  (void)peer_call(p, stray_db); /* a file that is not there, or not for this user, is no matter */
  (void)peer_call(p, stray_wal);
  (void)peer_call(p, stray_shm);
  CHECK_INT(what, scene_gets_in(outside), false);
}

static void start(const char *name, const char *mode)
{
  check_scene("%s, %s", name, mode);
  scene_make(mode, "INSERT INTO t(who) VALUES(0)");
  outside = scene_peer(SHIM_NO);
}

static void finish(peer *p, int rows)
{
  char want[40];

  CHECK_INT("end", peer_end(p), 0);
  CHECK_INT("nothing is in the way of others", scene_gets_in(outside), true);
  CHECK_INT("end of the outsider", peer_end(outside), 0);
  (void)snprintf(want, sizeof want, "%d\nok", rows);
  CHECK_STR("rows", scene_look("SELECT count(*) FROM t WHERE who=1; PRAGMA integrity_check"), want);
  CHECK_TRUE("no lock is left", !scene_locks_left());
}

#define BEGIN_WRITE "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(1)"

/* The first descriptor of the inode cannot carry a write lock. */
static void read_only_first(const char *mode)
{
  peer *p = NULL;

  start("a read-only connection first", mode);
  p = peer_start(SHIM_YES, NULL);
  CHECK_INT("read-only", peer_open(p, 0, SCENE_DB, SQLITE_OPEN_READONLY), SQLITE_OK);
  CHECK_STR("it reads", peer_ask(p, 0, "BEGIN; SELECT count(*) FROM t"), "1");
  CHECK_INT("its write is refused", peer_sql(p, 0, "INSERT INTO t(who) VALUES(9)"), SQLITE_READONLY);
  CHECK_INT("read-write", peer_open(p, 1, SCENE_DB, 0), SQLITE_OK);
  CHECK_STR("begins", peer_ask(p, 1, BEGIN_WRITE), "");
  holds("beside a reader", p);
  CHECK_STR("the reader ends", peer_ask(p, 0, "COMMIT"), "");
  holds("the reader has ended", p);
  CHECK_INT("the read-only one closes", peer_close(p, 0), SQLITE_OK);
  holds("the reader is closed", p);
  CHECK_STR("commit", peer_ask(p, 1, "COMMIT"), "");
  finish(p, 1);
}

/* Which of PENDING (1), RESERVED (2) and SHARED (4) do others hold, as the kernel sees it? */
static int held_by_others(sqlite3 **db, char *out, size_t size)
{
  static const struct {
    off_t start, length;
  } bytes[] = {{0x40000000, 1}, {0x40000001, 1}, {0x40000002, 510}};
  int fd = open(SCENE_DB, O_RDWR | O_CLOEXEC), held = 0;

  (void)db, (void)out, (void)size;
  for (int i = 0; i < 3; i++) {
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = bytes[i].start, .l_len = bytes[i].length};
    if (fcntl(fd, F_GETLK, &lock)) held = -1;
    if (held >= 0 && lock.l_type != F_UNLCK) held |= 1 << i;
  }
  if (fd >= 0) close(fd); /* this process holds nothing that could be lost */
  return held;
}

/* A reader that has been at work for a while keeps its lock, and no other, when a writer of its process
 * comes.
 */
static void reader_keeps_its_lock(void)
{
  enum { RESERVED = 2, SHARED = 4 };
  peer *p = NULL;

  start("a read-only connection reads on", "delete");
  p = peer_start(SHIM_YES, NULL);
  CHECK_INT("read-only", peer_open(p, 0, SCENE_DB, SQLITE_OPEN_READONLY), SQLITE_OK);
  for (int i = 0; i < 3; i++) CHECK_STR("it reads", peer_ask(p, 0, "SELECT count(*) FROM t"), "1");
  CHECK_INT("and holds nothing", peer_call(outside, held_by_others), 0);
  CHECK_STR("begins to read", peer_ask(p, 0, "BEGIN; SELECT count(*) FROM t"), "1");
  CHECK_INT("and holds", peer_call(outside, held_by_others), SHARED);
  CHECK_INT("read-write", peer_open(p, 1, SCENE_DB, 0), SQLITE_OK);
  CHECK_STR("a writer", peer_ask(p, 1, BEGIN_WRITE), "");
  CHECK_INT("both hold", peer_call(outside, held_by_others), SHARED | RESERVED);
  CHECK_STR("the writer goes", peer_ask(p, 1, "ROLLBACK"), "");
  CHECK_INT("the reader holds", peer_call(outside, held_by_others), SHARED);
  CHECK_STR("and ends", peer_ask(p, 0, "SELECT count(*) FROM t; COMMIT"), "1");
  CHECK_INT("nobody holds", peer_call(outside, held_by_others), 0);
  CHECK_INT("others write", peer_sql(outside, 0, "INSERT INTO t(who) VALUES(1)"), SQLITE_OK);
  for (int i = 0; i < 3; i++) CHECK_STR("it reads", peer_ask(p, 0, "SELECT count(*) FROM t"), "2");
  finish(p, 1);
}

/* Two connections of a process share what the process holds; each lets go of its own part only. */
static void any_order(const char *mode)
{
  bool wal = strcmp(mode, "wal") == 0;
  peer *p;

  start("several connections", mode);
  p = peer_start(SHIM_YES, NULL);
  for (int i = 0; i < 4; i++) CHECK_INT("open", peer_open(p, i, SCENE_DB, 0), SQLITE_OK);
  for (int i = 0; i < 3; i++) CHECK_STR("read", peer_ask(p, i, "BEGIN; SELECT count(*) FROM t"), "1");
  CHECK_STR("write", peer_ask(p, 3, BEGIN_WRITE), "");
  holds("three readers and a writer", p);
  CHECK_INT("a second writer of this process", peer_sql(p, 0, "INSERT INTO t(who) VALUES(1)") & 0xff,
            SQLITE_BUSY);
  CHECK_INT("commit", peer_sql(p, 3, "COMMIT"), wal ? SQLITE_OK : SQLITE_BUSY);
  if (!wal) CHECK_INT("now even readers wait", peer_sql(outside, 0, "SELECT count(*) FROM t"), SQLITE_BUSY);
  for (int i = 2; i >= 0; i--) {
    CHECK_STR("a reader ends", peer_ask(p, i, "COMMIT"), "");
    if (!wal) holds("after a reader", p);
    CHECK_INT("and closes", peer_close(p, i), SQLITE_OK);
    if (!wal) holds("after its close", p);
  }
  if (!wal) CHECK_STR("commit", peer_ask(p, 3, "COMMIT"), "");
  CHECK_STR("write once more", peer_ask(p, 3, BEGIN_WRITE), "");
  holds("alone", p);
  CHECK_STR("commit", peer_ask(p, 3, "COMMIT"), "");
  finish(p, 2);
}

static int load_now(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return shim_load();
}

/* In use when the shim is loaded: such a connection is never in its own way, nor in that of a new one. */
static void before_the_shim(const char *mode, const char *meanwhile, const char *then)
{
  peer *p;

  start("opened before the shim came", mode);
  p = scene_peer(SHIM_NO);
  scene_must(p, meanwhile);
  CHECK_INT("the shim is loaded", peer_call(p, load_now), SQLITE_OK);
  CHECK_INT("a new connection", peer_open(p, 1, SCENE_DB, 0), SQLITE_OK);
  CHECK_STR("reads", peer_ask(p, 1, "SELECT count(*) FROM t"), "1");
  scene_must(p, then);
  CHECK_STR("the new one writes", peer_ask(p, 1, "INSERT INTO t(who) VALUES(1)"), "");
  CHECK_STR("the old one writes", peer_ask(p, 0, "INSERT INTO t(who) VALUES(1)"), "");
  CHECK_STR("the old one holds", peer_ask(p, 0, BEGIN_WRITE), "");
  CHECK_INT("the new one waits", peer_sql(p, 1, "BEGIN IMMEDIATE"), SQLITE_BUSY);
  CHECK_INT("and so do others", scene_gets_in(outside), false);
  CHECK_STR("commit", peer_ask(p, 0, "COMMIT"), "");
  CHECK_INT("both close", peer_close(p, 0), SQLITE_OK);
  CHECK_INT("both close", peer_close(p, 1), SQLITE_OK);
  CHECK_INT("open again", peer_open(p, 1, SCENE_DB, 0), SQLITE_OK);
  CHECK_STR("begin", peer_ask(p, 1, BEGIN_WRITE), "");
  holds("when all that was there before is gone", p);
  CHECK_STR("commit", peer_ask(p, 1, "COMMIT"), "");
  finish(p, strstr(meanwhile, "INSERT") ? 5 : 4);
}

static int drop_privileges(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return setresuid(NOBODY, NOBODY, NOBODY) ? SQLITE_PERM : SQLITE_OK;
}

static int lock_in(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return chroot("empty") || chdir("/") ? SQLITE_PERM : SQLITE_OK;
}

/* What a connection can still do when the file cannot be opened again, neither by its name nor through /proc.
 */
static const char *within_reach(int shim, const char *mode, peer_function *change, bool used)
{
  static char said[600];
  static const char *const steps[] = {"SELECT count(*) FROM t WHERE who=0", "INSERT INTO t(who) VALUES(2)",
                                      "SELECT count(*) FROM t WHERE who=2"};
  size_t length = 0;
  peer *p = peer_start(shim, NULL);

  scene_make(mode, "INSERT INTO t(who) VALUES(0)");
  if (chmod(SCENE_DB, 0600)) check_broken("chmod");
  CHECK_INT("open", peer_open(p, 0, SCENE_DB, 0), SQLITE_OK);
  if (used) scene_must(p, "INSERT INTO t(who) VALUES(1); SELECT count(*) FROM t");
  CHECK_INT("change", peer_call(p, change), SQLITE_OK);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
    length += (size_t)snprintf(said + length, sizeof said - length, "%.150s; ", peer_ask(p, 0, steps[i]));
  if (peer_sql(p, 0, "BEGIN IMMEDIATE") == SQLITE_OK) {
    outside = scene_peer(SHIM_NO);
    CHECK_INT("its lock keeps others out", scene_gets_in(outside), false);
    CHECK_STR("let go", peer_ask(p, 0, "ROLLBACK"), "");
    CHECK_INT("others get in", scene_gets_in(outside), true);
    CHECK_INT("end of the outsider", peer_end(outside), 0);
  }
  CHECK_INT("end", peer_end(p), 0);
  CHECK_STR("integrity", scene_look("PRAGMA integrity_check"), "ok");
  CHECK_TRUE("no lock is left", !scene_locks_left());
  return said;
}

static void out_of_reach(const char *name, const char *mode, peer_function *change, bool used)
{
  char plain[600];

  if (geteuid() != 0) return; /* who is not root has no privileges to drop */
  check_scene("%s, %s, plain", name, mode);
  (void)snprintf(plain, sizeof plain, "%s", within_reach(SHIM_NO, mode, change, used));
  check_scene("%s, %s", name, mode);
  CHECK_STR("the same as with plain SQLite", within_reach(SHIM_YES, mode, change, used), plain);
  printf("%-40s %-6s %s\n", name, mode, plain);
}

static void few_descriptors(void)
{
  struct rlimit limit;

  if (getrlimit(RLIMIT_NOFILE, &limit)) check_broken("getrlimit");
  limit.rlim_cur = 24;
  if (setrlimit(RLIMIT_NOFILE, &limit)) check_broken("setrlimit");
}

/* Whatever fails for want of descriptors fails cleanly, and what is open goes on. */
static void hardly_any_descriptors(const char *mode)
{
  peer *p;
  int open = 0;

  start("hardly any descriptors", mode);
  p = peer_start_in(SHIM_YES, NULL, few_descriptors);
  while (open < PEER_SLOTS && peer_open(p, open, SCENE_DB, 0) == SQLITE_OK &&
         peer_sql(p, open, "SELECT count(*) FROM t") == SQLITE_OK)
    open++;
  CHECK_TRUE("some are open", open >= 2);
  if (open < PEER_SLOTS) (void)peer_close(p, open); /* the one that opened and could do no more */
  CHECK_INT("one makes room for a journal", peer_close(p, open - 1), SQLITE_OK);
  CHECK_STR("begin", peer_ask(p, 0, BEGIN_WRITE), "");
  holds("with few descriptors", p);
  CHECK_STR("commit", peer_ask(p, 0, "COMMIT"), "");
  printf("few descriptors, %-6s %d connections\n", mode, open);
  finish(p, 1);
}

/* The same name, and now and then the same inode number, for one database after the other. */
static void name_used_again(const char *mode)
{
  char make[160];
  peer *p;

  start("one name, many databases", mode);
  CHECK_INT("end of the outsider", peer_end(outside), 0);
  p = peer_start(SHIM_YES, NULL);
  (void)snprintf(make, sizeof make, "PRAGMA synchronous=OFF; PRAGMA journal_mode=%s; CREATE TABLE t(id, who)",
                 mode);
  for (int i = 0; i < 40; i++) {
    int slot = i % 4;
    (void)peer_close(p, slot); /* of four rounds ago: its file has been removed long since */
    db_remove(SCENE_DB);
    CHECK_INT("open", peer_open(p, slot, SCENE_DB, 0), SQLITE_OK);
    CHECK_STR("make", peer_ask(p, slot, make), mode);
    CHECK_STR("begin", peer_ask(p, slot, "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(1)"), "");
    outside = peer_start(SHIM_NO, NULL);
    CHECK_INT("the outsider opens", peer_open(outside, 0, SCENE_DB, 0), SQLITE_OK);
    holds("of this round", p);
    CHECK_STR("commit", peer_ask(p, slot, "COMMIT"), "");
    CHECK_INT("others get in", scene_gets_in(outside), true);
    CHECK_INT("end of the outsider", peer_end(outside), 0);
  }
  outside = scene_peer(SHIM_NO);
  finish(p, 1);
}

int main(void)
{
  if (mkdir("empty", 0755) || chmod(".", 0777)) check_broken("a folder");
  for (int m = 0; m < SCENE_MODES; m++) {
    const char *mode = scene_modes[m];
    read_only_first(mode);
    if (strcmp(mode, "delete") == 0) reader_keeps_its_lock();
    any_order(mode);
    before_the_shim(mode, "SELECT 1", "SELECT 1");
    before_the_shim(mode, "BEGIN; SELECT count(*) FROM t", "COMMIT");
    out_of_reach("privileges dropped after the open", mode, drop_privileges, false);
    out_of_reach("privileges dropped after the first use", mode, drop_privileges, true);
    out_of_reach("chroot after the open", mode, lock_in, false);
    out_of_reach("chroot after the first use", mode, lock_in, true);
    hardly_any_descriptors(mode);
    name_used_again(mode);
  }
  return check_done();
}
