// region: region
// Nested checkpoints a hundred thousand deep.
#include <stdio.h>
#include <stdlib.h>
volatile long work;
__attribute__((noipa)) long region(long n) {
    work++;
    return n ? region(n - 1) + 1 : 0;
}
int main(void) {
    for (int i = 0; i < 5; i++)
        printf("%ld %ld\n", region(100000), work);
    return 0;
}
