// What a region has written to a file of the program's own is taken back with its position, unless others may rely on it:
// the standard streams, files for appending, a position that another process has moved meanwhile, or has from its parent.
// region: region
// faults: 1
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
enum way { EXTENDED, WITHIN, BOTH, APPENDED, STANDARD, SHARED, BUFFERED, SOUGHT, FORKED, WAYS };
static FILE *stream;
static int files[WAYS], ask[2], answer[2];
__attribute__((noipa)) int region(enum way way, volatile int *bad) {
    const struct iovec parts[2] = {{"one ", 4}, {"two ", 4}};
    char letter = 0;
    if (way == BUFFERED) {
        for (int i = 0; i < 2000; i++)
            fprintf(stream, "line %d\n", i);
    } else if (way == STANDARD) {
        write(1, "standard ", 9);
    } else if (way == SOUGHT) {
        lseek(files[way], 3, SEEK_SET);
    } else {
        writev(files[way], parts, 2);
        write(files[way], "three ", 6);
    }
    if (way == SHARED) {
        write(ask[1], "?", 1);
        read(answer[0], &letter, 1);
    }
    if (way == FORKED) {
        const pid_t child = fork();
        if (child)
            return waitpid(child, NULL, 0) == child ? -1 : 5;
    }
    return *bad;
}
/* What must have happened to the file, where the region did not run. */
static void instead(enum way way) {
    if (way == APPENDED || way == SHARED || way == FORKED)
        write(files[way], "one two three ", 14);
    if (way == WITHIN)
        pwrite(files[way], "one two three ", 14, 2);
    if (way == BOTH)
        pwrite(files[way], "one two th", 10, 12);
    if (way == STANDARD)
        write(1, "standard ", 9);
    if (way == SHARED)
        write(files[way], "child ", 6);
}
static void show(const char *what, int file) {
    char text[256] = {0};
    const long position = lseek(file, 0, SEEK_CUR), size = pread(file, text, sizeof text - 1, 0);
    fprintf(stderr, "%s at %ld: %ld %s\n", what, position, size, text);
}
int main(void) {
    const char *const names[WAYS] = {"extended", "within", "both", "appended", "standard", "shared", "buffered", "sought", "forked"};
    dup2(1, 2); /* what is printed goes there, when standard output is a file */
    for (int i = 0; i < WAYS; i++) {
        char name[] = "/tmp/stemrw-XXXXXX";
        files[i] = mkstemp(name);
        unlink(name);
        if (i == APPENDED)
            fcntl(files[i], F_SETFL, O_APPEND);
        write(files[i], "before, and some more ", 22);
        if (i == WITHIN || i == BOTH)
            lseek(files[i], i == WITHIN ? 2 : 12, SEEK_SET);
    }
    dup2(files[STANDARD], 1);
    stream = fdopen(dup(files[BUFFERED]), "w");
    fprintf(stream, "kept ");
    pipe(ask);
    pipe(answer);
    const pid_t child = fork();
    if (!child) {
        char letter;
        close(ask[1]);
        if (ORACLE || read(ask[0], &letter, 1) != 1)
            _exit(0);
        write(files[SHARED], "child ", 6);
        write(answer[1], "!", 1);
        _exit(0);
    }
    const pid_t parent = getpid();
    for (int i = 0; i < WAYS; i++) {
        if (ORACLE)
            instead(i);
        else if (region(i, NULL) != -1)
            return 5;
        if (getpid() != parent)
            _exit(0);
        show(names[i], files[i]);
    }
    waitpid(child, NULL, 0);
    fprintf(stream, "again\n");
    fclose(stream);
    show("closed", files[BUFFERED]);
    return 0;
}
