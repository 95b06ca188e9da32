/* What Python and assembly may know of the C headers: compiled to assembly only, never linked.
 *
 * Each row leaves one line `->kind name value` in the compiler's output; build.py makes offsets.h (for .S files) and
 * the JSON description of the image (for Python) of them, so that no number is written down twice.
 *
 *     CONSTANT(name)        #define name value                    constants.name
 *     STRUCT(type)          #define SIZE_type bytes               structs.type.size
 *     FIELD(type, name)     #define OFFSET_type_name offset       structs.type.fields.name = [offset, size in bytes]
 */
#include <stddef.h>

#include "arch/x86_64/unistd.h"
#include "guard/arena.h"
#include "include/abi.h"
#include "include/rules.h"
#include "include/state.h"
#include "os/linux.h"
#include "region/context.h"
#include "region/runtime.h"
#include "translate/cache.h"

#define ROW(kind, name, value) __asm__ volatile("\n.ascii \"->" kind " " name " %c0\"" ::"i"((int64_t)(value)))
#define CONSTANT(name) ROW("constant", #name, name)
#define STRUCT(type) ROW("struct", #type, sizeof(struct type))
#define FIELD(type, name)                                                                                              \
    ROW("offset", #type "." #name, offsetof(struct type, name));                                                       \
    ROW("size", #type "." #name, sizeof(((struct type *)0)->name))

void export_abi(void);
void export_abi(void) {
    CONSTANT(ABI_VERSION);
    CONSTANT(HEADER_GLIBC);
    CONSTANT(HEADER_EXECUTABLE);
    CONSTANT(HEADER_COUNTS);
    CONSTANT(TICK_SLICE);
    CONSTANT(REGION_OF_MAIN);
    CONSTANT(PATCH_REGION);
    CONSTANT(PATCH_START);
    CONSTANT(PATCH_OBSERVE);
    CONSTANT(PATCH_PROTECT);
    CONSTANT(PATCH_STONE);
    CONSTANT(PATCH_STOP);
    CONSTANT(RETURN_INTEGER);
    CONSTANT(RETURN_DOUBLE);
    CONSTANT(RETURN_VOID);

    CONSTANT(FAULT_NONE);
    CONSTANT(FAULT_NULL_DEREFERENCE);
    CONSTANT(FAULT_WILD_DEREFERENCE);
    CONSTANT(FAULT_BUS);
    CONSTANT(FAULT_DIVIDE);
    CONSTANT(FAULT_ILLEGAL_INSTRUCTION);
    CONSTANT(FAULT_TRAP);
    CONSTANT(FAULT_STACK_EXHAUSTION);
    CONSTANT(FAULT_ABORT);
    CONSTANT(FAULT_RETURN_ADDRESS);
    CONSTANT(FAULT_BAD_SYSCALL);
    CONSTANT(FAULT_WILD_JUMP);
    CONSTANT(FAULT_HANG);
    CONSTANT(FAULT_STACK_SMASH);
    CONSTANT(FAULT_CONTROL_FLOW);
    CONSTANT(FAULT_HEAP_OVERFLOW);
    CONSTANT(FAULT_USE_AFTER_FREE);
    CONSTANT(FAULT_DOUBLE_FREE);
    CONSTANT(FAULT_INVALID_FREE);
    CONSTANT(FAULT_OUT_OF_BOUNDS);
    CONSTANT(FAULT_MEMORY_EXHAUSTION);
    CONSTANT(FAULT_PREDICATE);

    CONSTANT(RULE_MODULE);
    CONSTANT(RULE_BUDGET);
    CONSTANT(RULE_STACK);
    CONSTANT(RULE_GUARD_SITE);
    CONSTANT(RULE_GUARD_ACCESS);
    CONSTANT(GUARD_BELOW);
    CONSTANT(RULE_SET_ERRNO);
    CONSTANT(RULE_SET_OUT);
    CONSTANT(RULE_ESCALATE);
    CONSTANT(RULE_PREDICATE);
    CONSTANT(RULE_PROGRAM_BYTES);
    CONSTANT(PREDICATE_BYTES);
    CONSTANT(PREDICATE_DEPTH);
    CONSTANT(OP_REGISTER);
    CONSTANT(OP_CONSTANT);
    CONSTANT(OP_SMALL);
    CONSTANT(OP_LOAD);
    CONSTANT(OP_ZERO_EXTEND);
    CONSTANT(OP_SIGN_EXTEND);
    CONSTANT(OP_SHIFT_RIGHT);
    CONSTANT(OP_ADD);
    CONSTANT(OP_SUBTRACT);
    CONSTANT(OP_MULTIPLY);
    CONSTANT(OP_MASK);
    CONSTANT(OP_EQUAL);
    CONSTANT(OP_BELOW);
    CONSTANT(OP_BELOW_EQUAL);
    CONSTANT(OP_LESS);
    CONSTANT(OP_LESS_EQUAL);
    CONSTANT(OP_BOTH);
    CONSTANT(OP_EITHER);
    CONSTANT(OP_NOT);
    CONSTANT(RULE_STRATEGY);
    CONSTANT(RULE_SLICE);
    CONSTANT(RULE_SLICE_EXIT);
    CONSTANT(RULE_SLICE_SET);

    CONSTANT(STRATEGY_RETURN);
    CONSTANT(STRATEGY_DIE);
    CONSTANT(STRATEGY_OBLIVIOUS);
    CONSTANT(STRATEGY_RETRY);
    CONSTANT(STRATEGY_END_THREAD);
    CONSTANT(STRATEGY_END_CHILD);
    CONSTANT(STRATEGY_SLICE);

    CONSTANT(STATE_FIXED_BYTES);
    CONSTANT(STATE_PATCH_BYTES);

    CONSTANT(GATE_NATIVE);
    CONSTANT(STATE_MAGIC);
    CONSTANT(STATUS_UNUSED);
    CONSTANT(STATUS_READY);
    CONSTANT(STATUS_STOPPED);
    CONSTANT(STATUS_DISABLED);
    CONSTANT(RECOVERY_RING);
    CONSTANT(REASON_COUNT);
    CONSTANT(REASON_NONE);
    CONSTANT(REASON_NO_FSGSBASE);
    CONSTANT(REASON_NO_MEMORY);
    CONSTANT(REASON_NO_EXECUTABLE);
    CONSTANT(REASON_FOREIGN_GS);
    CONSTANT(REASON_SHADOW_STACK);
    CONSTANT(REASON_UNKNOWN_INSTRUCTION);
    CONSTANT(REASON_UNKNOWN_CODE);
    CONSTANT(REASON_UNKNOWN_SYSCALL);
    CONSTANT(REASON_LOG_FULL);
    CONSTANT(REASON_REENTERED);
    CONSTANT(REASON_TOO_MANY_THREADS);
    CONSTANT(REASON_STACK_SWITCH);
    CONSTANT(REASON_UNSUPPORTED);
    CONSTANT(REASON_BUSY);
    CONSTANT(REASON_LOST_HANDLER);
    CONSTANT(REASON_SHARED_MEMORY_CHILD);
    CONSTANT(REASON_SHARED_STATE);
    CONSTANT(REASON_BREAKPOINT);
    CONSTANT(REASON_SIGNAL);
    CONSTANT(REASON_SEALED);
    CONSTANT(REASON_GUARD);
    CONSTANT(REASON_RULE);
    CONSTANT(REASON_STRATEGY);

    STRUCT(payload_header);
    FIELD(payload_header, magic);
    FIELD(payload_header, abi_version);
    FIELD(payload_header, flags);
    FIELD(payload_header, header_address);
    FIELD(payload_header, state_address);
    FIELD(payload_header, state_size);
    FIELD(payload_header, payload_size);
    FIELD(payload_header, image_size);
    FIELD(payload_header, patch_count);
    FIELD(payload_header, patch_table);
    FIELD(payload_header, events_path);
    FIELD(payload_header, text_start);
    FIELD(payload_header, text_end);
    FIELD(payload_header, rule_table);
    FIELD(payload_header, rule_count);
    FIELD(payload_header, plan_hash);

    STRUCT(rule);
    FIELD(rule, kind);
    FIELD(rule, patch);
    FIELD(rule, address);
    FIELD(rule, end);
    FIELD(rule, value);

    STRUCT(patch);
    FIELD(patch, address);
    FIELD(patch, function);
    FIELD(patch, function_size);
    FIELD(patch, return_value);
    FIELD(patch, check_address);
    FIELD(patch, kind);
    FIELD(patch, return_kind);
    FIELD(patch, check_class);
    FIELD(patch, flags);
    FIELD(patch, gate);
    FIELD(patch, displaced);
    FIELD(patch, length);
    FIELD(patch, original);
    FIELD(patch, boundaries);

    STRUCT(state);
    FIELD(state, magic);
    FIELD(state, abi_version);
    FIELD(state, status);
    FIELD(state, handlers_lent);
    FIELD(state, slow_entries);
    FIELD(state, contexts);
    FIELD(state, contexts_size);
    FIELD(state, contexts_used);
    FIELD(state, guards);
    FIELD(state, degradations);
    FIELD(state, recoveries);
    FIELD(state, units);
    FIELD(state, unit_bytes);
    FIELD(state, log_peak);
    FIELD(state, reasons);
    FIELD(state, ring);

    STRUCT(patch_state);
    FIELD(patch_state, entries);
    FIELD(patch_state, commits);
    FIELD(patch_state, recoveries);
    FIELD(patch_state, degradations);
    FIELD(patch_state, translation);
    FIELD(patch_state, completed);
    FIELD(patch_state, peak_ticks);
    FIELD(patch_state, peak_memory);

    STRUCT(recovery);
    FIELD(recovery, number);
    FIELD(recovery, seconds);
    FIELD(recovery, nanoseconds);
    FIELD(recovery, pc);
    FIELD(recovery, region);
    FIELD(recovery, address);
    FIELD(recovery, returned);
    FIELD(recovery, log_bytes);
    FIELD(recovery, fault_class);
    FIELD(recovery, thread);
    FIELD(recovery, irreversible);
    FIELD(recovery, own);
    FIELD(recovery, strategy);
}

/* For debuggers (stemrw/runtime/gdb_unwinder.py): from a thread's gs base to the code that it runs. */
void export_debugging(void);
void export_debugging(void) {
    CONSTANT(STACK_OFFSET);
    CONSTANT(STACK_TOP_OFFSET);
    CONSTANT(SOURCE_KIND_SHIFT);

    FIELD(state, runtime);

    STRUCT(runtime);
    FIELD(runtime, cache);

    STRUCT(cache);
    FIELD(cache, units);
    FIELD(cache, unit_count);

    STRUCT(unit);
    FIELD(unit, code);
    FIELD(unit, end);
    FIELD(unit, source);
    FIELD(unit, map);
    FIELD(unit, map_count);

    STRUCT(source_map);
    FIELD(source_map, code);
    FIELD(source_map, source);
}

/* For arch/x86_64/entry.S; Python looks into contexts only when it emulates the runtime. */
void export_assembly(void);
void export_assembly(void) {
    CONSTANT(EPOCH_SHIFT);
    CONSTANT(FILTER_OFFSET);
    CONSTANT(TABLE_OFFSET);
    CONSTANT(MARK_BYTES);
    CONSTANT(PATCH_TO_STATE_SHIFT);
    CONSTANT(GLIBC_MULTIPLE_THREADS);
    CONSTANT(LOG_KEEP_BYTES);
    CONSTANT(NR_rt_sigprocmask);
    CONSTANT(NR_rt_sigreturn);
    CONSTANT(OS_SIG_SETMASK);
    CONSTANT(SERVICE_DISPATCH);
    CONSTANT(SERVICE_ENTER);
    CONSTANT(SERVICE_EPOCH);
    CONSTANT(SERVICE_SYSCALL_DONE);

    STRUCT(context);
    FIELD(context, self);
    FIELD(context, owner);
    FIELD(context, depth);
    FIELD(context, mark_rsp);
    FIELD(context, mark);
    FIELD(context, mark_last);
    FIELD(context, epoch);
    FIELD(context, log);
    FIELD(context, log_start);
    FIELD(context, threads);
    FIELD(context, spill);
    FIELD(context, target);
    FIELD(context, resume);
    FIELD(context, argument);
    FIELD(context, service);
    FIELD(context, stack_top);
    FIELD(context, deferred);
    FIELD(context, irreversible);
    FIELD(context, exact);
    FIELD(context, held);
    FIELD(context, held_mask);
    FIELD(context, rescue_mxcsr);
    FIELD(context, rescue_x87);
    FIELD(context, rescue_double);
    FIELD(context, rescue_is_double);
    FIELD(context, registers);
    FIELD(context, fault_class); /* these for `stemrw verify --emulate` */
    FIELD(context, fault_pc);
    FIELD(context, fault_address);
    FIELD(context, state);

    CONSTANT(CALLS);
    CONSTANT(CALL_FREE);
    CONSTANT(GUARD_ENTRY_BYTES);

    STRUCT(guards);
    FIELD(guards, arena);
    FIELD(guards, arena_size);
    FIELD(guards, original);

    STRUCT(mark);
    FIELD(mark, rsp);
    FIELD(mark, return_address);
    FIELD(mark, rbx);
    FIELD(mark, rbp);
    FIELD(mark, r12);
    FIELD(mark, r13);
    FIELD(mark, r14);
    FIELD(mark, r15);
    FIELD(mark, rcx);
    FIELD(mark, rdx);
    FIELD(mark, rsi);
    FIELD(mark, rdi);
    FIELD(mark, r8);
    FIELD(mark, r9);
    FIELD(mark, r10);
    FIELD(mark, r11);
    FIELD(mark, log);
    FIELD(mark, patch);
    FIELD(mark, patch_state);
    FIELD(mark, mxcsr);
    FIELD(mark, x87_control);
    FIELD(mark, seen);
}
