/*
 * smb_handles.c - what the Linux SMB client does with the locks of two processes that share a handle.
 *
 *   smb_handles FILE CLIENT2     FILE on an SMB mount that both clients have; CLIENT2: a process of the
 * second one
 *
 * Two processes on one client that open a file with the same flags may be given one and the same handle of
 * the server. Both take a read lock, one gives its own up again; then the other client asks for a write lock,
 * which has to be refused as long as the first process holds its read lock. One line for each kind of lock;
 * exit code 0. Neither SQLite nor holdfast is in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AT = 0x40000000 };

static int set(int fd, int cmd, short type)
{
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = AT, .l_len = 1};
  return fcntl(fd, cmd, &lock) ? errno : 0;
}

/* A process that opens the file, takes a read lock, says how that went, and waits to be killed. */
static pid_t holder(const char *path, int cmd, int flags, int *error)
{
  int up[2], fd;
  pid_t pid;

  if (pipe(up)) exit(1);
  pid = fork();
  if (pid == 0) {
    fd = open(path, flags);
    *error = fd < 0 ? errno : set(fd, cmd, F_RDLCK);
    if (write(up[1], error, sizeof *error) != sizeof *error) _exit(1);
    (void)pause();
    _exit(0);
  }
  close(up[1]);
  if (pid < 0 || read(up[0], error, sizeof *error) != sizeof *error) exit(1);
  close(up[0]);
  return pid;
}

/* What the other client is told when it asks for a write lock: an errno value, 0 = granted. */
static int asked_elsewhere(const char *path, const char *client2)
{
  static const char *const kinds[] = {"net", "uts", "mnt"};
  int status;
  pid_t pid = fork();

  if (pid == 0) {
    char name[64];
    int fd;
    for (int i = 0; i < 3; i++) {
      snprintf(name, sizeof name, "/proc/%s/ns/%s", client2, kinds[i]);
      fd = open(name, O_RDONLY | O_CLOEXEC);
      if (fd < 0 || setns(fd, 0)) _exit(255);
      close(fd);
    }
    fd = open(path, O_RDWR);
    _exit(fd < 0 ? 255 : set(fd, F_SETLK, F_WRLCK));
  }
  if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == 255) exit(1);
  return WEXITSTATUS(status);
}

static const char *word(int error)
{
  return error == 0 ? "granted" : error == EAGAIN || error == EACCES ? "refused" : strerror(error);
}

static void try(const char *path, const char *client2, int cmd, const char *name, int own_flags)
{
  int error = 0, fd, before, after;
  pid_t other = holder(path, cmd, O_RDWR | O_NONBLOCK, &error);

  fd = open(path, own_flags);
  if (fd < 0 || error || set(fd, cmd, F_RDLCK)) exit(1);
  before = asked_elsewhere(path, client2);
  (void)set(fd, cmd, F_UNLCK); /* ours alone */
  after = asked_elsewhere(path, client2);
  printf("%s: a write lock is %s elsewhere while two hold read locks, and %s while one does%s\n", name,
         word(before), word(after), after == 0 ? ": ITS LOCK IS GONE" : "");
  kill(other, SIGKILL);
  waitpid(other, NULL, 0);
  close(fd);
}

int main(int argc, char **argv)
{
  int fd;

  if (argc != 3) return 64;
  fd = open(argv[1], O_RDWR | O_CREAT, 0644);
  if (fd < 0 || write(fd, "x", 1) != 1) return 1;
  close(fd);
  /* So that the second client has the file open, too: else the locks stay in the first one. */
  (void)asked_elsewhere(argv[1], argv[2]);
  try(argv[1], argv[2], F_OFD_SETLK, "OFD, same flags", O_RDWR | O_NONBLOCK);
  try(argv[1], argv[2], F_SETLK, "POSIX, same flags", O_RDWR | O_NONBLOCK);
  try(argv[1], argv[2], F_OFD_SETLK, "OFD, other flags", O_RDWR | O_NONBLOCK | O_APPEND);
  try(argv[1], argv[2], F_SETLK, "POSIX, other flags", O_RDWR | O_NONBLOCK | O_APPEND);
  return 0;
}
