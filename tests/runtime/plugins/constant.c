// flags: -Wl,--build-id=none
// A function in the middle of others, which returns a number that its copies change.  See reloaded.c.
#define FILLER(n) int filler##n(int i) { return i * 3 + n; }
#define TEN(n) FILLER(n##0) FILLER(n##1) FILLER(n##2) FILLER(n##3) FILLER(n##4) FILLER(n##5) FILLER(n##6) FILLER(n##7) FILLER(n##8) FILLER(n##9)
TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6)
int constant(void) { return 0x11223344; }
TEN(11) TEN(12) TEN(13) TEN(14) TEN(15) TEN(16)
