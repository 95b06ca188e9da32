/* The first bytes of the image.  A file of its own: were it visible to its readers, the compiler would fold the
 * zeros that the rewriter replaces when it hardens a file. */
#include "include/abi.h"

__attribute__((section(".header"), used, aligned(64))) const struct payload_header payload_header = {
    .magic = PAYLOAD_MAGIC,
    .abi_version = ABI_VERSION,
};
