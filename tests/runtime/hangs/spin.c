long spin(long n, volatile long *end) {
    while (!*end)
        n = n * 3 + 1;
    return n;
}
