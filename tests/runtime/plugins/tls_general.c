// flags: -mtls-dialect=gnu -ftls-model=global-dynamic
// Thread-local variables reached by calls of __tls_get_addr; loaded late, so that each thread's are allocated then.
__thread long general = 7;
static __thread long room[1000];
long general_sum(long n) {
    general += n;
    room[n % 1000] += general;
    return room[n % 1000] * 10 + general;
}
