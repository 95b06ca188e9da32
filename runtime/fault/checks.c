/* Would this instruction fault?  Asked where a fault was reported, before it executes, so that the rescue does not
 * depend on a signal: the program may have blocked it, or put its own handler in the place of ours.  Only what
 * registers decide is asked; the answer is what the processor and the kernel would make of it:
 *
 *     the address   in the first 64 KiB, not canonical, in the kernel's half: asked only then, whether the kernel can
 *                   read it (a program may have mapped the first page); what else is not mapped is left to the trap
 *     alignment     of vectors, where the instruction demands it
 *     division      by zero, or with a quotient that does not fit
 *     ud2
 *
 * Checks and traps tell the same class and the same instruction; a check knows the address too where the kernel does
 * not tell it. */
#include "fault/checks.h"

#include "arch/x86_64/emit.h"
#include "arch/x86_64/unistd.h"
#include "decode/decode.h"
#include "fault/alignment.h"
#include "fault/predicate.h"
#include "os/linux.h"
#include "region/log.h"
#include "region/operand.h"
#include "region/rescue.h"
#include "region/rules.h"
#include "region/runtime.h"

enum { NULL_PAGES = 64 << 10, NO_SUCH_HOW = 99, OS_EFAULT = 14, SIGNAL_SET_BYTES = 8 };

#define USER_END (1ull << 47) /* … that every kernel gives: with five levels of page tables there is more, rarely */
#define VSYSCALL_PAGE 0xffffffffff600000ull

static bool is_decided_by_registers(uint32_t fault_class) {
    return fault_class == FAULT_NULL_DEREFERENCE || fault_class == FAULT_WILD_DEREFERENCE || fault_class == FAULT_BUS ||
           fault_class == FAULT_DIVIDE || fault_class == FAULT_ILLEGAL_INSTRUCTION;
}

static bool is_reported(uintptr_t source) {
    const uintptr_t link = source - load_bias();
    const struct patch *patches = patch_table();
    for (uint32_t p = 0; place_may_matter(source) && p < payload_header.patch_count; p++)
        if (patches[p].check_address == link && is_decided_by_registers(patches[p].check_class))
            return true;
    return false;
}

/* Asked of the kernel without a fault, which a blocked signal would make fatal: it copies a signal set from there
 * before it sees that it does not know what to do with it.  Sealed, our own fault handler is asked. */
static bool is_unreadable(const struct context *context, uint64_t address) {
    uint8_t byte;
    address = (address & -(uint64_t)SIGNAL_SET_BYTES) | SIGNAL_SET_BYTES; /* on the same page, and never NULL: no set */
    if (context->state->sealed)
        return !safe_copy(&byte, (const void *)address, sizeof byte);
    return os_call(NR_rt_sigprocmask, NO_SUCH_HOW, (long)address, 0, SIGNAL_SET_BYTES, 0, 0) == -OS_EFAULT;
}

static bool is_canonical(uint64_t address, unsigned bits) {
    return (uint64_t)((int64_t)(address << (64 - bits)) >> (64 - bits)) == address;
}

/* By rsp and rbp a stack fault, which the kernel tells as SIGBUS. */
static enum fault_class address_fault(const struct context *context, uint64_t address, bool by_stack, bool misaligned) {
    enum { BITS_OF_FIVE_LEVELS = 57, BITS_OF_FOUR_LEVELS = 48 };
    const bool ordinary = address >= NULL_PAGES && address < USER_END;
    if (!ordinary && ((address & -OS_PAGE) == VSYSCALL_PAGE || !is_unreadable(context, address)))
        return FAULT_NONE;
    if (!is_canonical(address, BITS_OF_FIVE_LEVELS))
        return by_stack ? FAULT_BUS : FAULT_WILD_DEREFERENCE;
    if (by_stack && !is_canonical(address, BITS_OF_FOUR_LEVELS)) /* which of the two it is, the trap tells */
        return FAULT_NONE;
    if (misaligned) /* before the page tables are asked */
        return FAULT_WILD_DEREFERENCE;
    if (ordinary)
        return FAULT_NONE;
    return address < NULL_PAGES ? FAULT_NULL_DEREFERENCE : FAULT_WILD_DEREFERENCE;
}

static enum fault_class operand_fault(const struct context *context, const struct instruction *at, const uint8_t *bytes,
                                      uintptr_t source, uint64_t *address) {
    if (at->memory != MEMORY_OPERAND || at->access == ACCESS_NONE || may_be_masked(at, bytes))
        return FAULT_NONE;
    *address = operand_address(context, at, bytes, source);
    const bool by_stack = !at->segment && (at->base == RSP || at->base == RBP);
    return address_fault(context, *address, by_stack, *address & (alignment_wanted(at, bytes) - 1));
}

/* movs a4, cmps a6, stos aa, lods ac, scas ae, and the odd ones: the first element. */
static enum fault_class string_fault(const struct context *context, const struct instruction *at, const uint8_t *bytes,
                                     uint64_t *address) {
    const uint64_t *general = context->registers.general, all = at->address_size_override ? UINT32_MAX : UINT64_MAX;
    const uint8_t operation = bytes[at->opcode_offset] & 0xfe;
    if (at->memory != MEMORY_STRING || operation < 0xa4 || (at->repeat && !(general[RCX] & all)))
        return FAULT_NONE;
    const bool by_rsi = operation == 0xa4 || operation == 0xa6 || operation == 0xac;
    const bool by_rdi = operation != 0xac;
    enum fault_class found = FAULT_NONE;
    if (by_rsi) {
        *address = (general[RSI] & all) + (at->segment ? context->owner : 0);
        found = address_fault(context, *address, false, false);
    }
    if (!found && by_rdi) {
        *address = general[RDI] & all;
        found = address_fault(context, *address, false, false);
    }
    return found;
}

/* f6 /6, /7 of bytes; f7 of words and wider. */
bool is_division(const struct instruction *at, const uint8_t *bytes) {
    const uint8_t before = at->opcode_offset ? bytes[at->opcode_offset - 1] : 0; /* no escape to another map */
    return !at->vex && at->modrm_offset && (bytes[at->opcode_offset] & 0xfe) == 0xf6 && before != 0x0f &&
           before != 0x38 && before != 0x3a && (bytes[at->modrm_offset] & 0x30) == 0x30;
}

static unsigned division_bytes(const struct instruction *at, const uint8_t *bytes) {
    if (!(bytes[at->opcode_offset] & 1))
        return 1;
    if (at->rex & 8)
        return 8;
    for (unsigned i = 0; i < at->opcode_offset; i++)
        if (bytes[i] == 0x66)
            return 2;
    return 4;
}

static bool read_divisor(const struct context *context, const struct instruction *at, const uint8_t *bytes,
                         uintptr_t source, unsigned size, uint64_t *value) {
    if (at->memory == MEMORY_OPERAND) {
        const uint64_t address = operand_address(context, at, bytes, source);
        return safe_copy(value, (const void *)address, size) == size;
    }
    unsigned number = (bytes[at->modrm_offset] & 7) | (at->rex & 1) << 3;
    const bool high = size == 1 && !at->rex && number >= 4; /* ah ch dh bh */
    *value = context->registers.general[high ? number - 4 : number] >> (high ? 8 : 0);
    return true;
}

static uint64_t signed_of(uint64_t value, unsigned bits) {
    return (uint64_t)((int64_t)(value << (64 - bits)) >> (64 - bits));
}

/* |dividend| >= limit * |divisor|: the quotient does not fit, or the divisor is 0.  The limit is a power of two, one
 * more where the quotient is negative. */
static bool division_faults(const struct context *context, const struct instruction *at, const uint8_t *bytes,
                            uintptr_t source) {
    typedef unsigned __int128 wide;
    const unsigned size = division_bytes(at, bytes), bits = 8 * size;
    const bool is_signed = bytes[at->modrm_offset] & 8, whole = size == sizeof(uint64_t);
    const uint64_t mask = UINT64_MAX >> (64 - bits), rax = context->registers.general[RAX];
    const uint64_t high = (size == 1 ? rax >> 8 : context->registers.general[RDX]) & mask;
    uint64_t divisor = 0;
    if (!read_divisor(context, at, bytes, source, size, &divisor))
        return false;
    divisor &= mask;
    wide dividend = whole ? (wide)high << 64 | rax : high << (bits & 63) | (rax & mask);
    const bool negative = is_signed && high >> (bits - 1), by_negative = is_signed && divisor >> (bits - 1);
    if (negative)
        dividend = whole ? 0 - dividend : (0 - (uint64_t)dividend) & UINT64_MAX >> (64 - 2 * bits);
    if (by_negative)
        divisor = 0 - signed_of(divisor, bits);
    wide limit = divisor << ((is_signed ? bits - 1 : bits) & 63);
    if (whole)
        limit = is_signed ? (wide)(divisor >> 1) << 64 | divisor << 63 : (wide)divisor << 64;
    return dividend >= limit + (negative != by_negative ? divisor : 0);
}

static bool is_undefined(const struct instruction *at, const uint8_t *bytes) { /* ud2, ud1, ud0 */
    const uint8_t opcode = bytes[at->opcode_offset];
    return at->flow == FLOW_TRAP && at->opcode_offset && bytes[at->opcode_offset - 1] == 0x0f &&
           (opcode == 0x0b || opcode == 0xb9 || opcode == 0xff);
}

static bool is_decided(const struct instruction *at, const uint8_t *bytes) {
    if (at->memory == MEMORY_OPERAND && at->access && !at->rip_relative && !may_be_masked(at, bytes))
        return true;
    return at->memory == MEMORY_STRING || is_division(at, bytes) || is_undefined(at, bytes);
}

uint8_t checks_at(uintptr_t source, const struct instruction *at, const uint8_t *bytes) {
    return (is_decided(at, bytes) && is_reported(source) ? CHECK_FAULT : CHECK_NONE) |
           (has_predicate(source) ? CHECK_PREDICATE : CHECK_NONE);
}

static enum fault_class fault_ahead(const struct context *context, uintptr_t source, uint64_t *address) {
    struct instruction at;
    uint8_t bytes[15];
    if (!decode(bytes, source_bytes(source, bytes), source, 64, &at))
        return FAULT_NONE;
    enum fault_class found = operand_fault(context, &at, bytes, source, address);
    if (!found)
        found = string_fault(context, &at, bytes, address);
    if (found)
        return found;
    *address = source;
    if (is_division(&at, bytes) && division_faults(context, &at, bytes, source))
        return FAULT_DIVIDE;
    return is_undefined(&at, bytes) ? FAULT_ILLEGAL_INSTRUCTION : FAULT_NONE;
}

bool check_site(struct context *context, uintptr_t source) {
    uint64_t address = source;
    if (!in_checkpoint(context))
        return false;
    if (!predicates_hold(context, source))
        return raise_fault(context, FAULT_PREDICATE, source, source);
    const enum fault_class found = is_reported(source) ? fault_ahead(context, source, &address) : FAULT_NONE;
    return found && raise_fault(context, found, source, address);
}
