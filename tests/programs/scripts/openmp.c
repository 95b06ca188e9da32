// Parallel loops, reductions, tasks, critical sections, ordered output, atomics, barriers, threadprivate data.
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
static double cells[512][512], next[512][512];
static int mine;
#pragma omp threadprivate(mine)
static long fib(int n) {
    if (n < 12) return n < 2 ? n : fib(n - 1) + fib(n - 2);
    long a, b;
#pragma omp task shared(a)
    a = fib(n - 1);
#pragma omp task shared(b)
    b = fib(n - 2);
#pragma omp taskwait
    return a + b;
}
int main(void) {
    omp_set_num_threads(4);
    long sum = 0, hits = 0, critical = 0;
#pragma omp parallel for reduction(+ : sum) schedule(dynamic, 1000)
    for (long i = 0; i < 2000000; i++) sum += i * i % 97;
#pragma omp parallel for
    for (int i = 0; i < 512; i++)
        for (int j = 0; j < 512; j++) cells[i][j] = sin(i * 0.1) * cos(j * 0.2);
    for (int round = 0; round < 20; round++) {
#pragma omp parallel for collapse(2)
        for (int i = 1; i < 511; i++)
            for (int j = 1; j < 511; j++) next[i][j] = (cells[i - 1][j] + cells[i + 1][j] + cells[i][j - 1] + cells[i][j + 1]) / 4;
#pragma omp parallel for
        for (int i = 1; i < 511; i++)
            for (int j = 1; j < 511; j++) cells[i][j] = next[i][j];
    }
#pragma omp parallel
    {
        for (int i = 0; i < 5000; i++) {
#pragma omp atomic
            hits++;
        }
#pragma omp critical
        critical += ++mine;
#pragma omp barrier
        char *own = malloc(1000 + omp_get_thread_num());
#pragma omp for ordered
        for (int i = 0; i < 8; i++) {
#pragma omp ordered
            printf("ordered %d\n", i);
        }
        free(own);
    }
    long f;
#pragma omp parallel
#pragma omp single
    f = fib(25);
    printf("%ld %ld %ld %ld %.12f\n", sum, hits, critical, f, cells[200][300]);
    return 3;
}
