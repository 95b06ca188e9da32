/* Stores that would overwrite what a function returns by, seen before they execute.  Only where the plan has
 * RULE_STACK.
 *
 * The table of calls (fault/stack.h) knows where return addresses lie.  A word between rsp and the outermost checkpoint
 * that a call has put there, that holds it still, and that no return or jump has left since, belongs to no object of
 * the program: what is about to be written there is an overrun, or goes through a pointer that another has changed.  So
 * does the word below it, if the function that was called has its frame pointer there.
 *
 *     store ──▶ does an entry of the table lie within its reach? (arch/x86_64/shadow.c)  ──no──▶ the store
 *                 │ yes: overwrites
 *
 * Unwinders put the address where they land over a return address, then load rsp and jump, all in one run of code.
 */
#ifndef STEMRW_OVERWRITE_H
#define STEMRW_OVERWRITE_H

#include "region/context.h"

/* The program is about to write `size` bytes at `address`, upwards.  True: a fault was raised. */
bool overwrites(struct context *context, uintptr_t address, size_t size);

#endif
