/*
 * deadline.c - run something that may hang in a child, and give up in time.
 *
 * A dead NFS or FUSE server holds every call on its files for ever. The deadline is one of silence: each byte
 * that the child writes starts it again. A child that does not even die (it waits for a server inside the
 * kernel) is left behind: waiting for it would be waiting for the server.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "doctor.h"

enum { REAP_TRIES = 50, REAP_NAP_MS = 10 };

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
  (void)number;
  stop_asked = 1;
}

/* Ctrl-C must not leave the sidecar behind: it ends the wait like the deadline does. */
static void catch_signals(void)
{
  struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: poll() must return */

  (void)sigaction(SIGINT, &action, NULL);
  (void)sigaction(SIGTERM, &action, NULL);
  (void)sigaction(SIGHUP, &action, NULL);
}

static long long now_ms(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Read stages until the child closes its end. 0, or why the wait was given up. */
static int follow(int fd, int seconds, char *stage)
{
  long long until = now_ms() + seconds * 1000LL;
  char letter;

  for (;;) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    long long left = until - now_ms();
    int ready;

    if (stop_asked) return CHILD_INTERRUPTED;
    if (left <= 0) return CHILD_SILENT;
    ready = poll(&wait, 1, (int)left);
    if (ready < 0 && errno != EINTR) return CHILD_SILENT;
    if (ready <= 0) continue;
    if (read(fd, &letter, 1) != 1) return CHILD_DONE;
    *stage = letter;
    until = now_ms() + seconds * 1000LL;
  }
}

/* The child's status, or -1 when it does not die. The whole group goes: the self-test has children too. */
static int reap(pid_t pid, bool kill_it)
{
  struct timespec nap = {0, REAP_NAP_MS * 1000000L};
  int status = 0;

  if (kill_it) (void)kill(-pid, SIGKILL);
  for (int i = 0; i < REAP_TRIES; i++) {
    pid_t got = waitpid(pid, &status, WNOHANG);
    if (got == pid) return status;
    if (got < 0 && errno != EINTR) return -1;
    (void)nanosleep(&nap, NULL);
  }
  return -1;
}

int run_with_deadline(void (*work)(findings *, int), findings *f, int seconds, char *stage)
{
  pid_t pid;
  int ends[2], how, status;

  *stage = 0;
  stop_asked = 0; /* a second Ctrl-C ends the cleaning up */
  if (pipe(ends) != 0) return CHILD_NONE;
  (void)fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  (void)fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  catch_signals();
  pid = fork();
  if (pid == 0) {
    close(ends[0]);
    (void)setpgid(0, 0);
    (void)signal(SIGPIPE, SIG_IGN);
    work(f, ends[1]); /* when this command is killed meanwhile, the child still cleans up behind itself */
    _exit(0);
  }
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return CHILD_NONE;
  }
  (void)setpgid(pid, pid); /* here too: whoever comes first */
  how = follow(ends[0], seconds, stage);
  close(ends[0]);
  status = reap(pid, how != CHILD_DONE);
  if (how == CHILD_DONE && (status < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)) return CHILD_DIED;
  return how;
}
