/*
 * selftest_pair_linux.c - the lock self-test, level 2: two processes on one file.
 *
 * The two children do what they are told over a socket, one byte a command, and answer with one number.
 * After the fork they use nothing but system calls, open the file for themselves and die with their
 * parent. Every wait has a limit; a child that does not answer is killed and the step has failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "selftest.h"

enum {
  ANSWER_MS = 20000,    /* a network lock call may stall; the tool has its own, shorter deadline */
  FREE_AFTER_MS = 5000, /* a killed holder's lock must be free by then, also on a network */
  ROUNDS = 2000,        /* of the counter, per process */
  COUNTER_MS = 1500     /* and not longer than this */
};

typedef struct peer {
  pid_t pid;
  int fd; /* our end of the socket pair */
} peer;

static long long now_ms(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void nap_ms(long ms)
{
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};

  (void)nanosleep(&t, NULL); /* woken early is fine: every caller looks again */
}

/* ---------------------------------------------------------------- in the child */

/* One more on the counter, under the lock. 0, or errno. Gives up at `until`. */
static int count_one(int fd, int cmd, long long until)
{
  unsigned value = 0;
  ssize_t got;
  int err, tries = 0;

  while ((err = hf_lock_range(fd, cmd, F_WRLCK, HF_RESERVED, 1)) != 0) {
    if (!hf_lock_refused(err)) return err;
    if (now_ms() >= until) return ETIMEDOUT;
    if (++tries > 20) nap_ms(1); /* the other one holds it: do not spin on the server */
  }
  got = pread(fd, &value, sizeof value, 0);
  err = got < 0 ? errno : 0;
  value++;
  if (!err && pwrite(fd, &value, sizeof value, 0) != (ssize_t)sizeof value) err = errno ? errno : EIO;
  if (err) (void)hf_lock_range(fd, cmd, F_UNLCK, HF_RESERVED, 1);
  return err ? err : hf_lock_range(fd, cmd, F_UNLCK, HF_RESERVED, 1);
}

/* Rounds done, or the negative errno of what went wrong. */
static int count_many(int fd, int cmd)
{
  long long until = now_ms() + COUNTER_MS;
  int done = 0;

  while (done < ROUNDS && now_ms() < until) {
    int err = count_one(fd, cmd, until);
    if (err == ETIMEDOUT) break;
    if (err) return -err;
    done++;
  }
  return done;
}

static void child_serve(const char *path, int cmd, int fd, pid_t parent)
{
  int file, answer;
  char command;

  (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a killed tool leaves nobody behind */
  if (getppid() != parent) _exit(1);
  file = open(path, O_RDWR | O_CLOEXEC);
  while (read(fd, &command, 1) == 1) {
    if (file < 0)
      answer = EBADF;
    else if (command == 'L')
      answer = hf_lock_range(file, cmd, F_WRLCK, HF_RESERVED, 1);
    else if (command == 'U')
      answer = hf_lock_range(file, cmd, F_UNLCK, HF_RESERVED, 1);
    else
      answer = count_many(file, cmd);
    if (send(fd, &answer, sizeof answer, MSG_NOSIGNAL) != (ssize_t)sizeof answer) break;
  }
  _exit(0);
}

/* ---------------------------------------------------------------- in the parent */

static int peer_start(peer *p, const char *path, int cmd)
{
  int ends[2];
  pid_t self = getpid();

  p->pid = -1;
  p->fd = -1;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return errno;
  p->pid = fork();
  if (p->pid < 0) {
    int err = errno;
    close(ends[0]);
    close(ends[1]);
    return err;
  }
  if (p->pid == 0) {
    close(ends[0]);
    child_serve(path, cmd, ends[1], self);
  }
  close(ends[1]);
  p->fd = ends[0];
  return 0;
}

/* Kill and reap. Accepts a peer that never started. */
static void peer_kill(peer *p)
{
  if (p->pid > 0) {
    (void)kill(p->pid, SIGKILL);
    while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR) continue;
  }
  if (p->fd >= 0) close(p->fd);
  p->pid = -1;
  p->fd = -1;
}

static void peer_tell(peer *p, char command)
{
  (void)send(p->fd, &command, 1, MSG_NOSIGNAL);
}

/* The answer of the last command; EPIPE or ETIMEDOUT when there is none. */
static int peer_answer(peer *p)
{
  struct pollfd wait = {.fd = p->fd, .events = POLLIN};
  long long until = now_ms() + ANSWER_MS;
  int answer, ready;

  do {
    ready = poll(&wait, 1, (int)(until - now_ms() > 0 ? until - now_ms() : 0));
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0) return ETIMEDOUT;
  return recv(p->fd, &answer, sizeof answer, MSG_WAITALL) == (ssize_t)sizeof answer ? answer : EPIPE;
}

static int peer_do(peer *p, char command)
{
  peer_tell(p, command);
  return peer_answer(p);
}

/* x holds, y must be refused; x lets go, y must get it. False when one of them cannot lock or does not
 * answer. */
static bool step_processes(peer *x, peer *y, holdfast_selftest_report *report)
{
  int first = peer_do(x, 'L'), second, released, after;

  if (first) {
    hf_step_add(report, "two-processes", HOLDFAST_STEP_FAILED, "the first process cannot lock: %s",
                strerror(first));
    return false;
  }
  second = peer_do(y, 'L');
  released = peer_do(x, 'U');
  after = second == 0 ? 0 : peer_do(y, 'L');
  (void)peer_do(y, 'U');
  report->excludes = hf_lock_refused(second);
  if (second == 0)
    hf_step_add(report, "two-processes", HOLDFAST_STEP_FAILED, "two processes hold one write lock");
  else if (!hf_lock_refused(second))
    hf_step_add(report, "two-processes", HOLDFAST_STEP_FAILED, "the second process got: %s",
                strerror(second));
  else if (released || after)
    hf_step_add(report, "two-processes", HOLDFAST_STEP_FAILED, "a released lock is not free: %s",
                strerror(released ? released : after));
  else
    hf_step_add(report, "two-processes", HOLDFAST_STEP_PASSED, "a second process waits its turn");
  return second == 0 || hf_lock_refused(second);
}

/* x dies while it holds the lock; y must get it soon. */
static void step_killed_holder(peer *x, peer *y, holdfast_selftest_report *report)
{
  long long start, waited = 0;
  int err = peer_do(x, 'L');

  if (err) {
    hf_step_add(report, "killed-holder", HOLDFAST_STEP_FAILED, "no lock to begin with: %s", strerror(err));
    return;
  }
  peer_kill(x);
  start = now_ms();
  while ((err = peer_do(y, 'L')) != 0 && hf_lock_refused(err) && waited < FREE_AFTER_MS) {
    nap_ms(20);
    waited = now_ms() - start;
  }
  (void)peer_do(y, 'U');
  if (err)
    hf_step_add(report, "killed-holder", HOLDFAST_STEP_FAILED,
                "the lock of a killed process is not free after %d s: %s", FREE_AFTER_MS / 1000,
                strerror(err));
  else
    hf_step_add(report, "killed-holder", HOLDFAST_STEP_PASSED, "its lock was free after %lld ms", waited);
}

/* Both count in one file; what they did must be what is found. */
static void step_counter(const char *path, int cmd, peer *x, peer *y, holdfast_selftest_report *report)
{
  unsigned value = 0;
  int mine, other, found = 0, fd;

  fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0 || pwrite(fd, &value, sizeof value, 0) != (ssize_t)sizeof value) {
    hf_step_add(report, "counter", HOLDFAST_STEP_FAILED, "the counter cannot be written: %s",
                strerror(errno));
    if (fd >= 0) close(fd);
    return;
  }
  peer_tell(x, 'C');
  peer_tell(y, 'C');
  mine = peer_answer(x);
  other = peer_answer(y);
  /* Reading under the lock makes a network client fetch what the server has. */
  (void)hf_lock_range(fd, cmd, F_RDLCK, HF_RESERVED, 1);
  if (pread(fd, &value, sizeof value, 0) == (ssize_t)sizeof value) found = (int)value;
  (void)hf_lock_range(fd, cmd, F_UNLCK, HF_RESERVED, 1);
  close(fd);
  if (mine < 0 || other < 0)
    hf_step_add(report, "counter", HOLDFAST_STEP_FAILED, "a process failed: %s",
                strerror(mine < 0 ? -mine : -other));
  else if (mine + other != found)
    hf_step_add(report, "counter", HOLDFAST_STEP_FAILED, "%d of %d changes under the lock were lost",
                mine + other - found, mine + other);
  else if (mine == 0 || other == 0)
    hf_step_add(report, "counter", HOLDFAST_STEP_SKIPPED, "one process never got the lock: %d and %d rounds",
                mine, other);
  else
    hf_step_add(report, "counter", HOLDFAST_STEP_PASSED, "%d changes by two processes, none lost", found);
}

void hf_selftest_pair(const char *path, int cmd, holdfast_selftest_report *report)
{
  peer x = {-1, -1}, y = {-1, -1};
  int err = peer_start(&x, path, cmd);

  if (!err) err = peer_start(&y, path, cmd);
  if (err) {
    hf_step_add(report, "two-processes", HOLDFAST_STEP_SKIPPED, "no second process: %s", strerror(err));
    goto done;
  }
  if (!step_processes(&x, &y, report)) goto done;
  if (report->excludes == 1) {
    step_killed_holder(&x, &y, report);
    peer_kill(&x);
    if (peer_start(&x, path, cmd) != 0) goto done;
  }
  step_counter(path, cmd, &x, &y, report);
done:
  peer_kill(&x);
  peer_kill(&y);
}
