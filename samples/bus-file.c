/* Reads behind the end of a mapped file: SIGBUS. */
#define _GNU_SOURCE
#include "sample.h"

#include <sys/mman.h>
#include <unistd.h>

static const uint8_t *file;

void prepare(void) {
    int fd = memfd_create("sample", 0);
    if (fd < 0 || ftruncate(fd, 4096))
        abort();
    void *mapping = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED)
        abort();
    file = mapping;
}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    const volatile uint8_t *byte = opaque(file + (is_bad(record) ? 5000 : 50));
    return value_of(record) + *byte;
}
