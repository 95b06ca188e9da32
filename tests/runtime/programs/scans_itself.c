// region: scan
// What a conservative garbage collector does: it reads all writable memory that the program's headers tell of.
#define _GNU_SOURCE
#include <link.h>
#include <stdio.h>
static int own(struct dl_phdr_info *info, size_t size, void *sum) {
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        const char *start = (const char *)(info->dlpi_addr + header->p_vaddr);
        if (header->p_type == PT_LOAD && header->p_flags & PF_W)
            for (size_t at = 0; at + 8 <= header->p_memsz; at += 8)
                *(unsigned long *)sum += *(const unsigned char *)(start + at);
    }
    return 1;
}
__attribute__((noipa)) int scan(void) {
    unsigned long sum = 0;
    dl_iterate_phdr(own, &sum);
    return sum > 0;
}
__attribute__((noipa)) int outside(void) {
    unsigned long sum = 0;
    dl_iterate_phdr(own, &sum);
    return sum > 0;
}
int main(void) {
    int inside = scan();
    printf("%d %d\n", inside, outside());
    return 0;
}
