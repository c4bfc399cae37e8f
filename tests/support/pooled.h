/*
 * pooled.h - the crowd's work (crowd.h) through holdfast's pool, and what the pool has to say of it.
 *
 * The pool is linked, not loaded: these run in forked processes only, where nothing else has used SQLite.
 */
#ifndef HFT_POOLED_H
#define HFT_POOLED_H

#include <stdbool.h>

#include "crowd.h"
#include "holdfast.h"

/* The pool of SCENE_DB as `config` says; NULL: defaults, and the journal mode that it has. Ends the process
 * with 4 when it cannot be had. The shim writes no log; only the long form syncs. */
holdfast_pool *pooled_open(const holdfast_pool_config *config);

/* One transaction with one statement and no row; the pool's code. */
int pooled_sql(holdfast_pool *pool, const char *sql);
/* The number that the statement answers, read through the pool; -1 when it cannot be read. */
long pooled_number(holdfast_pool *pool, const char *sql);
/* integrity_check on a connection of the pool: SQLITE_OK, SQLITE_CORRUPT for any other answer than ok, or the
 * code with which it could not run. */
int pooled_check(holdfast_pool *pool);

/* The next row of this writer, noted in its log. The pool's code. */
int pooled_insert(holdfast_pool *pool, int who);

#endif
