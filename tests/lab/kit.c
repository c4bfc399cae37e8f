/*
 * kit.c - agents at the other end of a pipe, and looks at files. See kit.h.
 */
#include "kit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER_SECONDS_MAX = 250, LINE_BYTES = 16384 };

void kit_fail(const char *format, ...)
{
  va_list args;

  va_start(args, format);
  (void)vprintf(format, args);
  va_end(args);
  (void)printf("\n");
  (void)fflush(stdout); /* nobody to tell if it fails */
  exit(1);
}

kit_agent kit_spawn(const char *shim, const char *client)
{
  const char *argv[6] = {"agent"};
  int n = 1, down[2], up[2];
  kit_agent agent;

  if (shim != NULL) {
    argv[n++] = "--shim";
    argv[n++] = shim;
  }
  if (client != NULL) {
    argv[n++] = "--client";
    argv[n++] = client;
  }
  if (pipe2(down, O_CLOEXEC) != 0 || pipe2(up, O_CLOEXEC) != 0) kit_fail("no pipe: %s", strerror(errno));
  agent.pid = fork();
  if (agent.pid < 0) kit_fail("no process: %s", strerror(errno));
  if (agent.pid == 0) {
    char path[4096];

    if (dup2(down[0], 0) < 0 || dup2(up[1], 1) < 0) _exit(127);
    (void)snprintf(path, sizeof path, "%s/bin/agent", getenv("LAB_WORK"));
    (void)execv(path, (char *const *)argv);
    _exit(127);
  }
  (void)close(down[0]); /* pipe ends: nothing to lose */
  (void)close(up[1]);
  agent.to = down[1];
  agent.from = up[0];
  return agent;
}

void kit_ready(const kit_agent *agent)
{
  const char *hello = kit_hear(agent);

  if (strcmp(hello, "ok ready") != 0) kit_fail("agent: %s", hello);
}

kit_agent kit_start(const char *shim, const char *client)
{
  kit_agent agent = kit_spawn(shim, client);

  kit_ready(&agent);
  return agent;
}

const kit_agent *kit_plain(const char *path)
{
  static kit_agent plain;

  if (plain.pid == 0) plain = kit_start(NULL, NULL);
  kit_must(&plain, "open %s", path);
  return &plain;
}

static void tell(const kit_agent *agent, const char *format, va_list args)
{
  char line[LINE_BYTES];
  int n = vsnprintf(line, sizeof line - 1, format, args);

  if (n < 0 || n >= (int)sizeof line - 1) kit_fail("a command is too long");
  line[n++] = '\n';
  if (write(agent->to, line, (size_t)n) != n) kit_fail("agent gone: %s", strerror(errno));
}

/* One line, "" at the end of its output. Agents answer every command once, so nothing is ever read ahead. */
const char *kit_hear(const kit_agent *agent)
{
  static char line[LINE_BYTES];
  struct pollfd ready = {agent->from, POLLIN, 0};
  size_t n = 0;

  for (;;) {
    ssize_t got;
    int rc = poll(&ready, 1, ANSWER_SECONDS_MAX * 1000);

    if (rc <= 0) kit_fail("agent did not answer in %d s", ANSWER_SECONDS_MAX);
    got = read(agent->from, line + n, sizeof line - 1 - n);
    if (got <= 0) break;
    n += (size_t)got;
    if (line[n - 1] == '\n' || n == sizeof line - 1) break;
  }
  while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == ' ')) n--;
  line[n] = '\0';
  return line;
}

void kit_tell(const kit_agent *agent, const char *format, ...)
{
  va_list args;

  va_start(args, format);
  tell(agent, format, args);
  va_end(args);
}

const char *kit_ask(const kit_agent *agent, const char *format, ...)
{
  va_list args;

  va_start(args, format);
  tell(agent, format, args);
  va_end(args);
  return kit_hear(agent);
}

void kit_must(const kit_agent *agent, const char *format, ...)
{
  const char *heard;
  va_list args;

  va_start(args, format);
  tell(agent, format, args);
  va_end(args);
  heard = kit_hear(agent);
  if (strncmp(heard, "ok", 2) != 0) kit_fail("preparing: %s", heard);
}

static int reap(kit_agent *agent)
{
  int status = 0;

  (void)close(agent->to); /* a pipe: its end is the message */
  (void)close(agent->from);
  while (waitpid(agent->pid, &status, 0) < 0 && errno == EINTR) continue;
  agent->pid = -1;
  return status;
}

void kit_stop(kit_agent *agent)
{
  (void)reap(agent);
}

void kit_kill(kit_agent *agent)
{
  (void)kill(agent->pid, SIGKILL); /* fails only if it is dead already */
  (void)reap(agent);
}

void kit_must_die(kit_agent *agent)
{
  const char *heard = kit_hear(agent);

  if (*heard != '\0') kit_fail("the writer should have died, but says: %s", heard);
  if (!WIFSIGNALED(reap(agent))) kit_fail("the writer ended by itself");
}

const char *kit_setting(const char *name)
{
  const char *value = getenv(name);

  return value != NULL && *value != '\0' ? value : NULL;
}

const char *kit_need(const char *name)
{
  const char *value = kit_setting(name);

  if (value == NULL) {
    printf("needs %s\n", name);
    exit(77);
  }
  return value;
}

long kit_number(const char *name)
{
  return strtol(kit_need(name), NULL, 10);
}

const char *kit_short(const char *answer)
{
  static char text[64];

  if (strncmp(answer, "ok ", 3) == 0) return answer + 3;
  if (strcmp(answer, "ok") == 0) return "";
  (void)snprintf(text, sizeof text, "%s", answer);
  if (strncmp(text, "error ", 6) == 0) text[6 + strcspn(text + 6, " ")] = '\0';
  return *text != '\0' ? text : "agent died";
}

bool kit_exists(const char *path, const char *suffix)
{
  char name[4096];

  (void)snprintf(name, sizeof name, "%s%s", path, suffix);
  return access(name, F_OK) == 0;
}

/* FNV-1a, 64 bits: told apart are a handful of versions of one file, not forgeries. */
uint64_t kit_sum(const char *path, const char *suffix)
{
  static unsigned char block[65536];
  uint64_t sum = 0xcbf29ce484222325u;
  char name[4096];
  ssize_t n, i;
  int fd;

  (void)snprintf(name, sizeof name, "%s%s", path, suffix);
  fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  while ((n = read(fd, block, sizeof block)) > 0) {
    for (i = 0; i < n; i++) sum = (sum ^ block[i]) * 0x100000001b3u;
  }
  (void)close(fd); /* read only, and this process holds no lock on it */
  return sum;
}
