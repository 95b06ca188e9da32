#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* Another module that is handed blocks: it frees them, makes them larger, asks how large they are. */
static void (*volatile release)(void *) = free;
void take(char *block) { free(block); }
void take_by_pointer(char *block) { release(block); }
char *enlarge(char *block, size_t size) { return realloc(block, size); }
size_t room(char *block) { return malloc_usable_size(block); }
int read_line(char **line, size_t *size, const char *text) {
    FILE *file = fmemopen((void *)text, strlen(text), "r");
    int length = (int)getline(line, size, file);
    fclose(file);
    return length;
}
