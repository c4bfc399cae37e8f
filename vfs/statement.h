/*
 * statement.h - which statement took a lock to write, remembered by the thread that ran it.
 */
#ifndef HF_STATEMENT_H
#define HF_STATEMENT_H

#include "vfs.h"

/*
 * Call inside a lock call of SQLite, when RESERVED, WAL_WRITE or a hot journal's EXCLUSIVE was granted:
 * copies the running statement's text and the thread's number into the node's slot.
 */
void hf_statement_note(hf_node *node);
/* Inside a lock call: the text of the statement that runs, if it writes (BEGIN IMMEDIATE does); else NULL. */
const char *hf_statement_that_writes(const hf_node *node);
/* From any thread: what was noted last. "" = nothing, or it is being changed just now. */
void hf_statement_read(const hf_node *node, char *sql, size_t size, int *thread);

#endif
