/* Translation units: the blocks that direct control flow reaches from one source address, translated together. */
#ifndef STEMRW_UNIT_H
#define STEMRW_UNIT_H

#include "arch/x86_64/emit.h"
#include "decode/decode.h"
#include "translate/cache.h"

enum {
    MAX_BLOCKS = 512,
    MAX_PENDING = 1024,
    MAX_INSTRUCTIONS = 4096,
    MAX_FIXUPS = 4 * MAX_INSTRUCTIONS, /* an access that is compared with guarded blocks takes three */
    MAX_LITERALS = 2048,
    MAX_COLDS = 4096,
    MAX_MAPPED = 2 * MAX_INSTRUCTIONS + 3 * MAX_BLOCKS + MAX_COLDS,
    MAX_UNIT_BYTES = 512 << 10,
    BLOCK_HASH = 2048,
    UNIT_FILL = 384, /* direct callees are taken in until a unit has this many instructions: a page is not left empty */
};

enum { UNKNOWN_DEPTH = -1 };

struct block {
    uintptr_t start;
    uintptr_t next; /* where it goes on by falling through; 0: nowhere */
    uint32_t first, count;
    uint32_t body, entry;     /* offsets in the unit, set when emitted; entry 0: none wanted */
    bool wants_entry;         /* may be reached by an indirect branch */
    uint8_t flags_live;       /* at its start */
    int32_t depth;            /* … bytes from rsp up to its function's return address; UNKNOWN_DEPTH */
    const struct patch *mark; /* a region begins here */
    bool counts;              /* a loop is closed by coming here: arch/x86_64/ticks.h */
    bool slice;               /* … or a slice, or one ends */
    bool hook;                /* … or a function that effects/hooks.h knows */
    enum reason stop;         /* ends by going on natively at .next */
};

struct source_instruction {
    uintptr_t address;
    struct instruction decoded;
    uint8_t bytes[15];
    uint8_t flags_live; /* before it */
    int32_t depth;      /* … */
    uint8_t checks;     /* enum check: what C is asked first */
};

/* Instructions with memory operands of their own kind (MEMORY_OTHER) that are carried, by the last opcode byte. */
enum {
    OTHER_ENTER = 0xc8,     /* pushes, and reads its chain of frames: as with any push, what it writes lies below rsp */
    OTHER_XLAT = 0xd7,      /* reads */
    OTHER_MOVDIR64B = 0xf8, /* writes the 64 bytes to which a register points */
};

static inline bool is_other(const struct source_instruction *at, uint8_t which) {
    return at->decoded.memory == MEMORY_OTHER && at->bytes[at->decoded.opcode_offset] == which;
}

/* rdfsbase, rdgsbase */
static inline bool reads_base(const struct source_instruction *at) {
    const uint8_t modrm = at->bytes[at->decoded.modrm_offset];
    return at->decoded.bnd_or_other && at->bytes[at->decoded.opcode_offset] == 0xae && modrm >= 0xc0 && modrm < 0xd0;
}

enum cold_kind {
    COLD_LOG,   /* a store whose granule the filter does not know */
    COLD_CHECK, /* an access to an address that no ordinary pointer holds */
    COLD_LINK,  /* a slot's first value: ask C to link */
    COLD_JUMP,  /* jcc to another unit: jmp [slot] */
    COLD_LOOP,  /* … that closes a loop: a tick before it */
    COLD_TICK,  /* a slice of ticks is used up: ask C */
};

struct cold {
    enum cold_kind kind;
    uint32_t instruction; /* COLD_LOG, COLD_CHECK */
    uint32_t slot;        /* COLD_LINK, COLD_JUMP, COLD_LOOP */
    uint32_t back;    /* COLD_LOG, COLD_CHECK, COLD_TICK: offset of the store, of what follows the check or tick … */
    uint32_t behind;  /* … and of what follows it */
    uintptr_t source; /* the instruction that it belongs to */
    uint32_t at;      /* offset of this cold part, when emitted */
    bool flags_saved;
};

enum { SHARED_MEMORY_CHILD = 17 }; /* rule_syscall: bytes from one system call instruction to the other */

enum fixup_kind { FIXUP_BLOCK, FIXUP_COLD, FIXUP_LITERAL };

struct fixup { /* a 32-bit displacement at `at`, counted from at + 4 */
    uint32_t at;
    uint32_t index;
    enum fixup_kind kind;
};

/* Everything about the unit being made; one per module, used under the lock. */
struct builder {
    struct emitter out;
    struct arena *arena;
    uintptr_t root, here; /* first instruction, and the one being translated */
    uint32_t block_count, instruction_count, fixup_count, literal_count, cold_count, map_count;
    bool has_mark; /* a region's entry is in it: its stores above the stack pointer may be older than the checkpoint */
    bool shadowed; /* calls and returns are compared (arch/x86_64/shadow.h) */
    bool marked_within; /* checkpoints may be made in the middle of functions of this module: so may any store of it */
    bool full;          /* some table was too small: the unit is thrown away */
    uint32_t gate[MAX_BLOCKS];      /* per block with a mark: offset behind the checkpoint */
    uintptr_t pending[MAX_PENDING]; /* branch targets to look at */
    uint32_t pending_count;
    struct block blocks[MAX_BLOCKS];
    uint16_t block_hash[BLOCK_HASH]; /* open addressing: number of the block + 1; 0: free */
    struct source_instruction instructions[MAX_INSTRUCTIONS];
    struct fixup fixups[MAX_FIXUPS];
    uint64_t literals[MAX_LITERALS];
    uint32_t literal_at[MAX_LITERALS];
    struct cold colds[MAX_COLDS];
    struct source_map map[MAX_MAPPED];
};

struct builder *builder_create(void);
void builder_destroy(struct builder *builder);

/* unit.c for the rules */
uint32_t builder_literal(struct builder *builder, uint64_t value);
void builder_fixup(struct builder *builder, enum fixup_kind kind, uint32_t index); /* for the 4 bytes just emitted */
uint32_t builder_cold(struct builder *builder, struct cold cold);
int builder_block_at(const struct builder *builder, uintptr_t source); /* -1: not in this unit */
void builder_add_block(struct builder *builder, struct block block);

/* discover.c: fill .blocks and .instructions from .root. */
enum reason discover(struct builder *builder);

/* arch/x86_64/rules.c: translate one block; then the cold parts. */
void emit_block(struct builder *builder, struct block *block, uintptr_t falls_to);
void emit_cold(struct builder *builder, struct cold *cold);
/* Ask C, and go on behind it.  All registers and flags survive. */
void emit_service(struct builder *builder, enum service service);
void emit_alone(struct builder *builder, const uint8_t *code, unsigned count, uintptr_t next);
void emit_entry_only(struct builder *builder, uintptr_t source, uintptr_t body);

#endif
