/* Instructions that are looked at before they execute: the one of a reported fault, and those with a predicate. */
#ifndef STEMRW_CHECKS_H
#define STEMRW_CHECKS_H

#include "decode/decode.h"
#include "region/context.h"

enum check {
    CHECK_NONE = 0,
    CHECK_FAULT = 1,     /* a fault was reported there, of a class that registers can decide */
    CHECK_PREDICATE = 2, /* the user has said what must hold there */
};

/* div, idiv */
bool is_division(const struct instruction *at, const uint8_t *bytes);

/* What is to be checked at an instruction of the program: bits of enum check. */
uint8_t checks_at(uintptr_t source, const struct instruction *at, const uint8_t *bytes);

/* Before it executes, with .registers as it finds them.  True: a fault was raised. */
bool check_site(struct context *context, uintptr_t source);

#endif
