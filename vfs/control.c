/*
 * control.c - xFileControl, and the one write that is looked at (with the locks that tell what kind of write
 * it is).
 *
 * Answers what the shim alone can answer (VFSNAME, our PRAGMAs, HOLDFAST_FCNTL_...) and hands all else to the
 * base. What the PRAGMAs say is in pragma.c.
 */
#include <stdio.h>
#include <string.h>

#include "guard.h"
#include "holders.h"

static int base_control(hf_node *node, int op, void *arg)
{
  return node->base->pMethods->xFileControl(node->base, op, arg);
}

/* "holdfast/unix"; a base that does not answer is named by its VFS. */
static int vfs_name(hf_node *node, char **out)
{
  const hf_api *api = &node->owner->api;
  char *below = NULL, *name;
  const char *text;
  size_t size;

  if (base_control(node, SQLITE_FCNTL_VFSNAME, &below) != SQLITE_OK) below = NULL;
  text = below ? below : node->owner->base->zName;
  size = sizeof HF_VFS_NAME "/" + strlen(text);
  name = api->malloc((int)size);
  if (name) snprintf(name, size, HF_VFS_NAME "/%s", text);
  api->free(below);
  if (!name) return SQLITE_NOMEM;
  *out = name;
  return SQLITE_OK;
}

static int mount_of(hf_node *node, holdfast_mount *out)
{
  const hf_verdict *verdict = &node->verdict;
  const hf_mount_facts *facts = &node->facts;

  if (!out || out->struct_size < sizeof *out) return SQLITE_MISUSE;
  hf_mount_public(facts, verdict, out);
  return SQLITE_OK;
}

static int holders_of(const hf_node *node, holdfast_holders *out)
{
  hf_holders all;
  int rc;

  if (!out || out->struct_size < sizeof *out) return SQLITE_MISUSE;
  rc = hf_holders_of(node->owner, node, &all);
  if (rc) return rc;
  rc = hf_holders_public(&all, out);
  hf_holders_free(&all);
  return rc;
}

static __attribute__((noinline)) int control(sqlite3_file *file, int op, void *arg)
{
  hf_node *node = hf_node_of(file);
  int rc;

  switch (op) {
  case SQLITE_FCNTL_PRAGMA:
    rc = hf_pragma(node, arg);
    return rc == SQLITE_NOTFOUND ? base_control(node, op, arg) : rc;
  case SQLITE_FCNTL_VFSNAME: return vfs_name(node, arg);
  case SQLITE_FCNTL_PDB: node->pdb = arg; return base_control(node, op, arg);
  case SQLITE_FCNTL_MMAP_SIZE:
    /* A mapped page of a file that others change through a server is not what the server has. */
    if (!node->wal_allowed && *(sqlite3_int64 *)arg > 0) *(sqlite3_int64 *)arg = 0;
    return base_control(node, op, arg);
  case SQLITE_FCNTL_HAS_MOVED:
    if (!hf_guard_just_seen(node)) return base_control(node, op, arg);
    *(int *)arg = 0;
    return SQLITE_OK;
  case HOLDFAST_FCNTL_MOUNT: return mount_of(node, arg);
  case HOLDFAST_FCNTL_HOLDERS: return holders_of(node, arg);
  default: return base_control(node, op, arg);
  }
}

/* SQLite sends several of these for each transaction, none of them ours. */
int hf_xFileControl(sqlite3_file *file, int op, void *arg)
{
  static const uint64_t looked_at = 1ull << SQLITE_FCNTL_PRAGMA | 1ull << SQLITE_FCNTL_VFSNAME |
                                    1ull << SQLITE_FCNTL_PDB | 1ull << SQLITE_FCNTL_MMAP_SIZE |
                                    1ull << SQLITE_FCNTL_HAS_MOVED;
  sqlite3_file *base = hf_base_of(file);

  if ((unsigned)op >= 64 || looked_at >> op & 1) return control(file, op, arg);
  return base->pMethods->xFileControl(base, op, arg);
}
