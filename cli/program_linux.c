/*
 * program_linux.c - finds a program and the library to preload, and reads a program's headers: what kind of
 * file is it, who loads it, and will the loader take a library that is preloaded?
 *
 * A guess that is wrong costs a sentence, not a program: what is not understood here counts as reachable.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "program.h"

enum { SCRIPTS = 5, LINE_BYTES = 256, HEADERS = 64 };

/* ---------------------------------------------------------------- finding files */

/* 0 = to be run, else EACCES or ENOENT. */
static int runnable(const char *path)
{
  struct stat st;

  if (stat(path, &st) != 0) return errno == EACCES ? EACCES : ENOENT;
  return S_ISREG(st.st_mode) && access(path, X_OK) == 0 ? 0 : EACCES;
}

int program_find(const char *name, char *path, size_t size)
{
  const char *list = getenv("PATH");
  int denied = 0;

  if (strchr(name, '/')) {
    int error = runnable(name);
    snprintf(path, size, "%s", name);
    return error == 0 ? 0 : error == EACCES ? 126 : 127;
  }
  for (const char *at = list ? list : "/bin:/usr/bin"; name[0] && at;
       at = strchr(at, ':') ? strchr(at, ':') + 1 : NULL) {
    int length = (int)strcspn(at, ":"), error;
    if ((size_t)snprintf(path, size, "%.*s%s%s", length, at, length ? "/" : "./", name) >= size) continue;
    error = runnable(path);
    if (error == 0) return 0;
    denied = denied || error == EACCES;
  }
  return denied ? 126 : 127;
}

static bool readable(char *path, size_t size, const char *folder, const char *rest)
{
  return (size_t)snprintf(path, size, "%s%s", folder, rest) < size && access(path, R_OK) == 0;
}

/* lib/x86_64-linux-gnu and the like, as distributions have it. */
static bool among_processors(char *path, size_t size, const char *folder)
{
  char pattern[4200];
  glob_t found = {0};
  bool ok;

  snprintf(pattern, sizeof pattern, "%s/../lib/*-linux-gnu*/holdfast/holdfast-preload.so", folder);
  ok = glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc > 0 &&
       readable(path, size, found.gl_pathv[0], "");
  globfree(&found);
  return ok;
}

bool program_preload(char *path, size_t size)
{
  char self[4096], *slash, found[4400];
  const char *named = getenv("HOLDFAST_LIB");
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  bool ok;

  if (named && *named) {
    ok = readable(found, sizeof found, named, "");
  } else {
    if (length < 0) length = 0;
    self[length] = 0;
    slash = strrchr(self, '/');
    if (slash) *slash = 0;
    ok = readable(found, sizeof found, self, "/holdfast-preload.so") ||
         readable(found, sizeof found, self, "/../lib/holdfast/holdfast-preload.so") ||
         readable(found, sizeof found, self, "/../lib64/holdfast/holdfast-preload.so") ||
         among_processors(found, sizeof found, self);
    if (!ok) snprintf(found, sizeof found, "%s/../lib/holdfast/holdfast-preload.so", self);
  }
  if (ok && !realpath(found, self)) ok = false;
  snprintf(path, size, "%s", ok ? self : named && *named ? named : found);
  return ok;
}

/* ---------------------------------------------------------------- will the loader take it? */

/* The kernel marks such programs, and the loader then passes over LD_PRELOAD. */
static bool runs_as_somebody_else(const char *path)
{
  struct statvfs fs;
  struct stat st;

  if (stat(path, &st) != 0 || (statvfs(path, &fs) == 0 && (fs.f_flag & ST_NOSUID))) return false;
  if ((st.st_mode & S_ISUID) && st.st_uid != getuid()) return true;
  if ((st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getgid()) return true;
  return getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0;
}

/* Of this processor's kind, with an interpreter (the loader) that is glibc's. */
static bool loader_takes_it(int fd, const ElfW(Ehdr) * head, char *why, size_t size)
{
  ElfW(Phdr) headers[HEADERS];
  ElfW(Ehdr) own = {0};
  int count = head->e_phnum < HEADERS ? head->e_phnum : HEADERS;
  char loader[LINE_BYTES] = "";
  int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

  if (self >= 0) {
    if (read(self, &own, sizeof own) != (ssize_t)sizeof own) own.e_machine = 0;
    close(self);
  }
  if (own.e_machine &&
      (head->e_ident[EI_CLASS] != own.e_ident[EI_CLASS] || head->e_machine != own.e_machine)) {
    snprintf(why, size, "it is made for another kind of processor (32 bits?) than holdfast");
    return false;
  }
  if (head->e_phentsize != sizeof *headers ||
      pread(fd, headers, (size_t)count * sizeof *headers, (off_t)head->e_phoff) <= 0)
    return true;
  for (int i = 0; i < count; i++)
    if (headers[i].p_type == PT_INTERP &&
        pread(fd, loader, sizeof loader - 1, (off_t)headers[i].p_offset) <= 0)
      loader[0] = 0;
  if (!loader[0]) {
    snprintf(why, size, "it is linked statically, so nothing can be loaded into it");
    return false;
  }
  if (strstr(loader, "ld-musl")) {
    snprintf(why, size, "it uses the C library musl, which is not supported; holdfast here is for glibc");
    return false;
  }
  return true;
}

/* "#!/usr/bin/perl -w": the program behind a script. */
static bool interpreter_of(const char *line, char *path, size_t size)
{
  const char *at = line + 2 + strspn(line + 2, " \t");
  int length = (int)strcspn(at, " \t\n");

  return length > 0 && (size_t)snprintf(path, size, "%.*s", length, at) < size;
}

static bool look_inside(const char *path, char *next, size_t next_size, char *why, size_t size)
{
  union {
    ElfW(Ehdr) elf;
    char text[LINE_BYTES + 1];
  } head = {.text = ""};
  bool ok = true;
  ssize_t got;
  int fd = open(path, O_RDONLY | O_CLOEXEC);

  next[0] = 0;
  if (fd < 0) return true;
  got = read(fd, head.text, LINE_BYTES);
  if (got >= (ssize_t)sizeof head.elf && memcmp(head.elf.e_ident, ELFMAG, SELFMAG) == 0)
    ok = loader_takes_it(fd, &head.elf, why, size);
  else if (got > 2 && memcmp(head.text, "#!", 2) == 0 && !interpreter_of(head.text, next, next_size))
    next[0] = 0;
  close(fd);
  return ok;
}

bool program_reachable(const char *path, char *why, size_t size)
{
  char now[4096], next[4096];

  snprintf(now, sizeof now, "%s", path);
  for (int depth = 0; depth < SCRIPTS; depth++) {
    char reason[128] = "it runs with the rights of another user or with capabilities, and the system loads "
                       "nothing into such programs";
    bool ok = !runs_as_somebody_else(now) && look_inside(now, next, sizeof next, reason, sizeof reason);
    if (!ok) {
      if (depth)
        snprintf(why, size, "%.200s, which runs it: %s", now, reason);
      else
        snprintf(why, size, "%s", reason);
      return false;
    }
    if (!next[0]) return true;
    snprintf(now, sizeof now, "%s", next);
  }
  return true;
}
