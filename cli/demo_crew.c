/*
 * demo_crew.c - plays one side: sets the board up, starts both programs, waits, and has the board counted.
 *
 * The command itself never opens the board: what opens it are processes that end before the next side
 * begins, so no lock, no cache and no shim is left over from one side to the other.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "demo.h"

enum { END_MS_MAX = 30 * 1000, STEP_MS = 50, SETUP_S = 60 };

static const char *const names[DEMO_PROGRAMS] = {"gateway", "dashboard"};
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
  interrupted = number;
}

void crew_listen(void)
{
  static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction act = {.sa_handler = on_signal};

  for (int i = 0; i < 3; i++) (void)sigaction(signals[i], &act, NULL); /* these can be caught */
}

static void pause_ms(long ms)
{
  struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

  (void)nanosleep(&t, NULL); /* a signal may end it early: the caller looks at the clock */
}

/* A child that ends by itself, whatever happens: by what body does, or by the alarm. */
static pid_t start(void (*body)(void *arg), void *arg, long seconds_max)
{
  pid_t pid;

  (void)fflush(NULL); /* else the child prints it once more */
  pid = fork();
  if (pid != 0) return pid;
  (void)signal(SIGINT, SIG_IGN); /* the command tells its programs when to stop */
  (void)signal(SIGTERM, SIG_DFL);
  (void)signal(SIGHUP, SIG_IGN);
  (void)alarm((unsigned)seconds_max);
  body(arg);
  _exit(0);
}

/* Signal that ended it, or 0. After limit_ms it is killed. */
static int finish(pid_t pid, long limit_ms)
{
  int64_t end = demo_now_ns() + limit_ms * 1000000;
  int status = 0;
  pid_t got;

  while ((got = waitpid(pid, &status, WNOHANG)) == 0 || (got < 0 && errno == EINTR)) {
    if (demo_now_ns() > end) (void)kill(pid, SIGKILL); /* it may have ended meanwhile */
    pause_ms(STEP_MS);
  }
  return got == pid && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

typedef struct scene {
  const demo_side *side;
  const demo_place *place;
  demo_shared *shared;
  demo_program programs[DEMO_PROGRAMS];
} scene;

/* By the side itself: where it cannot even make the tables, that is a result. */
static void set_up(void *arg)
{
  scene *s = arg;
  demo_program *p = &s->programs[0];
  int rc = p->side->open(p);

  if (rc == SQLITE_OK) {
    rc = p->side->write(p, board_create_tables, NULL);
    p->side->close(p);
  }
  if (rc != SQLITE_OK) demo_failed(p, rc, p->said[0] ? p->said : sqlite3_errstr(rc));
  s->shared->audit.done = true;
}

static void play(void *arg)
{
  demo_work(arg);
}

static void count(void *arg)
{
  scene *s = arg;

  board_audit(s->place->board, s->shared);
}

static void show_progress(const scene *s, long seconds, long passed_s)
{
  long tasks = 0, alarms = 0, errors = 0;

  for (int i = 0; i < DEMO_PROGRAMS; i++) {
    const demo_log *l = &s->shared->log[i];
    tasks += atomic_load(&l->created);
    alarms += atomic_load(&l->alarms);
    errors += atomic_load(&l->errors);
  }
  fprintf(stderr, "\r  %-13s %2ld of %ld s   %ld tasks, %ld alarms, %ld errors ", s->side->title, passed_s,
          seconds, tasks, alarms, errors);
}

/* Lets them work; ends early when somebody interrupts. */
static void let_work(const scene *s, long seconds, bool quiet)
{
  int64_t began = demo_now_ns(), end = began + seconds * 1000000000;
  bool terminal = isatty(STDERR_FILENO);
  long shown = -1;

  if (!quiet && !terminal) fprintf(stderr, "  %-13s %ld s ...\n", s->side->title, seconds);
  while (demo_now_ns() < end && !interrupted) {
    long passed = (long)((demo_now_ns() - began) / 1000000000);
    if (!quiet && terminal && passed != shown) show_progress(s, seconds, shown = passed);
    pause_ms(STEP_MS);
  }
  atomic_store(&s->shared->stop, 1);
  s->shared->ran_ms = (long)((demo_now_ns() - began) / 1000000);
  if (!quiet && terminal) {
    show_progress(s, seconds, seconds);
    fputc('\n', stderr);
  }
}

static int play_both(scene *s, long seconds, bool quiet)
{
  pid_t pids[DEMO_PROGRAMS];
  int rc = 0;

  for (int i = 0; i < DEMO_PROGRAMS; i++) {
    pids[i] = start(play, &s->programs[i], seconds + SETUP_S);
    if (pids[i] < 0) rc = errno;
  }
  if (rc) atomic_store(&s->shared->stop, 1);
  let_work(s, seconds, quiet);
  for (int i = 0; i < DEMO_PROGRAMS; i++) {
    if (pids[i] > 0) s->shared->log[i].ended_by = finish(pids[i], END_MS_MAX);
  }
  return rc;
}

/* In a process of its own. 0 when it did what it had to. */
static int apart(scene *s, void (*body)(void *arg))
{
  pid_t pid;

  s->shared->audit.done = false;
  pid = start(body, s, SETUP_S);
  if (pid < 0) return errno;
  (void)finish(pid, SETUP_S * 1000L); /* done tells */
  return s->shared->audit.done ? 0 : EIO;
}

int crew_play(const demo_side *side, const demo_place *place, long seconds, bool quiet, demo_shared *shared)
{
  scene s = {.side = side, .place = place, .shared = shared};
  int rc;

  for (int i = 0; i < DEMO_PROGRAMS; i++)
    s.programs[i] = (demo_program){.side = side,
                                   .path = place->board,
                                   .name = names[i],
                                   .who = i,
                                   .shared = shared,
                                   .log = &shared->log[i]};
  rc = apart(&s, set_up);
  if (rc == 0 && !interrupted) rc = play_both(&s, seconds, quiet);
  if (rc == 0 && !interrupted) rc = apart(&s, count);
  return interrupted ? EINTR : rc;
}
