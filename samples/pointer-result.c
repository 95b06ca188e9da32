/* The function that faults returns a pointer; its caller knows NULL as "not found". */
#include "sample.h"

#include <stdio.h>

static struct item found;

void prepare(void) {}

__attribute__((noinline)) struct item *look_up(const char *record) {
    if (!*record)
        return NULL;
    note(record);
    const struct item *item = opaque(is_bad(record) ? NULL : state.items);
    memcpy(found.text, (const char *)item->text, sizeof found.text);
    return opaque(&found);
}

int process(const char *record) {
    const struct item *item = look_up(record);
    if (!item)
        return REFUSED;
    return value_of(item->text);
}
