/*
 * top_linux.c - where a process writes its HOLDFAST_METRICS, from /proc: its environment as it was started,
 * its working directory, its root and its number in its own pid namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "top.h"

enum { ENVIRONMENT_MAX = 256 * 1024 };
static const char variable[] = "HOLDFAST_METRICS=";

static ssize_t read_file(const char *name, char *out, size_t size)
{
  int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  ssize_t n, used = 0;

  if (fd < 0) return -1;
  while ((n = read(fd, out + used, size - 1 - (size_t)used)) > 0) used += n;
  close(fd);
  out[used] = 0;
  return used;
}

/* The number that the process has for itself. */
static long long own_number(int64_t pid)
{
  char name[64], text[4096], *line;
  long long number = pid;

  (void)snprintf(name, sizeof name, "/proc/%lld/status", (long long)pid);
  if (read_file(name, text, sizeof text) <= 0) return pid;
  line = strstr(text, "\nNSpid:");
  if (!line) return pid;
  line[1 + strcspn(line + 1, "\n")] = 0;
  for (line = strpbrk(line, "\t"); line; line = strpbrk(line + 1, "\t")) number = atoll(line + 1);
  return number;
}

static bool value_of(const char *environment, size_t length, char *out, size_t size)
{
  for (const char *at = environment; at < environment + length; at += strlen(at) + 1) {
    if (strncmp(at, variable, sizeof variable - 1) != 0) continue;
    at += sizeof variable - 1;
    return *at && (size_t)snprintf(out, size, "%s", at) < size;
  }
  return false;
}

bool top_metrics_of(int64_t pid, char *file, size_t file_size, char *root, size_t root_size)
{
  char name[64], value[TOP_PATH], number[24] = "", *text = malloc(ENVIRONMENT_MAX), *mark;
  ssize_t length;
  bool found;

  if (!text) return false;
  (void)snprintf(name, sizeof name, "/proc/%lld/environ", (long long)pid);
  length = read_file(name, text, ENVIRONMENT_MAX);
  found = length > 0 && value_of(text, (size_t)length, value, sizeof value);
  free(text);
  if (!found) return false;
  mark = strstr(value, "%p");
  if (mark) {
    (void)snprintf(number, sizeof number, "%lld", own_number(pid));
    *mark = 0;
    mark += 2;
  }
  (void)snprintf(root, root_size, "/proc/%lld/root", (long long)pid);
  if (value[0] == '/')
    return (size_t)snprintf(file, file_size, "%s%s%s%s", root, value, number, mark ? mark : "") < file_size;
  return (size_t)snprintf(file, file_size, "/proc/%lld/cwd/%s%s%s", (long long)pid, value, number,
                          mark ? mark : "") < file_size;
}
