/*
 * linked.c - the entry points of the linked form, in libholdfast only: the API table is filled with the
 * functions of the SQLite that this program is linked with.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "vfs.h"

#if SQLITE_VERSION_NUMBER < 3015000
#error "holdfast needs SQLite 3.15.0 or newer"
#endif

hf_api hf_api_linked(void)
{
#define HF_FILL(name) .name = sqlite3_##name,
  hf_api api = {HF_API_EACH(HF_FILL)};
#undef HF_FILL
  api.interrupt = sqlite3_interrupt;
#if SQLITE_VERSION_NUMBER >= 3031000
  if (sqlite3_libversion_number() >= 3031000) api.uri_key = sqlite3_uri_key;
#endif
  return api;
}

/* Under `holdfast exec` the preloaded copy would come first, and this program's calls would find a stranger's
 * VFS: it is told to leave this SQLite to us. */
static void claim(const hf_api *api)
{
  void (*leave)(const void *address);

  *(void **)&leave = dlsym(RTLD_DEFAULT, "holdfast_preload_leave");
  if (leave) leave(api->libversion()); /* the text lies in the library, a function may not */
}

static int register_linked(const holdfast_config *config, hf_vfs **out)
{
  hf_api api = hf_api_linked();
  char message[300] = "";
  int rc;

  claim(&api);
  rc = hf_register(&api, config, out, message, sizeof message);
  if (rc && message[0]) {
    sqlite3_log(SQLITE_WARNING, "%s", message);
    fprintf(stderr, "%s\n", message);
  }
  return rc;
}

int holdfast_init(const holdfast_config *config)
{
  hf_vfs *owner;
  return register_linked(config, &owner);
}

int holdfast_register(const char *unused)
{
  (void)unused;
  return holdfast_init(NULL);
}

hf_vfs *hf_vfs_linked(void)
{
  hf_api api = hf_api_linked();
  return hf_vfs_in(&api);
}

int holdfast_attach_sql(sqlite3 *db)
{
  hf_vfs *owner = hf_vfs_linked();
  return owner && db ? hf_connection_ready(owner, db) : SQLITE_MISUSE;
}

/* Where the links of `path` lead, from malloc(): the conversion itself follows none. NULL and `why` when that
 * is no file. */
static char *file_behind(const char *path, char *why, size_t size)
{
  char *real = realpath(path, NULL);
  struct stat st;

  if (!real || stat(real, &st) != 0) {
    snprintf(why, size, "%s", strerror(errno));
  } else if (!S_ISREG(st.st_mode)) {
    snprintf(why, size, "it is not a regular file");
  } else {
    return real;
  }
  free(real);
  return NULL;
}

int holdfast_convert(const char *path, int wait_ms, char *message, size_t size)
{
  char why[256] = "", *real;
  bool converted = false;
  hf_vfs *owner = hf_vfs_linked();
  int rc = SQLITE_CANTOPEN;

  if (!owner || !path || !*path || wait_ms < 0) return SQLITE_MISUSE;
  real = file_behind(path, why, sizeof why);
  if (real) rc = hf_convert_by_hand(owner, real, wait_ms, &converted, why, sizeof why);
  free(real);
  if (!message || !size) return rc;
  if (rc == SQLITE_BUSY)
    snprintf(message, size, "%s: somebody else has it open; nothing was changed", path);
  else if (rc)
    snprintf(message, size, "%s: not converted: %s", path, why);
  else if (converted)
    snprintf(message, size, "%s: converted, journal_mode is delete now", path);
  else
    snprintf(message, size, "%s: is not in WAL mode, nothing to do", path);
  return rc;
}
