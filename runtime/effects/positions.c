#include "effects/positions.h"

#include "arch/x86_64/unistd.h"
#include "effects/call.h"
#include "os/linux.h"
#include "region/context.h"
#include "region/runtime.h"

enum {
    SEEK_SET = 0,
    SEEK_CUR = 1,
    F_GETFL = 3,
    O_APPEND = 02000,
    STANDARD_ERROR = 2,
};
#define NOWHERE (~0ull) /* an end that is not known, the size of what was not written */

/* Data of LOG_OFFSET. */
enum { POSITION_BEFORE, POSITION_READ, POSITION_END, POSITION_SIZE, POSITION_WORDS };

static long seek(uint64_t descriptor, uint64_t offset, int whence) {
    return os_call(NR_lseek, (long)descriptor, (long)offset, whence, 0, 0, 0);
}

static bool is_write(uint64_t number) {
    return number == NR_write || number == NR_writev;
}

bool position_save(struct context *context, uint64_t number, bool reads) {
    const uint64_t descriptor = argument(context, 0);
    if (is_write(number) && descriptor <= STANDARD_ERROR)
        return false;
    const long before = seek(descriptor, 0, SEEK_CUR);
    const uint64_t size = is_write(number) && before >= 0 ? os_file_size((int)descriptor) : NOWHERE;
    if (before < 0 || (is_write(number) && size == NOWHERE))
        return false;
    const uint64_t data[POSITION_WORDS] = {(uint64_t)before, reads, reads ? NOWHERE : (uint64_t)before, size};
    if (log_operation(context, LOG_OFFSET, descriptor, data, POSITION_WORDS))
        context->inputs += reads; /* until that is undone: the same is read again then */
    return true;
}

void position_moved(struct context *context, uint64_t number, uint64_t result) {
    const struct record record = log_record(context->log);
    uint64_t *data = (uint64_t *)record.data;
    if (context->log > context->log_start && record.kind == LOG_OFFSET && record.operand == argument(context, 0) &&
        result < -4096ull)
        data[POSITION_END] = is_write(number) ? data[POSITION_BEFORE] + result : result;
}

/* Nobody has moved it since, and what was written went there rather than to the end. */
static bool is_ours(uint64_t descriptor, const uint64_t *data) {
    if ((uint64_t)seek(descriptor, 0, SEEK_CUR) != data[POSITION_END])
        return false;
    return data[POSITION_SIZE] == NOWHERE || !(os_call(NR_fcntl, (long)descriptor, F_GETFL, 0, 0, 0, 0) & O_APPEND);
}

void position_undo(struct context *context, const struct record *record) {
    const uint64_t descriptor = record->operand, *data = record->data;
    const uint64_t before = data[POSITION_BEFORE], end = data[POSITION_END], size = data[POSITION_SIZE];
    context->inputs -= data[POSITION_READ];
    if (end == before)
        return;
    if (context->state->sealed || (end != NOWHERE && (context->keeps_files || !is_ours(descriptor, data)))) {
        context->irreversible++;
        return;
    }
    if (before <= size && size < end && end != NOWHERE && os_file_size((int)descriptor) == end)
        os_call(NR_ftruncate, (long)descriptor, (long)size, 0, 0, 0, 0);
    seek(descriptor, before, SEEK_SET);
}
