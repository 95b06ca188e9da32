/* Prints what every function of entries.S returns; with an argument, one of them faults. */
#include <stdio.h>

long tiny_zero(void), tiny_load(const long *), touched(long), falls(long), fallen(long), loops(long), far_back(long);
long switches(long), calls(long, long (*)(long)), last(void), uses_them(const long *);
void protected(void), only_returns(void);

int main(int argc, char **argv) {
    long word = 6;
    (void)argv;
    protected();
    only_returns();
    printf("%ld %ld %ld %ld %ld\n", tiny_zero(), tiny_load(&word), touched(1), falls(1), fallen(3));
    printf("%ld %ld %ld %ld %ld %ld\n", loops(4), far_back(4), switches(4), calls(0, touched), last(), uses_them(&word));
    if (argc > 1)
        printf("%ld %ld\n", tiny_load(NULL), uses_them(NULL));
}
