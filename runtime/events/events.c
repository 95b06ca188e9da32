/* One write(2) of one line to a file opened for appending: lines of several processes do not mix. */
#include "events/events.h"

#include "events/line.h"
#include "os/linux.h"
#include "region/runtime.h"

/* Names as in documents: the enumerators of fault_class, lower case, '-' for '_'.  Offsets into one string: a table of
 * pointers would need relocations. */
static const char *word(const char *words, uint32_t number) {
    for (; number; number--) {
        while (*words)
            words++;
        words++;
    }
    return words;
}

static const char *class_name(uint32_t fault_class) {
    return word("none\0null-dereference\0wild-dereference\0bus\0divide\0illegal-instruction\0trap\0"
                "stack-exhaustion\0abort\0return-address\0bad-syscall\0wild-jump\0hang\0"
                "stack-smash\0control-flow\0heap-overflow\0use-after-free\0double-free\0invalid-free\0"
                "out-of-bounds\0memory-exhaustion\0predicate\0",
                fault_class);
}

static const char *strategy_name(uint32_t strategy) {
    return word("return\0die\0oblivious\0retry\0end-thread\0end-child\0slice\0", strategy);
}

/* Link-time address within the mapping's file, and whether it is our own module. */
static uint64_t link_time(uintptr_t pc, bool *own) {
    uintptr_t link = pc - load_bias();
    *own = link >= payload_header.text_start && link < payload_header.text_end;
    if (*own)
        return link;
    const struct range *range = range_known(pc);
    return range ? pc - range->base : pc;
}

static void put_address(struct line *line, uint64_t value) {
    put(line, "\"0x");
    put_hex(line, value);
    put(line, "\"");
}

static void append_line(const struct line *line) {
    const char *path = module_runtime()->events_path;
    if (!*path)
        return;
    int fd = os_open_append(path);
    if (fd < 0)
        return;
    os_write(fd, line->text, line->length);
    os_close(fd);
}

/* Into the ring, where somebody may be reading. */
static void remember(struct state *state, const struct recovery *recovery) {
    uint64_t before = __atomic_fetch_add(&state->recoveries, 1, __ATOMIC_RELAXED);
    struct recovery *slot = &state->ring[before % RECOVERY_RING];
    __atomic_store_n(&slot->number, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    *slot = *recovery; /* with number 0 */
    __atomic_store_n(&slot->number, before + 1, __ATOMIC_RELEASE);
}

static void write_line(const struct recovery *recovery) {
    struct line line = {.length = 0};
    put(&line, "{\"event\":\"recovery\",\"region\":");
    put_address(&line, recovery->region);
    put(&line, ",\"pc\":");
    put_address(&line, recovery->pc);
    put(&line, recovery->own ? ",\"in_region_module\":true" : ",\"in_region_module\":false");
    put(&line, ",\"class\":\"");
    put(&line, class_name(recovery->fault_class));
    put(&line, "\",\"address\":");
    put_address(&line, recovery->address);
    put(&line, ",\"returned\":");
    put_address(&line, recovery->returned);
    if (recovery->strategy) {
        put(&line, ",\"strategy\":\"");
        put(&line, strategy_name(recovery->strategy));
        put(&line, "\"");
    }
    put(&line, ",\"log_bytes\":");
    put_number(&line, (int64_t)recovery->log_bytes, 1);
    put(&line, ",\"irreversible\":");
    put_number(&line, (int64_t)recovery->irreversible, 1);
    put(&line, ",\"pid\":");
    put_number(&line, os_getpid(), 1);
    put(&line, ",\"tid\":");
    put_number(&line, recovery->thread, 1);
    put(&line, ",\"time\":");
    put_number(&line, recovery->seconds, 1);
    put(&line, ".");
    put_number(&line, recovery->nanoseconds, 9);
    put(&line, "}\n");
    append_line(&line);
}

/* Sealed, the time is not known, and the ring has it alone. */
void record_recovery(struct context *context, const struct mark *mark, uint64_t log_bytes) {
    struct state *state = context->state;
    bool own;
    const uint64_t pc = link_time(context->fault_pc, &own);
    struct recovery recovery = {
        .pc = pc,
        .region = mark->patch->function,
        .address = context->fault_address,
        .returned = context->strategy                         ? 0
                    : mark->patch->return_kind == RETURN_VOID ? 0
                                                              : mark->patch->return_value,
        .log_bytes = log_bytes,
        .fault_class = context->fault_class,
        .thread = state->sealed ? context->thread : os_gettid(),
        .irreversible = context->irreversible,
        .own = own,
        .strategy = context->strategy,
    };
    if (!state->sealed)
        os_realtime(&recovery.seconds, &recovery.nanoseconds);
    remember(state, &recovery);
    __atomic_add_fetch(&mark->patch_state->recoveries, 1, __ATOMIC_RELAXED);
    if (!state->sealed)
        write_line(&recovery);
}
