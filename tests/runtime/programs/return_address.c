// region: region
// The stack of emulated code holds original return addresses: unwinders, thunks and checks see the truth.
#include <stdio.h>
extern char __executable_start, etext;
__attribute__((noipa)) static int callee(void) {
    char *address = __builtin_return_address(0);
    return address > &__executable_start && address < &etext;
}
__attribute__((noipa)) int region(int n) { return callee() + callee() * 2 + n; }
int main(void) {
    printf("%d\n", region(4));
    return 0;
}
