/*
 * files.h - files of a scenario: copy, compare, damage, and look at what lies beside a database.
 *
 * Never used on a database that this process has open through SQLite: open and close of such a file
 * would drop SQLite's locks.
 */
#ifndef HFT_FILES_H
#define HFT_FILES_H

#include <stdbool.h>
#include <stddef.h>

/* Whole contents, malloc'ed, with a zero byte behind; NULL when the file is not there. */
char *file_read(const char *path, size_t *size);
void file_write(const char *path, const void *bytes, size_t size);
void file_patch(const char *path, long offset, const void *bytes, size_t size);
bool file_exists(const char *path);
long file_size(const char *path);   /* -1 when it is not there */
void file_remove(const char *path); /* need not exist */

/* A database is its file and -wal, -shm, -journal. copy and remove act on all four. */
void db_copy(const char *from, const char *to);
void db_remove(const char *path);
bool db_beside(const char *path, const char *suffix);
/* Is there a -journal that the next opener would roll back? (Not one that is empty or starts with zeros.) */
bool db_hot(const char *path);
/* One number for the contents of all four, whether they exist, and their permissions. */
unsigned long long db_print(const char *path);
/* Bytes 18 and 19 of the header as "1,1" (rollback), "2,2" (WAL); "-" when there is no header. */
const char *db_header_mode(const char *path);

#endif
