/*
 * words.c - the public face of the mount files: words for numbers, and the verdict of a path.
 *
 * The words are public (SQL, JSON, documentation) and listed in the order of their numbers in holdfast.h.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mount.h"

/* SQLite's codes, by number: this file needs libc only. */
enum { CODE_OK = 0, CODE_NOMEM = 7, CODE_CANTOPEN = 14, CODE_MISUSE = 21 };

static const struct {
  const char *kind;
  int first; /* the number of the first word */
  const char *words[17];
} kinds[] = {
    {"rule", 1, {"wal-ok", "rollback-only", "rollback-one-host", "refuse", "read-only"}},
    {"class",
     1,
     {"local", "memory", "network", "cluster", "vm-share", "container-share", "object-store", "fuse",
      "read-only", "pseudo", "unknown"}},
    {"shm", 1, {"coherent", "incoherent", "unknown"}},
    {"locks", 1, {"kernel", "server", "local-only", "fake", "none"}},
    {"durable", 1, {"yes", "no", "unknown"}},
    {"scope", 1, {"one-kernel", "several"}},
    {"confidence", 1, {"low", "high"}},
    {"mode", 0, {"default", "enforce", "observe", "off"}},
    {"assume", 0, {"nothing", "local", "one-host", "network"}},
    {"journal", 0, {"default", "delete", "truncate", "persist", "wal-exclusive"}},
    {"walguard", 0, {"default", "auto", "on", "off"}},
    {"code", 0, {"fine", "suspect", "environment", "contention", "caller"}},
    {"verdict", 1, {"ok", "damaged", "not_checked", "stale"}},
    {"kind", 1, {"quick", "full", "fk", "fts"}},
    {"reason",
     0,
     {"none", "busy", "io", "memory", "budget", "interrupted", "schema", "cached", "lock-lost", "unproven",
      "unknown-finding", "not-sqlite", "read-only", "caller", "never"}},
    {"finding", 1, {"structure", "index", "constraint", "reference", "virtual", "unknown"}},
};

const char *holdfast_word(const char *kind, int value)
{
  if (!kind) return "?";
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    int last = (int)(sizeof kinds[i].words / sizeof kinds[i].words[0]) - 1;

    if (strcmp(kinds[i].kind, kind) != 0) continue;
    value -= kinds[i].first;
    /* The longest list leaves one place free, so that each ends with a NULL. */
    return value >= 0 && value < last && kinds[i].words[value] ? kinds[i].words[value] : "?";
  }
  return "?";
}

void hf_mount_public(const hf_mount_facts *facts, const hf_verdict *verdict, holdfast_mount *out)
{
  holdfast_mount m = {.struct_size = sizeof m};
  const char *comma = facts->mount_options[0] && facts->super_options[0] ? "," : "";

  m.rule = verdict->rule;
  m.mount_class = verdict->mount_class;
  m.shm = verdict->shm;
  m.locks = verdict->locks;
  m.durable = verdict->durable;
  m.scope = verdict->scope;
  m.confidence = verdict->confidence;
  memcpy(m.fstype, facts->fstype, sizeof m.fstype);
  memcpy(m.source, facts->source, sizeof m.source);
  memcpy(m.mount_point, facts->mount_point, sizeof m.mount_point);
  memcpy(m.reason, verdict->reason, sizeof m.reason);
  (void)snprintf(m.options, sizeof m.options, "%.255s%s%.767s", facts->mount_options, comma,
                 facts->super_options);
  *out = m;
}

/* Without symbolic links, because the directory that counts is the one in which the file really lies. The
 * file itself need not exist. From malloc(), NULL with errno. */
static char *real_name(const char *path)
{
  char *real = realpath(path, NULL), *parent, *whole;
  const char *slash;
  size_t size;

  if (real || errno != ENOENT) return real;
  slash = strrchr(path, '/');
  parent = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
  if (!parent) return NULL;
  real = realpath(parent, NULL);
  free(parent);
  if (!real) return NULL;
  size = strlen(real) + strlen(slash ? slash : path) + 2;
  whole = malloc(size);
  if (whole) (void)snprintf(whole, size, "%s/%s", strcmp(real, "/") ? real : "", slash ? slash + 1 : path);
  free(real);
  return whole;
}

int holdfast_mount_of(const char *path, holdfast_mount *out)
{
  hf_mount_facts facts;
  hf_verdict verdict;
  char *real;
  int error;

  if (!path || !path[0] || !out || out->struct_size < sizeof *out) return CODE_MISUSE;
  real = real_name(path);
  if (!real) return errno == ENOMEM ? CODE_NOMEM : CODE_CANTOPEN;
  error = hf_mount_verdict(real, HOLDFAST_ASSUME_NOTHING, &facts, &verdict);
  free(real);
  if (error) return error == ENOMEM ? CODE_NOMEM : CODE_CANTOPEN;
  hf_mount_public(&facts, &verdict, out);
  return CODE_OK;
}
