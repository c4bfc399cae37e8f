/*
 * syscalls.h - what stands behind the unix VFS's system calls on an SMB mount (smb_<os>.c).
 *
 * syscalls.c is the only place where the table of system calls of a SQLite library is changed. It decides for
 * each call whether the file lies on SMB; what is done there is decided here.
 */
#ifndef HF_SYSCALLS_H
#define HF_SYSCALLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct flock;

/* Record locks of one SQLite library on SMB files: `slot` is the library's number (slots.h). */
bool hf_smb_known(int slot);                       /* false: nothing of it is in use, pass everything on */
bool hf_smb_device(uint64_t device);               /* is this st_dev one that was found to be SMB */
bool hf_smb_add_device(int slot, uint64_t device); /* false: no room */
int hf_smb_lock(int slot, int fd, const struct stat *st, int cmd, struct flock *lock, bool *handled);
int hf_smb_fresh_stat(int fd, struct stat *st); /* as fstat(), with the size that the server has */
void hf_smb_closing(int slot, int fd);          /* before close(fd) */

#endif
