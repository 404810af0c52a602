// Stays in one call of musl, at the bottom of a recursion: `stacks CALL DEPTH DIRECTORY`.
//
// Built static with frame pointers in this file and none in musl, as releases of vere are, and once
// without any. Every call is made by a function of its own, `in_CALL`, which a stack must hold.

#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define KEEP __attribute__((noinline)) static void

// A tail call would take the caller from the stack.
#define STAY __asm__ volatile("" ::: "memory")

static int file, source, sink, wait_set;
static char block[PAGE] __attribute__((aligned(PAGE)));
static struct iovec vector = {block, 512};
static struct mmsghdr message = {.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}};
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static struct timespec soon(void) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_nsec += 20000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

// What blocks is fed or drained by another process.
KEEP in_read(void) { for (;;) { read(source, block, 512); STAY; } }
KEEP in_readv(void) { for (;;) { readv(source, &vector, 1); STAY; } }
KEEP in_recvmsg(void) { for (;;) { recvmsg(source, &message.msg_hdr, 0); STAY; } }
KEEP in_recvmmsg(void) { for (;;) { recvmmsg(source, &message, 1, 0, 0); STAY; } }
KEEP in_write(void) { for (;;) { write(sink, block, 512); STAY; } }
KEEP in_writev(void) { for (;;) { writev(sink, &vector, 1); STAY; } }
KEEP in_sendmsg(void) { for (;;) { sendmsg(sink, &message.msg_hdr, 0); STAY; } }
KEEP in_sendmmsg(void) { for (;;) { sendmmsg(sink, &message, 1, 0); STAY; } }

KEEP in_pread(void) { for (;;) { pread(file, block, PAGE, 0); STAY; } }
KEEP in_pwrite(void) { for (;;) { pwrite(file, block, PAGE, 0); STAY; } }
KEEP in_fsync(void) { for (;;) { pwrite(file, block, PAGE, 0); fsync(file); STAY; } }
KEEP in_fdatasync(void) { for (;;) { pwrite(file, block, PAGE, 0); fdatasync(file); STAY; } }
KEEP in_epoll_pwait(void) { struct epoll_event event; for (;;) { epoll_pwait(wait_set, &event, 1, 0, 0); STAY; } }
KEEP in_poll(void) { for (;;) { poll(0, 0, 0); STAY; } }
KEEP in_madvise(void) {
    char *area = mmap(0, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (;;) {
        memset(area, 1, 64 * PAGE);
        madvise(area, 64 * PAGE, MADV_DONTNEED);
        STAY;
    }
}
// Mostly in the vDSO.
KEEP in_clock_gettime(void) { struct timespec at; for (;;) { clock_gettime(CLOCK_MONOTONIC, &at); STAY; } }
KEEP in_pthread_mutex_timedlock(void) {
    pthread_mutex_lock(&mutex);
    for (;;) { struct timespec at = soon(); pthread_mutex_timedlock(&mutex, &at); STAY; }
}
KEEP in_pthread_cond_timedwait(void) {
    pthread_mutex_lock(&mutex);
    for (;;) { struct timespec at = soon(); pthread_cond_timedwait(&condition, &mutex, &at); STAY; }
}

// As vere finds out which pages of its loom were changed: on a stack of its own.
static char *loom;
// Not known to the compiler, which would write the bytes itself.
static volatile unsigned long length = 64;
KEEP repair(void *address) {
    for (volatile int work = 0; work < 20000; work++) {}
    mprotect((void *)((unsigned long)address & ~(PAGE - 1UL)), PAGE, PROT_READ | PROT_WRITE);
    STAY;
}
static void fault(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    repair(info->si_addr);
    STAY;
}
KEEP in_fault(void) {
    stack_t other = {.ss_sp = malloc(64 * 1024), .ss_size = 64 * 1024};
    sigaltstack(&other, 0);
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, 0);
    loom = mmap(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (;;) {
        // `memset` is assembler, with neither a frame pointer nor rules.
        memset(loom, 1, length);
        mprotect(loom, PAGE, PROT_READ);
        STAY;
    }
}

__attribute__((noinline)) static int descend(int depth, void (*call)(void)) {
    int below = 0;
    if (depth > 1) below = descend(depth - 1, call);
    else call();
    STAY;
    return below + 1;
}

static const struct { const char *name; void (*call)(void); } calls[] = {
#define CALL(name) {#name, in_##name}
    CALL(read), CALL(readv), CALL(recvmsg), CALL(recvmmsg),
    CALL(write), CALL(writev), CALL(sendmsg), CALL(sendmmsg),
    CALL(pread), CALL(pwrite), CALL(fsync), CALL(fdatasync),
    CALL(epoll_pwait), CALL(poll), CALL(madvise),
    CALL(pthread_mutex_timedlock), CALL(pthread_cond_timedwait), CALL(clock_gettime), CALL(fault),
};

// The other end of `source` and `sink`: a few messages every millisecond.
static void serve(int feeds, int drains) {
    char bytes[512] = {0};
    fcntl(drains, F_SETFL, O_NONBLOCK);
    fcntl(feeds, F_SETFL, O_NONBLOCK);
    while (getppid() != 1) {
        for (int i = 0; i < 4; i++) {
            write(feeds, bytes, sizeof bytes);
            read(drains, bytes, sizeof bytes);
        }
        usleep(1000);
    }
    _exit(0);
}

struct bottom { int depth; void (*call)(void); };
static void *in_thread(void *argument) {
    struct bottom *bottom = argument;
    descend(bottom->depth, bottom->call);
    return 0;
}

int main(int count, char **arguments) {
    if (count < 4 || chdir(arguments[3])) return 2;
    int to_us[2], from_us[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, to_us) || socketpair(AF_UNIX, SOCK_DGRAM, 0, from_us)) return 3;
    pid_t parent = getpid();
    if (fork() == 0) {
        if (getppid() != parent) _exit(0);
        serve(to_us[1], from_us[1]);
    }
    source = to_us[0];
    sink = from_us[0];
    file = open("file", O_RDWR | O_CREAT, 0600);
    if (file < 0 || pwrite(file, block, PAGE, 0) != PAGE) return 4;
    wait_set = epoll_create1(0);
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (strcmp(calls[i].name, arguments[1])) continue;
        struct bottom bottom = {atoi(arguments[2]), calls[i].call};
        if (count > 4) {
            pthread_t thread;
            pthread_create(&thread, 0, in_thread, &bottom);
            pthread_join(thread, 0);
        }
        return descend(bottom.depth, bottom.call);
    }
    return 5;
}
