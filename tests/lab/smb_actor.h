/*
 * smb_actor.h - one of the two processes of smb_drops.c, and what it is told.
 */
#ifndef LAB_SMB_ACTOR_H
#define LAB_SMB_ACTOR_H

#include <sqlite3.h>
#include <stdbool.h>
#include <sys/types.h>

/* Where it stops. IN_SEAL and IN_PAGE are of calls that are on their way already: no program can take them
 * back. */
enum {
  AT_RESERVED,
  AT_CHANGED,
  AT_SEALED,
  AT_FIRST_PAGE,
  AT_LATER_PAGE,
  AT_LAST_PAGES,
  AT_READING,
  IN_SEAL,
  IN_PAGE,
  AT_IDLE,
  AT_ROLLBACK,
  POINTS
};

extern const char *actor_shim, *actor_client2; /* no shim: plain SQLite */
extern char actor_db[1024];

typedef struct actor {
  pid_t pid;
  int to, from;
} actor;

/* A works on client 2, and stops at `point` when it is told so. */
actor actor_start(const char *mode, bool is_a, int point);
/* 's' the transaction with a stop, 'g' go on, 'w' write without a stop, 'l' look at all rows */
void actor_tell(const actor *it, char what);
/* 'p' it waits, 'r' ready, 'e' done with *rc (-1: torn); 0: no answer. */
char actor_hear(const actor *it, int *rc);
void actor_finish(actor *it);

/* A callback of sqlite3_exec(): the lowest and the highest value of the rows. */
extern long actor_lowest, actor_highest;
int actor_row(void *unused, int columns, char **values, char **names);

void actor_nap(int ms);
void actor_fail(const char *what); /* ends the program */

#endif
