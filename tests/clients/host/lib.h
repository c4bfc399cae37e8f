/*
 * lib.h - one SQLite library among several in this process, and what the checks say about it.
 *
 * A library is opened with dlopen(), and only its own functions are called, through `call`. The program
 * itself is not linked with SQLite; sqlite3.h is used for types and constants.
 */
#ifndef HOST_LIB_H
#define HOST_LIB_H

#include <sqlite3.h>
#include <stdbool.h>

enum { LIBS_MAX = 8, TEXT_MAX = 4096 };

#define LIB_FUNCTIONS(X)                                                                                     \
  X(open_v2)                                                                                                 \
  X(close)                                                                                                   \
  X(exec)                                                                                                    \
  X(errmsg)                                                                                                  \
  X(busy_timeout)                                                                                            \
  X(enable_load_extension)                                                                                   \
  X(load_extension)                                                                                          \
  X(auto_extension)                                                                                          \
  X(file_control)                                                                                            \
  X(free)                                                                                                    \
  X(initialize)                                                                                              \
  X(shutdown)                                                                                                \
  X(libversion)                                                                                              \
  X(vfs_find)                                                                                                \
  X(vfs_register)

#define LIB_MEMBER(name) __typeof__(&sqlite3_##name) name;
typedef struct lib {
  const char *file;
  void *handle;
  const char *version; /* of the library; the text is the library's own */
  struct {
    LIB_FUNCTIONS(LIB_MEMBER)
  } call;
} lib;
#undef LIB_MEMBER

/* Opens the library. A failure ends the program: nothing can be checked without it. */
void lib_open(lib *one, const char *file);
void lib_close(lib *one);

/* Loads the extension through a connection on ":memory:", as every program does it. Returns SQLite's code. */
int lib_load(lib *one, const char *extension);

/* Opens a database; vfs may be NULL. The result is never NULL: a failed open is counted and ends the program.
 */
sqlite3 *db_open(lib *one, const char *path, const char *vfs);
void db_close(lib *one, sqlite3 *db);

/* Runs SQL; the first column of the last row goes to text ("" when there is no row). Returns SQLite's code.
 */
int db_ask(lib *one, sqlite3 *db, const char *sql, char text[TEXT_MAX]);

/* What SQLITE_FCNTL_VFSNAME answers for "main". */
void db_vfs_name(lib *one, sqlite3 *db, char text[TEXT_MAX]);

/* Is there a mapping of this process whose line ends in `name`? */
bool is_mapped(const char *name);

/* Counts one check and prints it when it fails. Thread safe. Returns ok. */
bool check(const lib *one, bool ok, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool check_text(const lib *one, const char *what, const char *got, const char *wanted);
/* Prints the counts; the exit status of the program: 0 only when checks were made and none failed. */
int check_summary(void);

#endif
