/* Before an access that a rule wants compared with guarded blocks. */
#include "arch/x86_64/rules.h"

#include "guard/calls.h"

/* Frames, globals and thread-local memory are no heap blocks. */
bool may_be_guarded(const struct instruction *decoded) {
    const bool absolute = decoded->base == REG_NONE && decoded->index == REG_NONE;
    return decoded->memory == MEMORY_STRING ||
           (decoded->memory == MEMORY_OPERAND && decoded->access && decoded->operand_bytes <= OVERHANG_BYTES &&
            decoded->base != RSP && !absolute && !decoded->segment);
}

/* access → rdx = its address from the arena's beginning on; in there? then rax = the span of its page; not in that?
 * then C; the access itself */
void emit_guard(struct builder *builder, const struct source_instruction *at) {
    if (at->decoded.memory == MEMORY_STRING || at->decoded.bit_offset) {
        emit_service_at(builder, SERVICE_GUARD, at->address);
        return;
    }
    const bool flags = emit_filter(builder, at);
    emit_literal(builder, 0x2b, RDX, guards()->arena);
    emit_literal(builder, 0x3b, RDX, guards()->arena_size);
    EMIT(OUT, 0x0f, 0x83, 0, 0, 0, 0); /* jae 2f */
    const uint32_t outside = emitted(OUT);
    EMIT(OUT, 0x89, 0xd0, 0xc1, 0xe8, 10, 0x83, 0xe0, 0xfc); /* mov eax, edx; shr eax, 10; and eax, -4 */
    emit_literal(builder, 0x03, RAX, (uintptr_t)guards()->spans);
    EMIT(OUT, 0x81, 0xe2, 0xff, 0x0f, 0, 0); /* and edx, 4095 */
    EMIT(OUT, 0x66, 0x3b, 0x10, 0x72, 9);    /* cmp dx, [rax]; jb 1f */
    EMIT(OUT, 0x83, 0xc2);                   /* add edx, bytes */
    emit8(OUT, (uint8_t)at->decoded.operand_bytes);
    EMIT(OUT, 0x66, 0x3b, 0x50, 2, 0x76, 0); /* cmp dx, [rax + 2]; jbe 2f */
    const uint32_t within = emitted(OUT);
    emit_filter_restore(builder, flags); /* 1: */
    emit_service_at(builder, SERVICE_GUARD, at->address);
    EMIT(OUT, 0xeb, 0); /* jmp 3f */
    const uint32_t done = emitted(OUT);
    emit_filter_restore(builder, flags); /* 2: */
    if (OUT->at > OUT->end)
        return;
    for (int b = 0; b < 4; b++)
        OUT->start[outside - 4 + b] = (uint8_t)((done - outside) >> 8 * b);
    OUT->start[within - 1] = (uint8_t)(done - within);
    OUT->start[done - 1] = (uint8_t)(emitted(OUT) - done); /* 3: */
}
