/* Does control go where the program has sent it?  Only where the plan has RULE_STACK.
 *
 * A call in translated code notes, for the slot of its return address, what it has pushed there and the frame pointer
 * (arch/x86_64/shadow.c); its ret compares and forgets.  What differs comes to C before control is lost:
 *
 *     call  ──▶ entry of the slot: rsp as it will be behind the ret, return address, rbp
 *     ret   ──▶ the slot's own entry?  the same address?  the same rbp, where the function has just popped it?
 *                 │ yes: nothing was lost         │ no: return_check
 *
 * A ret whose own block has put there what it takes (push; ret, mov [rsp], …; ret), or has loaded rsp from elsewhere
 * (unwinders, switches of coroutines), is the code's own jump and not compared.  A slot without an entry says nothing:
 * its call was native, or a frame 64 KiB below has taken its place in the table.
 *
 * An indirect branch to the beginning of a function of this file whose address the file never takes is none of the
 * program's own (dispatch_check).  The first one to a place always comes to C, and so does each one that is a fault.
 */
#ifndef STEMRW_STACK_H
#define STEMRW_STACK_H

#include "region/context.h"

/* At byte (rsp behind the ret & 0xffff) * 2 of the table.  In compiled code slots are 16 bytes apart; of two that are
 * nearer, the later call destroys the earlier one's entry, which then says nothing. */
struct shadow_call {
    uint64_t rsp;
    uint64_t return_address;
    uint64_t rbp;
};

enum { SHADOW_SPAN = 1 << 16 };

static inline struct shadow_call *shadow_of(const struct context *context, uint64_t rsp_behind) {
    return (struct shadow_call *)((char *)context + SHADOW_OFFSET + (rsp_behind & (SHADOW_SPAN - 1)) * 2);
}

enum { RETURN_POPS_RBP = 1 }; /* .argument[0] of SERVICE_RETURN */

/* Whether the plan asks for all this. */
bool stack_guarded(void);

/* The program is about to return, and the table does not agree.  True: a fault was raised. */
bool return_check(struct context *context);

/* It is about to be at `target` by an indirect branch that was not followed before.  True: a fault was raised. */
bool dispatch_check(struct context *context, uintptr_t target);

/* rsp was loaded, before the instruction at `next`, from where code jumps on at once, as longjmp does: is it no memory
 * at all, or the target what dispatch_check does not let through?  True: a fault was raised. */
bool switch_check(struct context *context, uintptr_t next);

/* The calls that would have returned to an rsp in (low, high] will not: their frames were left otherwise. */
void shadow_forget(struct context *context, uint64_t low, uint64_t high);

#endif
