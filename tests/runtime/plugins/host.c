// Opens a hardened plugin again and again, lets it fault, and closes it: nothing of it may stay behind.
//   host PLUGIN ROUNDS          on one thread
//   host PLUGIN ROUNDS thread   with a second thread alive that has used the plugin in the first round
//   host PLUGIN ROUNDS left     a signal handler jumps out of a region before it is closed
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile int own_faults;
static pthread_barrier_t used, closed;

static void own_handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    if ((long)info->si_addr != 8)
        abort();
    own_faults++;
    siglongjmp(back, 1);
}

static void jump_back(int signal) {
    (void)signal;
    siglongjmp(back, 1);
}

static int mappings(void) {
    int count = 0, c;
    FILE *maps = fopen("/proc/self/maps", "r");
    while ((c = getc(maps)) != EOF)
        count += c == '\n';
    fclose(maps);
    return count;
}

static void *second(void *plugin) {
    void *(*function)(void *) = (void *(*)(void *))dlsym(plugin, "used_by_thread");
    function(NULL);
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&closed);
    return NULL;
}

int main(int count, char **arguments) {
    struct sigaction action = {.sa_sigaction = own_handler, .sa_flags = SA_SIGINFO}, now;
    sigaction(SIGSEGV, &action, NULL);
    signal(SIGUSR1, jump_back);
    pthread_t thread;
    int rescued = 0, before = 0;
    const int with_thread = count > 3 && !strcmp(arguments[3], "thread");
    const int left = count > 3 && !strcmp(arguments[3], "left");
    if (with_thread) {
        pthread_barrier_init(&used, NULL, 2);
        pthread_barrier_init(&closed, NULL, 2);
    }
    for (int round = 0; round < atoi(arguments[2]); round++) {
        void *plugin = dlopen(arguments[1], RTLD_NOW);
        int (*work)(volatile int *, int) = (int (*)(volatile int *, int))dlsym(plugin, "work");
        int *calls = dlsym(plugin, "calls");
        volatile int value = 0;
        work(&value, 7);
        rescued += work(NULL, 7) == -1 && value == 7 && *calls == 1;
        if (with_thread && round == 0) {
            pthread_create(&thread, NULL, second, plugin);
            pthread_barrier_wait(&used);
        }
        void (*interrupted)(int (*)(int), int) = (void (*)(int (*)(int), int))dlsym(plugin, "interrupted");
        if (left && !sigsetjmp(back, 1))
            interrupted(raise, SIGUSR1);
        dlclose(plugin);
        if (dlopen(arguments[1], RTLD_NOW | RTLD_NOLOAD))
            printf("still loaded\n");
        sigaction(SIGSEGV, NULL, &now);
        if (now.sa_sigaction != own_handler || (now.sa_flags & ~0x04000000) != SA_SIGINFO) // SA_RESTORER is the C library's
            printf("handler is not the program's\n");
        stack_t alternate;
        sigaltstack(NULL, &alternate);
        if (!(alternate.ss_flags & SS_DISABLE))
            printf("signal stack is left\n");
        if (!sigsetjmp(back, 1))
            *(volatile int *)8 = 1;
        if (round == 1)
            before = mappings();
    }
    int more = mappings() - before;
    printf("rescued %d own %d more mappings %d\n", rescued, own_faults, more);
    if (with_thread) {
        pthread_barrier_wait(&closed);
        pthread_join(thread, NULL);
    }
    return 0;
}
