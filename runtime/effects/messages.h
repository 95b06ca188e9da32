/* What glibc says before it ends the process: then the fault is known, and has happened to a program that lives on. */
#ifndef STEMRW_MESSAGES_H
#define STEMRW_MESSAGES_H

#include "region/context.h"

/* The class of the fault that a writev is about to report, before anything of it is seen; FAULT_NONE: it is no last
 * message of glibc's. */
enum fault_class last_message(const struct context *context);

#endif
