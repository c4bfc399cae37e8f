/*
 * agent.h - what the files of an agent share: its one connection, and the values of its next answer.
 */
#ifndef LAB_AGENT_H
#define LAB_AGENT_H

#include <sqlite3.h>

enum { AGENT_LINE_BYTES = 8192 };

extern sqlite3 *agent_db;
extern char agent_values[AGENT_LINE_BYTES];
extern char agent_first[AGENT_LINE_BYTES]; /* the command `first` */
int agent_sql(const char *text);           /* all rows go to agent_values */

/* work.c: the commands of these names; each returns a result code */
int work_commits(long n, const char *who);
int work_reads(long n);
int work_threads(int n, long commits, const char *path);
int work_storm(const char *who, const char *log);
int work_found(const char *log);

#endif
