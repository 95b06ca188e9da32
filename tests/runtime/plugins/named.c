// flags: -Wl,--build-id
// As constant.c, with a build-id.
#define constant named
#include "constant.c"
