/* Opens, closes and moves files before the fault: descriptors do not leak, closed ones are open, offsets are back. */
#define _GNU_SOURCE
#include "sample.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static int file;

static int content(void) {
    static char text[6000];
    int fd = memfd_create("sample", 0);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 23);
    if (fd < 0 || write(fd, text, sizeof text) != sizeof text || lseek(fd, 0, SEEK_SET))
        abort();
    return fd;
}

void prepare(void) {
    file = content();
}

int process(const char *record) {
    char letters[4];
    if (!*record)
        return REFUSED;
    note(record);
    if (read(file, letters, sizeof letters) != sizeof letters)
        return REFUSED;
    long where = lseek(file, 0, SEEK_CUR);
    int other = open("/dev/null", O_RDONLY), copy = dup(file);
    const volatile int *word = opaque(is_bad(record) ? NULL : &state.last);
    int sum = *word & 1;
    if (other >= 0)
        close(other);
    if (copy >= 0)
        close(copy);
    return sum + (int)where * 1000 + other * 100 + copy + letters[0];
}
