/*
 * terminal.c - takes the terminal, waits for keys and signals, gives the terminal back.
 *
 * POSIX terminals and the escape sequences that xterm, tmux, screen and the Linux console have in common. All
 * signals are blocked but for the moment in which pselect() waits, so there are no other places to think of.
 */
#include "terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <termios.h>
#include <unistd.h>

enum { SCREEN_COLUMNS = 80, SCREEN_LINES = 24 };
/* Another screen, no cursor, lines that are too long are cut; and back. */
#define SCREEN_TAKE "\033[?1049h\033[?25l\033[?7l\033[H\033[2J"
#define SCREEN_GIVE "\033[?7h\033[?25h\033[?1049l"

static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH, SIGPIPE};
enum { CAUGHT = sizeof caught / sizeof caught[0] };

static volatile sig_atomic_t came[CAUGHT];
static bool taken, prepared, keys;
static int quit_signal;
static struct termios usual;
static sigset_t usual_mask, waiting_mask;
static struct sigaction usual_action[CAUGHT];

static void on_signal(int number)
{
  for (int i = 0; i < CAUGHT; i++)
    if (caught[i] == number) came[i] = 1;
}

static bool has_come(int number)
{
  for (int i = 0; i < CAUGHT; i++)
    if (caught[i] == number && came[i]) {
      came[i] = 0;
      return true;
    }
  return false;
}

bool terminal_there(void)
{
  const char *term = getenv("TERM");

  return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

static void screen(const char *sequence)
{
  fputs(sequence, stdout);
  (void)fflush(stdout); /* a terminal that has gone is noticed by terminal_wait() */
}

static void take(void)
{
  struct termios now = usual;

  if (keys) {
    now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    now.c_cc[VMIN] = 1;
    now.c_cc[VTIME] = 0;
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &now);
  }
  screen(SCREEN_TAKE);
  taken = true;
}

static void prepare_signals(void)
{
  struct sigaction action = {.sa_handler = on_signal};
  sigset_t ours;

  (void)sigemptyset(&ours);
  for (int i = 0; i < CAUGHT; i++) (void)sigaddset(&ours, caught[i]);
  (void)sigprocmask(SIG_BLOCK, &ours, &usual_mask);
  waiting_mask = usual_mask;
  for (int i = 0; i < CAUGHT; i++) {
    (void)sigdelset(&waiting_mask, caught[i]);
    (void)sigaction(caught[i], &action, &usual_action[i]);
  }
}

void terminal_begin(void)
{
  if (!prepared) {
    keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &usual) == 0;
    prepare_signals();
    (void)atexit(terminal_end);
    prepared = true;
  }
  if (!taken) take();
}

void terminal_end(void)
{
  if (!taken) return;
  taken = false;
  screen(SCREEN_GIVE);
  if (keys) (void)tcsetattr(STDIN_FILENO, TCSANOW, &usual);
}

void terminal_forget(void)
{
  taken = false; /* the parent's */
  if (!prepared) return;
  for (int i = 0; i < CAUGHT; i++) (void)sigaction(caught[i], &usual_action[i], NULL);
  (void)sigprocmask(SIG_SETMASK, &usual_mask, NULL);
}

void terminal_size(int *columns, int *lines)
{
  struct winsize size = {0};

  (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size); /* stays 0: then what every terminal has */
  *columns = size.ws_col ? size.ws_col : SCREEN_COLUMNS;
  *lines = size.ws_row ? size.ws_row : SCREEN_LINES;
}

/* Does what a signal would have done without us. Comes back from a stop. */
static void let_it_happen(int number)
{
  sigset_t only;

  (void)signal(number, SIG_DFL);
  (void)sigemptyset(&only);
  (void)sigaddset(&only, number);
  (void)raise(number);
  (void)sigprocmask(SIG_UNBLOCK, &only, NULL); /* here it happens */
}

static void stop(void)
{
  struct sigaction action = {.sa_handler = on_signal};
  sigset_t only;

  terminal_end();
  let_it_happen(SIGTSTP);
  (void)sigemptyset(&only);
  (void)sigaddset(&only, SIGTSTP);
  (void)sigprocmask(SIG_BLOCK, &only, NULL);
  (void)sigaction(SIGTSTP, &action, NULL);
  take();
}

void terminal_die(void)
{
  terminal_end();
  if (quit_signal) let_it_happen(quit_signal);
}

static terminal_event ask_signals(terminal_event otherwise)
{
  static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
  bool changed;

  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    if (has_come(ends[i])) {
      quit_signal = ends[i];
      return TERMINAL_QUIT;
    }
  if (has_come(SIGTSTP)) {
    stop();
    (void)has_come(SIGCONT);
    return TERMINAL_CHANGED;
  }
  if (has_come(SIGCONT)) { /* after SIGSTOP, of which nobody is told; the shell has had the terminal */
    take();
    return TERMINAL_CHANGED;
  }
  changed = has_come(SIGWINCH);
  return changed ? TERMINAL_CHANGED : otherwise;
}

terminal_event terminal_wait(int fd, long wait_ms, int *key)
{
  struct timespec wait = {wait_ms / 1000, wait_ms % 1000 * 1000000};
  unsigned char letter;
  fd_set ready;
  int count;

  FD_ZERO(&ready);
  if (keys) FD_SET(STDIN_FILENO, &ready);
  if (fd >= 0) FD_SET(fd, &ready);
  count = pselect((fd > STDIN_FILENO ? fd : STDIN_FILENO) + 1, &ready, NULL, NULL, &wait, &waiting_mask);
  if (count < 0) return ask_signals(errno == EINTR ? TERMINAL_TIME : TERMINAL_QUIT);
  if (count == 0) return ask_signals(TERMINAL_TIME);
  if (fd >= 0 && FD_ISSET(fd, &ready)) return TERMINAL_INPUT;
  if (read(STDIN_FILENO, &letter, 1) != 1) return TERMINAL_QUIT; /* it was hung up */
  *key = letter;
  return TERMINAL_KEY;
}
