/*
 * nfs.h - what a database on NFS needs beyond owned locks.
 *
 * A client that was cut off for longer than its lease loses its locks, and other clients write. When the
 * cable is back, the kernel refuses the I/O of the lock's owner, and of nobody else: so reads and writes must
 * go through the description that holds the locks (nfs_<os>.c routes them). What follows from it for one
 * transaction is in nfs.c.
 */
#ifndef HF_NFS_H
#define HF_NFS_H

#include "vfs.h"

/* nfs_<os>.c: reads, writes and truncates of this library's files on NFS pass our override from now on. */
bool hf_nfs_ready(hf_vfs *owner);
/* Send what is in the client's cache and look at how it went. 0 or an errno value. */
int hf_nfs_flush(int fd);
/* Does the server still know the locks of this description? Asks it. 0 or an errno value. */
int hf_nfs_alive(int fd);
/* The same question through a description that holds no lock: is it the file or the server that fails? */
int hf_nfs_reachable(int fd);
/* A write lock on the -wal's own description, far behind its end. 0 or an errno value. */
int hf_nfs_lock_wal(int fd);
/* An empty file with the rights of `database`, if there is none of that name. 0 or an errno value. */
int hf_nfs_make(const char *path, const char *database, bool *made);
int hf_nfs_empty(const char *path);

/* nfs.c */
/* In xOpen, before the file is used: on or off, and what is warned of. SQLITE_CANTOPEN: strict refuses. */
int hf_nfs_begin(hf_node *node);
void hf_nfs_methods(hf_node *node); /* in xOpen, when the methods have been chosen */
/* At EXCLUSIVE: SQLITE_OK, or SQLITE_IOERR_LOCK when the file is not what it was under SHARED. */
int hf_nfs_unchanged(hf_node *node);
/* After an I/O error: SQLITE_IOERR_LOCK (reported, latched) when the cause is a lost lock, else the error. */
int hf_nfs_judge(hf_node *node, int rc);
/* Under SHARED or more: does the server still know our locks? Asks it; a loss is reported and latched. */
bool hf_nfs_held(hf_node *node);
/* Before a journal is truncated or overwritten: SQLITE_OK, or SQLITE_IOERR_LOCK. */
int hf_nfs_journal_ends(hf_node *node);
/* xDelete of a journal: SQLITE_NOTFOUND when the base shall delete it. */
int hf_nfs_delete(hf_vfs *owner, const char *name);
/* Before a -journal or -wal is opened that may not be there yet: SQLITE_OK, or SQLITE_CANTOPEN. */
int hf_nfs_opens(hf_node *node, const char *name);
/* The -wal was opened as `fd`: SQLITE_OK, SQLITE_BUSY or SQLITE_IOERR_LOCK. */
int hf_nfs_wal_opened(hf_node *node, int fd);
/* A PRAGMA of this file was seen that has a danger of its own here: SQLITE_NOTFOUND, or an error with `why`.
 */
int hf_nfs_pragma(hf_node *node, const char *name, const char *value, const char **why);

#endif
