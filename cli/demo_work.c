/*
 * demo_work.c - what each of the two programs does, the same on both sides.
 *
 * One thread works: it creates a task, claims one that is open, and completes it, each in a transaction. A
 * second thread looks after the board, as programs do on every tick: it polls, looks at the first bytes of
 * the file by open, read and close, and has the board's health checked. "Not healthy" makes it copy the file.
 *
 * A lock breach is counted without a lock: who begins a write transaction writes its number into a word of
 * shared memory, and takes it out before it says COMMIT. Whoever finds another one's number there was let in
 * although the other one held the write lock. What happens during a COMMIT is not seen this way, so there
 * are at least as many breaches as are counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "demo.h"

enum { TICK_MS = 20, CHECK_EVERY = 5, AFTER_ERROR_MS = 10 };

int64_t demo_now_ns(void)
{
  struct timespec t;

  (void)clock_gettime(CLOCK_MONOTONIC, &t); /* this clock is always there */
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void pause_ms(long ms)
{
  struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

  while (nanosleep(&left, &left) && errno == EINTR) continue;
}

static bool stopped(const demo_program *p)
{
  return atomic_load(&p->shared->stop);
}

static void raise_to(atomic_long *max, long value)
{
  long before = atomic_load(max);

  while (value > before && !atomic_compare_exchange_weak(max, &before, value)) continue;
}

/* The first of its kind keeps its text. */
static void note_first(atomic_int *has, char *text, const char *said)
{
  if (!atomic_exchange(has, 1)) (void)snprintf(text, DEMO_TEXT, "%s", said);
}

void demo_failed(demo_program *p, int rc, const char *said)
{
  char text[DEMO_TEXT];

  atomic_fetch_add(&p->log->errors, 1);
  (void)snprintf(text, sizeof text, "%.150s (%d)", said, rc);
  note_first(&p->log->has_error, p->log->first_error, text);
}

/* ---------------------------------------------------------------- the work */

typedef struct job {
  demo_program *program;
  int (*step)(demo_connection *c, board_task *t);
  board_task task;
  int64_t asked_ns;
} job;

/* Runs in the write transaction. */
static int inside(demo_connection *c, void *arg)
{
  job *j = arg;
  demo_program *p = j->program;
  int me = p->who + 1, other, rc;

  raise_to(&p->log->wait_ns_max, (long)(demo_now_ns() - j->asked_ns));
  other = atomic_exchange(&p->shared->inside, me);
  if (other != 0 && other != me) atomic_fetch_add(&p->log->breaches, 1);
  rc = j->step(c, &j->task);
  if (rc != SQLITE_OK) (void)snprintf(p->said, sizeof p->said, "%s", sqlite3_errmsg(c->db));
  (void)atomic_compare_exchange_strong(&p->shared->inside, &me, 0); /* another's number: it is breached */
  return rc;
}

/* True when the step was committed. */
static bool act(job *j, int (*step)(demo_connection *c, board_task *t))
{
  demo_program *p = j->program;
  int rc;

  if (stopped(p)) return false;
  j->step = step;
  j->asked_ns = demo_now_ns();
  p->said[0] = '\0';
  rc = p->side->write(p, inside, j);
  if (rc == SQLITE_OK) {
    atomic_fetch_add(&p->log->commits, 1);
    return true;
  }
  demo_failed(p, rc, p->said);
  pause_ms(AFTER_ERROR_MS);
  return false;
}

/* What is known of a task only grows: its maker may hear of it after the one who claimed it. */
static void tell(const demo_program *p, const board_task *t, unsigned char what)
{
  atomic_uchar *told;
  unsigned char before;

  if (t->maker < 0 || t->maker >= DEMO_PROGRAMS || t->number < 0 || t->number >= DEMO_TASKS_MAX) return;
  told = &p->shared->told[t->maker][t->number];
  before = atomic_load(told);
  while (before < what && !atomic_compare_exchange_weak(told, &before, what)) continue;
  if (what == TASK_CLAIMED && before >= what) atomic_fetch_add(&p->log->given_twice, 1);
}

static void *work(void *arg)
{
  demo_program *p = arg;
  job j = {.program = p, .task = {.who = p->who}};

  for (long n = 0; n < DEMO_TASKS_MAX && !stopped(p); n++) {
    j.task.number = n;
    if (act(&j, board_create)) {
      j.task.maker = p->who;
      tell(p, &j.task, TASK_CREATED);
      atomic_fetch_add(&p->log->created, 1);
    }
    if (!act(&j, board_claim) || !j.task.id) continue;
    tell(p, &j.task, TASK_CLAIMED);
    if (act(&j, board_complete)) tell(p, &j.task, TASK_DONE);
  }
  return NULL;
}

/* ---------------------------------------------------------------- the care */

/* "Is it an SQLite file?", the way that costs all locks that this process holds on it. */
static void look(const demo_program *p)
{
  char head[16];
  int fd = open(p->path, O_RDONLY | O_CLOEXEC);

  if (fd < 0) return;
  if (read(fd, head, sizeof head) == (ssize_t)sizeof head) atomic_fetch_add(&p->log->looks, 1);
  (void)close(fd); /* it was only read */
}

/* The copy for later, by reading the live file: what most programs do. */
static void keep_copy(const demo_program *p, long number)
{
  long bytes = -1;

  if (atomic_load(&p->log->copied_bytes) < DEMO_COPY_BYTES_MAX / DEMO_PROGRAMS)
    bytes = place_copy(p->path, p->name, number);
  if (bytes < 0) {
    atomic_fetch_add(&p->log->copies_left_out, 1);
    return;
  }
  atomic_fetch_add(&p->log->copied_bytes, bytes);
  atomic_fetch_add(&p->log->copies, 1);
}

static void check(demo_program *p)
{
  char said[DEMO_TEXT] = "", text[DEMO_TEXT];
  int code = 0, verdict = p->side->check(p, &code, said, sizeof said);

  atomic_fetch_add(&p->log->checks, 1);
  if (verdict == CHECK_NOT_DONE) atomic_fetch_add(&p->log->not_checked, 1);
  if (verdict != CHECK_ALARM) return;
  if (code != SQLITE_OK && code != SQLITE_CORRUPT && code != SQLITE_NOTADB)
    atomic_fetch_add(&p->log->alarms_unchecked, 1);
  (void)snprintf(text, sizeof text, "%.150s", said);
  note_first(&p->log->has_alarm, p->log->first_alarm, text);
  keep_copy(p, atomic_fetch_add(&p->log->alarms, 1) + 1);
}

static void *care(void *arg)
{
  demo_program *p = arg;

  for (long tick = 1; !stopped(p); tick++) {
    int rc = p->side->read(p, board_poll, NULL);
    if (rc == SQLITE_OK)
      atomic_fetch_add(&p->log->reads, 1);
    else
      demo_failed(p, rc, sqlite3_errstr(rc));
    if (p->shared->careless) look(p);
    if (tick % CHECK_EVERY == 0) check(p);
    pause_ms(TICK_MS);
  }
  return NULL;
}

void demo_work(demo_program *p)
{
  pthread_t second;
  int rc = p->side->open(p);

  if (rc != SQLITE_OK) {
    demo_failed(p, rc, p->said[0] ? p->said : sqlite3_errstr(rc));
    return;
  }
  if (pthread_create(&second, NULL, care, p)) {
    demo_failed(p, SQLITE_NOMEM, "no second thread");
  } else {
    (void)work(p);
    (void)pthread_join(second, NULL); /* it was started and is joined once */
  }
  p->side->close(p);
}
