/*
 * smb_drops.c - the server drops a client's session in the middle of its transaction.
 *
 *   smb_drops dir=DIR below=DIR client2=PID [shim=FILE] [modes=delete,...] [points=N-M] [others=N-M]
 *
 * A, on client 2, stops at one point of a transaction. The server process of that client is killed: its locks
 * are gone, the next call connects again without a word. B, on client 1, does nothing, reads, commits, or
 * commits twice. Then A goes on. Every transaction changes all rows of one table, A by 1 and B by 1000, so
 * all rows must be equal at any time, and what was acknowledged must be in them. Afterwards both must be able
 * to write again. One line for each scenario that went wrong, and a last one with the counts; exit code 0: it
 * ran.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROWS = 24, ANSWER_MS = 60000, BUSY_MS = 8000, AGAIN = 40 };
/* The last two are of calls that are on their way already: no program can take them back. */
enum {
  AT_RESERVED,
  AT_CHANGED,
  AT_SEALED,
  AT_FIRST_PAGE,
  AT_LATER_PAGE,
  AT_LAST_PAGES,
  AT_READING,
  IN_SEAL,
  IN_PAGE,
  POINTS
};
static const char *const point_names[POINTS] = {
    "RESERVED",         "before COMMIT",       "sealed",
    "one page written", "six pages written",   "page 1 written",
    "half a read",      "the seal on its way", "a page on its way"};
enum { NOTHING, READS, COMMITS, COMMITS_TWICE, OTHERS };
static const char *const other_names[OTHERS] = {"nothing", "a read", "a commit", "two commits"};

static const char *dir, *below, *shim, *client2;
static char db_path[1024];

static void fail(const char *what)
{
  printf("lab failed: %s: %s\n", what, strerror(errno));
  (void)fflush(stdout);
  _exit(1);
}

static void nap(int ms)
{
  struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
  (void)nanosleep(&t, NULL); /* woken early is fine */
}

/* ---- one process */

static int to_parent, from_parent, stop_point = -1, pages;

static void say(char what, int number)
{
  char text[32];
  int n = snprintf(text, sizeof text, "%c %d\n", what, number);
  if (write(to_parent, text, (size_t)n) != n) _exit(1);
}

static void wait_here(void)
{
  char byte;
  stop_point = -1; /* once */
  say('p', 0);
  if (read(from_parent, &byte, 1) != 1) _exit(1);
}

static int kind_of(int fd)
{
  char link[64], path[1100];
  ssize_t n;

  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  n = readlink(link, path, sizeof path - 1);
  if (n < 9) return 0;
  path[n] = 0;
  return strcmp(path + n - 3, ".db") == 0 ? 1 : strcmp(path + n - 8, "-journal") == 0 ? 2 : 0;
}

typedef ssize_t pwrite_fn(int, const void *, size_t, off_t);
static pwrite_fn *next_pwrite;

static ssize_t on_pwrite(int fd, const void *data, size_t size, off_t at)
{
  int kind = stop_point < 0 ? 0 : kind_of(fd);
  ssize_t n;

  if ((kind == 1 && stop_point == IN_PAGE) || (kind == 2 && stop_point == IN_SEAL && size == 12)) wait_here();
  n = next_pwrite(fd, data, size, at);
  pages += kind == 1;
  if ((kind == 1 && stop_point == AT_FIRST_PAGE) ||
      (kind == 1 && stop_point == AT_LATER_PAGE && pages == 6) ||
      (kind == 1 && stop_point == AT_LAST_PAGES && at == 0) ||
      (kind == 2 && stop_point == AT_SEALED && size == 12))
    wait_here();
  return n;
}

/* Below the shim, which chains to what it finds. */
static void hook(void)
{
  sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
  const char *name = vfs->xGetSystemCall(vfs, "pwrite64") ? "pwrite64" : "pwrite";

  next_pwrite = (pwrite_fn *)vfs->xGetSystemCall(vfs, name);
  if (vfs->xSetSystemCall(vfs, name, (sqlite3_syscall_ptr)on_pwrite)) fail("hooks");
}

static void join_client(const char *pid)
{
  static const char *const kinds[] = {"net", "uts", "mnt"};
  char path[64];

  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    int fd;
    snprintf(path, sizeof path, "/proc/%s/ns/%s", pid, kinds[i]);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, 0)) fail("joining client 2");
    close(fd);
  }
}

static void tell_all(void *unused, int code, const char *text)
{
  (void)unused;
  fprintf(stderr, "%d: %d %s\n", (int)getpid(), code, text);
}

static sqlite3 *open_db(const char *mode)
{
  sqlite3 *db = NULL, *memory = NULL;
  char text[200];

  if (getenv("SMB_DROPS_LOG")) (void)sqlite3_config(SQLITE_CONFIG_LOG, tell_all, NULL);
  hook();
  if (shim && (sqlite3_open(":memory:", &memory) || sqlite3_enable_load_extension(memory, 1) ||
               sqlite3_load_extension(memory, shim, NULL, NULL)))
    fail("loading the shim");
  (void)sqlite3_close(memory);
  snprintf(text, sizeof text, "PRAGMA cache_size=4; PRAGMA journal_mode=%s; SELECT * FROM t", mode);
  if (sqlite3_open(db_path, &db)) fail("opening");
  (void)sqlite3_busy_timeout(db, BUSY_MS);
  (void)sqlite3_exec(db, text, NULL, NULL, NULL); /* if it fails, so does what follows, and is shown */
  return db;
}

static long lowest, highest;
static int note_row(void *unused, int columns, char **values, char **names)
{
  long v = atol(values[0]);
  (void)unused, (void)columns, (void)names;
  if (v < lowest) lowest = v;
  if (v > highest) highest = v;
  return 0;
}

static int read_all(sqlite3 *db, bool stops)
{
  int rc;

  lowest = 1L << 40, highest = -1;
  rc = sqlite3_exec(db, "BEGIN; SELECT v FROM t WHERE id < 12", note_row, NULL, NULL);
  if (rc == SQLITE_OK && stops) wait_here();
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "SELECT v FROM t WHERE id >= 12; COMMIT", note_row, NULL, NULL);
  if (rc && !sqlite3_get_autocommit(db)) (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  return rc ? rc : lowest == highest ? SQLITE_OK : -1; /* -1: torn */
}

static int write_all(sqlite3 *db, int amount)
{
  char text[100];
  int rc;

  pages = 0;
  snprintf(text, sizeof text, "UPDATE t SET v = v + %d", amount);
  rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
  if (rc == SQLITE_OK && stop_point == AT_RESERVED) wait_here();
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, text, NULL, NULL, NULL);
  if (rc == SQLITE_OK && stop_point == AT_CHANGED) wait_here();
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
  if (rc) rc = sqlite3_extended_errcode(db);
  if (rc && !sqlite3_get_autocommit(db)) (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  return rc;
}

static void process(const char *mode, bool is_a, int point)
{
  sqlite3 *db;
  char command;

  if (is_a) join_client(client2);
  db = open_db(mode);
  say('r', 0);
  while (read(from_parent, &command, 1) == 1) {
    int rc;
    stop_point = command == 's' ? point : -1;
    if (command == 's')
      rc = point == AT_READING ? read_all(db, true) : write_all(db, 1);
    else if (command == 'w')
      rc = write_all(db, is_a ? 1 : 1000);
    else
      rc = read_all(db, false);
    say('e', rc);
  }
  (void)sqlite3_close(db);
  _exit(0);
}

/* ---- the play */

typedef struct actor {
  pid_t pid;
  int to, from;
} actor;

static actor start(const char *mode, bool is_a, int point)
{
  int down[2], up[2];
  actor it;

  if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC)) fail("pipe");
  it.pid = fork();
  if (it.pid < 0) fail("fork");
  if (it.pid == 0) {
    close(down[1]), close(up[0]);
    from_parent = down[0], to_parent = up[1];
    process(mode, is_a, point);
  }
  close(down[0]), close(up[1]);
  it.to = down[1], it.from = up[0];
  return it;
}

static void tell(const actor *it, char what)
{
  if (write(it->to, &what, 1) != 1) fail("actor gone");
}

/* 'p' it waits, 'r' ready, 'e' done with *rc; 0: no answer. */
static char hear(const actor *it, int *rc)
{
  struct pollfd ready = {it->from, POLLIN, 0};
  char text[32];
  size_t n = 0;

  while (n + 1 < sizeof text) {
    if (poll(&ready, 1, ANSWER_MS) <= 0 || read(it->from, text + n, 1) != 1) return 0;
    if (text[n++] == '\n') break;
  }
  text[n] = 0;
  *rc = atoi(text + 1);
  return *text;
}

static void finish(actor *it)
{
  close(it->to);
  close(it->from);
  (void)kill(it->pid, SIGKILL);
  while (waitpid(it->pid, NULL, 0) < 0 && errno == EINTR) continue;
}

/* The smbd of client 2 dies; the client connects again when it needs to. */
static void drop_session(void)
{
  int rc =
      system("pids=$(ss -Htnp 'sport = :445 and dst 10.77.0.2' | sed -n 's/.*pid=\\([0-9]*\\).*/\\1/p'); "
             "[ -n \"$pids\" ] && kill -9 $pids");
  if (rc) fail("no server process to kill");
  nap(50); /* its death is noticed by the server's parent */
}

static int retried(const actor *it, char what)
{
  int rc = 0;

  for (int i = 0; i < AGAIN; i++) {
    tell(it, what);
    if (hear(it, &rc) != 'e') return -2;
    if (rc == SQLITE_OK) break;
    nap(50);
  }
  return rc;
}

static void make_database(void)
{
  char path[1024], text[300];
  sqlite3 *db = NULL;

  snprintf(path, sizeof path, "%s/%s", below, strrchr(db_path, '/') + 1);
  snprintf(
      text, sizeof text,
      "PRAGMA page_size=1024; CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, pad BLOB); WITH RECURSIVE n(i) "
      "AS "
      "(SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t SELECT i, 0, zeroblob(800) FROM n",
      ROWS - 1);
  if (sqlite3_open(path, &db) || sqlite3_exec(db, text, NULL, NULL, NULL)) fail("database");
  (void)sqlite3_close(db);
  (void)sqlite3_shutdown();
}

typedef struct result {
  bool torn, lost, stuck;
  int a_said, a_again, a_acks, b_acks;
  long lowest, highest;
} result;

static result play(const char *mode, int point, int other)
{
  result it = {0};
  actor a, b;
  int rc = 0, a_acks = 0, b_acks = 0, again;
  char heard;

  make_database();
  b = start(mode, false, point);
  (void)hear(&b, &rc);
  a = start(mode, true, point);
  (void)hear(&a, &rc);
  tell(&a, 's');
  heard = hear(&a, &it.a_said);
  if (heard == 'p') {
    drop_session();
    for (int i = 0; i < (other == COMMITS_TWICE ? 2 : other != NOTHING); i++) {
      tell(&b, other == READS ? 'l' : 'w');
      if (hear(&b, &rc) != 'e') it.stuck = true;
      if (rc == -1) it.torn = true;
      if (rc == SQLITE_OK && other != READS) b_acks++;
    }
    tell(&a, 'g');
    if (hear(&a, &it.a_said) != 'e') it.stuck = true;
  } else if (heard != 'e') {
    it.stuck = true;
  }
  if (it.a_said == -1) it.torn = true;
  if (it.a_said == SQLITE_OK && point != AT_READING) a_acks++;
  if (!it.stuck) {
    again = retried(&b, 'w');
    if (again == SQLITE_OK) b_acks++;
    it.a_again = retried(&a, 'w');
    if (it.a_again == SQLITE_OK)
      a_acks++;
    else
      it.stuck = true;
    if (again) it.stuck = true;
  }
  finish(&a);
  finish(&b);
  b = start(mode, false, point);
  (void)hear(&b, &rc);
  rc = retried(&b, 'l');
  finish(&b);
  if (rc == -1) it.torn = true;
  if (rc > 0 || rc == -2) it.stuck = true;
  { /* read by this process below the mount, where nobody is left */
    char path[1024];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/%s", below, strrchr(db_path, '/') + 1);
    lowest = 1L << 40, highest = -1;
    if (sqlite3_open(path, &db) || sqlite3_exec(db, "SELECT v FROM t", note_row, NULL, NULL)) it.torn = true;
    (void)sqlite3_close(db);
    (void)sqlite3_shutdown();
  }
  if (lowest != highest) it.torn = true;
  it.lowest = lowest, it.highest = highest, it.a_acks = a_acks, it.b_acks = b_acks;
  /* A transaction that failed may be there or not; one that was acknowledged has to be. */
  if (lowest / 1000 < b_acks || lowest % 1000 < a_acks) it.lost = true;
  return it;
}

static const char *value_of(int argc, char **argv, const char *key, const char *otherwise)
{
  size_t length = strlen(key);

  for (int i = 1; i < argc; i++)
    if (strncmp(argv[i], key, length) == 0 && argv[i][length] == '=' && argv[i][length + 1])
      return argv[i] + length + 1;
  return otherwise;
}

int main(int argc, char **argv)
{
  static const char *const all_modes[] = {"delete", "truncate", "persist"};
  const char *modes = value_of(argc, argv, "modes", "delete,truncate,persist");
  int first = 0, last = AT_READING, from = 0, to = OTHERS - 1, played = 0, wrong = 0, stuck = 0, told = 0;

  dir = value_of(argc, argv, "dir", NULL);
  below = value_of(argc, argv, "below", NULL);
  shim = value_of(argc, argv, "shim", NULL);
  client2 = value_of(argc, argv, "client2", NULL);
  (void)sscanf(value_of(argc, argv, "points", ""), "%d-%d", &first, &last);
  (void)sscanf(value_of(argc, argv, "others", ""), "%d-%d", &from, &to);
  if (!dir || !below || !client2) return 64;
  (void)signal(SIGPIPE, SIG_IGN);
  for (size_t m = 0; m < 3; m++) {
    if (!strstr(modes, all_modes[m])) continue;
    for (int point = first; point <= last; point++)
      for (int other = from; other <= to; other++) {
        result it;
        snprintf(db_path, sizeof db_path, "%s/drop-%s-%s-%d-%d.db", dir, shim ? "holdfast" : "plain",
                 all_modes[m], point, other);
        it = play(all_modes[m], point, other);
        played++;
        wrong += it.torn || it.lost;
        stuck += it.stuck;
        told += it.a_said > 0;
        if (it.torn || it.lost || it.stuck)
          fprintf(stderr,
                  "%s, %s, then %s: A said %d, later %d, rows from %ld to %ld, A %d and B %d "
                  "acknowledged%s%s%s\n",
                  all_modes[m], point_names[point], other_names[other], it.a_said, it.a_again, it.lowest,
                  it.highest, it.a_acks, it.b_acks, it.torn ? ", HALF A TRANSACTION" : "",
                  it.lost ? ", A COMMIT LOST" : "", it.stuck ? ", stuck" : "");
        (void)fflush(stdout);
      }
  }
  printf("%d scenarios, %d damaged, %d stuck, %d told\n", played, wrong, stuck, told);
  return 0;
}
