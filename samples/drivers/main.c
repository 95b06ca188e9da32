/* The plain driver: one thread, records from the command line or, without any, from the lines of standard input. */
#include "answer.h"

static void one(const char *record) {
    char text[512];
    answer(record, text, sizeof text);
    fputs(text, stdout);
    fflush(stdout);
}

int main(int argc, char **argv) {
    prepare();
    for (int i = 1; i < argc; i++)
        one(argv[i]);
    char line[256];
    while (argc == 1 && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        one(line);
    }
    return 0;
}
