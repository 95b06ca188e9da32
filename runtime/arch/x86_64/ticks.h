/* Counting, in files that have a budget (fault/budget.h): what every endless run of instructions must come by.
 *
 * That is where a loop is closed (a direct branch to where it stands, or before), a function is called, or a jump goes
 * where a register says.  A branch within its unit is counted where it leads, for there the flags are dead as a rule.
 */
#ifndef STEMRW_TICKS_H
#define STEMRW_TICKS_H

#include "translate/unit.h"

/* Whether this direct branch closes a loop. */
bool closes_loop(const struct source_instruction *at);

/* Blocks of the unit that a branch of the unit leads back to: .counts of each. */
void find_loops(struct builder *builder);

/* One tick.  In a slice's last C looks (SERVICE_TICK).  Registers survive, flags too if they are live. */
void emit_tick(struct builder *builder, bool flags_live);

/* … before a call or jump through a register or memory; not before those of stubs, to which a call has led. */
void emit_indirect_tick(struct builder *builder, uint32_t index);

/* The request to C, and back. */
void emit_cold_tick(struct builder *builder, const struct cold *cold);

#endif
