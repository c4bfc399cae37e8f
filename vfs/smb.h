/*
 * smb.h - one transaction on SMB, whose server may forget us at any moment (smb.c), and what the Linux client
 * needs to be told of each open file (smb_<os>.c).
 */
#ifndef HF_SMB_H
#define HF_SMB_H

#include "vfs.h"

/* At xOpen, when the verdict is known: from here on the session is watched for this file. */
void hf_smb_begin(hf_node *node);
void hf_smb_methods(hf_node *node); /* after the table of methods was made */

/* A call of the base on the database failed: was it because the session is gone? */
bool hf_smb_lost(hf_node *node);

/* A file beside the database is not there, or was not when the database had the content that was seen last.
 */
void hf_smb_note_absent(hf_node *node, const char *name);
bool hf_smb_no_wal(const hf_node *node, const char *name);

/* The journal of this handle. Each is SQLITE_OK, or SQLITE_IOERR_LOCK when nothing may be written any more.
 */
int hf_smb_journal_write(hf_node *node, sqlite3_file *base, const void *data, int amount,
                         sqlite3_int64 offset);
int hf_smb_journal_send(hf_node *node); /* what is held of it goes to the server now */
int hf_smb_journal_closes(hf_node *node);
int hf_smb_journal_ends(hf_node *node); /* by a truncate or a header of zeros */
/* xDelete: SQLITE_NOTFOUND when it is not the journal of an open file on SMB. */
int hf_smb_delete(hf_vfs *owner, const char *name, bool sync);

/* smb_<os>.c. Each answers 0 or an errno value. */
int hf_smb_prove(int fd, bool writable); /* does the server still know this lock descriptor? */
int hf_smb_defuse(const char *journal, const unsigned char *nonce); /* empty it, if it still is that one */
int hf_smb_empty(const char *journal, bool sync);
void hf_smb_opened(int fd, const char *path); /* SQLite has opened it */
/* "No such file" at a create: may it be one that is just going? Waits a little, and says whether to try
 * again. */
bool hf_smb_may_come(const char *path, int tries);

enum { HF_SMB_NONCE_AT = 12, HF_SMB_NONCE = 8, HF_SMB_FLAG_SETS = 24 /* of lock descriptors */ };

#endif
