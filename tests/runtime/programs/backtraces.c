// region: outer inner
// flags: -rdynamic -fno-optimize-sibling-calls -funwind-tables
// carried: 1
// Unwinders in a region see the program's own addresses: _Unwind_Backtrace, backtrace(3), and a landing in the middle of
// two nested regions and a callback of the library.
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <unwind.h>
int main(void);
int outer(int n), inner(int n);
static int compare(const void *a, const void *b);
static int own;
static const char *name_of(void *address) {
    struct { void *start; const char *name; } known[] = {
        {main, "main"}, {outer, "outer"}, {inner, "inner"}, {compare, "compare"}};
    void *function = _Unwind_FindEnclosingFunction(address);
    for (int i = 0; i < 4; i++)
        if (known[i].start == function)
            return known[i].name;
    return "library";
}
static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *frames) {
    int before;
    void *address = (void *)_Unwind_GetIPInfo(context, &before);
    const char *name = name_of((char *)address - !before);
    if (name[0] != 'l') {
        own++;
        printf("%s%+ld ", name, (long)address - (long)_Unwind_FindEnclosingFunction((char *)address - 1));
    }
    return name[0] == 'm' && name[1] == 'a' ? _URC_END_OF_STACK : _URC_NO_REASON;
}
static int compare(const void *a, const void *b) {
    inner(1);
    return 0;
}
__attribute__((noipa)) int inner(int n) {
    void *frames[64];
    _Unwind_Backtrace(visit, NULL);
    int count = backtrace(frames, 64), ours = 0;
    for (int i = 0; i < count; i++)
        ours += name_of((char *)frames[i] - 1)[0] != 'l';
    printf("%d ", ours - n);
    return n + 1;
}
__attribute__((noipa)) int outer(int n) {
    int two[2] = {1, 2};
    qsort(two, 2, sizeof *two, compare);
    return inner(n) + n;
}
int main(void) {
    for (int i = 0; i < 3; i++)
        printf("= %d %d; ", outer(i), inner(i));
    printf("%d\n", own);
    fflush(stdout);
    getchar();
    return 0;
}
