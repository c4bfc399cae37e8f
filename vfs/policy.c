/*
 * policy.c - from the facts of a path to a verdict.
 *
 * Pure: facts and an override in, verdict out, and nothing can fail. The type gives the first answer
 * (fsnames.c), then come its options (fsoptions.c), then what is odd about this one file or mount, then
 * the override. Of several causes the gravest decides the rule and is named in the reason; the others
 * stay in the notes. What is done about a rule is none of this file's business.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fsnames.h"
#include "mount.h"

/* What the reason is made of, kept until the verdict is final. */
typedef struct grounds {
  const hf_fs_type *type;
  const hf_fs_option *option; /* the one that decided, or NULL */
  char with[80];              /* its text as mounted: "local_lock=all" */
  const char *why;            /* a clause */
  bool proven;                /* locks are known, from an option, not to reach everybody */
} grounds;

static void add_note(hf_verdict *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_note(hf_verdict *v, const char *format, ...)
{
  size_t used = strlen(v->notes);
  va_list args;

  if (used > 0 && used + 3 < sizeof v->notes) {
    memcpy(v->notes + used, "; ", 3);
    used += 2;
  }
  va_start(args, format);
  (void)vsnprintf(v->notes + used, sizeof v->notes - used, format, args); /* a note may be cut */
  va_end(args);
}

static void start_from_type(const hf_mount_facts *f, hf_verdict *v, grounds *g)
{
  const hf_fs_type *t = NULL;

  if (f->fstype[0])
    t = hf_fs_by_name(f->fstype);
  else if (f->magic)
    t = hf_fs_by_magic(f->magic);
  g->type = t ? t : hf_fs_by_name("");
  g->why = g->type->why;
  if (!f->fstype[0] && !f->magic) g->why = "the system does not say what this is";

  v->rule = g->type->rule;
  v->mount_class = g->type->mount_class;
  v->shm = g->type->shm;
  v->locks = g->type->locks;
  v->durable = g->type->durable;
  v->scope = g->type->scope;
  v->confidence = g->type->confidence;
  /* A bare number can be a lie: 9p passes on what its server says, and all FUSE servers share one. */
  if (!f->fstype[0]) v->confidence = HOLDFAST_CONFIDENCE_LOW;
}

static bool matches(const hf_fs_option *o, const char *value)
{
  size_t n;

  if (o->value == NULL) return true;
  n = strlen(o->value);
  if (n > 0 && o->value[n - 1] == '*') return strncmp(value, o->value, n - 1) == 0;
  return strcmp(value, o->value) == 0;
}

static void apply_effect(const hf_fs_option *o, hf_verdict *v, grounds *g)
{
  switch (o->effect) {
  case HF_EFFECT_MAY_LOSE: v->durable = HOLDFAST_DURABLE_UNKNOWN; break;
  case HF_EFFECT_NOT_DURABLE: v->durable = HOLDFAST_DURABLE_NO; break;
  case HF_EFFECT_SERVER_LOCKS:
    v->locks = HOLDFAST_LOCKS_SERVER;
    v->rule = HOLDFAST_RULE_ROLLBACK_ONLY;
    v->confidence = HOLDFAST_CONFIDENCE_HIGH;
    break;
  case HF_EFFECT_NETWORK: v->mount_class = HOLDFAST_CLASS_NETWORK; break;
  case HF_EFFECT_ONE_HOST:
    v->rule = HOLDFAST_RULE_ROLLBACK_ONE_HOST;
    g->proven = true;
    break;
  case HF_EFFECT_LOCAL_LOCKS:
    v->locks = HOLDFAST_LOCKS_LOCAL_ONLY;
    v->rule = HOLDFAST_RULE_ROLLBACK_ONE_HOST;
    v->confidence = HOLDFAST_CONFIDENCE_HIGH;
    g->proven = true;
    break;
  case HF_EFFECT_FAKE_LOCKS:
    v->locks = HOLDFAST_LOCKS_FAKE;
    v->rule = HOLDFAST_RULE_REFUSE;
    break;
  case HF_EFFECT_NO_LOCKS:
    v->locks = HOLDFAST_LOCKS_NONE;
    v->rule = HOLDFAST_RULE_REFUSE;
    break;
  }
}

/* The options of the family, gravest last, whatever their order on the mount: effects overwrite each other.
 */
static void apply_options(const hf_mount_facts *f, hf_verdict *v, grounds *g)
{
  char value[64];
  const hf_fs_option *o;

  for (int effect = HF_EFFECT_NOTE; effect <= HF_EFFECT_NO_LOCKS; effect++) {
    for (size_t i = 0; (o = hf_fs_option_row(i)) != NULL; i++) {
      if (o->family != g->type->family || o->effect != effect) continue;
      if (!hf_option(f->super_options, o->key, value, sizeof value) || !matches(o, value)) continue;
      apply_effect(o, v, g);
      add_note(v, "%s%s%s: %s", o->key, value[0] ? "=" : "", value, o->why);
      if (effect < HF_EFFECT_SERVER_LOCKS) continue;
      g->option = o;
      (void)snprintf(g->with, sizeof g->with, "%s%s%s", o->key, value[0] ? "=" : "", value);
      if (effect != HF_EFFECT_NETWORK) g->why = o->why;
    }
  }
}

/* What a name alone does not tell. */
static void apply_places(const hf_mount_facts *f, hf_verdict *v, grounds *g)
{
  if (f->gvisor && (g->type->family == HF_FAMILY_9P || g->type->mount_class == HOLDFAST_CLASS_UNKNOWN)) {
    v->mount_class = HOLDFAST_CLASS_CONTAINER_SHARE;
    v->rule = HOLDFAST_RULE_WAL_OK;
    v->shm = HOLDFAST_SHM_UNKNOWN;
    v->locks = HOLDFAST_LOCKS_KERNEL;
    v->scope = HOLDFAST_SCOPE_ONE_KERNEL;
    v->confidence = HOLDFAST_CONFIDENCE_LOW;
    g->option = NULL;
    g->proven = false;
    g->why = "a gVisor sandbox, which calls every mount 9p: safe as long as one sandbox alone opens the file";
  }
  if (g->type->family == HF_FAMILY_VIRTIOFS && strncmp(f->source, "drvfs", 5) == 0)
    g->why = "a Windows drive in WSL: neither this kernel's locks nor its shared memory reach Windows";
  if (g->type->family == HF_FAMILY_OVERLAY)
    add_note(v, "what the layers lie on is not visible from here: not for a layer on a network mount");
  if (v->mount_class == HOLDFAST_CLASS_LOCAL && g->type->rule == HOLDFAST_RULE_WAL_OK &&
      hf_option(f->super_options, "sync", NULL, 0))
    add_note(v, "sync: every write waits for the disk");
}

/* The file itself: mounted without its directory, under several names, on a mount that is going away. */
static void apply_file(const hf_mount_facts *f, hf_verdict *v, grounds *g)
{
  if (f->deleted) {
    v->confidence = HOLDFAST_CONFIDENCE_LOW;
    add_note(v, "the mounted directory was deleted or is no longer mounted");
  }
  if (f->links > 1) {
    v->confidence = HOLDFAST_CONFIDENCE_LOW;
    add_note(v, "the file has %u names: an opener by another name uses another journal", f->links);
    if (v->rule == HOLDFAST_RULE_WAL_OK) {
      v->rule = HOLDFAST_RULE_ROLLBACK_ONE_HOST;
      v->shm = HOLDFAST_SHM_INCOHERENT;
      g->why = "a local file with several names (hard links): each name has a -wal and -journal of its own, "
               "so it is safe by one name only";
    }
  }
  if (!f->split || v->rule == HOLDFAST_RULE_REFUSE) return;
  v->rule = HOLDFAST_RULE_ROLLBACK_ONE_HOST;
  v->shm = HOLDFAST_SHM_INCOHERENT;
  v->confidence = HOLDFAST_CONFIDENCE_LOW;
  g->why =
      "the file and its directory are different mounts, so whoever opens it elsewhere has another -wal and "
      "-journal: mount the directory instead";
}

static void apply_read_only(const hf_mount_facts *f, hf_verdict *v, grounds *g)
{
  bool mount = hf_option(f->mount_options, "ro", NULL, 0);

  if (v->rule == HOLDFAST_RULE_REFUSE || (!mount && !hf_option(f->super_options, "ro", NULL, 0))) return;
  v->wal_but_read_only = v->rule == HOLDFAST_RULE_WAL_OK || g->type->rule == HOLDFAST_RULE_READ_ONLY;
  v->rule = HOLDFAST_RULE_READ_ONLY;
  if (v->mount_class == HOLDFAST_CLASS_READ_ONLY) return;
  add_note(v, "%s", g->why);
  g->why = mount ? "mounted read-only here, while others may write it: a hot journal cannot be rolled back"
                 : "the file system is read-only: a hot journal cannot be rolled back";
}

/* The user knows better: what the class and the rule are taken for. A read-only mount stays one; where locks
 * do not work between two processes of this machine either, no word of the user makes WAL of it; and options
 * that end locks here are a fact for "network". */
static void apply_assume(int assume, hf_verdict *v, const grounds *g)
{
  bool broken = v->locks == HOLDFAST_LOCKS_FAKE || v->locks == HOLDFAST_LOCKS_NONE;
  bool local = assume == HOLDFAST_ASSUME_LOCAL && !broken;
  int rule = v->rule;

  if (assume == HOLDFAST_ASSUME_NOTHING) return;
  if (assume == HOLDFAST_ASSUME_NETWORK) {
    if (v->rule == HOLDFAST_RULE_WAL_OK || (v->rule == HOLDFAST_RULE_ROLLBACK_ONE_HOST && !g->proven)) {
      rule = HOLDFAST_RULE_ROLLBACK_ONLY;
      v->locks = HOLDFAST_LOCKS_SERVER;
    }
    v->mount_class = HOLDFAST_CLASS_NETWORK;
    v->shm = HOLDFAST_SHM_INCOHERENT;
    v->scope = HOLDFAST_SCOPE_SEVERAL;
    v->wal_but_read_only = false;
  } else {
    rule = local ? HOLDFAST_RULE_WAL_OK : HOLDFAST_RULE_ROLLBACK_ONE_HOST;
    v->scope = HOLDFAST_SCOPE_ONE_KERNEL;
    if (!broken) v->locks = HOLDFAST_LOCKS_KERNEL;
    if (local) {
      v->mount_class = HOLDFAST_CLASS_LOCAL;
      v->shm = HOLDFAST_SHM_COHERENT;
    }
    v->wal_but_read_only = local;
  }
  if (v->rule != HOLDFAST_RULE_READ_ONLY) v->rule = rule;
  v->confidence = HOLDFAST_CONFIDENCE_HIGH;
}

/* One sentence: what, with which option, and why. Control bytes of a source must not reach a log line. */
static void write_reason(const hf_mount_facts *f, int assume, const grounds *g, hf_verdict *v)
{
  static const char *const assumed[] = {"", "local", "one-host", "network"};
  /* "tmpfs from tmpfs" and "overlay from none" say nothing. */
  bool source = f->source[0] && strcmp(f->source, "none") != 0 && strcmp(f->source, f->fstype) != 0;
  char what[80];

  if (f->fstype[0])
    (void)snprintf(what, sizeof what, "%.63s", f->fstype);
  else if (f->magic)
    (void)snprintf(what, sizeof what, "file system number 0x%08x%s%.40s", f->magic,
                   hf_fs_by_magic(f->magic) ? ", as of " : "", hf_fs_by_magic(f->magic) ? g->type->name : "");
  else
    (void)snprintf(what, sizeof what, "unknown file system");
  (void)snprintf(v->reason, sizeof v->reason, "%s%s%.100s%s%s: %s%s%s%s", what, source ? " from " : "",
                 source ? f->source : "", g->option ? " with " : "", g->option ? g->with : "", g->why,
                 assume ? " (taken for " : "", assume ? assumed[assume] : "", assume ? " as you said)" : "");
  for (char *p = v->reason; *p; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7F) *p = '?';
}

void hf_verdict_of(const hf_mount_facts *facts, int assume, hf_verdict *out)
{
  hf_verdict v = {0};
  grounds g = {0};

  if (assume < HOLDFAST_ASSUME_NOTHING || assume > HOLDFAST_ASSUME_NETWORK) assume = HOLDFAST_ASSUME_NOTHING;
  start_from_type(facts, &v, &g);
  apply_options(facts, &v, &g);
  apply_places(facts, &v, &g);
  apply_file(facts, &v, &g);
  apply_read_only(facts, &v, &g);
  /* How the client treats locks is a fact that no override changes. */
  v.nfs = g.type->family == HF_FAMILY_NFS;
  v.smb = g.type->family == HF_FAMILY_CIFS && v.locks == HOLDFAST_LOCKS_SERVER;
  apply_assume(assume, &v, &g);
  /* SMB too: a call that is on its way when the server drops the session is not cured there. */
  if (assume == HOLDFAST_ASSUME_NOTHING || (assume == HOLDFAST_ASSUME_NETWORK && (g.proven || v.smb)))
    v.refuse_when_strict = v.rule == HOLDFAST_RULE_ROLLBACK_ONE_HOST || v.smb;
  write_reason(facts, assume, &g, &v);
  *out = v;
}
