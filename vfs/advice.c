/*
 * advice.c - what an administrator should change or know about a mount.
 *
 * Pure: facts in, sentences out. Never suggests to switch locks off (nolock, nobrl, local_lock): that makes
 * the message "database is locked" go away and the data with it.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <sqlite3.h>

#include "advice.h"
#include "mount.h"

/* Counts the lines and keeps the one that is wanted. */
typedef struct sheet {
  int wanted, next;
  char *text;
  size_t size;
} sheet;

static void say(sheet *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(sheet *s, const char *format, ...)
{
  va_list args;

  if (s->next++ != s->wanted) return;
  va_start(args, format);
  vsnprintf(s->text, s->size, format, args);
  va_end(args);
}

static bool has(const holdfast_mount *m, const char *key, const char *value)
{
  char got[32];

  if (!hf_option(m->options, key, got, sizeof got)) return false;
  return !value || !strncmp(got, value, strlen(value));
}

static bool type_is(const holdfast_mount *m, const char *const *names)
{
  for (; *names; names++) {
    if (!strcmp(m->fstype, *names)) return true;
  }
  return false;
}

static void about_nfs(sheet *s, const holdfast_mount *m, int recovers_locks)
{
  if (has(m, "nolock", NULL) || has(m, "local_lock", "all") || has(m, "local_lock", "posix"))
    say(s, "Mount without nolock and with local_lock=none: as it is, locks end at this machine and two "
           "machines can write at once.");
  if (!has(m, "lookupcache", "pos") && !has(m, "lookupcache", "none") && !has(m, "noac", NULL))
    say(s, "Mount with lookupcache=positive if programs without holdfast use these files: they may not see "
           "the journal of a writer that crashed on another machine.");
  if (has(m, "soft", NULL) || has(m, "softerr", NULL))
    say(s, "Mount with hard instead of soft: a write that was given up may still reach the file later.");
  if (recovers_locks)
    say(s, "Set the module option nfs.recover_lost_locks to 0: with it, this machine takes a lost lock again "
           "and goes on writing over what others wrote meanwhile.");
  if (has(m, "vers", "3"))
    say(s,
        "Prefer vers=4.2: with version 3 the locks of a machine that crashed stay until it is seen again.");
  say(s, "Keep PRAGMA synchronous at FULL or EXTRA: with OFF, a program that is killed can leave half a "
         "transaction.");
}

static void about_smb(sheet *s, const holdfast_mount *m)
{
  if (has(m, "nobrl", NULL))
    say(s, "Mount without nobrl: with it no lock reaches the server and two machines can write at once. "
           "holdfast makes SQLite work without it.");
  else
    say(s, "Load holdfast in every program that writes here: plain SQLite answers \"database is locked\" on "
           "SMB.");
  if (has(m, "cache", "loose") || has(m, "cache", "ro") || has(m, "cache", "singleclient"))
    say(s, "Mount with cache=strict: as it is, this machine goes on reading what another one has changed.");
  if (has(m, "nostrictsync", NULL)) say(s, "Mount without nostrictsync: fsync does not reach the server.");
  if (has(m, "soft", NULL))
    say(s, "Mount with hard instead of soft: a write that was given up may still reach the file later.");
  say(s, "If the server is Samba and nobody uses the files on it locally or over NFS, set \"posix locking = "
         "no\" for the share: the default leaves locks behind that make clients stall.");
  say(s, "Keep PRAGMA synchronous at FULL or EXTRA: with OFF, a program that is killed can lose commits.");
}

/* A local file system with the rule of a shared one: the file is mounted without its directory. No test
 * clears that. */
static bool mounted_alone(const holdfast_mount *m)
{
  return m->mount_class == HOLDFAST_CLASS_LOCAL && m->rule == HOLDFAST_RULE_ROLLBACK_ONE_HOST;
}

/* What the self-test proved and the table of file systems did not know. */
static void about_selftest(sheet *s, const holdfast_mount *m, const holdfast_selftest_report *r)
{
  bool guessed = !mounted_alone(m) &&
                 (m->confidence == HOLDFAST_CONFIDENCE_LOW || m->mount_class == HOLDFAST_CLASS_FUSE ||
                  m->mount_class == HOLDFAST_CLASS_UNKNOWN);
  bool clean = r->excludes == 1 && r->maps == 1 && r->failed == 0;

  if (r->excludes == 0)
    say(s, "Do not let two programs use a database here: locks do not keep them apart. Move it to another "
           "file system.");
  else if (m->rule == HOLDFAST_RULE_WAL_OK && r->maps == 0)
    say(s, "Shared memory does not work here, so WAL cannot: HOLDFAST_ASSUME=one-host or "
           "file:NAME?holdfast_assume=one-host keeps SQLite on a rollback journal.");
  else if (guessed && clean &&
           (m->rule == HOLDFAST_RULE_ROLLBACK_ONE_HOST || m->rule == HOLDFAST_RULE_WAL_OK))
    say(s,
        "The self-test passed. If these files are never opened from another machine, through another mount "
        "or by another name: HOLDFAST_ASSUME=local or file:NAME?holdfast_assume=local %s.",
        m->rule == HOLDFAST_RULE_WAL_OK ? "says so" : "allows WAL");
}

int hf_advice(const holdfast_mount *m, const holdfast_selftest_report *report, int recovers_locks, int index,
              char *text, size_t size)
{
  static const char *const nfs[] = {"nfs", "nfs4", NULL}, *const smb[] = {"cifs", "smb3", "smb2", "smbfs",
                                                                          NULL};
  sheet s = {.wanted = index, .text = text, .size = size};

  if (!m || m->struct_size < sizeof *m || index < 0 || !text || size == 0) return SQLITE_MISUSE;
  if (report && report->struct_size < sizeof *report) return SQLITE_MISUSE;
  if (type_is(m, nfs)) about_nfs(&s, m, recovers_locks);
  if (type_is(m, smb)) about_smb(&s, m);
  if (report) about_selftest(&s, m, report);
  if (m->durable == HOLDFAST_DURABLE_NO && m->mount_class == HOLDFAST_CLASS_MEMORY)
    say(&s, "These files are in memory: they are gone when the machine stops.");
  else if (m->durable == HOLDFAST_DURABLE_NO && !type_is(m, smb))
    say(&s, "fsync does nothing here: a power cut can take commits that were acknowledged, or damage the "
            "database.");
  if (mounted_alone(m))
    say(&s, "Mount the directory instead of the single file: whoever opens the file elsewhere does not see "
            "its journal.");
  else if (m->rule == HOLDFAST_RULE_ROLLBACK_ONE_HOST)
    say(&s, "Open these files from one machine only: no other machine sees the locks. HOLDFAST_STRICT=1 "
            "makes holdfast refuse where that is known.");
  if (m->rule == HOLDFAST_RULE_READ_ONLY)
    say(&s, "A database in WAL mode opens on a read-only mount only with file:NAME?immutable=1, which is "
            "right only when nobody writes to it: convert it before it is put there (holdfast convert).");
  return s.next > index ? SQLITE_OK : SQLITE_NOTFOUND;
}

int holdfast_advice(const holdfast_mount *mount, const holdfast_selftest_report *report, int index,
                    char *text, size_t size)
{
  return hf_advice(mount, report, hf_nfs_recovers_locks(), index, text, size);
}

static const holdfast_step *step_named(const holdfast_selftest_report *r, const char *start, int result)
{
  for (int i = 0; i < r->count; i++)
    if (r->steps[i].result == result && strncmp(r->steps[i].name, start, strlen(start)) == 0)
      return &r->steps[i];
  return NULL;
}

int holdfast_advice_hosts(const holdfast_mount *m, const holdfast_selftest_report *hosts, int index,
                          char *text, size_t size)
{
  static const char *const smb[] = {"cifs", "smb3", "smb2", "smbfs", NULL};
  sheet s = {.wanted = index, .text = text, .size = size};
  bool is_smb, locks_end, stale;

  if (!m || m->struct_size < sizeof *m || index < 0 || !text || size == 0) return SQLITE_MISUSE;
  if (!hosts || hosts->struct_size < sizeof *hosts) return SQLITE_MISUSE;
  is_smb = type_is(m, smb);
  locks_end = has(m, "nobrl", NULL) || has(m, "nolock", NULL) || has(m, "local_lock", "all") ||
              has(m, "local_lock", "posix") || has(m, "localflock", NULL);
  stale = has(m, "cache", "loose") || has(m, "cache", "singleclient");
  if (step_named(hosts, "lock-", HOLDFAST_STEP_FAILED)) {
    if (locks_end)
      say(&s, "Locks do not cross because this mount keeps them here (nobrl, nolock, local_lock=all, "
              "local_lock=posix or "
              "localflock): mount it without that option, on both hosts.");
    else
      say(&s,
          is_smb
              ? "Locks do not cross. This mount is not the cause: look for nobrl on the other host, and for "
                "\"locking = no\" or \"fake oplocks = yes\" on the server."
              : "Locks do not cross. This mount shows no cause: look for nolock or local_lock on the other "
                "host, "
                "and whether the server keeps locks at all.");
  }
  if (step_named(hosts, "data", HOLDFAST_STEP_FAILED) || step_named(hosts, "counter", HOLDFAST_STEP_FAILED)) {
    if (stale)
      say(&s, "What the other host writes is not seen because of the option cache: mount with cache=strict.");
    else if (!step_named(hosts, "lock-", HOLDFAST_STEP_FAILED))
      say(&s, is_smb ? "Data does not cross although locks do: look for cache=loose on the other host."
                     : "Data does not cross although locks do: look at the caching options of both hosts.");
  }
  if (step_named(hosts, "stall", HOLDFAST_STEP_EXPECTED) && is_smb)
    say(&s, "Locks were slow in coming: on Samba, set \"posix locking = no\" for the share, unless the files "
            "are used on "
            "the server itself or over NFS.");
  return s.next > index ? SQLITE_OK : SQLITE_NOTFOUND;
}
