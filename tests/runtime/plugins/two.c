// Opens two hardened plugins in a program with a handler of its own, which must get every fault that is not survived.
//   two PLUGIN PLUGIN         they are closed in the order in which they were opened
//   two PLUGIN PLUGIN unused   nothing of them is called before
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>

static sigjmp_buf back;

static void own_handler(int signal) {
    (void)signal;
    siglongjmp(back, 1);
}

static int (*work)(volatile int *, int);

static void try(const char *what, volatile int *where) {
    if (sigsetjmp(back, 1))
        printf("%s: handler\n", what);
    else if (work)
        printf("%s: %d\n", what, work(where, 7));
    else
        *where = 7;
}

int main(int count, char **arguments) {
    void *plugins[2];
    signal(SIGSEGV, own_handler);
    for (int i = 0; i < 2; i++)
        plugins[i] = dlopen(arguments[i + 1], RTLD_NOW);
    for (int round = 0; round < (count > 3 ? 0 : 2); round++)
        for (int i = 0; i < 3; i++) {
            work = i < 2 ? (int (*)(volatile int *, int))dlsym(plugins[i], "work") : NULL;
            try(i < 2 ? "plugin" : "program", (volatile int *)8);
        }
    work = NULL;
    for (int i = 0; i < 2; i++) {
        dlclose(plugins[i]);
        try("closed", (volatile int *)8);
    }
    return 0;
}
