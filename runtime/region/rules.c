#include "region/rules.h"

#include "region/runtime.h"

static const struct rule *rules(void) {
    return (const struct rule *)((const char *)&payload_header + payload_header.rule_table);
}

static uint32_t owner_of(const struct patch *patch) {
    const struct patch *table = (const struct patch *)((const char *)&payload_header + payload_header.patch_table);
    return patch ? (uint32_t)(patch - table) : (uint32_t)RULE_MODULE;
}

const struct rule *rule_of(const struct patch *patch, enum rule_kind kind) {
    const uint32_t owner = owner_of(patch);
    for (uint32_t i = 0; i < payload_header.rule_count; i++)
        if (rules()[i].patch == owner && rules()[i].kind == kind)
            return &rules()[i];
    return NULL;
}

const struct rule *rule_next(const struct rule *rule) {
    const struct rule *next = rule + 1;
    const bool same = next < rules() + payload_header.rule_count && next->patch == rule->patch && next->kind == rule->kind;
    return same ? next : NULL;
}

bool rule_planned(enum rule_kind kind) {
    for (uint32_t i = 0; i < payload_header.rule_count; i++)
        if (rules()[i].kind == kind)
            return true;
    return false;
}

const struct rule *rule_at(enum rule_kind kind, uintptr_t address) {
    for (uint32_t i = 0; i < payload_header.rule_count; i++)
        if (rules()[i].kind == kind && rule_address(&rules()[i]) == address)
            return &rules()[i];
    return NULL;
}

uintptr_t rule_address(const struct rule *rule) {
    return rule->address + load_bias();
}
