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

/* The first rule of that kind which is about `address`, whoever's it is; NULL: none. */
const struct rule *rule_at(enum rule_kind kind, uintptr_t address);

/* The address that a rule is about, as loaded. */
uintptr_t rule_address(const struct rule *rule);

#endif
