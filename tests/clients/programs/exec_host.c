/*
 * exec_host.c - what a program may do with SQLite that makes it hard to reach, one case for each first
 * argument. It knows nothing of holdfast and answers with what `PRAGMA holdfast` says.
 *
 * config, threads, early and restart use the SQLite that it is linked with; load opens the libraries that are
 * named, each for itself.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

enum { THREADS = 8 };

typedef int (*open_fn)(const char *, sqlite3 **, int, const char *);
typedef int (*exec_fn)(sqlite3 *, const char *, int (*)(void *, int, char **, char **), void *, char **);
typedef int (*close_fn)(sqlite3 *);

static int keep(void *out, int columns, char **values, char **names)
{
  (void)columns, (void)names;
  snprintf(out, 200, "%s", values[0] ? values[0] : "");
  return 0;
}

/* What this SQLite answers for this file: "holdfast 0.1.0 ..." or "nothing". */
static int answer_of(open_fn do_open, exec_fn do_exec, close_fn do_close, const char *file, char *out)
{
  sqlite3 *db = NULL;
  int rc = do_open(file, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);

  strcpy(out, "nothing");
  if (rc == SQLITE_OK)
    rc = do_exec(db, "CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(1)", NULL, NULL, NULL);
  if (rc == SQLITE_OK) rc = do_exec(db, "PRAGMA holdfast", keep, out, NULL);
  do_close(db);
  return rc;
}

static int show(const char *what)
{
  char answer[200];
  int rc = answer_of(sqlite3_open_v2, sqlite3_exec, sqlite3_close, "linked.db", answer);

  printf("%s: %d %s\n", what, rc, answer);
  return rc;
}

static void to_log(void *unused, int code, const char *text)
{
  (void)unused, (void)code, (void)text;
}

/* sqlite3_config() is refused once SQLite has started. */
static int config(void)
{
  int uri = sqlite3_config(SQLITE_CONFIG_URI, 1), log = sqlite3_config(SQLITE_CONFIG_LOG, to_log, NULL);
  int threads = sqlite3_config(SQLITE_CONFIG_MULTITHREAD);

  printf("sqlite3_config: %d %d %d\n", uri, log, threads);
  return show("config") || uri || log || threads;
}

static int single(void)
{
  int rc = sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);

  printf("sqlite3_config: %d\n", rc);
  return show("single") || rc;
}

static int restart(void)
{
  int bad = show("first");

  bad |= sqlite3_shutdown();
  bad |= sqlite3_config(SQLITE_CONFIG_URI, 1);
  bad |= show("second");
  return bad;
}

static pthread_barrier_t together;

static void *first_open(void *number)
{
  static char answers[THREADS][200];
  char file[32], *answer = answers[(size_t)number];

  snprintf(file, sizeof file, "thread%zu.db", (size_t)number);
  pthread_barrier_wait(&together);
  (void)answer_of(sqlite3_open_v2, sqlite3_exec, sqlite3_close, file, answer);
  return answer;
}

/* All threads make SQLite start, at the same moment. */
static int threads(void)
{
  pthread_t thread[THREADS];
  int covered = 0;

  pthread_barrier_init(&together, NULL, THREADS);
  for (size_t i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, first_open, (void *)i);
  for (int i = 0; i < THREADS; i++) {
    void *answer;
    pthread_join(thread[i], &answer);
    covered += strncmp(answer, "holdfast ", 9) == 0;
  }
  printf("threads: %d of %d covered\n", covered, THREADS);
  return 0;
}

/* Before main(), and before most other constructors. */
__attribute__((constructor(101))) static void early(void)
{
  if (getenv("HOST_EARLY")) show("constructor");
}

static int load(int count, char **paths)
{
  int bad = 0;

  for (int i = 0; i < count; i++) {
    void *library = dlopen(paths[i], RTLD_NOW | RTLD_LOCAL | (getenv("HOST_DEEPBIND") ? RTLD_DEEPBIND : 0));
    char file[32], answer[200];
    open_fn do_open;
    exec_fn do_exec;
    close_fn do_close;
    const char *(*version)(void);
    int rc;

    if (!library) {
      printf("%s\n", dlerror());
      return 1;
    }
    *(void **)&do_open = dlsym(library, "sqlite3_open_v2");
    *(void **)&do_exec = dlsym(library, "sqlite3_exec");
    *(void **)&do_close = dlsym(library, "sqlite3_close");
    *(void **)&version = dlsym(library, "sqlite3_libversion");
    snprintf(file, sizeof file, "loaded%d.db", i);
    rc = answer_of(do_open, do_exec, do_close, file, answer);
    printf("%s: %d %s\n", version(), rc, answer);
    bad |= rc;
    if (getenv("HOST_UNLOAD")) dlclose(library);
  }
  return bad;
}

int main(int argc, char **argv)
{
  if (argc > 2 && !strcmp(argv[1], "load")) return load(argc - 2, argv + 2);
  if (argc != 2) return 64;
  if (!strcmp(argv[1], "config")) return config();
  if (!strcmp(argv[1], "single")) return single();
  if (!strcmp(argv[1], "restart")) return restart();
  if (!strcmp(argv[1], "threads")) return threads();
  if (!strcmp(argv[1], "early")) return 0;
  return 64;
}
