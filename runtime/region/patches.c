/* The table of patches, ascending by address. */
#include "region/patches.h"

static const struct patch *end_of_table(void) {
    return patch_table() + payload_header.patch_count;
}

const struct patch *patch_from(uint64_t link) {
    uint32_t low = 0, high = payload_header.patch_count;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (patch_table()[middle].address < link)
            low = middle + 1;
        else
            high = middle;
    }
    return patch_table() + low;
}

const struct patch *patch_next(const struct patch *patch, uint64_t end) {
    return patch < end_of_table() && patch->address < end ? patch : NULL;
}

const struct patch *patch_at(uintptr_t address) {
    const uint64_t link = address - load_bias();
    return patch_next(patch_from(link), link + 1);
}

uintptr_t native_address(uintptr_t address) {
    const uint64_t link = address - load_bias();
    const struct patch *patch = patch_from(link + 1) - 1;
    const uint64_t into = patch < patch_table() ? ~0ull : link - patch->address;
    if (into < patch->length && patch->boundaries[into] != 255 && (into || *(const uint8_t *)address != BREAKPOINT))
        return (uintptr_t)&payload_header + patch->displaced + patch->boundaries[into];
    return address;
}

void patches_restore(uintptr_t address, uint8_t *bytes, unsigned count) {
    const uint64_t link = address - load_bias();
    const struct patch *patch = patch_from(link < sizeof patch->original ? 0 : link - sizeof patch->original);
    for (; patch_next(patch, link + count); patch++)
        for (unsigned i = 0; i < patch->length; i++)
            if (patch->address + i - link < count)
                bytes[patch->address + i - link] = patch->original[i];
}
