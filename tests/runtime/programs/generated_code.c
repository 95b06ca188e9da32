// region: region changes
// Code that the program makes: in memory that is writable and executable at once, that is one after the other, in a
// memory file that is mapped twice, and in a file that is also mapped for writing.  Changed while a region runs and
// while none does, it is never executed stale.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
enum { SIZE = 4096, WAYS = 6 };
typedef int (*function)(int);
struct place {
    const char *name;
    char *execute, *write;
    int flips;
} places[WAYS];
static int unnamed_file(void) {
    char name[] = "/tmp/codeXXXXXX";
    int file = mkstemp(name);
    unlink(name);
    return file;
}
static void *map(int rights, int flags, int file) { return mmap(NULL, SIZE, rights, flags | (file < 0 ? MAP_ANONYMOUS : 0), file, 0); }
static struct place twice(const char *name, int file, int flags) {
    ftruncate(file, SIZE);
    char *write = map(PROT_READ | PROT_WRITE, MAP_SHARED, file);
    return (struct place){name, map(PROT_READ | PROT_EXEC, flags, file), write, 0};
}
static void put(struct place *place, int addend) { /* lea eax, [rdi + addend]; ret */
    const char code[] = {(char)0x8d, 0x47, (char)addend, (char)0xc3};
    if (place->flips)
        mprotect(place->execute, SIZE, PROT_READ | PROT_WRITE);
    memcpy(place->write, code, sizeof code);
    if (place->flips)
        mprotect(place->execute, SIZE, PROT_READ | PROT_EXEC);
}
__attribute__((noipa)) int region(struct place *place, int n) { return ((function)place->execute)(n) + 1; }
__attribute__((noipa)) int changes(struct place *place, int n) { /* itself, while it runs */
    int sum = 0;
    for (int i = 0; i < 4; i++) {
        put(place, i + n);
        sum = sum * 10 + ((function)place->execute)(1);
    }
    return sum;
}
int main(void) {
    const int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    places[0] = (struct place){"writable", map(all, MAP_PRIVATE, -1), NULL, 0};
    places[1] = (struct place){"flipping", map(PROT_READ, MAP_PRIVATE, -1), NULL, 1};
    int file = unnamed_file();
    ftruncate(file, SIZE);
    places[2] = (struct place){"flipping file", map(PROT_READ, MAP_PRIVATE, file), NULL, 1};
    places[3] = twice("memory file", memfd_create("code", 0), MAP_SHARED);
    places[4] = twice("memory file, private", memfd_create("code", 0), MAP_PRIVATE);
    places[5] = twice("file", unnamed_file(), MAP_PRIVATE);
    for (struct place *place = places; place < places + WAYS; place++) {
        if (!place->write)
            place->write = place->execute;
        printf("%s:", place->name);
        for (int i = 0; i < 4; i++) {
            put(place, i * 10);
            printf(" %d %d", region(place, 1), region(place, 2));
            printf(" %d", changes(place, i));
        }
        puts("");
    }
    return 0;
}
