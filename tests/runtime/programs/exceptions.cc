// region: thrower middle catcher maker caller
// faults: 1
// C++ exceptions into, through and out of regions.  What a region wrote before an exception left it stays; every region
// entered after that is rescued as if nothing had been thrown.
#include <algorithm>
#include <cstdio>
#include <new>
#include <stdexcept>
#include <string>
#define EXPORT extern "C" __attribute__((noipa))
static volatile int zero;
static long writes;

static int fault(int n) { return ORACLE ? -1 : (n + 100) / zero; }

struct Counted { /* unwinding runs its destructor */
    static int alive;
    Counted() { alive++; }
    ~Counted() { alive--; }
};
int Counted::alive;

EXPORT int thrower(int way) {
    Counted one;
    writes += 1;
    switch (way) {
    case 0:
        throw way;
    case 1:
        throw std::runtime_error("from a region " + std::to_string(writes));
    case 2:
        return fault(way);
    case 3:
        return (int)std::string("abc").at(7); /* thrown by the library */
    case 4:
        operator new((size_t)-1);
    default:
        return way;
    }
}
EXPORT int middle(int way) { /* a region between the throw and the catch */
    Counted one, two;
    writes += 100;
    int result = thrower(way);
    writes += 1000;
    return result;
}
EXPORT int catcher(int way, int then) {
    writes += 10000;
    try {
        middle(way);
    } catch (int) {
        if (then == 1)
            return fault(then); /* inside a catch block: rolled back to the entry of this region */
        if (then == 2)
            throw; /* rethrown out of the region */
        if (then == 3)
            return thrower(2) + thrower(9); /* another region, called in a catch block */
    } catch (const std::exception &error) {
        puts(error.what());
        if (then == 1)
            return fault(then);
        if (then == 2)
            throw std::string("another");
    }
    writes += 100000;
    return 7;
}
struct Member {
    Member(int way) {
        if (way == 1)
            throw 5L;
    }
    ~Member() { puts("member gone"); }
};
struct Made {
    Counted counted;
    Member first, second;
    Made(int way) : first(0), second(way) { writes++; }
};
EXPORT int maker(int way) { /* an exception from a constructor */
    writes += 7;
    try {
        Made made(way);
        return way == 2 ? fault(way) : 3;
    } catch (long) {
        return 4;
    }
}
EXPORT int caller(int way) { /* through frames of the library: callbacks */
    int numbers[] = {3, 1, 2};
    writes += 3;
    std::sort(numbers, numbers + 3, [way](int a, int b) {
        if (b == 2)
            thrower(way);
        return a < b;
    });
    return numbers[0];
}

static void show(const char *what, long value) { printf("%s %ld: %ld, %d alive\n", what, value, writes, Counted::alive); }

template <class Call> static void attempt(const char *what, Call call) {
    try {
        show(what, call());
    } catch (int n) {
        show("int", n);
    } catch (const std::string &text) {
        show(text.c_str(), 0);
    } catch (const std::bad_alloc &) {
        show("no memory", 0);
    } catch (const std::exception &error) {
        show(error.what(), 1);
    }
}
static void undone(const char *what, int (*call)(int), int way) { /* natively dead; rescued: nothing has happened */
    if (ORACLE)
        return show(what, -1);
    long before = writes;
    int result = call(way);
    Counted::alive = 0; /* the program's own notes of frames that are gone are undone too: it had none */
    if (writes != before)
        puts("not undone");
    show(what, result);
}
int main() {
    for (int round = 0; round < 3; round++) {
        for (int way : {0, 1, 3, 4, 5}) {
            attempt("thrower", [=] { return thrower(way); });
            attempt("middle", [=] { return middle(way); });
            undone("fault", thrower, 2);
            attempt("caller", [=] { return caller(way); });
        }
        for (int way : {0, 1})
            for (int then : {0, 2}) {
                attempt("catcher", [=] { return catcher(way, then); });
                undone("fault", thrower, 2);
            }
        undone("in a catch block", [](int) { return catcher(0, 1); }, 0);
        attempt("native catch", [] {
            try {
                middle(0);
            } catch (int) {
                return ORACLE ? -1 : thrower(2); /* a region called in a catch block, natively */
            }
            return 0;
        });
        attempt("maker", [] { return maker(0) + maker(1); });
        undone("made", maker, 2);
    }
    return 0;
}
