// flags: -mtls-dialect=gnu2
// Thread-local variables reached by TLS descriptors.  See tls.c of the programs.
__thread long described = 5;
static __thread long own[4] = {1, 2, 3, 4};
long *describe(void) { return &described; }
long own_sum(long n) {
    own[n & 3] += n;
    return own[0] + own[1] * 10 + own[2] * 100 + own[3] * 1000;
}
