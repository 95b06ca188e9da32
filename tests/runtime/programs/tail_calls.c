// region: measure twice choose through shared
// faults: 1
// flags: -Wl,-z,lazy -fno-plt
// Regions that are entered by a jump, from native code and from a region, and that leave by one: to a function of the
// program, one of the library, and another region.  What faults behind the jump is the fault of the region that made it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static volatile int zero;
static long writes;
long measure(const char *text, long fails);
__attribute__((noipa)) static long plain(const char *text, long fails) {
    writes += 10;
    return fails == 1 ? 100 / zero : (long)strlen(text) * 10;
}
__attribute__((noipa)) long measure(const char *text, long fails) {
    writes += 100;
    return fails == 2 ? 100 / zero : (long)strlen(text);
}
typedef long (*function)(const char *, long);
static function volatile functions[] = {plain, measure, (function)strlen};
/* jmp to a region, to a pointer's target, through the linkage table; with and without a write before. */
long enters(const char *text, long fails);
__asm__(".text\n.globl enters\n.type enters, @function\nenters: incq entered(%rip)\n jmp measure\n.size enters, .-enters\n");
long entered;
__attribute__((noipa)) long twice(const char *text, long fails) { /* region to region */
    writes += 1000;
    return measure(text, fails);
}
__attribute__((noipa)) long choose(const char *text, long fails) { /* to what a pointer says */
    writes += 10000;
    return functions[strlen(text) % 3](text, fails);
}
__attribute__((noipa)) unsigned long through(const char *text) { /* to the library */
    writes += 100000;
    return strlen(text);
}
__attribute__((noipa)) long shared(const char *text, long fails) { /* region to region to pointer */
    writes += 1000000;
    return choose(text, fails);
}
static void show(const char *what, long result) { printf("%s %ld: %ld %ld\n", what, result, writes, entered); }
#define FAULT(kept, call) (ORACLE ? (kept, -1) : (call))
int main(void) {
    for (int round = 0; round < 3; round++) {
        show("entered", enters("four", 0));
        show("entered, fault", FAULT(entered++, enters("four", 2)));
        show("twice", twice("three", 0));
        show("twice, fault", FAULT(0, twice("three", 2)));
        show("plain", choose("abc", 0));
        show("plain, fault", FAULT(0, choose("abc", 1)));
        show("region", choose("abcd", 0));
        show("region, fault", FAULT(0, choose("abcd", 2)));
        show("library", choose("abcde", 0));
        show("library, fault", FAULT(0, choose(NULL, 0)));
        show("through", (long)through("abcdef"));
        show("through, fault", FAULT(0, (long)through(NULL)));
        show("shared", shared("abc", 0));
        show("shared, fault", FAULT(0, shared("abc", 1)));
        show("shared region, fault", FAULT(0, shared("abcd", 2)));
    }
    return 0;
}
