/*
 * hooks_linux.c - the three functions of libc that this library stands in front of. Each calls libc's own
 * and gives back what that gives; what is looked at besides is in reach.c.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "preload.h"

#define EXPORTED __attribute__((visibility("default")))

static char *(*libc_getenv)(const char *name);
static int (*libc_settype)(pthread_mutexattr_t *attributes, int kind);
static void *(*libc_dlopen)(const char *file, int mode);

/* Looked up before any thread runs; a constructor that comes before this one has its fallback below. */
__attribute__((constructor)) static void look_up(void)
{
  *(void **)&libc_settype = dlsym(RTLD_NEXT, "pthread_mutexattr_settype");
  *(void **)&libc_dlopen = dlsym(RTLD_NEXT, "dlopen");
  *(void **)&libc_getenv = dlsym(RTLD_NEXT, "getenv");
}

EXPORTED char *getenv(const char *name)
{
  if (strcmp(name, "SQLITE_TMPDIR") == 0) pl_reach_ready(__builtin_return_address(0));
  return libc_getenv ? libc_getenv(name) : (char *)pl_environment(name);
}

EXPORTED int pthread_mutexattr_settype(pthread_mutexattr_t *attributes, int kind)
{
  if (kind == PTHREAD_MUTEX_RECURSIVE) pl_reach_starting(__builtin_return_address(0));
  if (!libc_settype) look_up();
  return libc_settype(attributes, kind);
}

/* Does the file speak of SQLite? What cannot be read does not. */
static bool speaks_of_sqlite(const char *file)
{
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  struct stat st;
  void *text;
  bool found = false;

  if (fd < 0) return false;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
    text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text != MAP_FAILED) {
      found = memmem(text, (size_t)st.st_size, "sqlite3_", 8) != NULL;
      munmap(text, (size_t)st.st_size);
    }
  }
  close(fd);
  return found;
}

/*
 * RTLD_DEEPBIND (PHP loads its modules so) makes a library and all that it needs pass over the functions
 * above. It is dropped for libraries that use SQLite, and for no other. The last call must be a jump: libc
 * searches the paths of the library that its return address lies in.
 */
#if defined(__clang__)
#define JUMP __attribute__((musttail)) return
EXPORTED void *dlopen(const char *file, int mode)
#else
#define JUMP return
EXPORTED __attribute__((optimize("O2"))) void *dlopen(const char *file, int mode)
#endif
{
  if (!libc_dlopen) look_up();
  if ((mode & RTLD_DEEPBIND) && file && strchr(file, '/') && speaks_of_sqlite(file)) mode &= ~RTLD_DEEPBIND;
  JUMP libc_dlopen(file, mode);
}
