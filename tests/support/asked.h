/*
 * asked.h - the check engine in a peer that has holdfast linked in: steps for peer_call(), whose answer is
 * "verdict|reason|damage|text".
 */
#ifndef HFT_ASKED_H
#define HFT_ASKED_H

#include <stddef.h>

#include "holdfast.h"
#include "peer.h"

peer *asked_start(
    void (*before)(void)); /* a peer with the linked form registered; before (may be NULL) runs first */

/* Steps: a whole check of slot 0, in slices of 5 ms. */
int asked_quick(sqlite3 **db, char *out, size_t size);
int asked_full(sqlite3 **db, char *out, size_t size);
int asked_fk(sqlite3 **db, char *out, size_t size);
int asked_fts(sqlite3 **db, char *out, size_t size);

/* The same in the calling process, for steps of a test's own. */
int asked(sqlite3 *db, const holdfast_health_options *options, int slice_ms, char *out, size_t size);

/* One step and its answer. */
const char *asked_of(peer *p, peer_function *step);

#endif
