#include "fault/overwrite.h"

#include "arch/x86_64/emit.h"
#include "decode/decode.h"
#include "fault/stack.h"
#include "region/log.h"
#include "region/rescue.h"
#include "region/runtime.h"
#include "region/serve.h"

enum { WORD = 8, PAIR = 16 }; /* compiled code has the return address in the upper half of such a pair */

/* The call that is to return to rsp = `behind`; NULL: none is known, or something else has come to lie there. */
static const struct shadow_call *live_call(const struct context *context, uint64_t behind) {
    const struct shadow_call *call = shadow_of(context, behind);
    uint64_t found;
    const bool same = call->rsp == behind && safe_copy(&found, (const void *)(behind - WORD), WORD) == WORD &&
                      found == call->return_address && range_known(found);
    return same ? call : NULL;
}

/* Of the function that was called so: where it is now, and its rbp, as it has called the next one, or just now. */
struct activation {
    uintptr_t at;
    uint64_t rbp;
};

static struct activation activation_of(const struct context *context, uint64_t behind) {
    const uint64_t *general = context->registers.general;
    for (uint64_t inner = behind - PAIR; inner > general[RSP]; inner -= PAIR) {
        const struct shadow_call *call = live_call(context, inner);
        if (call)
            return (struct activation){call->return_address, call->rbp};
    }
    return (struct activation){program_at(context), general[RBP]};
}

enum ending { UNSEEN, RETURNS, LANDS };

/* How does the code at `at` end, if no branch is taken: by returning, or by loading rsp and going elsewhere?
 * `straight`: it is not seen behind branches and calls. */
static enum ending ending_of(uintptr_t at, bool straight) {
    enum { STEPS = 256 };
    struct instruction decoded;
    uint8_t bytes[15];
    bool loaded = false;
    for (unsigned i = 0; i < STEPS; i++) {
        if (!decode(bytes, source_bytes(at, bytes), at, 64, &decoded))
            break;
        if (decoded.flow == FLOW_RETURN || decoded.flow == FLOW_JUMP_INDIRECT)
            return loaded ? LANDS : decoded.flow == FLOW_RETURN ? RETURNS : UNSEEN;
        if (decoded.flow != FLOW_NEXT && (straight || decoded.flow == FLOW_TRAP))
            break;
        loaded |= decoded.stack == STACK_LOADED && decoded.reads != 1u << RBP;
        at = decoded.flow == FLOW_JUMP ? decoded.target : at + decoded.length;
    }
    return UNSEEN;
}

/* Whether the function that was called so means to return by what lies there now.  An unwinder does not: it has saved
 * all registers for others to change, its return address among them, and lands with those; or it has already put there
 * where. */
static bool returns_by(const struct context *context, const struct activation *owner) {
    return ending_of(owner->at, false) == RETURNS && ending_of(program_at(context), true) != LANDS;
}

/* Whether it has saved its caller's rbp in the word below the slot, and has its frame pointer there. */
static bool saves_rbp(const struct shadow_call *call, const struct activation *owner) {
    const uint64_t word = call->rsp - PAIR;
    uint64_t found;
    return owner->rbp == word && safe_copy(&found, (const void *)word, WORD) == WORD && found == call->rbp;
}

bool overwrites(struct context *context, uintptr_t address, size_t size) {
    if (!stack_guarded() || !in_checkpoint(context))
        return false;
    const uint64_t rsp = context->registers.general[RSP];
    const uint64_t top = ((const struct mark *)context->marks_start + 1)->rsp + WORD; /* of the outermost */
    const uint64_t first = address > rsp ? address : rsp;
    const uint64_t last = size < top - address ? address + size : top;
    if (address >= top || last <= first)
        return false;
    for (uint64_t behind = (first & -(uint64_t)PAIR) + PAIR; behind - PAIR < last; behind += PAIR) {
        const struct shadow_call *call = live_call(context, behind);
        const uint64_t slot = behind - WORD;
        if (!call)
            continue;
        const struct activation owner = activation_of(context, behind);
        const bool saved = first < slot && saves_rbp(call, &owner);
        if ((saved || last > slot) && returns_by(context, &owner))
            return raise_fault(context, last > slot ? FAULT_RETURN_ADDRESS : FAULT_STACK_SMASH, program_at(context),
                               last > slot ? slot : slot - WORD);
    }
    return false;
}
