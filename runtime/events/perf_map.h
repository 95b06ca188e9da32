/* /tmp/perf-PID.map, by which perf and other profilers attribute samples in generated code:
 *
 *     START SIZE [stemrw] MODULE:ADDRESS        (hexadecimal)
 *
 * one line for each piece of the code cache that comes from one function, named by the file it was in and the
 * function's link-time address there.  Wanted with STEMRW_PERF_MAP=1 in the environment; nothing of this runs without
 * it.
 */
#ifndef STEMRW_PERF_MAP_H
#define STEMRW_PERF_MAP_H

#include <stddef.h>
#include <stdint.h>

/* The map is wanted.  Before the ranges are read for the first time: names are noted there. */
void perf_map_start(void);

/* Give its memory back; the file stays, for the profiler. */
void perf_map_stop(void);

/* Write what is not in this process's map yet.  Under the lock. */
void perf_map_follow(void);

/* The process may be a forked child, whose map does not hold yet what it has inherited. */
void perf_map_after_fork(void);

/* A module's name, for struct range; 0: none, or no map is wanted. */
uint32_t perf_map_name(const char *name);

#endif
