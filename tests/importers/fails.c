/* Fails in the way its first argument names; a failed function returns -1, and the program goes on. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT __attribute__((noinline))

int table[4] = {1, 2, 3, 4};
volatile long zero;
volatile int sink;
static int *kept;

KEPT char *make(size_t size) {
    sink++;
    return malloc(size);
}

KEPT void drop(void *block) {
    sink++;
    free(block);
    sink++;
}

KEPT int heap_write(size_t at) {
    char *block = make(10);
    block[at] = 1;
    sink = block[0];
    drop(block);
    return sink;
}

KEPT int heap_read(long at) {
    char *block = make(16);
    memset(block, 0, 16);
    sink = block[at];
    drop(block);
    return sink;
}

KEPT int after_free(void) {
    int *block = (int *)make(40);
    block[2] = 1;
    drop(block);
    sink = block[2];
    return 0;
}

KEPT int twice(void) {
    char *block = make(24);
    drop(block);
    drop(block);
    return sink;
}

KEPT int inner_free(void) {
    char *block = make(24);
    block[0] = 1;
    drop(block + 8);
    return sink;
}

KEPT int stack_write(size_t at) {
    volatile char buffer[16];
    buffer[at] = 1;
    sink = buffer[0];
    return sink;
}

KEPT int global_read(long at) {
    sink++;
    return table[at];
}

KEPT int null_read(int *where) {
    sink = sink + 1;
    sink += where[1];
    return sink;
}

KEPT int divide(int by) {
    sink = sink + 100;
    sink = sink / by;
    return sink;
}

KEPT int recurse(int depth) {
    volatile char frame[500];
    frame[depth % 500] = 1;
    return depth < 0 ? 0 : recurse(depth + 1) + frame[3];
}

KEPT int give_up(int why) {
    sink = why;
    if (why)
        abort();
    return 1;
}

KEPT int huge(void) {
    char *block = make(SIZE_MAX >> 2);
    block[0] = 1;
    return sink;
}

KEPT int misaligned(long by) {
    char buffer[16] = {0};
    kept = (int *)(buffer + by);
    sink = *(volatile int *)kept;
    return sink;
}

KEPT int uninitialised(void) {
    char *block = make(8);
    int answer = block[3] ? 1 : 2;
    drop(block);
    return answer;
}

KEPT int overflow(int value) {
    sink = value + 0x7fffffff;
    return 0;
}

KEPT int call_null(void) {
    sink++;
    ((void (*)(void))zero)();
    return sink;
}

KEPT int run(const char *what) {
    if (!strcmp(what, "heap-write")) return heap_write(10 + zero);
    if (!strcmp(what, "heap-read-below")) return heap_read(-3 + zero);
    if (!strcmp(what, "after-free")) return after_free();
    if (!strcmp(what, "twice")) return twice();
    if (!strcmp(what, "inner-free")) return inner_free();
    if (!strcmp(what, "stack-write")) return stack_write(16 + zero);
    if (!strcmp(what, "global-read")) return global_read(4 + zero);
    if (!strcmp(what, "null")) return null_read((int *)zero);
    if (!strcmp(what, "wild")) return null_read((int *)(zero + 0x123456789000));
    if (!strcmp(what, "divide")) return divide((int)zero);
    if (!strcmp(what, "recurse")) return recurse(1);
    if (!strcmp(what, "abort")) return give_up(1);
    if (!strcmp(what, "huge")) return huge();
    if (!strcmp(what, "misaligned")) return misaligned(1 + zero);
    if (!strcmp(what, "uninitialised")) return uninitialised();
    if (!strcmp(what, "overflow")) return overflow(1 + (int)zero);
    if (!strcmp(what, "call-null")) return call_null();
    return 0;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    for (int i = 1; i < argc; i++)
        printf("%s %s\n", argv[i], run(argv[i]) == -1 ? "failed" : "done");
    return 0;
}
