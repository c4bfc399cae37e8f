/*
 * smb_storm.c - several writers on two clients of one SMB share, killed at any moment, and a count of what is
 * left.
 *
 *   smb_storm key=value...   prints one line; exit code 0: it ran, 1: the lab itself failed
 *     db=PATH      the database, on the mount          below=PATH  the same file at the server
 *     shim=FILE    holdfast.so; absent: plain SQLite   client2=PID a process on the second client
 *     procs=N      writers on each client              mode=delete|truncate|persist
 *     sync=full|off   kill_ms=N (one SIGKILL every N ms, 0: none)   seconds=N   seed=N
 *     fork=1       writers fork children now and then, idle and in mid-transaction
 *     stray=1      writers open, read and close the database file beside SQLite
 *     conns=2      each writer uses two connections in turns
 *     verbose=1    what SQLite logs goes to stderr     brief=1      a short line
 *
 * Every writer notes in shared memory what was acknowledged, the moment it was: that survives its death. A
 * transaction moves amounts between rows whose sum is always 0, adds a row to a log and counts it. Readers
 * look at all three in one transaction: any disagreement is a torn read. In the end every acknowledged row
 * must be in the log.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WRITERS = 16, LIVES = 1000, ACKS = 60000, CODES = 24, ROWS = 12, BUSY_MS = 15000, END_MS = 30000 };

typedef struct tally {
  int commits, reads, torn, busy, forks, strays;
  long long wait_max_ms;
} tally;

typedef struct shared {
  volatile int stop;
  int acks; /* atomic */
  struct {
    int life, number;
  } ack[ACKS];
  int codes[CODES], seen[CODES];
  tally of[WRITERS];
} shared;

static shared *all;
static const char *db_path, *below, *shim, *client2, *mode = "delete", *sync_mode = "full";
static int procs = 1, kill_ms, seconds = 10, with_fork, with_stray, conns = 1, verbose, brief;
static unsigned seed;
static bool small_cache; /* of this writer */

static void fail(const char *what)
{
  printf("lab failed: %s: %s\n", what, strerror(errno));
  (void)fflush(stdout);
  _exit(1);
}

static long long now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void nap(int ms)
{
  struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
  (void)nanosleep(&t, NULL); /* woken early is fine */
}

/* ---- one writer */

static void note_error(int code)
{
  for (int i = 0; i < CODES; i++) {
    int none = 0;
    if (__atomic_load_n(&all->codes[i], __ATOMIC_SEQ_CST) == code ||
        __atomic_compare_exchange_n(&all->codes[i], &none, code, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) ||
        none == code) {
      __atomic_fetch_add(&all->seen[i], 1, __ATOMIC_SEQ_CST);
      return;
    }
  }
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

/* For people who look for a cause: what SQLite says of each failed system call. */
static void tell_all(void *unused, int code, const char *text)
{
  (void)unused;
  fprintf(stderr, "%lld %d: %d %s\n", now_ms(), (int)getpid(), code, text);
}

static void load(void)
{
  sqlite3 *memory = NULL;

  if (verbose) (void)sqlite3_config(SQLITE_CONFIG_LOG, tell_all, NULL);
  if (!shim) return;
  if (sqlite3_open(":memory:", &memory) || sqlite3_enable_load_extension(memory, 1) ||
      sqlite3_load_extension(memory, shim, NULL, NULL))
    fail("loading the shim");
  (void)sqlite3_close(memory);
}

static sqlite3 *open_db(void)
{
  sqlite3 *db = NULL;
  char text[160];
  int rc = sqlite3_open_v2(db_path, &db, SQLITE_OPEN_READWRITE, NULL);

  if (rc == SQLITE_OK) {
    (void)sqlite3_busy_timeout(db, BUSY_MS);
    /* Half of them write pages before their commit. */
    snprintf(text, sizeof text, "PRAGMA cache_size=%d; PRAGMA synchronous=%s; PRAGMA journal_mode=%s",
             small_cache ? 8 : 1000, sync_mode, mode);
    rc = sqlite3_exec(db, text, NULL, NULL, NULL);
    if (rc) rc = sqlite3_extended_errcode(db);
  }
  if (rc == SQLITE_OK) return db;
  note_error(rc == SQLITE_BUSY ? rc : rc + 100000); /* 1xxxxx: while opening */
  (void)sqlite3_close(db);
  return NULL;
}

static long long numbers[3];
static int got(void *n, int columns, char **values, char **names)
{
  (void)columns;
  (void)names;
  if (*(int *)n < 3) numbers[(*(int *)n)++] = values[0] ? atoll(values[0]) : 0;
  return 0;
}

static bool read_once(sqlite3 *db, tally *mine)
{
  int n = 0;
  int rc = sqlite3_exec(
      db, "BEGIN; SELECT sum(v) FROM acct; SELECT count(*) FROM log; SELECT n FROM total; COMMIT", got, &n,
      NULL);

  if (rc) {
    note_error(sqlite3_extended_errcode(db));
    if (!sqlite3_get_autocommit(db)) (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc == SQLITE_BUSY;
  }
  mine->reads++;
  if (numbers[0] != 0 || numbers[1] != numbers[2]) mine->torn++;
  return true;
}

static void child_uses_its_own(void)
{
  sqlite3 *db = open_db();
  tally none = {0};

  if (db) (void)read_once(db, &none);
  if (none.torn) __atomic_fetch_add(&all->of[0].torn, 1, __ATOMIC_SEQ_CST);
  (void)sqlite3_close(db);
}

/* A child that leaves by _exit(), or one that opens the file for itself. Never the parent's connection. */
static void fork_one(tally *mine, bool opens)
{
  pid_t pid = fork();

  if (pid < 0) return;
  if (pid == 0) {
    if (opens) child_uses_its_own();
    _exit(0);
  }
  mine->forks++;
  if (opens) { /* not while a lock is held: the child would wait for us */
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
  }
}

static void stray_close(tally *mine)
{
  char byte;
  int fd = open(db_path, O_RDWR | O_CLOEXEC);

  if (fd < 0) return;
  (void)!pread(fd, &byte, 1, 0);
  close(fd);
  mine->strays++;
}

static bool write_once(sqlite3 *db, tally *mine, int life, int number)
{
  char text[700], *at = text;
  long long began = now_ms(), waited;
  int rc, a = rand() % ROWS, step = 1 + rand() % (ROWS - 1), amount = rand() % 100;

  at += snprintf(
      at, sizeof text,
      "UPDATE acct SET v=v+%d WHERE id=%d; UPDATE acct SET v=v-%d WHERE id=%d; UPDATE acct SET v=v+1 "
      "WHERE id %% 2; UPDATE acct SET v=v-1 WHERE NOT id %% 2; UPDATE total SET n=n+1; ",
      amount, a, amount, (a + step) % ROWS);
  snprintf(at, sizeof text - (size_t)(at - text), "INSERT INTO log VALUES(%d,%d)", life, number);
  rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
  if (rc == SQLITE_OK && with_stray && number % 3 == 0) stray_close(mine);
  if (rc == SQLITE_OK && with_fork && number % 7 == 3) fork_one(mine, false);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, text, NULL, NULL, NULL);
  if (rc == SQLITE_OK && with_stray && number % 3 == 1) stray_close(mine);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
  if (rc == SQLITE_OK) {
    int at_ack = __atomic_fetch_add(&all->acks, 1, __ATOMIC_SEQ_CST);
    if (at_ack >= ACKS) fail("too many commits");
    all->ack[at_ack].number = number;
    __atomic_store_n(&all->ack[at_ack].life, life, __ATOMIC_SEQ_CST); /* last: a half-noted one has life 0 */
    mine->commits++;
    waited = now_ms() - began;
    if (waited > mine->wait_max_ms) mine->wait_max_ms = waited;
    return true;
  }
  if (rc == SQLITE_BUSY) mine->busy++;
  note_error(sqlite3_extended_errcode(db));
  if (!sqlite3_get_autocommit(db)) (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  return rc == SQLITE_BUSY;
}

static void writer(int index, int life)
{
  sqlite3 *db[2] = {NULL, NULL};
  tally *mine = &all->of[index];

  srand(seed * 1000003u + (unsigned)life);
  small_cache = index % 2 == 0;
  if (index >= procs) join_client(client2);
  load();
  for (int number = 1; !all->stop; number++) {
    int which = number % conns;
    bool well;
    if (!db[which]) db[which] = open_db();
    if (!db[which]) {
      nap(20 + rand() % 50);
      continue;
    }
    well = number % 3 ? write_once(db[which], mine, life, number) : read_once(db[which], mine);
    if (with_fork && number % 11 == 5) fork_one(mine, true);
    if (with_stray && number % 5 == 0) stray_close(mine);
    if (!well) { /* as a careful program does after a failure */
      (void)sqlite3_close(db[which]);
      db[which] = NULL;
    }
  }
  for (int i = 0; i < conns; i++) (void)sqlite3_close(db[i]);
  _exit(0);
}

/* ---- the whole */

static void must(sqlite3 *db, const char *text)
{
  if (sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK) return;
  printf("lab failed: %s\n", sqlite3_errmsg(db));
  exit(1);
}

static void make_database(void)
{
  sqlite3 *db = NULL;
  char text[500];

  if (sqlite3_open(below, &db)) fail("database");
  snprintf(
      text, sizeof text,
      "PRAGMA page_size=1024; CREATE TABLE acct(id INTEGER PRIMARY KEY, v INT, pad BLOB); CREATE TABLE "
      "log(life INT, "
      "number INT); CREATE TABLE total(n INT); INSERT INTO total VALUES(0); WITH RECURSIVE n(i) AS (SELECT 0 "
      "UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO acct SELECT i, 0, zeroblob(700) FROM n",
      ROWS - 1);
  must(db, text);
  (void)sqlite3_close(db);
}

static pid_t start(int index, int *life)
{
  pid_t pid = fork();

  if (pid < 0) fail("fork");
  if (pid == 0) {
    if (setpgid(0, 0)) _exit(1); /* its children die with it when all is over */
    writer(index, *life);
  }
  ++*life;
  return pid;
}

static void bury(pid_t pid)
{
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
}

static int storm(void)
{
  pid_t pids[WRITERS];
  int life = 1, kills = 0;
  long long end = now_ms() + seconds * 1000LL, next = now_ms() + kill_ms, limit;

  for (int i = 0; i < 2 * procs; i++) pids[i] = start(i, &life);
  while (now_ms() < end) {
    if (!kill_ms || now_ms() < next) {
      nap(kill_ms ? 10 : 200);
      continue;
    }
    int victim = rand() % (2 * procs);
    next += kill_ms / 2 + rand() % (kill_ms + 1);
    (void)kill(pids[victim], SIGKILL);
    bury(pids[victim]);
    pids[victim] = start(victim, &life);
    kills++;
  }
  all->stop = 1;
  limit = now_ms() + END_MS;
  for (int i = 0; i < 2 * procs; i++) {
    pid_t done = 0;
    while (now_ms() < limit && (done = waitpid(pids[i], NULL, WNOHANG)) == 0) nap(10);
    if (done == pids[i]) continue;
    (void)kill(pids[i], SIGKILL);
    bury(pids[i]);
    note_error(999999); /* did not end */
  }
  return kills;
}

static int found[3];
static int look(void *unused, int columns, char **values, char **names)
{
  int life = atoi(values[0]), number = atoi(values[1]);
  (void)unused;
  (void)columns;
  (void)names;
  for (int i = 0; i < all->acks; i++)
    if (all->ack[i].life == life && all->ack[i].number == number) {
      all->ack[i].life = -life;
      found[0]++;
    }
  found[1]++;
  return 0;
}

static char integrity[80];
static int first_line(void *unused, int columns, char **values, char **names)
{
  (void)unused;
  (void)columns;
  (void)names;
  if (!*integrity) snprintf(integrity, sizeof integrity, "%s", values[0]);
  return 0;
}

/* A process of its own, on client 1 through the shim: it also rolls back what the last victim left. */
static void check(int kills)
{
  sqlite3 *db = NULL;
  tally sum = {0}, last = {0};
  int missing = 0, acked = 0, fewest = 1 << 30, most = 0, errors = 0;

  load();
  if (sqlite3_open_v2(db_path, &db, SQLITE_OPEN_READWRITE, NULL)) fail("opening for the check");
  (void)sqlite3_busy_timeout(db, 30000);
  for (int i = 0; i < all->acks; i++) acked += all->ack[i].life > 0;
  if (sqlite3_exec(db, "BEGIN; SELECT life, number FROM log", look, NULL, NULL) ||
      sqlite3_exec(db, "COMMIT; PRAGMA integrity_check", first_line, NULL, NULL))
    printf("CHECK FAILED (%s) ", sqlite3_errmsg(db));
  (void)read_once(db, &last);
  (void)sqlite3_close(db);
  for (int i = 0; i < all->acks; i++) missing += all->ack[i].life > 0;
  for (int i = 0; i < 2 * procs; i++) {
    const tally *one = &all->of[i];
    sum.commits += one->commits, sum.reads += one->reads, sum.torn += one->torn, sum.forks += one->forks;
    sum.busy += one->busy, sum.strays += one->strays;
    if (one->wait_max_ms > sum.wait_max_ms) sum.wait_max_ms = one->wait_max_ms;
    if (one->commits < fewest) fewest = one->commits;
    if (one->commits > most) most = one->commits;
  }
  if (brief) {
    printf("%d acknowledged, %d missing, %d torn, %s, %d kills\n", acked, missing, sum.torn + last.torn,
           integrity, kills);
    (void)fflush(stdout);
    _exit(0);
  }
  printf("%d acknowledged, %d missing, %d reads, %d torn, %s, %d kills, per process %d-%d, worst %lld ms",
         acked, missing, sum.reads, sum.torn + last.torn, integrity, kills, fewest, most, sum.wait_max_ms);
  if (with_fork) printf(", %d forks", sum.forks);
  if (with_stray) printf(", %d stray closes", sum.strays);
  for (int i = 0; i < CODES && all->seen[i]; i++) {
    printf("%s%d x %d", errors++ ? ", " : ", errors: ", all->codes[i], all->seen[i]);
  }
  printf("\n");
  (void)fflush(stdout);
  _exit(0);
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
  pid_t checker;
  int kills, status = 0;

  db_path = value_of(argc, argv, "db", NULL);
  below = value_of(argc, argv, "below", NULL);
  shim = value_of(argc, argv, "shim", NULL);
  client2 = value_of(argc, argv, "client2", NULL);
  mode = value_of(argc, argv, "mode", mode);
  sync_mode = value_of(argc, argv, "sync", sync_mode);
  procs = atoi(value_of(argc, argv, "procs", "1"));
  kill_ms = atoi(value_of(argc, argv, "kill_ms", "0"));
  seconds = atoi(value_of(argc, argv, "seconds", "10"));
  with_fork = atoi(value_of(argc, argv, "fork", "0"));
  with_stray = atoi(value_of(argc, argv, "stray", "0"));
  conns = atoi(value_of(argc, argv, "conns", "1"));
  brief = atoi(value_of(argc, argv, "brief", "0"));
  verbose = atoi(value_of(argc, argv, "verbose", "0"));
  seed = (unsigned)atoi(value_of(argc, argv, "seed", "1"));
  if (!db_path || !below || !client2 || procs < 1 || 2 * procs > WRITERS || conns < 1 || conns > 2) {
    fprintf(stderr, "usage: smb_storm db=PATH below=PATH client2=PID [shim=FILE] [procs=N] ...\n");
    return 64;
  }
  all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) fail("memory");
  srand(seed);
  make_database();
  (void)sqlite3_shutdown(); /* so that writers may configure */
  kills = storm();
  checker = fork();
  if (checker < 0) fail("fork");
  if (checker == 0) check(kills);
  while (waitpid(checker, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
