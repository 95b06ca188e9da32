/* What the kernel writes for a system call goes to the log before. */
#include "effects/call.h"

#include "os/linux.h"
#include "region/log.h"

struct io_vector {
    uint64_t start, size;
};

struct message_header {
    uint64_t name;
    uint32_t name_size, padding;
    uint64_t vectors, vector_count;
    uint64_t control, control_size;
    uint64_t flags;
};

static bool log_vectors(struct context *context, uint64_t vectors, uint64_t count) {
    for (uint64_t i = 0; i < count && i < 1024; i++) {
        struct io_vector vector;
        if (safe_copy(&vector, (const void *)(vectors + i * sizeof vector), sizeof vector) < sizeof vector)
            return true;
        if (!log_range(context, vector.start, vector.size))
            return false;
    }
    return true;
}

static bool log_message(struct context *context, uint64_t address) {
    struct message_header message;
    if (safe_copy(&message, (const void *)address, sizeof message) < sizeof message)
        return true;
    return log_range(context, address, sizeof message) && log_range(context, message.name, message.name_size) &&
           log_range(context, message.control, message.control_size) &&
           log_vectors(context, message.vectors, message.vector_count);
}

bool log_output(struct context *context, const struct output *output) {
    uint64_t address = argument(context, output->argument), with = argument(context, output->with);
    uint32_t pointed = 0;
    if (!address)
        return true;
    switch ((enum size_kind)output->kind) {
    case SIZE_FIXED:
        return log_range(context, address, output->size);
    case SIZE_ARGUMENT:
        return log_range(context, address, with < 1ull << 40 ? with * output->size + output->more : 0);
    case SIZE_POINTED:
        safe_copy(&pointed, (const void *)with, sizeof pointed);
        return log_range(context, address, (size_t)pointed + output->more);
    case SIZE_VECTOR:
        return log_vectors(context, address, with);
    case SIZE_MESSAGE:
        return log_message(context, address);
    case SIZE_MESSAGES:
        for (uint64_t i = 0; i < with && i < 1024; i++)
            if (!log_range(context, address + i * 64, 64) || !log_message(context, address + i * 64))
                return false;
        return true;
    case SIZE_BITS:
        return log_range(context, address, ((with & 0xffff) + 63) / 64 * 8);
    case SIZE_PAGES:
        return log_range(context, address, (with + OS_PAGE - 1) / OS_PAGE);
    case SIZE_COMMAND:
        return command_bytes(context->registers.general[RAX], output->argument, with, &pointed) &&
               log_range(context, address, pointed);
    }
    return false;
}
