/*
 * Freezes one thread of a process as a stuck system call or an endless loop would: stop_thread TID. Says "stopped" when it
 * is, and ends when the thread does or when standard input ends, which lets the thread go on. Needs root. For
 * frozen-thread.test.ts; a signal would stop the whole process.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>

static int failed(const char *step) {
  perror(step);
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  pid_t tid = (pid_t)atoi(argv[1]);
  int status = 0;
  if (ptrace(PTRACE_SEIZE, tid, 0, 0) != 0) return failed("PTRACE_SEIZE");
  if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) != 0) return failed("PTRACE_INTERRUPT");
  if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status)) return failed("waitpid");
  puts("stopped");
  fflush(stdout);
  /* A traced thread that ends must be waited for, or its process stays a zombie. */
  struct pollfd input = { .fd = 0, .events = POLLIN };
  while (poll(&input, 1, 20) == 0) {
    pid_t changed = waitpid(tid, &status, __WALL | WNOHANG);
    if (changed < 0 || (changed == tid && (WIFEXITED(status) || WIFSIGNALED(status)))) return 0;
  }
  return 0;
}
