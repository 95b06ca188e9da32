// region: region
// faults: 1
// modes: pie
// Reference counts, sums and flags of every width that several threads change by locked instructions, of which many are
// undone, more than 10,000 times in all: what the others did meanwhile stays.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
enum { THREADS = 4, ROUNDS = 4000 };
static volatile int zero;
static struct {
    uint8_t byte;
    uint16_t word;
    uint32_t count;
    uint64_t sum, flags;
} volatile all;
static volatile unsigned references = 1;
__attribute__((noipa)) int region(unsigned id, unsigned round) {
    __atomic_add_fetch(&all.byte, 3, __ATOMIC_SEQ_CST);
    __atomic_sub_fetch(&all.word, (uint16_t)(round * 7), __ATOMIC_SEQ_CST);
    uint64_t before = __atomic_fetch_add(&all.sum, 1ull << 33 | round, __ATOMIC_SEQ_CST);
    __atomic_fetch_xor(&all.flags, 1ull << (id * 16 + round % 16), __ATOMIC_SEQ_CST);
    __asm__ volatile("lock incl %0" : "+m"(all.count)::"cc");
    __atomic_add_fetch(&references, 1, __ATOMIC_SEQ_CST);
    if (round % 4 == 1)
        __atomic_fetch_and(&all.flags, ~(255ull << id * 16), __ATOMIC_SEQ_CST);
    if (round % 4 != 0)
        return (int)round / zero;
    __asm__ volatile("lock negq %0; lock negq %0" : "+m"(before)::"cc"); /* the thread's own */
    __atomic_sub_fetch(&references, 1, __ATOMIC_SEQ_CST);
    return before == ~0ull ? 2 : 1;
}
static void *thread(void *argument) {
    const unsigned id = (unsigned)(long)argument;
    long refused = 0;
    for (unsigned round = 1; round <= ROUNDS; round++)
        refused += ORACLE && round % 4 ? 1 : region(id, round) < 0;
    return (void *)refused;
}
int main(void) {
    pthread_t threads[THREADS];
    alarm(20);
    for (long id = 0; id < THREADS; id++)
        pthread_create(&threads[id], NULL, thread, (void *)id);
    for (int id = 0; id < THREADS; id++) {
        void *refused;
        pthread_join(threads[id], &refused);
        printf("%ld refused\n", (long)refused);
    }
    printf("%u %u %u %llx %llx, references %u\n", all.byte, all.word, all.count, (unsigned long long)all.sum,
           (unsigned long long)all.flags, references);
    return 0;
}
