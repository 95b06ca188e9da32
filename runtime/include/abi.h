/* The contract between the rewriter (Python) and the injected runtime (C).
 *
 * A hardened file carries one appended read+execute PT_LOAD, the *payload*:
 *
 *     +0                 struct payload_header       (first bytes of the runtime image; filled in at patch time)
 *                        rest of the runtime image   (code and constants, position independent, no relocations)
 *     +patch_table       struct patch[patch_count]   (sorted by address)
 *                        gates                       (one per patch: what the jump at the patched entry leads to)
 *                        displaced instructions      (one sequence per patch: the overwritten instructions, moved)
 *     +rule_table        struct rule[rule_count]     (rules.h)
 *     +events_path       NUL-terminated path, if any
 *
 * and, behind .bss of its last writable PT_LOAD, a zero-initialised *state* (struct state in state.h) that the runtime
 * alone writes; it begins on a page, behind one page that the runtime makes read-only.  All addresses in these
 * tables are link-time virtual addresses; the load bias is the difference between where the header is and
 * header_address.
 *
 * Python never repeats a number from here: the build exports sizes, offsets and constants (see export.c).
 * Everything is little-endian, naturally aligned, without implicit padding.
 */
#ifndef STEMRW_ABI_H
#define STEMRW_ABI_H

#include <stdint.h>

#define ABI_VERSION 4
#define PAYLOAD_MAGIC "STEMRW\x01\n" /* 8 bytes without the NUL, at payload +0 */

enum header_flags {
    HEADER_GLIBC = 1 << 0,      /* the program's threads have glibc's thread control block */
    HEADER_EXECUTABLE = 1 << 1, /* the file is a program, not a shared object: its start gate runs first */
    HEADER_COUNTS = 1 << 2,     /* there are budgets (rules.h): what regions use is counted */
};

struct payload_header {
    uint8_t magic[8];
    uint32_t abi_version;
    uint32_t flags;          /* enum header_flags */
    uint64_t header_address; /* of this header */
    uint64_t state_address;
    uint32_t state_size;   /* bytes; at least state_bytes(patch_count) */
    uint32_t payload_size; /* bytes of the whole payload */
    uint32_t image_size;   /* bytes of the runtime image, this header included */
    uint32_t patch_count;
    uint32_t patch_table; /* offset of struct patch[] from this header */
    uint32_t events_path; /* offset of the path from this header; 0: none */
    uint64_t text_start;  /* the module's own executable segment(s), before patching: [text_start, text_end) */
    uint64_t text_end;
    uint32_t rule_table; /* offset of struct rule[] from this header */
    uint32_t rule_count;
    uint8_t plan_hash[32]; /* sha256 of the plan document */
};

enum patch_kind {
    PATCH_REGION = 1,  /* a function to be emulated, with checkpoint and rescue */
    PATCH_START = 2,   /* program entry point or first initialiser: prepare the runtime, then go on natively */
    PATCH_OBSERVE = 3, /* emulate this call without checkpoint: its system calls must be seen (sigaction@plt …) */
    PATCH_STOP = 4,    /* last finaliser of a shared object: give everything back, then go on natively */
    PATCH_STONE = 5,   /* padding that holds the jump to the gate of an entry with room for a short jump only; no code
                          of the program: tells the original bytes, its boundaries are all 255 */
    PATCH_PROTECT = 6, /* mprotect and its kin: code may be about to change; look at the arguments, then natively */
};

enum patch_flags {
    REGION_OF_MAIN = 1 << 0, /* the program's main: to return from it ends the program */
};

enum return_kind {
    RETURN_INTEGER = 1, /* return_value in rax; rdx = 0 if the function had written it */
    RETURN_DOUBLE = 2,  /* return_value is the bit pattern for xmm0 (float: low 32 bits); rax too */
    RETURN_VOID = 3,    /* rax = 0 */
};

/* Classes of fault; names (fault_class_names in Python) are the part after FAULT_, lower case, '_' → '-'. */
enum fault_class {
    FAULT_NONE = 0,
    FAULT_NULL_DEREFERENCE = 1, /* address in the first 64 KiB */
    FAULT_WILD_DEREFERENCE = 2, /* unmapped, protected or non-canonical address */
    FAULT_BUS = 3,              /* SIGBUS: misaligned, or beyond the end of a mapped file */
    FAULT_DIVIDE = 4,           /* divide by zero, quotient overflow */
    FAULT_ILLEGAL_INSTRUCTION = 5,
    FAULT_TRAP = 6, /* int3, __builtin_trap on some targets */
    FAULT_STACK_EXHAUSTION = 7,
    FAULT_ABORT = 8,          /* abort, assert, std::terminate, __stack_chk_fail, fortify, heap checks: a fatal signal
                                 that the thread sends itself */
    FAULT_RETURN_ADDRESS = 9, /* the region's return address was overwritten */
    FAULT_BAD_SYSCALL = 10,   /* SIGSYS */
    FAULT_WILD_JUMP = 11,     /* control went to memory that is not executable */
    FAULT_HANG = 12,          /* endless loop */
    FAULT_STACK_SMASH = 13,   /* a saved frame pointer, a canary or another frame's object was overwritten */
    FAULT_CONTROL_FLOW = 14,  /* an indirect branch was about to go where no code of the program sends it */
    FAULT_HEAP_OVERFLOW = 15, /* an access outside a block that is in use, below it too */
    FAULT_USE_AFTER_FREE = 16,
    FAULT_DOUBLE_FREE = 17,
    FAULT_INVALID_FREE = 18,  /* of what was no block's beginning */
    FAULT_OUT_OF_BOUNDS = 19, /* outside an object that is not on the heap */
    FAULT_MEMORY_EXHAUSTION = 20,
    FAULT_PREDICATE = 21, /* what the user has said must not be */
    FAULT_CLASSES = 22,
};

struct patch {
    uint64_t address;       /* first overwritten byte; the entry point of the function, or just behind its endbr64 */
    uint64_t function;      /* entry address of the function: differs from address by a leading endbr64 */
    uint64_t function_size; /* bytes; 0: unknown */
    uint64_t return_value;  /* what the rescue returns */
    uint64_t check_address; /* instruction of the reported fault; 0: none */
    uint32_t kind;          /* enum patch_kind */
    uint32_t return_kind;   /* enum return_kind */
    uint32_t check_class;   /* enum fault_class of the report */
    uint32_t flags;         /* enum patch_flags */
    uint32_t gate;          /* offset of the gate from the header */
    uint32_t displaced;     /* offset of the displaced instructions, which end with a jump behind the patch */
    uint8_t length;         /* overwritten bytes, whole instructions: 2 … 24 */
    uint8_t original[31];   /* the overwritten bytes; the rest is 0 */
    /* [i]: offset of the displaced copy of the instruction that began at address+i; 255: none */
    uint8_t boundaries[32];
};

/* A gate is
 *     lea  rsp, [rsp-128]
 *     push r11
 *     lea  r11, [rip + its struct patch]
 *     jmp  gate_region | gate_start | gate_observe | gate_protect | gate_stop    (symbols of the image, by kind)
 *     pop  r11                                        (GATE_NATIVE: how the runtime goes on natively)
 *     lea  rsp, [rsp+128]
 *     jmp  displaced instructions
 * At function entry nothing below rsp is in use except by code that is not a function in the ABI's sense; the 128 bytes
 * spare that too.  Flags and all other registers arrive untouched. */
enum { GATE_NATIVE = 19 };

#endif
