// region: region loads
// faults: 1
// modes: pie
// library: tls tls_general
// Thread-local variables by every model, of the program, a library with TLS descriptors, one with calls, and one that is
// opened in a region: on several threads, written in regions, and as they were after a fault.
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
extern __thread long described __attribute__((tls_model("initial-exec")));
extern __thread long general __attribute__((tls_model("global-dynamic")));
extern long *describe(void), own_sum(long), general_sum(long);
static __thread long local __attribute__((tls_model("local-exec"))) = 11, dynamic __attribute__((tls_model("local-dynamic")));
static volatile int zero;
static int fault(int fails) { return fails ? 100 / zero : 0; }
__attribute__((noipa)) long region(long n, int fails) {
    local += n;
    dynamic += local;
    described += dynamic;
    *describe() += 1;
    general += described;
    long sum = own_sum(n) + general_sum(n);
    return sum + local + fault(fails);
}
__attribute__((noipa)) long loads(long n, int fails) { /* the block is allocated at the first access, or is there */
    void *library = dlopen("libm.so.6", RTLD_NOW);
    double (*lgamma)(double) = (double (*)(double))dlsym(library, "lgamma");
    long result = (long)(lgamma(n + 0.5) * 1000) + own_sum(n) + fault(fails);
    dlclose(library);
    return result;
}
static void *thread(void *base) {
    static char lines[4][2000];
    char *line = lines[(long)base], *at = line;
    for (long n = 1; n < 8; n++) {
        at += sprintf(at, "%ld ", region(n + (long)base, 0));
        at += sprintf(at, "%ld ", ORACLE ? -1 : region(n, 1));
        at += sprintf(at, "%ld %ld %ld %ld %ld ", local, dynamic, described, general, own_sum(0));
        at += sprintf(at, "%ld ", loads(n, 0));
    }
    return line;
}
int main(void) {
    puts(thread((void *)0));
    printf("%ld %ld\n", ORACLE ? -1 : loads(2, 1), own_sum(0));
    for (long t = 1; t < 4; t++) {
        pthread_t started;
        void *line;
        pthread_create(&started, NULL, thread, (void *)t);
        pthread_join(started, &line);
        puts(line);
    }
    puts(thread((void *)0));
    return 0;
}
