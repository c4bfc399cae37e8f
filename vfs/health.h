/*
 * health.h - what the files of the check engine share.
 *
 * A run checks one database of one connection in pieces: the header, one table after the other, and for
 * "full" one pass over the whole file. health.c decides what comes next and what the verdict is;
 * health_piece.c runs one piece; health_words.c says what SQLite's words mean; health_header.c reads the
 * header; health_disk.c sees to it that pages come from the disk; health_timer.c ends a piece in time;
 * health_print.c tells whether a file has changed; health_memory.c keeps the last verdicts and incidents of a
 * library; health_sql.c shows all this as a table, health_linked.c as C functions, and health_evidence.c
 * copies a damaged file.
 *
 * A run belongs to the thread that uses its connection. Only hf_timer is touched by others.
 */
#ifndef HF_HEALTH_H
#define HF_HEALTH_H

#include <pthread.h>

#include "text.h"
#include "vfs.h"

/* ---------------------------------------------------------------- words (pure) */

bool hf_classify_knows(int code);    /* has the table of classify.c a line for it? */
int hf_finding_of(const char *line); /* HOLDFAST_FINDING_... of one line of an integrity check */
int hf_line_code(const char *line);  /* SQLite's code that such a line tells of, 0 = none */
int hf_why_of(int code,
              const char *text);      /* HOLDFAST_WHY_... of a failed statement; _NONE = it is a finding */
int hf_health_kind(const char *word); /* -1 = no such kind */
bool hf_is_damage(int kind, int what, const char *line);

/* ---------------------------------------------------------------- has the file changed? */

/* What a file looked like. Two that are equal and `sure` mean: not written in between, by whomever. */
typedef struct hf_print {
  uint64_t device, inode, size, wal_size;
  int64_t mtime_ns, ctime_ns, wal_mtime_ns, wal_ctime_ns;
  uint32_t counter;   /* change counter of the header */
  uint32_t index[12]; /* header of the wal-index: mxFrame, salts, checksums */
  bool has_wal, has_index;
  bool known;
  bool sure; /* the times are older than the clock's tick was, so a later write shows */
} hf_print;

void hf_print_take(hf_node *node, hf_print *out);
/* By name only, for other threads: neither counter nor wal-index. */
void hf_print_look(const char *path, hf_print *out);
bool hf_print_same(const hf_print *a, const hf_print *b);
bool hf_print_same_files(const hf_print *a, const hf_print *b); /* what hf_print_look() can see */

/* ---------------------------------------------------------------- memory of a library */

typedef struct hf_incident {
  bool open;
  unsigned number; /* of this library, counted from 1 */
  int64_t since_ms;
  char first[256];
} hf_incident;

enum { HF_HEALTH_KINDS = 4, HF_HEALTH_FILES = 64 };

/* The last report of one kind. *print is not known when the file changed during the check. */
void hf_memory_put(hf_vfs *owner, const holdfast_health_report *report, const hf_print *print);
/* The last report of this kind, or a later ok of one that includes it. False: never checked. */
bool hf_memory_get(hf_vfs *owner, uint64_t device, uint64_t inode, int kind, holdfast_health_report *report,
                   hf_print *print);
/* Damage was confirmed. True: it opens an incident (no event was sent for this file since its last full ok).
 */
bool hf_memory_damage(hf_vfs *owner, uint64_t device, uint64_t inode, const char *first, int64_t now_ms,
                      unsigned *number);
/* A full check found nothing. True: that closes an incident. */
bool hf_memory_whole(hf_vfs *owner, uint64_t device, uint64_t inode, int64_t now_ms);
/* When the last full ok was seen by this library, 0 = never. */
int64_t hf_memory_whole_since(hf_vfs *owner, uint64_t device, uint64_t inode);

/* ---------------------------------------------------------------- timer */

/* Interrupts a connection at a deadline or when it is asked to, and only while it is armed. */
typedef struct hf_timer {
  const hf_api *api;
  sqlite3 *db;
  pthread_t thread;
  pthread_mutex_t mutex; /* guards all below; sqlite3_interrupt() is called with it held and takes none */
  pthread_cond_t changed;
  bool running; /* constant once the run is shared */
  bool stepping, armed, asked, fired, ending;
  int64_t deadline_ns; /* CLOCK_MONOTONIC; 0 = none */
} hf_timer;

int hf_timer_start(hf_timer *timer, const hf_api *api, sqlite3 *db);
void hf_timer_arm(hf_timer *timer, int64_t deadline_ns);
bool hf_timer_disarm(hf_timer *timer); /* true: it has fired. After the return it cannot fire any more */
void hf_timer_step(hf_timer *timer, bool begins); /* a step begins or ends */
void hf_timer_ask(hf_timer *timer);               /* any thread: end the step that is running */
bool hf_timer_asked(hf_timer *timer);
void hf_timer_stop(hf_timer *timer); /* harmless when it was not started */
int64_t hf_now_ms(void);             /* since 1970 */

/* ---------------------------------------------------------------- runs */

typedef struct hf_finding {
  int what;
  char object[128], text[256];
} hf_finding;

enum { HF_FINDINGS = 100, HF_PIECES = 100000 };
enum { HF_PIECE_HEADER, HF_PIECE_LIST, HF_PIECE_TABLE, HF_PIECE_WHOLE, HF_PIECE_FK, HF_PIECE_FTS };

typedef struct hf_piece {
  int what;
  bool external; /* FTS3/4 over a table that the program keeps in step by itself */
  int limit_ms;  /* its time, when the slice's was not enough */
  char *name;
} hf_piece;

/* What came out of one piece. */
typedef struct hf_outcome {
  int why;   /* HOLDFAST_WHY_...; NONE = it ran to its end */
  int code;  /* SQLite's, 0 = none */
  bool cut;  /* by our own timer: begin again */
  bool gone; /* there is no such table any more */
  int count, damage, unknown;
  int line_why, line_code; /* a line tells of a page that could not be read: nothing counts then */
  int maps;                /* damage that may be a pointer map page that could not be read, too */
  hf_finding *findings;    /* HF_FINDINGS places, the run's */
  char text[256], unread[256];
} hf_outcome;

struct holdfast_health_run {
  const hf_api *api;
  hf_vfs *owner; /* NULL: the file is not under the shim */
  sqlite3 *db;
  char schema[128];
  holdfast_health_options set;
  holdfast_health_report report;
  hf_timer timer;
  bool inside;       /* called by a SQL statement of this connection: no BEGIN, no interrupt */
  bool fresh_given;  /* inside: the cache was emptied before that statement began */
  bool was_database; /* this connection has read it as a database before */
  bool began;        /* our own transaction is open */
  bool over;
  bool wants_fresh; /* inside: damage was seen, and a new snapshot is needed to confirm it */
  int seen;         /* how often the present piece found damage */
  char first[256];  /* ... and what it was */
  int unknown;      /* findings that nobody here knows */
  int64_t cookie;   /* schema version when the tables were listed */
  int relisted;
  hf_piece *pieces;
  int count, at;
  hf_finding *findings, *again; /* shown; of the piece that is running */
  int shown;
  hf_print before;
  hf_api own_api; /* where there is no hf_vfs */
};

/* health.c */
int hf_health_begin(const hf_api *api, sqlite3 *db, const char *schema,
                    const holdfast_health_options *options, bool inside, holdfast_health_run **out);
int hf_health_step(holdfast_health_run *run, int slice_ms);
void hf_health_end(holdfast_health_run *run);
hf_node *hf_health_node(const holdfast_health_run *run); /* looked up each time; NULL = not under the shim */
sqlite3_file *hf_file_of(const hf_api *api, sqlite3 *db, const char *schema);

/* health_pragma.c: the answer, or on SQLITE_ERROR a sentence, in *out */
int hf_health_pragma(const hf_api *api, sqlite3 *db, const char *schema, const char *kind, hf_text *out);

/* health_evidence.c */
int hf_health_evidence(const hf_api *api, sqlite3 *db, const char *schema, int copies_max, int64_t bytes_max,
                       int *made, char *name, size_t size);

/* health_list.c */
int hf_list_start(holdfast_health_run *run);  /* the first pieces; SQLITE_OK or SQLITE_NOMEM */
int hf_list_tables(holdfast_health_run *run); /* a piece for each table not yet listed; SQLite's code */
void hf_list_free(holdfast_health_run *run);

/* health_piece.c */
void hf_piece_run(holdfast_health_run *run, hf_piece *piece, int64_t deadline_ns, hf_outcome *out);
int hf_sql_number(const hf_api *api, sqlite3 *db, const char *sql, int64_t *out);
void hf_outcome_add(hf_outcome *out, int kind, int what, const char *object, const char *text);

/* health_header.c: inside a read transaction. */
void hf_header_check(holdfast_health_run *run, hf_outcome *out);
bool hf_file_readable(holdfast_health_run *run); /* every byte of it */
bool hf_header_overwritten(holdfast_health_run *run, char *text, size_t size);

/* health_disk.c */
enum { HF_LOCKS_INTACT, HF_LOCKS_LOST, HF_LOCKS_UNKNOWN };
int hf_disk_begin(holdfast_health_run *run, bool *cached); /* BEGIN, with page 1 read from the disk */
void hf_disk_end(holdfast_health_run *run);
bool hf_disk_empty(const holdfast_health_run *run);
int64_t hf_disk_misses(const hf_api *api, sqlite3 *db);
bool hf_disk_idle(const hf_api *api, sqlite3 *db,
                  int statements); /* no transaction, no other busy statement */
int hf_locks_state(hf_node *node);

#endif
