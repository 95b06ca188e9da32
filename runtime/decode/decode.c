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

enum { AXES = 8, MEMORY_FORM = 0, REGISTER_FORM = 1, CLASS_LOCKABLE = 1 << 5, CLASS_LOCKS = 1 << 6 };
enum { NODE = 0x8000, AXIS_SHIFT = 12, CHILD_MASK = 0xfff };
enum { PREFIX_NONE, PREFIX_66, PREFIX_F3, PREFIX_F2 }; /* values of AXIS_PP */
enum { SIZE_DEFAULT, SIZE_16, SIZE_W };                /* values of AXIS_OSZ */
enum { LONGEST = 15 };
enum { RSP = 4, RBP = 5 };

/* What is known on the way to the class. */
struct state {
    const uint8_t *code;
    struct instruction *out;
    unsigned limit; /* bytes that may be read */
    unsigned at;    /* bytes consumed */
    bool wide;      /* 64-bit mode */
    bool lock, operand_size, address_size;
    uint8_t repeat;         /* 0, PREFIX_F3 or PREFIX_F2: the last of them */
    uint8_t map;            /* MAP_… */
    uint8_t select[AXES];   /* the value on each axis (AXIS_…) */
    uint8_t modrm;          /* the byte, if out->modrm_offset */
    uint8_t high_reg;       /* 8 if R extends ModRM.reg, plus 16 if R' does */
    uint8_t high_index;     /* 8 if X extends the index (or ModRM.rm as an EVEX vector register: 16) */
    uint8_t high_base;      /* 8 if B extends the base, ModRM.rm or the register in the opcode */
    uint8_t vvvv;           /* 0..31; bit 3 means nothing in 32-bit mode, but unused it must be 0 as well */
    uint8_t vector_index;   /* 16 if V' extends a vector index */
    uint8_t evex;           /* the last EVEX byte: z L'L b V' aaa */
};

static inline int64_t signed_bytes(const uint8_t *p, unsigned size)
{
    switch (size) {
    case 1:
        return (int8_t)p[0];
    case 2:
        return (int16_t)(p[0] | p[1] << 8);
    case 4:
        return (int32_t)(p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
    case 8: {
        uint64_t low = (uint32_t)signed_bytes(p, 4), high = (uint32_t)signed_bytes(p + 4, 4);
        return (int64_t)(low | high << 32);
    }
    default:
        return 0;
    }
}

/* The size table at the state's operand size and mode, or at its vector length. */
static inline unsigned size_at(const struct state *s, unsigned index)
{
    unsigned length = s->select[AXIS_LENGTH];
    unsigned column = index >= SIZES_BY_LENGTH ? (length > 2 ? 2 : length)
                                               : s->select[AXIS_OSZ] + 3u * s->select[AXIS_MODE];
    return sizes[index][column];
}

/* One legacy prefix byte; false if `byte` is none. */
static inline bool take_prefix(struct state *s, uint8_t byte)
{
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
        s->repeat = PREFIX_F2;
        return true;
    case 0xf3:
        s->repeat = PREFIX_F3;
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
static bool prefixes(struct state *s)
{
    for (; s->at < s->limit; s->at++) {
        uint8_t byte = s->code[s->at];
        if (take_prefix(s, byte)) {
            s->out->rex = 0; /* REX counts only right before the opcode */
            continue;
        }
        if (!s->wide || (byte & 0xf0) != 0x40)
            break;
        s->out->rex = byte;
        s->out->rex_offset = (uint8_t)s->at;
    }
    if (!s->out->rex) {
        s->out->rex_offset = 0;
    } else {
        s->high_reg = (uint8_t)((s->out->rex & 4) << 1);
        s->high_index = (uint8_t)((s->out->rex & 2) << 2);
        s->high_base = (uint8_t)((s->out->rex & 1) << 3);
    }
    return s->at < s->limit;
}

/* The four-byte prefix of EVEX: 62 · R X B R' 0 m m m · W v v v v 1 p p · z L' L b V' a a a (RXBR'vV' inverted). */
static bool evex_prefix(struct state *s)
{
    static const uint8_t maps[8] = {0, MAP_EVEX_1, MAP_EVEX_2, MAP_EVEX_3, 0, MAP_EVEX_5, MAP_EVEX_6, 0};
    const uint8_t *p = s->code + s->at;
    if (s->at + 4 >= s->limit || (p[1] & 8) || !(p[2] & 4) || !maps[p[1] & 7])
        return false;
    s->map = maps[p[1] & 7];
    s->evex = p[3];
    s->select[AXIS_LENGTH] = p[3] >> 5 & 3;
    s->vvvv = (uint8_t)((~p[2] >> 3 & 15) | (p[3] & 8 ? 0 : 16));
    s->vector_index = p[3] & 8 ? 0 : 16;
    s->out->vex = 4;
    s->at += 4;
    return true;
}

/* VEX with three bytes (C4) and XOP (8F): lead · R X B m m m m m · W v v v v L p p. */
static bool vex3_prefix(struct state *s, bool xop)
{
    const uint8_t *p = s->code + s->at;
    unsigned map = p[1] & 31;
    if (s->at + 3 >= s->limit || map < (xop ? 8 : 1) || map > (xop ? 10 : 3))
        return false;
    s->map = (uint8_t)(xop ? MAP_XOP_8 + map - 8 : MAP_VEX_1 + map - 1);
    s->vvvv = ~p[2] >> 3 & 15;
    s->select[AXIS_LENGTH] = p[2] >> 2 & 1;
    s->out->vex = xop ? 5 : 3;
    s->at += 3;
    return true;
}

/* VEX, XOP and EVEX prefixes, whose first byte is at s->at; false if invalid. */
static bool vector_prefix(struct state *s, uint8_t lead)
{
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
        s->select[AXIS_LENGTH] = last >> 2 & 1;
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
    s->select[AXIS_PP] = last & 3;
    s->select[AXIS_OSZ] = last & 0x80 ? SIZE_W : SIZE_DEFAULT;
    return true;
}

/* Whether the byte at s->at starts a VEX, XOP or EVEX prefix rather than pop, les, lds or bound. */
static inline bool starts_vector_prefix(const struct state *s, uint8_t byte)
{
    if (byte != 0xc5 && byte != 0xc4 && byte != 0x62 && byte != 0x8f)
        return false;
    if (s->at + 2 >= s->limit)
        return false;
    uint8_t next = s->code[s->at + 1];
    if (byte == 0x8f)
        return (next & 31) >= 8;
    return s->wide || next >= 0xc0;
}

/* Escape bytes, mandatory prefix and operand size of a legacy instruction; false if the bytes end. */
static bool legacy_map(struct state *s, uint8_t byte)
{
    s->map = s->wide ? MAP_ONE_BYTE_64 : MAP_ONE_BYTE_32;
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
    s->select[AXIS_PP] = s->repeat ? s->repeat : s->operand_size ? PREFIX_66 : PREFIX_NONE;
    s->select[AXIS_OSZ] = s->out->rex & 8 ? SIZE_W : s->operand_size ? SIZE_16 : SIZE_DEFAULT;
    s->select[AXIS_REX_B] = s->high_base >> 3;
    return true;
}

/* The opcode byte and, if there is one, the ModRM byte; returns the entry for the opcode, 0 if invalid. */
static unsigned opcode_entry(struct state *s)
{
    if (s->at >= s->limit)
        return 0;
    uint8_t opcode = s->code[s->at];
    s->out->opcode_offset = (uint8_t)s->at++;
    bool modrm = s->map <= MAP_THREE_BYTE_3A ? modrm_bits[s->map][opcode >> 4] >> (opcode & 15) & 1
                                             : s->map != MAP_VEX_1 || opcode != 0x77;
    s->select[AXIS_FORM] = REGISTER_FORM;
    if (modrm) {
        if (s->at >= s->limit)
            return 0;
        s->out->modrm_offset = (uint8_t)s->at;
        s->modrm = s->code[s->at++];
        s->select[AXIS_FORM] = s->modrm >= 0xc0 ? REGISTER_FORM : MEMORY_FORM;
        s->select[AXIS_REG] = s->modrm >> 3 & 7;
        s->select[AXIS_RM] = s->modrm & 7;
    }
    return blocks[map_blocks[s->map][opcode >> 4]][opcode & 15];
}

static const struct class *find_class(struct state *s)
{
    unsigned entry = opcode_entry(s);
    if (s->out->vex == 4 && s->select[AXIS_FORM] == REGISTER_FORM && (s->evex & 0x10))
        s->select[AXIS_LENGTH] = 2; /* L'L is a rounding mode; the vector has its full length */
    while (entry & NODE)
        entry = children[(entry & CHILD_MASK) + s->select[entry >> AXIS_SHIFT & 7]];
    return entry ? &classes[entry] : 0;
}

/* Whether the fields of a VEX, XOP or EVEX prefix that choose no instruction are as they must be. */
static bool vector_fields_allowed(const struct state *s, const struct class *class, unsigned rule)
{
    bool memory_form = s->select[AXIS_FORM] == MEMORY_FORM;
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

/* Whether prefixes, sizes and form are ones with which the class is valid. */
static bool allowed(const struct state *s, const struct class *class)
{
    unsigned rule = rules[class->rule].bits;
    bool memory_form = s->select[AXIS_FORM] == MEMORY_FORM;
    bool rounding = s->out->vex == 4 && (s->evex & 0x10) && !memory_form;
    unsigned needed = 1u << (VALID_FORM + s->select[AXIS_FORM]) | 1u << (VALID_PP + s->select[AXIS_PP])
                      | 1u << (VALID_OSZ + s->select[AXIS_OSZ]) | 1u << (VALID_MODE + s->select[AXIS_MODE]);
    if (!rounding) /* else L'L is the rounding mode */
        needed |= 1u << (VALID_LENGTH + s->select[AXIS_LENGTH]);
    if ((class->valid & needed) != needed)
        return false;
    if (s->lock && !(memory_form && (class->memory & CLASS_LOCKABLE)))
        return false;
    if ((rule & RULE_PLAIN_REG) && s->high_reg && s->out->modrm_offset)
        return false;
    if ((rule & RULE_BELOW_16) && s->high_reg > 8)
        return false;
    if ((rule & RULE_PLAIN_RM) && s->high_base && (!memory_form || (class->bits & CLASS_IGNORES_MOD)))
        return false;
    return !s->out->vex || vector_fields_allowed(s, class, rule);
}

/* Whether the vector registers of a gather, an AMX product or a complex multiplication are as distinct as they must
 * be (called when the index is known). */
static bool distinct_registers(const struct state *s, const struct class *class)
{
    unsigned rule = rules[class->rule].bits;
    if (!(rule & RULE_UNIQUE))
        return true;
    unsigned reg = (s->modrm >> 3 & 7u) | s->high_reg, vvvv = s->wide ? s->vvvv : s->vvvv & 7u;
    unsigned other = s->out->index; /* the vector index; REG_NONE equals no register */
    if (s->select[AXIS_FORM] == REGISTER_FORM)
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
static int sib(struct state *s, bool vector)
{
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
static void address_16(struct state *s)
{
    static const uint8_t bases[8] = {3, 3, 5, 5, 6, 7, 5, 3};
    static const uint8_t indexes[8] = {6, 7, 6, 7, REG_NONE, REG_NONE, REG_NONE, REG_NONE};
    unsigned mod = s->modrm >> 6, rm = s->modrm & 7;
    bool absolute = mod == 0 && rm == 6;
    s->out->base = absolute ? REG_NONE : bases[rm];
    s->out->index = indexes[rm];
    s->out->displacement_size = absolute || mod == 2 ? 2 : mod == 1 ? 1 : 0;
}

/* The addressing form behind a ModRM byte with mod != 3; false if the bytes end or a SIB byte is missing. */
static bool address(struct state *s, const struct class *class)
{
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

/* ModRM (or moffs) operand: kind, access, size, address and displacement; false if the bytes end. */
static bool memory_operand(struct state *s, const struct class *class)
{
    struct instruction *out = s->out;
    bool offset = immediates[class->immediate].kind == IMMEDIATE_OFFSET;
    bool modrm_operand = out->modrm_offset && s->modrm < 0xc0 && !(class->bits & CLASS_IGNORES_MOD);
    if (!modrm_operand && !(rules[class->rule].bits & RULE_MEMORY_IN_REGISTER_FORM))
        return true; /* also: the register form of a class that has a memory form */
    out->memory = class->memory & 7;
    out->access = class->memory >> 3 & 3;
    out->operand_bytes = (uint16_t)size_at(s, class->size);
    if (out->vex == 4 && (s->evex & 0x10) && modrm_operand)
        out->operand_bytes = (uint16_t)size_at(s, rules[class->rule].broadcast);
    if (offset)
        out->displacement_size = (s->wide ? 8 : 4) >> s->address_size;
    else if (!modrm_operand)
        return true;
    else if (!address(s, class))
        return false;
    out->lock = s->lock || (class->memory & CLASS_LOCKS);
    out->bit_offset = (class->bits & CLASS_BIT_OFFSET) != 0;
    if (!out->displacement_size)
        return true;
    if (s->at + out->displacement_size > s->limit)
        return false;
    out->displacement_offset = (uint8_t)s->at;
    out->displacement = (int32_t)signed_bytes(s->code + s->at, out->displacement_size);
    s->at += out->displacement_size;
    if (out->vex == 4 && out->displacement_size == 1)
        out->displacement *= (s->evex & 0x10) ? out->operand_bytes : (int)size_at(s, rules[class->rule].scale);
    return true;
}

/* All immediates; false if the bytes end. */
static bool immediate(struct state *s, const struct class *class)
{
    struct instruction *out = s->out;
    const struct immediate *form = &immediates[class->immediate];
    unsigned size = size_at(s, form->size);
    if (s->at + size > s->limit)
        return false;
    if (!size)
        return true;
    const uint8_t *p = s->code + s->at;
    out->immediate_offset = (uint8_t)s->at;
    out->immediate_size = (uint8_t)size;
    s->at += size;
    switch (form->kind) {
    case IMMEDIATE_UNSIGNED8:
        out->immediate = p[0];
        break;
    case IMMEDIATE_UNSIGNED16:
        out->immediate = p[0] | p[1] << 8;
        break;
    case IMMEDIATE_FAR:
        out->immediate = signed_bytes(p, size - 2);
        break;
    default:
        out->immediate = signed_bytes(p, size);
    }
    return true;
}

/* Number of a general register operand; without REX, byte registers 4..7 are ah, ch, dh, bh. */
static inline unsigned register_number(const struct state *s, unsigned field, unsigned high, unsigned is_byte)
{
    return (field | (high & 8)) - (is_byte && !s->out->rex && field >= 4 ? 4u : 0u);
}

static void registers(struct state *s, const struct class *class)
{
    struct instruction *out = s->out;
    unsigned reads = implicit_sets[class->implicit].reads, writes = implicit_sets[class->implicit].writes;
    unsigned roles = class->roles, explicit_writes = 0;
    bool in_register = s->select[AXIS_FORM] == REGISTER_FORM || (class->bits & CLASS_IGNORES_MOD);
    unsigned reg = register_number(s, s->modrm >> 3 & 7, s->high_reg, class->bits & CLASS_BYTE_REG);
    unsigned field = out->modrm_offset ? s->modrm : s->code[out->opcode_offset];
    unsigned rm = register_number(s, field & 7, s->high_base, class->bits & CLASS_BYTE_RM);
    reads |= (roles & 1u) << reg;
    explicit_writes |= (roles >> 1 & 1u) << reg;
    if (in_register) {
        unsigned role = roles >> 2 | roles >> 4; /* rm and register in opcode exclude each other */
        reads |= (role & 1u) << rm;
        explicit_writes |= (role >> 1 & 1u) << rm;
    }
    unsigned vvvv = s->wide ? s->vvvv & 15u : s->vvvv & 7u;
    reads |= (roles >> 6 & 1u) << vvvv;
    explicit_writes |= (roles >> 7 & 1u) << vvvv;
    if (out->base != REG_NONE)
        reads |= 1u << out->base;
    if (out->index != REG_NONE && out->memory != MEMORY_VECTOR)
        reads |= 1u << out->index;
    if (out->repeat) {
        reads |= 1u << 1;
        writes |= 1u << 1;
    }
    if (explicit_writes >> RSP & 1)
        out->stack = STACK_LOADED;
    else if ((writes >> RSP & 1) && out->stack == STACK_NONE)
        out->stack = STACK_LOADED;
    out->reads = (uint16_t)reads;
    out->writes = (uint16_t)(writes | explicit_writes);
}

/* Whether an instruction that writes rsp explicitly moves it by a constant: add/sub/and/inc/dec of all its bits with
 * at most an immediate, or lea from rsp alone. */
static bool adjusts_stack(const struct state *s, const struct class *class)
{
    const struct instruction *out = s->out;
    if (!(class->bits & CLASS_ADJUSTING) || (class->bits & CLASS_BYTE_RM))
        return false;
    if (s->select[AXIS_OSZ] != (s->wide ? SIZE_W : SIZE_DEFAULT))
        return false;
    return out->memory == MEMORY_NONE || (out->base == RSP && out->index == REG_NONE && !out->address_size_override);
}

static void flags(struct state *s, const struct class *class)
{
    struct instruction *out = s->out;
    out->flags_read = flag_sets[class->flags].read;
    out->flags_written = flag_sets[class->flags].written;
    bool quad = s->select[AXIS_OSZ] == SIZE_W && !(class->bits & CLASS_BYTE_RM);
    unsigned count_mask = quad ? 0x3f : 0x1f;
    bool no_count = (class->bits & CLASS_SHIFT_COUNT) && !(out->immediate & count_mask);
    if (out->repeat || no_count)
        out->flags_written = 0;
}

/* Target, stack bytes and what depends on an immediate. */
static void control(struct state *s, const struct class *class, uint64_t address)
{
    struct instruction *out = s->out;
    out->flow = class->control & 15;
    out->bnd_or_other = (class->bits & CLASS_OTHER) != 0;
    out->stack_bytes = (uint16_t)size_at(s, class->stack_bytes);
    if (out->flow == FLOW_RETURN)
        out->stack_bytes = (uint16_t)(out->stack_bytes + out->immediate);
    if (immediates[class->immediate].kind == IMMEDIATE_RELATIVE) {
        out->target = address + out->length + (uint64_t)out->immediate;
        if (!s->wide)
            out->target = (uint32_t)out->target;
    }
    if (out->flow == FLOW_TRAP && s->code[out->opcode_offset] == 0xcd && out->immediate == 0x80
        && s->map <= MAP_ONE_BYTE_32) {
        out->flow = FLOW_SYSCALL;
        out->flags_read = FLAGS_ARITHMETIC | FLAG_DF;
        out->reads = s->wide ? 0xffff : 0xff;
        out->writes |= 1;
    }
}

/* 16-bit near branches: AMD truncates the instruction pointer, Intel ignores the prefix. */
static bool is_short_pointer_branch(const struct state *s, const struct class *class)
{
    unsigned flow = class->control & 15;
    bool near = flow >= FLOW_JUMP && flow <= FLOW_RETURN;
    return near && !s->out->vex && s->operand_size && s->select[AXIS_OSZ] != SIZE_W;
}

bool decode(const uint8_t *code, unsigned available, uint64_t address, unsigned bits, struct instruction *out)
{
    struct state s = {.code = code, .out = out, .wide = bits == 64};
    s.limit = available < LONGEST ? available : LONGEST;
    s.select[AXIS_MODE] = !s.wide;
    *out = (struct instruction){.base = REG_NONE, .index = REG_NONE, .scale = 1};
    if (!prefixes(&s))
        return false;
    uint8_t byte = code[s.at];
    if (starts_vector_prefix(&s, byte) ? !vector_prefix(&s, byte) : !legacy_map(&s, byte))
        return false;
    const struct class *class = find_class(&s);
    if (!class || !allowed(&s, class) || is_short_pointer_branch(&s, class))
        return false;
    if (!memory_operand(&s, class) || !immediate(&s, class) || !distinct_registers(&s, class))
        return false;
    out->length = (uint8_t)s.at;
    out->address_size_override = s.address_size;
    out->repeat = s.repeat && out->memory == MEMORY_STRING;
    out->stack = class->control >> 4;
    registers(&s, class);
    if (out->stack == STACK_LOADED && !(class->control >> 4) && adjusts_stack(&s, class))
        out->stack = STACK_ADJUST;
    flags(&s, class);
    control(&s, class, address);
    return true;
}
