/* The decoder: prefixes, one or two table look-ups, then the fields.
 *
 * Contract and field meanings are in decode.h, tables in tables.inc (generated from iced-x86).
 *
 *     bytes ── prefixes ──▶ opcode map ──▶ entry ──(nodes: choose by prefix, size, mode, ModRM …)──▶ class ──▶ fields
 *
 * A class says what an instruction is, as functions of operand size, mode and vector length, and for which of them it
 * is valid at all.  Whatever no class allows is rejected; 3DNow!, APX and 16-bit branches are rejected on purpose (the
 * last because AMD and Intel disagree about them).
 */
#include "decode.h"

struct class {
    uint16_t valid;      /* one bit per value of form, pp, osz, mode, length (VALID_…) */
    uint8_t immediate;   /* index into immediates */
    uint8_t size;        /* of the memory operand: index into sizes */
    uint8_t roles;       /* 2 bits (enum access) each: ModRM.reg, ModRM.rm, register in opcode, vvvv */
    uint8_t control;     /* enum flow | enum stack_effect << 4 */
    uint8_t stack_bytes; /* index into sizes */
    uint8_t memory;      /* enum memory_kind | enum access << 3 | lockable << 5 | always locked << 6 */
    uint8_t bits;        /* CLASS_… */
    uint8_t flags;       /* index into flag_sets */
    uint8_t implicit;    /* index into implicit_sets */
    uint8_t rule;        /* index into rules */
};

struct immediate {
    uint8_t kind; /* IMMEDIATE_… */
    uint8_t size; /* index into sizes */
};

struct flags {
    uint8_t read, written;
};

struct implicit {
    uint16_t reads, writes;
};

struct rule {
    uint16_t bits;     /* RULE_… */
    uint8_t broadcast; /* size of the operand when it is broadcast: index into sizes */
    uint8_t scale;     /* N of disp8*N: index into sizes */
};

#include "tables.inc"

/* Everything is inlined into decode(), so that what is known stays in registers. */
#define INLINE static inline __attribute__((always_inline))

enum { AXES = 8, MEMORY_FORM = 0, REGISTER_FORM = 1 };
enum { MEMORY_LOCKABLE = 1 << 5, MEMORY_LOCKS = 1 << 6 }; /* in class.memory */
enum { PREFIX_NONE, PREFIX_66, PREFIX_F3, PREFIX_F2 };    /* values of AXIS_PP */
enum { SIZE_DEFAULT, SIZE_16, SIZE_W };                   /* values of AXIS_OSZ */
enum { LONGEST = 15, VALID_ANYWHERE = 0x7fff };
enum { RCX = 1, RSP = 4, RBP = 5 };

/* What is known on the way to the class. */
struct state {
    const uint8_t *code;
    struct instruction *out;
    unsigned limit;     /* bytes that an instruction may have here */
    unsigned available; /* bytes that may be read */
    unsigned at;        /* bytes consumed */
    uint32_t select;    /* the value on each axis (AXIS_…), 4 bits each; see on() */
    bool wide;          /* 64-bit mode */
    bool lock, operand_size, address_size;
    uint8_t repeat;       /* 0, PREFIX_F3 or PREFIX_F2: the last of them */
    uint8_t map;          /* MAP_… */
    uint8_t column;       /* of sizes[], by operand size and mode */
    uint8_t modrm;        /* the byte, if out->modrm_offset */
    uint8_t high_reg;     /* 8 if R extends ModRM.reg, plus 16 if R' does */
    uint8_t high_index;   /* 8 if X extends the index (or ModRM.rm as an EVEX vector register: 16) */
    uint8_t high_base;    /* 8 if B extends the base, ModRM.rm or the register in the opcode */
    uint8_t vvvv;         /* 0..31; bit 3 means nothing in 32-bit mode, but unused it must be 0 as well */
    uint8_t vector_index; /* 16 if V' extends a vector index */
    uint8_t evex;         /* the last EVEX byte: z L'L b V' aaa */
};

/* The value on an axis; set at most once, from 0. */
INLINE unsigned on(const struct state *s, unsigned axis) {
    return s->select >> 4 * axis & 15;
}

INLINE void put(struct state *s, unsigned axis, unsigned value) {
    s->select |= value << 4 * axis;
}

/* `size` (1..8) bytes at offset `at`, sign extended; the caller has checked that they are within s->limit. */
INLINE int64_t signed_bytes(const struct state *s, unsigned at, unsigned size) {
    const uint8_t *p = s->code + at;
    uint64_t value = 0;
    unsigned unused = 64 - 8 * size;
    if (at + 8 <= s->available) {
        __builtin_memcpy(&value, p, 8);
    } else {
        for (unsigned i = 0; i < size; i++)
            value |= (uint64_t)p[i] << 8 * i;
    }
    return (int64_t)(value << unused) >> unused;
}

/* The size function number `index` at this operand size and mode, or at this vector length. */
INLINE unsigned size_at(const struct state *s, unsigned index) {
    unsigned length = on(s, AXIS_LENGTH);
    if (index < SIZES_BY_LENGTH)
        return sizes[index][s->column];
    return sizes[index][length > 2 ? 2 : length];
}

/* Take a legacy prefix byte; false if `byte` is none. */
INLINE bool take_prefix(struct state *s, uint8_t byte) {
    switch (byte) {
    case 0x66:
        s->operand_size = true;
        return true;
    case 0x67:
        s->address_size = true;
        return true;
    case 0xf0:
        s->lock = true;
        return true;
    case 0xf2:
    case 0xf3:
        s->repeat = byte == 0xf2 ? PREFIX_F2 : PREFIX_F3;
        return true;
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e: /* ignored in 64-bit mode, where they also do not cancel fs or gs */
        if (!s->wide)
            s->out->segment = byte;
        return true;
    case 0x64:
    case 0x65:
        s->out->segment = byte;
        return true;
    default:
        return false;
    }
}

/* Legacy and REX prefixes up to the first other byte; false if the bytes end. */
INLINE bool prefixes(struct state *s) {
    struct instruction *out = s->out;
    for (; s->at < s->limit; s->at++) {
        uint8_t byte = s->code[s->at];
        if (direct[s->map][byte]) /* an opcode, then: the tables say nothing of prefixes and escapes */
            break;
        if (s->wide && (byte & 0xf0) == 0x40) {
            out->rex = byte;
            out->rex_offset = (uint8_t)s->at;
        } else if (take_prefix(s, byte)) {
            out->rex = out->rex_offset = 0; /* REX counts only right before the opcode */
        } else {
            break;
        }
    }
    s->high_reg = (uint8_t)((out->rex & 4) << 1);
    s->high_index = (uint8_t)((out->rex & 2) << 2);
    s->high_base = (uint8_t)((out->rex & 1) << 3);
    return s->at < s->limit;
}

/* The four-byte prefix of EVEX: 62 · R X B R' 0 m m m · W v v v v 1 p p · z L' L b V' a a a (RXBR'vV' inverted). */
INLINE bool evex_prefix(struct state *s) {
    static const uint8_t maps[8] = {0, MAP_EVEX_1, MAP_EVEX_2, MAP_EVEX_3, 0, MAP_EVEX_5, MAP_EVEX_6, 0};
    const uint8_t *p = s->code + s->at;
    if (s->at + 4 >= s->limit || (p[1] & 8) || !(p[2] & 4) || !maps[p[1] & 7])
        return false;
    s->map = maps[p[1] & 7];
    s->evex = p[3];
    s->vvvv = (uint8_t)((~p[2] >> 3 & 15) | (p[3] & 8 ? 0 : 16));
    s->vector_index = p[3] & 8 ? 0 : 16;
    s->out->vex = 4;
    s->at += 4;
    return true;
}

/* VEX with three bytes (C4) and XOP (8F): lead · R X B m m m m m · W v v v v L p p. */
INLINE bool vex3_prefix(struct state *s, bool xop) {
    const uint8_t *p = s->code + s->at;
    unsigned map = p[1] & 31;
    if (s->at + 3 >= s->limit || map < (xop ? 8 : 1) || map > (xop ? 10 : 3))
        return false;
    s->map = (uint8_t)(xop ? MAP_XOP_8 + map - 8 : MAP_VEX_1 + map - 1);
    s->vvvv = ~p[2] >> 3 & 15;
    put(s, AXIS_LENGTH, p[2] >> 2 & 1);
    s->out->vex = xop ? 5 : 3;
    s->at += 3;
    return true;
}

/* VEX, XOP and EVEX prefixes, whose first byte is at s->at; false if invalid. */
INLINE bool vector_prefix(struct state *s, uint8_t lead) {
    const uint8_t *p = s->code + s->at;
    if (s->lock || s->repeat || s->operand_size || s->out->rex)
        return false;
    uint8_t extend = (uint8_t)~p[1]; /* R X B R' in bits 7..4 */
    uint8_t last = p[lead == 0xc5 ? 1 : 2];
    if (lead == 0xc5) {
        if (s->at + 2 >= s->limit)
            return false;
        s->map = MAP_VEX_1;
        s->vvvv = ~last >> 3 & 15;
        put(s, AXIS_LENGTH, last >> 2 & 1);
        s->out->vex = 2;
        s->at += 2;
        extend &= 0x80;
        last &= 0x7f;
    } else if (!(lead == 0x62 ? evex_prefix(s) : vex3_prefix(s, lead == 0x8f))) {
        return false;
    }
    if (s->wide) {
        s->high_reg = extend >> 4 & 8;
        s->high_index = extend >> 3 & 8;
        s->high_base = extend >> 2 & 8;
        if (lead == 0x62)
            s->high_reg |= extend & 16;
    } else if (s->vvvv & 16) {
        return false;
    }
    put(s, AXIS_PP, last & 3);
    put(s, AXIS_OSZ, last & 0x80 ? SIZE_W : SIZE_DEFAULT);
    return true;
}

/* Whether the byte at s->at starts a VEX, XOP or EVEX prefix rather than pop, les, lds or bound. */
INLINE bool starts_vector_prefix(const struct state *s, uint8_t byte) {
    if ((byte | 1) != 0xc5 && byte != 0x62 && byte != 0x8f)
        return false;
    if (s->at + 2 >= s->limit)
        return false;
    uint8_t next = s->code[s->at + 1];
    if (byte == 0x8f)
        return (next & 31) >= 8;
    return s->wide || next >= 0xc0;
}

/* Escape bytes, mandatory prefix and operand size of a legacy instruction; false if the bytes end. */
INLINE bool legacy_map(struct state *s, uint8_t byte) {
    if (byte == 0x0f) {
        s->map = MAP_TWO_BYTE;
        if (++s->at >= s->limit)
            return false;
        byte = s->code[s->at];
        if (byte == 0x38 || byte == 0x3a) {
            s->map = byte == 0x38 ? MAP_THREE_BYTE_38 : MAP_THREE_BYTE_3A;
            if (++s->at >= s->limit)
                return false;
        }
    }
    put(s, AXIS_PP, s->repeat ? s->repeat : s->operand_size ? PREFIX_66 : PREFIX_NONE);
    put(s, AXIS_OSZ, s->out->rex & 8 ? SIZE_W : s->operand_size ? SIZE_16 : SIZE_DEFAULT);
    put(s, AXIS_REX_B, s->high_base >> 3);
    return true;
}

/* The opcode byte and, if there is one, the ModRM byte; returns the entry for the opcode, 0 if invalid. */
INLINE unsigned opcode_entry(struct state *s) {
    if (s->at >= s->limit)
        return 0;
    uint8_t opcode = s->code[s->at];
    unsigned entry = s->map < DIRECT_MAPS ? direct[s->map][opcode]
                                          : blocks[map_blocks[s->map - DIRECT_MAPS][opcode >> 4]][opcode & 15];
    s->out->opcode_offset = (uint8_t)s->at++;
    if (entry & ENTRY_MODRM) {
        if (s->at >= s->limit)
            return 0;
        s->out->modrm_offset = (uint8_t)s->at;
        s->modrm = s->code[s->at++];
        put(s, AXIS_FORM, s->modrm >= 0xc0);
        put(s, AXIS_REG, s->modrm >> 3 & 7);
        put(s, AXIS_RM, s->modrm & 7);
    } else {
        put(s, AXIS_FORM, REGISTER_FORM);
    }
    return entry;
}

/* EVEX.b with a register: rounding mode or suppressed exceptions. */
INLINE bool is_rounding(const struct state *s) {
    return s->out->vex == 4 && (s->evex & 0x10) && on(s, AXIS_FORM) == REGISTER_FORM;
}

INLINE const struct class *find_class(struct state *s) {
    unsigned entry = opcode_entry(s);
    if (s->out->vex == 4) /* with rounding, L'L is the mode, and the vector has its full length */
        put(s, AXIS_LENGTH, is_rounding(s) ? 2 : s->evex >> 5 & 3);
    while (entry & ENTRY_NODE)
        entry = children[(entry & ENTRY_CHILD) + on(s, entry >> ENTRY_AXIS & (AXES - 1))];
    entry &= ~(unsigned)ENTRY_MODRM;
    return entry ? &classes[entry] : 0;
}

/* Whether the fields of a VEX, XOP or EVEX prefix that choose no instruction are as they must be. */
INLINE bool vector_fields_allowed(const struct state *s, const struct class *class, unsigned rule) {
    bool memory_form = on(s, AXIS_FORM) == MEMORY_FORM;
    if (rule & RULE_VVVV_USED) {
        if ((rule & RULE_VVVV_BELOW_8) && s->wide && s->vvvv > 7)
            return false;
    } else if ((class->memory & 7) == MEMORY_VECTOR ? s->vvvv & 15 : s->vvvv) {
        return false;
    }
    if (s->out->vex != 4)
        return true;
    unsigned mask = s->evex & 7, zeroing = memory_form ? RULE_ZERO_MEMORY : RULE_ZERO_REGISTER;
    if (mask ? !(rule & RULE_MASK_OK) : rule & RULE_MASK_REQUIRED)
        return false;
    if ((s->evex & 0x80) && (!mask || !(rule & zeroing)))
        return false;
    return !(s->evex & 0x10) || (rule & (memory_form ? RULE_BROADCAST : RULE_ROUND));
}

/* 16-bit near branches: AMD truncates the instruction pointer, Intel ignores the prefix. */
INLINE bool is_short_pointer_branch(const struct state *s, const struct class *class) {
    unsigned flow = class->control & 15;
    bool near = flow >= FLOW_JUMP && flow <= FLOW_RETURN;
    return near && !s->out->vex && s->operand_size && on(s, AXIS_OSZ) != SIZE_W;
}

/* Whether the class is valid with these prefixes, this operand size, mode, form and vector length. */
INLINE bool valid_here(const struct state *s, const struct class *class) {
    unsigned needed = 1u << (VALID_FORM + on(s, AXIS_FORM)) | 1u << (VALID_PP + on(s, AXIS_PP)) |
                      1u << (VALID_OSZ + on(s, AXIS_OSZ)) | 1u << (VALID_MODE + on(s, AXIS_MODE));
    if (!is_rounding(s))
        needed |= 1u << (VALID_LENGTH + on(s, AXIS_LENGTH));
    return (class->valid & needed) == needed;
}

/* Whether register extensions are ones that the class has registers for. */
INLINE bool extensions_allowed(const struct state *s, const struct class *class, unsigned rule) {
    bool in_register = on(s, AXIS_FORM) == REGISTER_FORM || (class->bits & CLASS_IGNORES_MOD);
    if ((rule & RULE_PLAIN_REG) && s->high_reg)
        return false;
    if ((rule & RULE_BELOW_16) && s->high_reg > 8)
        return false;
    return !((rule & RULE_PLAIN_RM) && s->high_base && in_register);
}

/* Whether everything that was decoded so far is valid for the class. */
INLINE bool allowed(const struct state *s, const struct class *class) {
    if (class->valid != VALID_ANYWHERE && !valid_here(s, class))
        return false;
    if (s->lock && !(on(s, AXIS_FORM) == MEMORY_FORM && (class->memory & MEMORY_LOCKABLE)))
        return false;
    if (s->operand_size && is_short_pointer_branch(s, class))
        return false;
    unsigned rule = rules[class->rule].bits;
    return (!rule || extensions_allowed(s, class, rule)) && (!s->out->vex || vector_fields_allowed(s, class, rule));
}

/* Whether the vector registers of a gather, an AMX product or a complex multiplication are as distinct as they must
 * be (called when the index is known). */
INLINE bool distinct_registers(const struct state *s, const struct class *class) {
    unsigned rule = rules[class->rule].bits;
    if (!(rule & RULE_UNIQUE))
        return true;
    unsigned reg = (s->modrm >> 3 & 7u) | s->high_reg, vvvv = s->wide ? s->vvvv : s->vvvv & 7u;
    unsigned other = s->out->index; /* the vector index; REG_NONE equals no register */
    if (on(s, AXIS_FORM) == REGISTER_FORM)
        other = (s->modrm & 7u) | s->high_base | (s->out->vex == 4 ? (unsigned)s->high_index << 1 : 0);
    else if ((class->memory & 7) != MEMORY_VECTOR)
        other = REG_NONE;
    if (reg == other)
        return false;
    if (!(rule & RULE_VVVV_USED))
        return true;
    return reg != vvvv && !((rule & RULE_UNIQUE_SOURCES) && other == vvvv);
}

/* Base, index and scale from a SIB byte; returns the base field (5 means: by mod), or -1 if the bytes end. */
INLINE int sib(struct state *s, bool vector) {
    if (s->at >= s->limit)
        return -1;
    struct instruction *out = s->out;
    uint8_t byte = s->code[s->at++];
    unsigned index = (byte >> 3 & 7) | s->high_index;
    if (vector) {
        out->index = (uint8_t)(index | s->vector_index);
        out->scale = (uint8_t)(1 << (byte >> 6));
    } else if (index != RSP) {
        out->index = (uint8_t)index;
        out->scale = (uint8_t)(1 << (byte >> 6));
    }
    return byte & 7;
}

/* 16-bit addressing (67 in 32-bit mode). */
INLINE void address_16(struct state *s) {
    static const uint8_t bases[8] = {3, 3, 5, 5, 6, 7, 5, 3};
    static const uint8_t indexes[8] = {6, 7, 6, 7, REG_NONE, REG_NONE, REG_NONE, REG_NONE};
    unsigned mod = s->modrm >> 6, rm = s->modrm & 7;
    bool absolute = mod == 0 && rm == 6;
    s->out->base = absolute ? REG_NONE : bases[rm];
    s->out->index = indexes[rm];
    s->out->displacement_size = absolute || mod == 2 ? 2 : mod == 1 ? 1 : 0;
}

/* The addressing form behind a ModRM byte with mod != 3; false if the bytes end or a SIB byte is missing. */
INLINE bool address(struct state *s, const struct class *class) {
    struct instruction *out = s->out;
    unsigned mod = s->modrm >> 6;
    int base = s->modrm & 7;
    if (s->address_size && !s->wide) {
        address_16(s);
        return !(class->bits & CLASS_NEEDS_SIB);
    }
    bool has_sib = base == 4;
    if (has_sib && (base = sib(s, (class->memory & 7) == MEMORY_VECTOR)) < 0)
        return false;
    if (!has_sib && (class->bits & CLASS_NEEDS_SIB))
        return false;
    if (mod == 0 && base == RBP) {
        out->displacement_size = 4;
        out->rip_relative = !has_sib && s->wide;
        return true;
    }
    out->base = (uint8_t)((unsigned)base | s->high_base);
    out->displacement_size = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    return true;
}

/* The displacement, whose size is known; false if the bytes end. */
INLINE bool displacement(struct state *s, const struct class *class) {
    struct instruction *out = s->out;
    if (!out->displacement_size)
        return true;
    if (s->at + out->displacement_size > s->limit)
        return false;
    out->displacement_offset = (uint8_t)s->at;
    out->displacement = (int32_t)signed_bytes(s, s->at, out->displacement_size);
    s->at += out->displacement_size;
    if (out->vex == 4 && out->displacement_size == 1)
        out->displacement *= (s->evex & 0x10) ? out->operand_bytes : (int)size_at(s, rules[class->rule].scale);
    return true;
}

/* The memory operand: kind, access, size, address; false if the bytes end. */
INLINE bool memory_operand(struct state *s, const struct class *class) {
    struct instruction *out = s->out;
    bool modrm_operand = on(s, AXIS_FORM) == MEMORY_FORM && !(class->bits & CLASS_IGNORES_MOD);
    if (!modrm_operand && !(rules[class->rule].bits & RULE_MEMORY_IN_REGISTER_FORM))
        return true; /* also: the register form of a class that has a memory form */
    out->memory = class->memory & 7;
    out->access = class->memory >> 3 & 3;
    out->operand_bytes = (uint16_t)size_at(s, class->size);
    if (!modrm_operand) {
        if (immediates[class->immediate].kind == IMMEDIATE_OFFSET)
            out->displacement_size = (s->wide ? 8 : 4) >> s->address_size;
        return displacement(s, class);
    }
    if (out->vex == 4 && (s->evex & 0x10))
        out->operand_bytes = (uint16_t)size_at(s, rules[class->rule].broadcast);
    out->lock = s->lock || (class->memory & MEMORY_LOCKS);
    out->bit_offset = (class->bits & CLASS_BIT_OFFSET) != 0;
    return address(s, class) && displacement(s, class);
}

/* All immediates; false if the bytes end. */
INLINE bool immediate(struct state *s, const struct class *class) {
    struct instruction *out = s->out;
    unsigned kind = immediates[class->immediate].kind;
    unsigned size = size_at(s, immediates[class->immediate].size), at = s->at;
    if (!size)
        return true;
    if (at + size > s->limit)
        return false;
    out->immediate_offset = (uint8_t)at;
    out->immediate_size = (uint8_t)size;
    s->at += size;
    if (kind == IMMEDIATE_UNSIGNED8)
        out->immediate = s->code[at];
    else if (kind == IMMEDIATE_UNSIGNED16)
        out->immediate = (uint16_t)signed_bytes(s, at, 2);
    else
        out->immediate = signed_bytes(s, at, kind == IMMEDIATE_FAR ? size - 2 : size);
    return true;
}

/* Number of a byte register: without REX, 4..7 are ah, ch, dh, bh. */
INLINE unsigned byte_register(const struct state *s, unsigned number) {
    return s->out->rex || number < 4 ? number : number - 4;
}

/* Whether an instruction that writes rsp explicitly moves it by a constant: add/sub/and/inc/dec of all its bits with
 * at most an immediate, or lea from rsp alone. */
INLINE bool adjusts_stack(const struct state *s, const struct class *class) {
    const struct instruction *out = s->out;
    if (!(class->bits & CLASS_ADJUSTING) || (class->bits & CLASS_BYTE_RM))
        return false;
    if (on(s, AXIS_OSZ) != (s->wide ? SIZE_W : SIZE_DEFAULT))
        return false;
    return out->memory == MEMORY_NONE || (out->base == RSP && out->index == REG_NONE && !out->address_size_override);
}

/* The stack effect of an instruction that writes rsp, as an operand or implicitly. */
INLINE void stack_pointer_written(struct state *s, const struct class *class, bool operand) {
    struct instruction *out = s->out;
    if (out->stack != STACK_NONE)
        out->stack_bytes = (uint16_t)size_at(s, class->stack_bytes);
    if (operand)
        out->stack = out->stack == STACK_NONE && adjusts_stack(s, class) ? STACK_ADJUST : STACK_LOADED;
    else if (out->stack == STACK_NONE)
        out->stack = STACK_LOADED;
}

/* A role (enum access) of register number 0: bit 0 if read, bit 16 if written. */
INLINE uint32_t role_bits(unsigned role) {
    return (role & 1u) | (role & 2u) << 15;
}

/* General registers read and written; the stack effect if rsp is written. */
INLINE void registers(struct state *s, const struct class *class) {
    struct instruction *out = s->out;
    unsigned field = out->modrm_offset ? s->modrm : s->code[out->opcode_offset];
    unsigned reg = (field >> 3 & 7) | (s->high_reg & 8), rm = (field & 7) | s->high_base;
    if (class->bits & CLASS_BYTE_REG)
        reg = byte_register(s, reg);
    if (class->bits & CLASS_BYTE_RM)
        rm = byte_register(s, rm);
    /* rm and register in opcode exclude each other; in the memory form neither is an operand. */
    unsigned in_register = on(s, AXIS_FORM) | (class->bits & CLASS_IGNORES_MOD);
    unsigned roles = class->roles, rm_role = in_register ? roles >> 2 | roles >> 4 : 0;
    uint32_t operands = role_bits(roles) << reg | role_bits(rm_role) << rm;
    if (roles >> 6)
        operands |= role_bits(roles >> 6) << (s->vvvv & (s->wide ? 15 : 7));
    uint32_t address = 1u << (out->base & 31); /* REG_NONE: a bit that is cut off */
    if (out->memory != MEMORY_VECTOR)
        address |= 1u << (out->index & 31);
    uint32_t repeated = out->repeat ? 1u << RCX : 0;
    out->reads = (uint16_t)(implicit_sets[class->implicit].reads | operands | address | repeated);
    out->writes = (uint16_t)(implicit_sets[class->implicit].writes | operands >> 16 | repeated);
    if (out->writes >> RSP & 1)
        stack_pointer_written(s, class, operands >> (16 + RSP) & 1);
}

/* Flags; not "written" if a count may leave all as they are. */
INLINE void flags(struct state *s, const struct class *class) {
    struct instruction *out = s->out;
    out->flags_read = flag_sets[class->flags].read;
    out->flags_written = flag_sets[class->flags].written;
    if (class->bits & CLASS_SHIFT_COUNT) {
        bool quad = on(s, AXIS_OSZ) == SIZE_W && !(class->bits & CLASS_BYTE_RM);
        if (!(out->immediate & (quad ? 0x3f : 0x1f)))
            out->flags_written = 0;
    }
    if (out->repeat)
        out->flags_written = 0;
}

/* int 0x80: the kernel sees all registers, answers in rax, and keeps the flags. */
INLINE void system_call(struct state *s) {
    s->out->flow = FLOW_SYSCALL;
    s->out->flags_read = FLAGS_ARITHMETIC | FLAG_DF;
    s->out->reads = s->wide ? 0xffff : 0xff;
    s->out->writes |= 1;
}

/* How control continues. */
INLINE void control(struct state *s, const struct class *class, uint64_t address) {
    struct instruction *out = s->out;
    if (out->flow == FLOW_NEXT)
        return;
    if (immediates[class->immediate].kind == IMMEDIATE_RELATIVE) {
        out->target = address + out->length + (uint64_t)out->immediate;
        if (!s->wide)
            out->target = (uint32_t)out->target;
    }
    if (out->flow == FLOW_RETURN)
        out->stack_bytes = (uint16_t)(out->stack_bytes + out->immediate);
    if (out->flow == FLOW_TRAP && s->code[out->opcode_offset] == 0xcd && out->immediate == 0x80 &&
        s->map <= MAP_ONE_BYTE_32)
        system_call(s);
}

bool decode(const uint8_t *code, unsigned available, uint64_t address, unsigned bits, struct instruction *out) {
    struct state s = {.code = code, .out = out, .available = available, .wide = bits == 64};
    s.limit = available < LONGEST ? available : LONGEST;
    s.map = s.wide ? MAP_ONE_BYTE_64 : MAP_ONE_BYTE_32;
    put(&s, AXIS_MODE, !s.wide);
    *out = (struct instruction){.base = REG_NONE, .index = REG_NONE, .scale = 1};
    if (!prefixes(&s))
        return false;
    uint8_t byte = code[s.at];
    if (starts_vector_prefix(&s, byte) ? !vector_prefix(&s, byte) : !legacy_map(&s, byte))
        return false;
    s.column = (uint8_t)(on(&s, AXIS_OSZ) + 3 * on(&s, AXIS_MODE));
    const struct class *class = find_class(&s);
    if (!class || !allowed(&s, class) || !memory_operand(&s, class) || !immediate(&s, class))
        return false;
    if (class->rule && !distinct_registers(&s, class))
        return false;
    out->length = (uint8_t)s.at;
    out->address_size_override = s.address_size;
    out->repeat = s.repeat && out->memory == MEMORY_STRING;
    out->flow = class->control & 15;
    out->stack = class->control >> 4;
    out->bnd_or_other = (class->bits & CLASS_OTHER) != 0;
    registers(&s, class);
    flags(&s, class);
    control(&s, class, address);
    return true;
}
