// A caller that repeats a call until it succeeds is rescued itself: at once where it changes nothing in between, later
// where it does.
// regions: parse patient counting
// faults: 1
// rescues: parse=65601 patient=1 counting=1
#include <stdio.h>
#include <unistd.h>

static volatile long zero;
int attempts, noted;

__attribute__((noinline)) int parse(const int *input) {
    noted = 1;
    return *input / zero;
}

__attribute__((noinline)) int patient(const int *input) {
    if (ORACLE)
        return -1;
    noted = 2;
    while (parse(input) < 0)
        ;
    return 0;
}

__attribute__((noinline)) int counting(const int *input) {
    if (ORACLE)
        return -1;
    while (parse(input) < 0)
        attempts++;
    return 0;
}

int main(void) {
    const int input = 12;
    alarm(50);
    printf("patient %d\n", patient(&input));
    printf("counting %d\n", counting(&input));
    printf("noted %d attempts %d\n", noted, attempts);
    return 0;
}
