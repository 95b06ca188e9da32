/* Lets the kernel write into global memory by many system calls, then faults: these writes are undone as well. */
#define _GNU_SOURCE
#include "sample.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static struct {
    char read[300], pread[5000], readv[2][100], received[64], directory[256];
    struct stat file;
    struct timespec clock;
    struct timeval day;
    struct utsname system;
    struct rusage usage;
    struct rlimit limit;
    struct pollfd waiting;
    sigset_t blocked;
    cpu_set_t processors;
    uint8_t random[600];
    int ready, pair[2], option;
    socklen_t option_length;
} got;

static int file, ends[2];

void prepare(void) {
    static char content[8000];
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (char)(i * 7 + i / 256);
    file = memfd_create("sample", 0);
    if (file < 0 || write(file, content, sizeof content) != sizeof content || pipe(ends))
        abort();
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, got.pair) || send(got.pair[0], "a message", 9, 0) != 9)
        abort();
    memset(&got.read, '-', sizeof got.read);
    state.extra = &got;
    state.extra_length = sizeof got;
}

static int let_kernel_write(void) {
    struct iovec parts[2] = {{got.readv[0], sizeof got.readv[0]}, {got.readv[1], sizeof got.readv[1]}};
    int good = lseek(file, 1000, SEEK_SET) == 1000;
    good &= read(file, got.read, sizeof got.read) == sizeof got.read;
    good &= pread(file, got.pread, sizeof got.pread, 100) == sizeof got.pread;
    good &= preadv(file, parts, 2, 200) == 200;
    good &= recv(got.pair[1], got.received, sizeof got.received, MSG_PEEK) == 9;
    good &= getcwd(got.directory, sizeof got.directory) != NULL;
    good &= fstat(file, &got.file) == 0;
    good &= clock_gettime(CLOCK_REALTIME, &got.clock) == 0;
    good &= gettimeofday(&got.day, NULL) == 0;
    good &= uname(&got.system) == 0;
    good &= getrusage(RUSAGE_SELF, &got.usage) == 0;
    good &= getrlimit(RLIMIT_NOFILE, &got.limit) == 0;
    good &= sigprocmask(SIG_BLOCK, NULL, &got.blocked) == 0;
    good &= sched_getaffinity(0, sizeof got.processors, &got.processors) == 0;
    good &= getrandom(got.random, sizeof got.random, 0) == sizeof got.random;
    got.waiting = (struct pollfd){.fd = got.pair[1], .events = POLLIN};
    good &= poll(&got.waiting, 1, 0) == 1;
    good &= ioctl(got.pair[1], FIONREAD, &got.ready) == 0;
    got.option_length = sizeof got.option;
    good &= getsockopt(got.pair[1], SOL_SOCKET, SO_TYPE, &got.option, &got.option_length) == 0;
    return good;
}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    int good = let_kernel_write();
    struct item *item = opaque(is_bad(record) ? NULL : state.items);
    ((volatile struct item *)item)->text[23] = (char)good;
    int sum = good + got.ready + got.pread[4999] + got.read[0] + got.waiting.revents;
    int pair[2] = {got.pair[0], got.pair[1]};
    memset(&got, '-', sizeof got); /* what differs from run to run stays out of the checksum */
    memcpy(got.pair, pair, sizeof pair);
    return value_of(record) + sum;
}
