/* What Python and assembly may know of the C headers: compiled to assembly only, never linked.
 *
 * Each row leaves one line `->kind name value` in the compiler's output; build.py makes offsets.h (for .S files) and
 * the JSON description of the image (for Python) of them, so that no number is written down twice.
 *
 *     CONSTANT(name)        #define name value                    constants.name
 *     STRUCT(type)          #define SIZE_type bytes               structs.type.size
 *     FIELD(type, name)     #define OFFSET_type_name offset       structs.type.fields.name = [offset, size in bytes]
 */
#include <stddef.h>

#include "include/abi.h"

#define ROW(kind, name, value) __asm__ volatile("\n.ascii \"->" kind " " name " %c0\"" ::"i"((int64_t)(value)))
#define CONSTANT(name) ROW("constant", #name, name)
#define STRUCT(type) ROW("struct", #type, sizeof(struct type))
#define FIELD(type, name)                                                                                              \
    ROW("offset", #type "." #name, offsetof(struct type, name));                                                       \
    ROW("size", #type "." #name, sizeof(((struct type *)0)->name))

/* bytes of struct state = STATE_FIXED_BYTES + STATE_PATCH_BYTES * patch_count */
#ifndef STATE_FIXED_BYTES
#define STATE_FIXED_BYTES 4096
#define STATE_PATCH_BYTES 64
#endif

void export_abi(void);
void export_abi(void) {
    CONSTANT(ABI_VERSION);
    CONSTANT(HEADER_GLIBC);
    CONSTANT(HEADER_EXECUTABLE);
    CONSTANT(PATCH_REGION);
    CONSTANT(PATCH_START);
    CONSTANT(PATCH_OBSERVE);
    CONSTANT(RETURN_INTEGER);
    CONSTANT(RETURN_DOUBLE);
    CONSTANT(RETURN_VOID);

    CONSTANT(FAULT_NONE);
    CONSTANT(FAULT_NULL_DEREFERENCE);
    CONSTANT(FAULT_WILD_DEREFERENCE);
    CONSTANT(FAULT_BUS);
    CONSTANT(FAULT_DIVIDE);
    CONSTANT(FAULT_ILLEGAL_INSTRUCTION);
    CONSTANT(FAULT_TRAP);
    CONSTANT(FAULT_STACK_EXHAUSTION);
    CONSTANT(FAULT_ABORT);
    CONSTANT(FAULT_RETURN_ADDRESS);
    CONSTANT(FAULT_BAD_SYSCALL);
    CONSTANT(FAULT_WILD_JUMP);
    CONSTANT(FAULT_HANG);

    CONSTANT(STATE_FIXED_BYTES);
    CONSTANT(STATE_PATCH_BYTES);

    STRUCT(payload_header);
    FIELD(payload_header, magic);
    FIELD(payload_header, abi_version);
    FIELD(payload_header, flags);
    FIELD(payload_header, header_address);
    FIELD(payload_header, state_address);
    FIELD(payload_header, state_size);
    FIELD(payload_header, payload_size);
    FIELD(payload_header, image_size);
    FIELD(payload_header, patch_count);
    FIELD(payload_header, patch_table);
    FIELD(payload_header, events_path);
    FIELD(payload_header, text_start);
    FIELD(payload_header, text_end);
    FIELD(payload_header, plan_hash);

    STRUCT(patch);
    FIELD(patch, address);
    FIELD(patch, function);
    FIELD(patch, function_size);
    FIELD(patch, return_value);
    FIELD(patch, check_address);
    FIELD(patch, kind);
    FIELD(patch, return_kind);
    FIELD(patch, check_class);
    FIELD(patch, reserved);
    FIELD(patch, gate);
    FIELD(patch, displaced);
    FIELD(patch, length);
    FIELD(patch, original);
    FIELD(patch, boundaries);
}
