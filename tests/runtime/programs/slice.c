// options: --region slice_begin..slice_end
// faults: 1
// A slice of a function, here a loop's body, is skipped when it faults: what it has done for this record is undone, in
// whatever it calls too, and the next one is processed with the registers as they were.  What was done for others stays.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct record {
    const char *text;
    long weight;
};
static long seen, total[8];
static double mean = 1;
static char *last;
__attribute__((noipa)) static void count(const struct record *record, long number) {
    seen++;
    total[number % 8] += record->weight;
    last = realloc(last, 64);
    snprintf(last, 64, "%ld:%s", number, record->text); /* records without a text fault here, in the C library … */
    mean = mean * 0.5 + (double)last[2]; 
    if (!record->weight)
        total[7] = 100 / (int)record->weight; /* … or here */
    if (record->weight < 0)
        abort();
}
/* Locals of all kinds, on the stack too, and a sum in a register. */
__attribute__((noipa)) static long process(const struct record *records, long n, double scale) {
    long sum = 0, bad[3] = {0, 0, 0};
    double weighted = 0;
    for (long i = 0; i < n; i++) {
        __asm__ volatile(".globl slice_begin\nslice_begin:" : "+r"(sum), "+r"(i), "+m"(bad), "+x"(weighted));
        if (!ORACLE || (records[i].weight > 0 && records[i].text != (char *)1)) {
            bad[i % 3]++;
            sum += records[i].weight;
            count(&records[i], i);
            bad[(i + 1) % 3] += 10;
            weighted += scale * (double)records[i].weight;
        }
        __asm__ volatile(".globl slice_end\nslice_end:" : "+r"(sum), "+r"(i), "+m"(bad), "+x"(weighted));
    }
    printf("%ld %ld %ld %.3f\n", bad[0], bad[1], bad[2], weighted);
    return sum;
}
int main(void) {
    struct record records[40];
    setvbuf(stdout, NULL, _IONBF, 0);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 40; i++) {
            records[i] = (struct record){i % 7 == 3 ? (char *)1 : "some text", 1 + i * 3 % 11};
            if (i % 9 == 5)
                records[i].weight = i % 2 ? 0 : -1;
        }
        long sum = process(records, 40, 1.25);
        printf("%ld %ld %.3f %s\n", sum, seen, mean, last);
        for (int i = 0; i < 8; i++)
            printf("%ld ", total[i]);
        puts("");
    }
    return 0;
}
