/* What the runtime reads of ELF images in memory. */
#ifndef STEMRW_ELF_H
#define STEMRW_ELF_H

#include <stdint.h>

enum { PT_LOAD = 1, PT_DYNAMIC = 2, PT_PHDR = 6, PT_GNU_EH_FRAME = 0x6474e550 };
enum { PF_X = 1, DT_DEBUG = 21 };

struct program_header {
    uint32_t type, flags;
    uint64_t offset, address, physical, file_size, memory_size, align;
};

struct elf_header {
    uint8_t identification[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, program_headers, section_headers;
    uint32_t flags;
    uint16_t size, header_size, header_count;
};

static inline _Bool is_elf(const struct elf_header *header) {
    const uint8_t *magic = header->identification;
    return magic[0] == 0x7f && magic[1] == 'E' && magic[2] == 'L' && magic[3] == 'F';
}

#endif
