/* Looking up rules (include/rules.h). */
#ifndef STEMRW_REGION_RULES_H
#define STEMRW_REGION_RULES_H

#include <stdbool.h>

#include "include/abi.h"
#include "include/rules.h"

/* The first rule of that kind which belongs to `patch` (NULL: to the module); NULL: none.  Those of the same kind and
 * owner follow it: see rule_next. */
const struct rule *rule_of(const struct patch *patch, enum rule_kind kind);
const struct rule *rule_next(const struct rule *rule);

/* Whether anybody has one of that kind. */
bool rule_planned(enum rule_kind kind);

/* The first rule of that kind which is about `address`, whoever's it is; NULL: none.  Then the next one. */
const struct rule *rule_at(enum rule_kind kind, uintptr_t address);
const struct rule *rule_at_next(const struct rule *rule);

/* False: no rule is about that address, and no check was asked for there. */
bool place_may_matter(uintptr_t address);

/* What the others look at is collected, at the process's start. */
struct runtime;
void rules_start(struct runtime *runtime);

/* The address that a rule is about, as loaded. */
uintptr_t rule_address(const struct rule *rule);

#endif
