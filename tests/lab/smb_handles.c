/*
 * smb_handles.c - what the Linux SMB client does with the locks of two processes that share a handle.
 *
 *   smb_handles FILE      one line for each kind of lock; exit code 0
 *
 * Two processes on one client that open a file with the same flags may get one and the same server handle.
 * POSIX locks are told apart by the process then. OFD locks are not: both processes hold the same lock, and
 * one's unlock drops the other's. A minimal program without SQLite and without holdfast.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { AT = 0x40000000, FREE_MS = 5000 };

static int set(int fd, int cmd, short type, off_t at)
{
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
  return fcntl(fd, cmd, &lock) ? errno : 0;
}

static const char *word(int error)
{
  return error == 0 ? "granted" : error == EAGAIN || error == EACCES ? "refused" : strerror(error);
}

/* A second process that opens the file with the same flags, takes `type`, says so and waits to be killed. */
static pid_t holder(const char *path, int cmd, short type, int flags)
{
  int up[2];
  char byte;
  pid_t pid;

  if (pipe(up)) exit(1);
  pid = fork();
  if (pid == 0) {
    int fd = open(path, flags);
    int error = fd < 0 ? errno : set(fd, cmd, type, AT);
    if (error) fprintf(stderr, "holder: %s\n", strerror(error));
    if (write(up[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  close(up[1]);
  if (read(up[0], &byte, 1) != 1) exit(1);
  close(up[0]);
  return pid;
}

static void try(const char *path, int cmd, const char *name, int my_flags, int other_flags)
{
  int fd = open(path, my_flags), read_error, write_error, waited = 0;
  pid_t other = holder(path, cmd, F_WRLCK, other_flags);

  read_error = set(fd, cmd, F_RDLCK, AT);
  write_error = set(fd, cmd, F_WRLCK, AT);
  printf("%s: while another process holds a write lock: read lock %s, write lock %s", name, word(read_error),
         word(write_error));
  (void)set(fd, cmd, F_UNLCK, AT);
  kill(other, SIGKILL);
  waitpid(other, NULL, 0);
  while (set(fd, cmd, F_WRLCK, AT) && waited < FREE_MS) {
    struct timespec t = {0, 50000000};
    nanosleep(&t, NULL);
    waited += 50;
  }
  printf("; after kill -9: %s after %d ms\n", waited < FREE_MS ? "free" : "STILL HELD", waited);
  close(fd);
}

int main(int argc, char **argv)
{
  int fd;

  if (argc != 2) return 64;
  fd = open(argv[1], O_RDWR | O_CREAT, 0644);
  if (fd < 0 || write(fd, "x", 1) != 1) return 1;
  close(fd);
  try(argv[1], F_OFD_SETLK, "OFD, same flags", O_RDWR | O_NONBLOCK, O_RDWR | O_NONBLOCK);
  try(argv[1], F_SETLK, "POSIX, same flags", O_RDWR | O_NONBLOCK, O_RDWR | O_NONBLOCK);
  try(argv[1], F_OFD_SETLK, "OFD, other flags", O_RDWR | O_NONBLOCK, O_RDWR);
  try(argv[1], F_SETLK, "POSIX, other flags", O_RDWR | O_NONBLOCK, O_RDWR);
  return 0;
}
