/*
 * trace.h - run a function in a child and, at its n-th system call, kill it or make that call fail.
 *
 * The child runs freely up to its trace_here(); from there on calls are counted. Kill at the entry: that call
 * is not executed. Kill at the exit: it is. A call that fails is not executed and returns the error.
 * Linux on x86-64 (ptrace); elsewhere trace_run() ends the program as skipped.
 */
#ifndef HFT_TRACE_H
#define HFT_TRACE_H

#include <stdbool.h>

enum { TRACE_COUNT, TRACE_KILL_ENTRY, TRACE_KILL_EXIT, TRACE_FAIL_ONCE, TRACE_FAIL_EVER };

typedef struct trace_plan {
  int act;                                              /* TRACE_... */
  long at;                                              /* 1 = the first counted call */
  int error;                                            /* errno of a failing call */
  bool (*counts)(long call, const unsigned long *args); /* NULL: every call is counted */
} trace_plan;

typedef struct trace_result {
  long counted; /* calls that were counted */
  bool acted;   /* the n-th call came */
  long call;    /* and this was its number */
  int status;   /* of waitpid */
  bool endless; /* killed after a million calls: a loop that does not give up */
} trace_result;

void trace_run(void (*child)(void *arg), void *arg, const trace_plan *plan, trace_result *result);
/* In the child: the mark from which on calls are counted. */
void trace_here(void);

/* For `counts`: calls that change a file or the directory; calls that have to do with files at all (close is
 * not among them: it never fails to close). */
bool trace_writes(long call, const unsigned long *args);
bool trace_files(long call, const unsigned long *args);
const char *trace_name(long call); /* of a call in these lists, else "another call" */

#endif
