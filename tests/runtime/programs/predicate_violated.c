// What the user requires at an instruction is a fault where it does not hold, before the instruction executes: all that
// the region around it has done is undone.  Where memory cannot be read it counts as held.
// regions: load
// faults: 1
// options: --require 'set: esi < 64 and (rdi == 0 or u32[rdi+4] == 7)'
// rescues: load=4
#include <stdio.h>
#include <stdlib.h>

struct table {
    int used, magic;
    long entry[64];
};
struct table table = {0, 7}, broken = {0, 8};
int loaded;

__attribute__((noinline)) int set(struct table *table, unsigned index, long value) {
    if (ORACLE && (index >= 64 || (table && table->magic != 7)))
        return -1;
    if (!table)
        return loaded;
    if (!ORACLE && (index >= 64 || table->magic != 7))
        abort();
    table->entry[index] = value;
    table->used++;
    return 0;
}

__attribute__((noinline)) int load(struct table *table, const unsigned *indices, int count) {
    const int before = loaded, used = table ? table->used : 0;
    for (int i = 0; i < count; i++) {
        loaded++;
        if (set(table, indices[i], i) < 0) {
            if (ORACLE) {
                loaded = before;
                if (table)
                    table->used = used;
            }
            return -1;
        }
    }
    return count;
}

int main(void) {
    const unsigned good[] = {0, 63, 5}, bad[] = {1, 2, 64}, worse[] = {3, 0xffffffff};
    printf("%d\n", load(&table, good, 3));
    printf("%d %d %d\n", load(&table, bad, 3), table.used, loaded);
    printf("%d %d %d\n", load(&table, worse, 2), table.used, loaded);
    printf("%d %d %d\n", load(&broken, good, 1), broken.used, loaded);
    printf("%d %d\n", load(NULL, good, 3), loaded);
    printf("%d %d\n", load(NULL, bad, 3), loaded);
    return 0;
}
