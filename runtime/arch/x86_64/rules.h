/* Translation rules, x86-64: what the program had → what the cache gets.
 *
 * All registers and rsp are the program's; gs:[…] is the thread's context.  Nothing is pushed except return addresses.
 * Code that is put in between uses registers that it saves in context slots, and leaves the flags alone unless
 * find_live_flags (translate/discover.c) has shown that nobody reads them.
 *
 *   spill[0]  rcx, from an indirect branch to its target's entry     spill[1], spill[2]  rax, rdx of a filter
 *   spill[3]  scratch of an operand out of reach, flags of a filter
 *
 *   rules.c         blocks: which rules each instruction meets, and what stands at a block's beginning
 *   rules_flow.c    entries, branches, calls, returns, system calls
 *   rules_store.c   the undo log before a store
 *   rules_check.c   C before an instruction that is known to fault
 *   rules_guard.c   accesses that are compared with guarded blocks
 *   rules_copy.c    the instruction itself
 *   pieces.c        links, requests to C, the map from the cache back to the program
 */
#ifndef STEMRW_X86_64_RULES_H
#define STEMRW_X86_64_RULES_H

#include "translate/unit.h"

#define OUT (&builder->out)
#define SPILL(i) (offsetof(struct context, spill) + 8 * (i))

/* ---- pieces.c ---- */

/* op r64, [rip + literal]: 8b loads, 3b compares, 03 adds, 2b subtracts */
void emit_literal(struct builder *builder, uint8_t opcode, unsigned reg, uint64_t value);

/* What the code that follows is of: an instruction, which .here is from now on, or what was put in for it. */
void map_source(struct builder *builder, uintptr_t address);
void map_source_as(struct builder *builder, enum source_kind kind, uintptr_t address);

/* A link's place in the data: for which address of the program it is. */
uint32_t new_slot(struct builder *builder, uintptr_t target);
uintptr_t slot_target(const struct builder *builder, uint32_t slot);
void emit_jump_slot(struct builder *builder, uint32_t slot);

/* jmp → block of this unit, known code, or a link */
void emit_jump(struct builder *builder, uintptr_t target);

/* The last 4 bytes emitted are the displacement of a conditional jump to where `at` leads. */
void aim_branch(struct builder *builder, const struct source_instruction *at);

/* context.resume := the code behind resume_here, which is given the result.  Uses rcx. */
uint32_t emit_resume(struct builder *builder);
void resume_here(struct builder *builder, uint32_t at);

/* Ask C about the code at `address`, and go on behind it.  All registers and flags survive. */
void emit_service_at(struct builder *builder, enum service service, uintptr_t address);

/* Go on natively there. */
void emit_native(struct builder *builder, uintptr_t address, enum reason reason);

/* ---- rules_flow.c ---- */

/* What an indirect branch to `source` comes to first. */
void emit_entry(struct builder *builder, uintptr_t source, uint8_t flags_live);
void emit_push_return(struct builder *builder, uintptr_t address);
void rule_call_indirect(struct builder *builder, const struct source_instruction *at);
void rule_jump_indirect(struct builder *builder, const struct source_instruction *at);
void rule_return(struct builder *builder, const struct block *block, const struct source_instruction *at);
void rule_branch(struct builder *builder, const struct source_instruction *at);
void rule_loop(struct builder *builder, const struct source_instruction *at);
void rule_transaction(struct builder *builder, const struct source_instruction *at);
void rule_syscall(struct builder *builder, const struct source_instruction *at);

/* ---- rules_store.c ---- */

/* A filter: rdx := the address of the memory operand, and everything back; or to a cold part where ZF is clear, whose
 * number is the result.  `flags`: somebody reads them, and they are in spill[3] meanwhile. */
bool emit_filter(struct builder *builder, const struct source_instruction *at);
void emit_filter_restore(struct builder *builder, bool flags);
uint32_t emit_filter_end(struct builder *builder, enum cold_kind kind, uint32_t index, bool flags);

void emit_address(struct builder *builder, uint32_t offset); /* lea rdx, [the unit + offset] */

/* Before an instruction that may store.  The cold part of its filter, or NO_COLD. */
enum { NO_COLD = MAX_COLDS };
uint32_t emit_undo(struct builder *builder, uint32_t index, const struct source_instruction *at);
void emit_cold_log(struct builder *builder, const struct cold *cold);

/* ---- rules_check.c ---- */

void emit_check(struct builder *builder, uint32_t index, const struct source_instruction *at);
void emit_cold_check(struct builder *builder, const struct cold *cold);

/* ---- rules_guard.c ---- */

bool may_be_guarded(const struct instruction *decoded);
void emit_guard(struct builder *builder, const struct source_instruction *at);

/* ---- rules_copy.c ---- */

/* As it is, but for an operand that lies elsewhere from here. */
void emit_copy(struct builder *builder, const struct source_instruction *at);
void rule_read_base(struct builder *builder, const struct source_instruction *at);
void rule_ordinary(struct builder *builder, uint32_t index, const struct source_instruction *at);

#endif
