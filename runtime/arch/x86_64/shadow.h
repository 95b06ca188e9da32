/* What is put around calls and returns where the plan has RULE_STACK (fault/stack.h says what for). */
#ifndef STEMRW_SHADOW_H
#define STEMRW_SHADOW_H

#include "translate/unit.h"

/* Before a call pushes its return address: the entry of its slot.  Flags and registers survive. */
void emit_shadow_call(struct builder *builder, const struct source_instruction *at);

/* Before a ret: compare and forget.  All survive, but rcx is in spill[0]. */
void emit_shadow_return(struct builder *builder, const struct block *block, const struct source_instruction *at);

#endif
