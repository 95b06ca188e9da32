/* The state that samples change, and its checksum. */
#include "sample.h"

struct state state;

void note(const char *record) {
    size_t length = strlen(record);
    if (!state.heap)
        state.heap = calloc(512, 1);
    struct item *item = state.pool ? state.pool++ : malloc(sizeof *item);
    if (!state.heap || !item)
        abort();
    strncpy(item->text, record, sizeof item->text - 1);
    item->text[sizeof item->text - 1] = 0;
    item->next = state.items;
    state.items = item;
    for (size_t i = 0; i < length; i++) {
        state.letters[(unsigned char)record[i] % 32]++;
        state.heap[(unsigned char)record[i] * 2 + i % 2] ^= (uint8_t)(i + 1);
    }
    if (length > 64)
        length = 64;
    if (state.log_length + length > sizeof state.log)
        state.log_length = 0;
    memcpy(state.log + state.log_length, record, length);
    state.log_length += length;
    state.last = (uint8_t)record[0];
    state.accepted++;
}

static uint64_t hash(uint64_t value, const void *data, size_t length) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < length; i++)
        value = (value ^ bytes[i]) * 0x100000001b3;
    return value;
}

uint64_t state_checksum(void) {
    uint64_t value = 0xcbf29ce484222325;
    value = hash(value, &state.accepted, sizeof state.accepted);
    value = hash(value, state.letters, sizeof state.letters);
    value = hash(value, &state.last, sizeof state.last);
    value = hash(value, state.log, sizeof state.log);
    value = hash(value, &state.log_length, sizeof state.log_length);
    if (state.heap)
        value = hash(value, state.heap, 512);
    for (const struct item *item = state.items; item; item = item->next)
        value = hash(value, item->text, sizeof item->text);
    return hash(value, state.extra, state.extra_length);
}
