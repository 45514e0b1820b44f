/*
 * The two ends of the gateway for gateway-threads.ts, as cheap as they can be so that the gateway is what saturates:
 *
 *   gateway_load app  SOCKET ANSWER                     answers each request (one read with an empty line at its end)
 *   gateway_load shim SOCKET FIRST AGAIN CONNS SECONDS  one exchange after the other on each of CONNS connections
 *
 * FIRST, AGAIN and ANSWER are files with the bytes to send; ######## in ANSWER becomes a number that grows with each
 * answer. The shim prints: exchanges, response bytes, CPU microseconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_HEADER = 8, FRAME_END = 0x85, MOST = 256, ROOM = 1 << 18 };

typedef struct { char *bytes; size_t length; } blob;
typedef struct { int fd; size_t unsent; size_t head; unsigned char header[FRAME_HEADER]; uint32_t skip; } link_t;

static char room[ROOM];

static void die(const char *what) { perror(what); exit(1); }

static blob load(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) die(path);
  blob blob = { malloc(1 << 22), 0 };
  blob.length = fread(blob.bytes, 1, 1 << 22, file);
  fclose(file);
  return blob;
}

static struct sockaddr_un address(const char *path) {
  struct sockaddr_un name = { .sun_family = AF_UNIX };
  snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
  return name;
}

static void watch(int poll, int fd, void *data, uint32_t events, int how) {
  struct epoll_event event = { .events = events, .data.ptr = data };
  if (epoll_ctl(poll, how, fd, &event) != 0) die("epoll_ctl");
}

/* Sends what is left of the answer; a socket that is full is watched until it is not. */
static void push(int poll, link_t *link, const blob *answer) {
  while (link->unsent > 0) {
    ssize_t sent = send(link->fd, answer->bytes + answer->length - link->unsent, link->unsent, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN) watch(poll, link->fd, link, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
      return;
    }
    link->unsent -= (size_t)sent;
  }
}

static _Noreturn void app(const char *path, const char *file) {
  blob answer = load(file);
  char *number = memmem(answer.bytes, answer.length, "########", 8);
  unsigned answers = 0;
  struct sockaddr_un name = address(path);
  int door = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
  if (bind(door, (struct sockaddr *)&name, sizeof name) != 0 || listen(door, 511) != 0) die("listen");
  watch(poll, door, NULL, EPOLLIN, EPOLL_CTL_ADD);
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[64];
    int count = epoll_wait(poll, events, 64, -1);
    for (int i = 0; i < count; i++) {
      link_t *link = events[i].data.ptr;
      if (link == NULL) {
        int fd = accept4(door, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) continue;
        link = calloc(1, sizeof *link);
        link->fd = fd;
        watch(poll, fd, link, EPOLLIN, EPOLL_CTL_ADD);
        continue;
      }
      if (events[i].events & EPOLLOUT) {
        push(poll, link, &answer);
        if (link->unsent == 0) watch(poll, link->fd, link, EPOLLIN, EPOLL_CTL_MOD);
      }
      if (!(events[i].events & (EPOLLIN | EPOLLHUP))) continue;
      ssize_t got = recv(link->fd, room, sizeof room, 0);
      if (got < 0 && errno == EAGAIN) continue;
      if (got <= 0) {
        close(link->fd);
        free(link);
      } else if (got >= 4 && memcmp(room + got - 4, "\r\n\r\n", 4) == 0) {
        char digits[9];
        snprintf(digits, sizeof digits, "%08u", answers++ % 100000000u);
        if (number) memcpy(number, digits, 8);
        link->unsent = answer.length;
        push(poll, link, &answer);
      }
    }
  }
}

/* @returns how many exchanges ended in these bytes */
static int ends(link_t *link, const unsigned char *at, size_t left) {
  int ended = 0;
  while (left > 0) {
    size_t take;
    if (link->skip > 0) {
      take = link->skip < left ? link->skip : left;
      link->skip -= (uint32_t)take;
    } else {
      take = FRAME_HEADER - link->head < left ? FRAME_HEADER - link->head : left;
      memcpy(link->header + link->head, at, take);
      link->head += take;
      if (link->head == FRAME_HEADER) {
        const unsigned char *h = link->header;
        link->skip = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
        link->head = 0;
        if (h[0] == FRAME_END) ended++;
        else if (h[0] >= 0x86) { fprintf(stderr, "frame %02x\n", h[0]); exit(1); }
      }
    }
    at += take;
    left -= take;
  }
  return ended;
}

static double seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int shim(char **argv) {
  blob first = load(argv[1]), again = load(argv[2]);
  int connections = atoi(argv[3]), poll = epoll_create1(0);
  static link_t links[MOST];
  struct sockaddr_un name = address(argv[0]);
  for (int i = 0; i < connections && i < MOST; i++) {
    links[i].fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(links[i].fd, (struct sockaddr *)&name, sizeof name) != 0) die("connect");
    if (write(links[i].fd, first.bytes, first.length) != (ssize_t)first.length) die("write");
    watch(poll, links[i].fd, &links[i], EPOLLIN, EPOLL_CTL_ADD);
  }
  unsigned long exchanges = 0, bytes = 0;
  for (double end = seconds() + atof(argv[4]); seconds() < end;) {
    struct epoll_event events[64];
    int count = epoll_wait(poll, events, 64, 100);
    for (int i = 0; i < count; i++) {
      link_t *link = events[i].data.ptr;
      ssize_t got = recv(link->fd, room, sizeof room, MSG_DONTWAIT);
      if (got <= 0) { fprintf(stderr, "connection lost\n"); return 1; }
      bytes += (unsigned long)got;
      if (ends(link, (unsigned char *)room, (size_t)got) == 0) continue;
      exchanges++;
      if (write(link->fd, again.bytes, again.length) != (ssize_t)again.length) die("write");
    }
  }
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  long cpu = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
  printf("%lu %lu %ld\n", exchanges, bytes, cpu);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "app") == 0) app(argv[2], argv[3]);
  if (argc == 7 && strcmp(argv[1], "shim") == 0) return shim(argv + 2);
  fputs("see the head of gateway_load.c\n", stderr);
  return 2;
}
