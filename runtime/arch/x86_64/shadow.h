/* What is put around calls and returns, and before stores, where the plan has RULE_STACK (fault/stack.h says why). */
#ifndef STEMRW_SHADOW_H
#define STEMRW_SHADOW_H

#include "translate/unit.h"

/* Before a call pushes its return address: the entry of its slot.  Flags and registers survive. */
void emit_shadow_call(struct builder *builder, const struct source_instruction *at);

/* At a region's entry: the entry of the slot that it will return by, for its caller may be native. */
void emit_shadow_entry(struct builder *builder);

/* Before a function's own `pop`, with which it takes its return address away itself: the entry is forgotten. */
void emit_shadow_drop(struct builder *builder, const struct source_instruction *at);

/* Before a ret: compare and forget.  All survive, but rcx is in spill[0]. */
void emit_shadow_return(struct builder *builder, const struct block *block, const struct source_instruction *at);

/* Whether a store's address is that of no object of the running function itself, and may be one on the stack. */
bool shadow_reaches(const struct builder *builder, const struct instruction *decoded);

/* In a check of such a store, rdx being its address: does it touch the slot of a call, or the word below, where frame
 * pointers are saved?  Then to where emit_shadow_hit is called with the result, ZF clear, else on with rdx kept.  Uses
 * rax and flags. */
uint32_t emit_shadow_store(struct builder *builder, const struct source_instruction *at);
void emit_shadow_hit(struct builder *builder, uint32_t jump);

#endif
