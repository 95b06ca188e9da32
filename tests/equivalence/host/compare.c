#include <stdio.h>
#include <string.h>

#include "machine.h"

#define INVISIBLE 0x10100ull /* RF and TF are the debugger's */
#define X87_OPCODE 6         /* of the last x87 instruction, in the xsave area: two bytes */
#define X87_POINTER 8        /* and its address: eight bytes */

static char text[256];

static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

static const char *value_differs(const char *what, uint64_t expected, uint64_t found) {
    snprintf(text, sizeof text, "%s is %#lx, natively %#lx", what, found, expected);
    return text;
}

/* In the cache an x87 instruction has another address, and its opcode another operand where that is out of reach; the
 * processor tells both (docs/equivalence.md). */
static void forget_x87_pointer(const struct machine *expected, struct machine *found) {
    uint64_t pointer;
    memcpy(&pointer, expected->xsave + X87_POINTER, 8);
    if (pointer - CASES >= LOW - CASES)
        return;
    memcpy(found->xsave + X87_POINTER, &pointer, 8);
    memcpy(found->xsave + X87_OPCODE, expected->xsave + X87_OPCODE, 2);
}

const char *compare_machines(const struct machine *expected, const struct machine *found, uint16_t ignored,
                             uint64_t flags_ignored) {
    static struct machine copy;
    for (unsigned i = 0; i < 16; i++)
        if (expected->general[i] != found->general[i] && !(ignored >> i & 1))
            return value_differs(names[i], expected->general[i], found->general[i]);
    if ((expected->flags ^ found->flags) & ~(INVISIBLE | flags_ignored))
        return value_differs("flags", expected->flags, found->flags);
    if (expected->exit != found->exit)
        return value_differs("exit", expected->exit, found->exit);
    memcpy(copy.xsave, found->xsave, xsave_used);
    forget_x87_pointer(expected, &copy);
    for (unsigned i = 0; i < xsave_used; i++) {
        if (expected->xsave[i] == copy.xsave[i] || (i >= 512 && i < 576))
            continue;
        snprintf(text, sizeof text, "byte %u of the extended state is %#x, natively %#x", i, copy.xsave[i],
                 expected->xsave[i]);
        return text;
    }
    return NULL;
}

const char *compare_faults(const struct fault *expected, const struct fault *found) {
    if (expected->signal != found->signal)
        return value_differs("signal", (uint64_t)expected->signal, (uint64_t)found->signal);
    if (expected->pc != found->pc)
        return value_differs("pc of the fault", expected->pc, found->pc);
    if (expected->code != found->code)
        return value_differs("si_code", (uint64_t)expected->code, (uint64_t)found->code);
    if (expected->address != found->address)
        return value_differs("si_addr", expected->address, found->address);
    return NULL;
}

/* All registers as before the call but the result; of the flags, DF only; of vectors nothing (any call may change
 * them), of x87 and MXCSR the control parts. */
const char *compare_rescued(void) {
    enum { RAX, RCX, RDX };
    if (after.general[RAX] != RESCUED)
        return value_differs("result of the rescue", RESCUED, after.general[RAX]);
    for (unsigned i = 1; i < 16; i++) {
        const uint64_t expected = i == 4 ? STACK_TOP : before.general[i];
        if (after.general[i] != expected && !(i == RDX && after.general[i] == 0))
            return value_differs(names[i], expected, after.general[i]);
    }
    if (after.flags & 0x400)
        return value_differs("flags after the rescue", 0x202, after.flags);
    if (after.mxcsr != before.mxcsr)
        return value_differs("mxcsr after the rescue", before.mxcsr, after.mxcsr);
    if (after.x87_control != before.x87_control)
        return value_differs("x87 control word after the rescue", before.x87_control, after.x87_control);
    return NULL;
}
