/*
 * turns.h - how a writer waits for another one on NFS and SMB.
 */
#ifndef HF_TURNS_H
#define HF_TURNS_H

#include "vfs.h"

/* Before SHARED is taken: SQLITE_BUSY when the statement writes, had to wait a moment ago and still has to.
 */
int hf_turn_before(hf_node *node);
/* After a lock call: remembers that RESERVED was refused. Returns rc. */
int hf_turn_after(hf_node *node, int level, int rc);

#endif
