/*
 * mount.h - from a path to what it lies on, and from that to a verdict.
 *
 * Three steps, each with its own file: the facts of one path (mount_<os>.c, decides nothing), the
 * parser of mountinfo and the table of file system types (mount.c, fsnames.c: pure), and the verdict
 * (policy.c: pure, facts and settings in, verdict out). None of them knows SQLite.
 */
#ifndef HF_MOUNT_H
#define HF_MOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "holdfast.h"

/* Facts of one path. Texts are unescaped and cut to size; "" means not known. */
typedef struct hf_mount_facts {
  char fstype[64]; /* with subtype: "fuse.sshfs" */
  char source[512];
  char mount_options[256]; /* per mount: rw,relatime */
  char super_options[1024];
  char mount_point[1024];
  char root[512];    /* field 4 of mountinfo: not "/" for a bind mount */
  uint32_t magic;    /* statfs f_type as 32 bits, 0 when not asked */
  uint64_t mount_id; /* of the directory; unique id where the kernel has it */
  uint64_t device;   /* st_dev of the file, else of the directory */
  unsigned links;    /* st_nlink, 0 when the file does not exist */
  bool file_exists;
  bool split;   /* the file is on another mount than its directory (or one of its -wal, -shm, -journal is) */
  bool deleted; /* the mount's root was deleted, or the mount is no longer listed */
  bool unique_id; /* mount_id is never used again by this kernel */
  bool gvisor;    /* inside a gVisor sandbox, which names every mount 9p */
  char how[12];   /* statmount | mountinfo | statfs: where fstype came from */
} hf_mount_facts;

typedef struct hf_verdict {
  int rule, mount_class, shm, locks, durable, scope, confidence; /* HOLDFAST_..._ values */
  bool wal_but_read_only; /* only the read-only mount keeps it from being wal-ok */
  bool smb;               /* byte-range locks must be converted, see smb_linux.c */
  bool nfs;
  bool refuse_when_strict; /* locks known to be local-only, or fake, on a mount that others can reach */
  char reason[512];        /* one sentence: what (type, source, deciding option) and why */
  char notes[512];         /* every option that means something, "key=value: what it does", joined by "; " */
} hf_verdict;

/* mount.c: find mount `id` in the text of mountinfo. Returns 0, or -1 when it is not there or malformed. */
int hf_mountinfo_by_id(const char *text, uint64_t id, hf_mount_facts *out);
/* mount.c: the mount that covers an absolute, clean path: component borders, stacked and hidden mounts. */
int hf_mountinfo_by_path(const char *text, const char *path, hf_mount_facts *out);
/* mount.c: whole-token search in "a,b=c": true when key is there; value (may be NULL) gets what follows '='.
 */
bool hf_option(const char *options, const char *key, char *value, size_t size);

/* mount_<os>.c: facts of a path that the base VFS has opened (or of its directory). 0 or an errno value. */
int hf_mount_facts_of(const char *path, hf_mount_facts *out);

/* policy.c: pure. assume is HOLDFAST_ASSUME_...; never fails. */
void hf_verdict_of(const hf_mount_facts *facts, int assume, hf_verdict *out);

/* mount_<os>.c: facts and verdict of a path, one verdict cached per mount id and file oddity. `facts` may be
 * NULL. 0 or errno. */
int hf_mount_verdict(const char *path, int assume, hf_mount_facts *facts, hf_verdict *out);

/* words.c: the public form of both, options joined. Sets struct_size. */
void hf_mount_public(const hf_mount_facts *facts, const hf_verdict *verdict, holdfast_mount *out);

#endif
