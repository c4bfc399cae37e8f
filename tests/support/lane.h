/*
 * lane.h - the small moves of the pool's unit tests: run SQL through a pool, let another thread do something,
 * collect events.
 */
#ifndef HFT_LANE_H
#define HFT_LANE_H

#include <pthread.h>
#include <stdbool.h>

#include "holdfast.h"

/* A fresh pool; ends the program when it cannot be had. config NULL: two readers, no check at open. */
holdfast_pool *lane_pool(const char *path, const holdfast_pool_config *config);
/* One lease, one sqlite3_exec, one release. */
int lane_exec(holdfast_pool *pool, int mode, const char *sql);
/* The first column of the first row as a number; -1: it could not be read. */
long lane_number(holdfast_pool *pool, const char *sql);
/* As holdfast_fn: `arg` is SQL. */
int lane_sql(holdfast_lease *lease, void *arg);

/* Another thread takes a lease, and gives it back when told. */
typedef struct lane_other {
  pthread_t thread;
  holdfast_pool *pool;
  int mode, rc;
  holdfast_options options;
  char text[512]; /* of its failure */
  holdfast_lease *lease;
  bool running;
} lane_other;
/* Returns when the thread has its lease or waits in the queue. */
void lane_take(lane_other *other, holdfast_pool *pool, int mode, const holdfast_options *options);
int lane_result(lane_other *other); /* waits for the thread; what its acquire returned */
void lane_wait_for(holdfast_pool *pool, int mode, int waiting); /* until so many are in the queue */

/* Events of a pool, since lane_listen(). */
void lane_listen(holdfast_pool *pool);
int lane_events(int kind);
const char *lane_text(int kind);   /* of the last one */
bool lane_hears(int kind, int ms); /* within that time */
void lane_nap(int ms);

#endif
