/*
 * top.c - `holdfast top DB`: who holds the locks, who waits, and how much goes on, again and again.
 *
 * Looks by a child with a deadline of patience, not of time: as long as it is silent, nothing new is begun,
 * and the keys go on working.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "holders.h"
#include "terminal.h"
#include "top.h"

static const char help[] =
    "holdfast top DB [-d SECONDS] [-n COUNT | --once] [--json] [--metrics FILE]...\n"
    "\n"
    "Who has this database open, who holds its locks and since when that is seen, who waits; the size of "
    "the\n"
    "-wal, and the oldest reader. On a terminal a screen that is renewed: q quits, r counts waits anew, any\n"
    "other key looks now. Elsewhere the same as text, once for each interval, until it is ended.\n"
    "\n"
    "The database is never opened and nobody is disturbed. From outside it is seen who has it open and who\n"
    "holds which lock. SQLite does not wait in the kernel, it tries again and again; so who waits, how much\n"
    "is locked in a second and how long waits are is only known of programs that say so themselves: those\n"
    "that run with holdfast and HOLDFAST_METRICS=FILE, see docs/locks.md. Where a process writes that file "
    "is\n"
    "found in its environment.\n"
    "\n"
    "  -d SECONDS      between two looks, 0.1 to 3600; default 2, which is how often metrics are written\n"
    "  -n COUNT        so many looks, then end; --once: one. Rates need two.\n"
    "  --json          one JSON object for each look; one look, if -n does not say otherwise\n"
    "  --metrics FILE  read this one, too: of a process whose environment may not be read\n"
    "\n"
    "SEEN FOR: every look since then has found it so. P99 WAIT: 99 of 100 waits took less.\n"
    "\n"
    "Exit codes: 0 all is shown, 1 a holder is stopped or something could not be seen (at the last look), 3\n"
    "there is no such file, 64 usage. q on a terminal: 0.\n";

enum { SILENT_MS = 3000, KILL_TRIES = 20, KILL_NAP_MS = 5 };

typedef struct wish {
  const char *path;
  const char *files[TOP_FILES];
  int file_count;
  bool json;
  long every_ms, count; /* 0 = without end */
} wish;

/* ---------------------------------------------------------------- the child */

typedef struct looker {
  pid_t pid; /* 0 = none */
  int fd;
  long long since_ms;
} looker;

static long long now_ms(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static bool look_begin(looker *l, const wish *w, top_look *out)
{
  int ends[2];

  if (pipe(ends) != 0) return false;
  (void)fflush(stdout); /* else the child has it, too */
  l->pid = fork();
  if (l->pid == 0) {
    char done = 1;
    terminal_forget();
    (void)signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    top_look_at(w->path, w->files, w->file_count, out);
    _exit(write(ends[1], &done, 1) == 1 ? 0 : 1);
  }
  close(ends[1]);
  l->fd = ends[0];
  l->since_ms = now_ms();
  if (l->pid > 0) return true;
  close(ends[0]);
  l->pid = 0;
  return false;
}

/* The child has said that it is done, or has died. */
static bool look_end(looker *l)
{
  char done;
  bool good = read(l->fd, &done, 1) == 1;

  close(l->fd);
  while (waitpid(l->pid, NULL, 0) < 0 && errno == EINTR) continue;
  l->pid = 0;
  return good;
}

/* One that waits for a server inside the kernel does not even die: it is left behind. */
static void look_give_up(looker *l)
{
  const struct timespec nap = {0, KILL_NAP_MS * 1000000L};

  if (l->pid <= 0) return;
  (void)kill(l->pid, SIGKILL);
  for (int i = 0; i < KILL_TRIES && waitpid(l->pid, NULL, WNOHANG) == 0; i++) (void)nanosleep(&nap, NULL);
  close(l->fd);
  l->pid = 0;
}

/* ---------------------------------------------------------------- the loop */

typedef struct loop {
  const wish *w;
  top_view view;
  top_look *child, *shown; /* the first is shared with the child */
  looker looker;
  long long next_ms, told; /* of the last look that was said to be silent: when it began */
  bool live, quit;
  int code;
} loop;

static void show(loop *l)
{
  top_screen screen = {.live = l->live, .every_s = (double)l->w->every_ms / 1e3};

  if (l->live) terminal_size(&screen.columns, &screen.lines);
  if (l->w->json)
    top_show_json(&l->view);
  else
    top_show(&l->view, &screen);
}

static void show_silence(loop *l)
{
  int columns, lines;

  if (!l->looker.pid || now_ms() - l->looker.since_ms < SILENT_MS) return;
  if (!l->live) { /* once for each look: what is shown may be a file */
    if (l->told != l->looker.since_ms) {
      fputs("holdfast: ", stderr);
      out_text(stderr, l->w->path);
      fputs(": no answer yet: the disk or server of this file does not answer; waiting\n", stderr);
    }
    l->told = l->looker.since_ms;
    return;
  }
  terminal_size(&columns, &lines);
  printf("\033[%d;1H\033[Kno answer for %lld s: the disk or server of this file does not answer   q quit",
         lines, (now_ms() - l->looker.since_ms) / 1000);
  (void)fflush(stdout);
}

static void looked(loop *l)
{
  if (!look_end(&l->looker)) {
    l->code = EXIT_FAILED;
    return;
  }
  memcpy(l->shown, l->child, sizeof *l->shown);
  top_view_add(&l->view, l->shown);
  l->code = top_judge(&l->view);
  if (l->view.looks == 1 && l->shown->rc && !l->w->json) { /* nothing to look at from the start */
    l->quit = true;
    terminal_end();
    fputs("holdfast: ", stderr);
    out_text(stderr, l->w->path);
    fprintf(stderr, ": %s\n", holders_failed(l->shown->rc));
    return;
  }
  if (!l->live && !l->w->json && l->view.looks > 1) putchar('\n');
  show(l);
  if (fflush(stdout) != 0 || l->view.looks == l->w->count) l->quit = true;
}

static void pressed(loop *l, int key)
{
  if (key == 'q' || key == 'Q') {
    l->quit = true;
    l->code = EXIT_FINE;
    return;
  }
  if ((key == 'r' || key == 'R') && l->view.looks) top_view_anew(&l->view);
  l->next_ms = now_ms();
}

static void step(loop *l)
{
  long long wait = l->next_ms - now_ms();
  int key = 0;

  if (!l->looker.pid && wait <= 0) {
    l->next_ms = now_ms() + l->w->every_ms;
    if (!look_begin(&l->looker, l->w, l->child)) {
      l->quit = true;
      l->code = EXIT_FAILED;
      return;
    }
  }
  wait = l->looker.pid ? 1000 : l->next_ms - now_ms();
  switch (terminal_wait(l->looker.pid ? l->looker.fd : -1, wait > 0 ? (long)wait : 0, &key)) {
  case TERMINAL_INPUT: looked(l); break;
  case TERMINAL_KEY: pressed(l, key); break;
  case TERMINAL_CHANGED:
    if (l->view.looks) show(l);
    break;
  case TERMINAL_QUIT: l->quit = true; break;
  default: show_silence(l);
  }
  if (l->live) (void)fflush(stdout);
}

static int watch(const wish *w)
{
  static loop l; /* large */

  l.w = w;
  l.view.path = w->path;
  l.child = mmap(NULL, sizeof *l.child, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  l.shown = malloc(sizeof *l.shown);
  l.view.history = calloc(TOP_SOURCES, sizeof *l.view.history);
  l.live = !w->json && w->count == 0 && terminal_there();
  if (l.child == MAP_FAILED || !l.shown || !l.view.history) {
    perror("holdfast");
    free(l.shown);
    free(l.view.history);
    return EXIT_FAILED;
  }
  l.next_ms = now_ms();
  if (l.live) terminal_begin();
  while (!l.quit) step(&l);
  look_give_up(&l.looker);
  terminal_end();
  (void)munmap(l.child, sizeof *l.child);
  free(l.shown);
  free(l.view.history);
  terminal_die();
  return l.code;
}

/* ---------------------------------------------------------------- arguments */

static long every_from(const char *text)
{
  char *end;
  double value = strtod(text, &end);

  return end == text || *end || !(value >= 0.1 && value <= 3600) ? -1 : (long)(value * 1000);
}

static int run(int argc, char **argv)
{
  static const struct option options[] = {
      {"json", no_argument, NULL, 'j'},          {"once", no_argument, NULL, 'o'},
      {"metrics", required_argument, NULL, 'm'}, {"delay", required_argument, NULL, 'd'},
      {"count", required_argument, NULL, 'n'},   {NULL, 0, NULL, 0}};
  static wish w = {.every_ms = 2000}; /* the loop, which is static, leads to it */
  long count = -1;
  int c;

  opterr = 0;
  while ((c = getopt_long(argc, argv, "d:n:", options, NULL)) != -1) {
    switch (c) {
    case 'j': w.json = true; break;
    case 'o': count = 1; break;
    case 'd':
      w.every_ms = every_from(optarg);
      if (w.every_ms < 0) return usage_error("top", "not 0.1 to 3600 seconds: %s", optarg);
      break;
    case 'n':
      count = seconds_from(optarg, 1, 1000000000);
      if (count < 0) return usage_error("top", "not a number of looks: %s", optarg);
      break;
    case 'm':
      if (w.file_count == TOP_FILES || strlen(optarg) >= TOP_PATH)
        return usage_error("top", "too many or too long: --metrics %s", optarg);
      w.files[w.file_count++] = optarg;
      break;
    default: return usage_error("top", "unknown option, or its value is missing: %s", argv[optind - 1]);
    }
  }
  if (optind + 1 != argc || !argv[optind][0]) return usage_error("top", "top takes one database");
  w.path = argv[optind];
  w.count = count > 0 ? count : w.json ? 1 : 0;
  return watch(&w);
}

const command command_top = {"top", "DB           who holds its locks and who waits, live", run, help};
