#include "region/rules.h"

#include "region/runtime.h"

static const struct rule *rules(void) {
    return (const struct rule *)((const char *)&payload_header + payload_header.rule_table);
}

static uint32_t owner_of(const struct patch *patch) {
    return patch ? (uint32_t)(patch - patch_table()) : (uint32_t)RULE_MODULE;
}

/* Those of one owner and kind are neighbours, ascending. */
const struct rule *rule_of(const struct patch *patch, enum rule_kind kind) {
    const uint64_t wanted = (uint64_t)owner_of(patch) << 32 | kind;
    uint32_t low = 0, high = payload_header.rule_count;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (((uint64_t)rules()[middle].patch << 32 | rules()[middle].kind) < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    const struct rule *found = &rules()[low];
    return low < payload_header.rule_count && found->patch == owner_of(patch) && found->kind == kind ? found : NULL;
}

const struct rule *rule_next(const struct rule *rule) {
    const struct rule *next = rule + 1;
    const bool same =
        next < rules() + payload_header.rule_count && next->patch == rule->patch && next->kind == rule->kind;
    return same ? next : NULL;
}

bool rule_planned(enum rule_kind kind) {
    return module_runtime()->rule_kinds >> kind & 1;
}

static const struct rule *first_about(const struct rule *rule, enum rule_kind kind, uintptr_t address) {
    if (!place_may_matter(address))
        return NULL;
    for (; rule < rules() + payload_header.rule_count; rule++)
        if (rule->kind == kind && rule_address(rule) == address)
            return rule;
    return NULL;
}

const struct rule *rule_at(enum rule_kind kind, uintptr_t address) {
    return first_about(rules(), kind, address);
}

const struct rule *rule_at_next(const struct rule *rule) {
    return first_about(rule + 1, (enum rule_kind)rule->kind, rule_address(rule));
}

uintptr_t rule_address(const struct rule *rule) {
    return rule->address + load_bias();
}

/* ---- which places need not be looked for ---- */

static unsigned place_bit(uint64_t link) {
    return (unsigned)(link * 0x9e3779b97f4a7c15ull >> (64 - PLACE_BITS));
}

bool place_may_matter(uintptr_t address) {
    const unsigned bit = place_bit(address - load_bias());
    return module_runtime()->places[bit / 64] >> bit % 64 & 1;
}

static void add_place(struct runtime *runtime, uint64_t link) {
    const unsigned bit = place_bit(link);
    runtime->places[bit / 64] |= link ? 1ull << bit % 64 : 0;
}

void rules_start(struct runtime *runtime) {
    for (uint32_t i = 0; i < payload_header.rule_count; i++) {
        runtime->rule_kinds |= 1ull << rules()[i].kind;
        add_place(runtime, rules()[i].address);
    }
    for (uint32_t p = 0; p < payload_header.patch_count; p++)
        add_place(runtime, patch_table()[p].check_address);
}
