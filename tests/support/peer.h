/*
 * peer.h - a child process that runs SQLite, stepped over pipes.
 *
 * A peer is plain (SHIM_NO) or has loaded build/holdfast.so through a connection on ":memory:"
 * before anything else (SHIM_YES), as a real program does. Each call below is one step: it returns
 * when the peer has done it, so no test ever sleeps. A peer that does not answer within a minute is
 * killed and the program ends with an error. The main process itself never runs SQLite.
 */
#ifndef HFT_PEER_H
#define HFT_PEER_H

#include <sqlite3.h>
#include <stddef.h>
#include <sys/types.h>

enum { SHIM_NO = 0, SHIM_YES = 1 };
enum { PEER_SLOTS = 8, PEER_TEXT = 1 << 16 };

typedef struct peer peer;
/* Runs inside the peer. `db` are its connections by slot. The result goes back like a SQLite code. */
typedef int peer_function(sqlite3 **db, char *out, size_t size);

/* env: "NAME=value NAME=value", set in the peer before it loads the shim; NULL = nothing. before
 * (may be NULL) runs in the peer first: namespaces, limits. */
peer *peer_start(int shim, const char *env);
peer *peer_start_in(int shim, const char *env, void (*before)(void));

/* sqlite3_open_v2 into a slot; flags 0 = READWRITE|CREATE|URI. Returns the extended code. A failed open
 * leaves the slot empty. */
int peer_open(peer *p, int slot, const char *name, int flags);
/* Runs all statements. Rows come back in peer_text(): columns joined by '|', rows by '\n'; on error the
 * message. Returns the extended code. */
int peer_sql(peer *p, int slot, const char *sql);
int peer_call(peer *p, peer_function *function);
int peer_close(peer *p, int slot);
/* What the last step said. Valid until the next step of this peer. */
const char *peer_text(const peer *p);
/* One step and its text: rows, or "error CODE: message". */
const char *peer_ask(peer *p, int slot, const char *sql);

void peer_kill(peer *p); /* SIGKILL; frees p */
int peer_end(peer *p);   /* closes what is open, lets it exit; its exit code, 128 + signal; frees p */
pid_t peer_pid(const peer *p);

/*
 * Within the calling process: for programs that fork by themselves.
 */
/* Load the shim: SQLITE_OK or the code, with the message printed. */
int shim_load(void);
/* The path of build/holdfast.so: ends the program as skipped when it was not built. */
const char *shim_path(void);
/* Run sql, rows as above into out. Returns the extended code. */
int sql_text(sqlite3 *db, const char *sql, char *out, size_t size);

#endif
