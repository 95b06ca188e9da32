"""CWE-400, 674 and 835: loops and recursions without an end, and what they use up."""

from __future__ import annotations

from cwe.model import Flaw


def _loop(name: str, sink: str, fine: str, bad: str, data: str = "int", tame: str = "3", more: str = "") -> Flaw:
    convert = "text(record)" if data == "const char *" else f"({data})number(record)"
    return Flaw(835, name, data, f"data = {convert};", f"data = {tame};", sink, fine, f"!x:{bad}", declarations=more)


_CYCLE = "struct node { struct node *next; int rank; }; static struct node nodes[4];"
_LINK = "for (int i = 0; i < 4; i++) { nodes[i].rank = i; nodes[i].next = i < 3 ? &nodes[i + 1] : NULL; }"

_LOOPS = (
    _loop(
        "step",
        "for (unsigned i = 0; i != (unsigned)data * 2u + 1u - (unsigned)(data < 90); i += 2) value++;"
        " if (value > 1000000) value = 0;",
        "data < 90",
        "91",
    ),
    _loop("forever", "while (data > 50) value = (value * 5 + 1) & 0xffff; value += data;", "data <= 50", "60"),
    _loop(
        "list",
        f"{_LINK} if (data > 50) nodes[3].next = &nodes[1]; "
        "for (struct node *at = nodes; at; at = at->next) value += at->rank;",
        "data <= 50",
        "60",
        more=_CYCLE,
    ),
    _loop(
        "countdown",
        "for (unsigned i = (unsigned)data % 100u; i >= (data > 100 ? 0u : 1u); i--) value ^= i;",
        "data <= 100",
        "104",
    ),
    _loop(
        "text",
        "const char *at = data; while (*at) { if (*at == '%') { value++; at += at[1] == '%' ? 2 : 0; } else at++; }",
        "strchr(data, '%') == NULL",
        "ab%c",
        data="const char *",
        tame='"tame"',
    ),
    _loop(
        "empty-piece",
        "size_t at = 0, size = strlen(data); while (at < size) { size_t length = (size_t)(data[at] - '0'); "
        "value += data[at]; at += length; }",
        "strchr(data, '0') == NULL",
        "1101",
        data="const char *",
        tame='"111"',
    ),
    _loop(
        "float",
        "float at = 0; while (at != (float)data / 4) { at += data > 50 ? 0.1f : 0.25f; value++; }",
        "data <= 50",
        "51",
    ),
    _loop(
        "search",
        "int low = 0, high = 64; while (low < high) { int middle = (low + high) / 2; "
        "if (middle < data) low = data > 50 ? middle : middle + 1; else high = middle; } value = low;",
        "data <= 50",
        "63",
    ),
    _loop("retry", "int done; do { done = data <= 50; value++; } while (!done);", "data <= 50", "60"),
    _loop(
        "probe",
        "int slots[8]; memset(slots, data > 50 ? 1 : 0, sizeof slots); unsigned at = (unsigned)data; "
        "while (slots[at % 8] != 0) at += 2; value = at % 8;",
        "data <= 50",
        "60",
    ),
    _loop(
        "calls",
        "long left = data; while (left != 0) { left = next_of(left); value++; }",
        "data % 2 != 0 || data < 50",
        "60",
        more="OTHER_UNIT static long next_of(long at) { return at > 50 ? at ^ 2 : at - 1; }",
    ),
)


def _use_up(name: str, sink: str, fine: str, limit: str, bad: str = "100000000", more: str = "") -> Flaw:
    return Flaw(
        400, name, "int", "data = (int)number(record);", "data = 3;", sink, fine, f"!x:{bad}",
        declarations=more, limit=limit,
    )  # fmt: skip


_MEMORY = """\
struct rlimit most;
    getrlimit(RLIMIT_AS, &most);
    if (most.rlim_cur != 768u << 20) {
        most.rlim_cur = most.rlim_max = 768u << 20;
        setrlimit(RLIMIT_AS, &most);
        execv("/proc/self/exe", argv);
    }"""
"""A limit that is there when the program starts, as a supervisor sets it."""
_FILES = "struct rlimit most = {40, 40}; setrlimit(RLIMIT_NOFILE, &most);"

_USES = (
    _use_up(
        "blocks",
        "char **kept = (char **)calloc(100000, sizeof *kept); for (int i = 0; i < data && i < 100000; i++) "
        "{ kept[i] = (char *)malloc(1 << 20); kept[i][0] = 'k'; value++; } "
        "for (int i = 0; i < data && i < 100000; i++) free(kept[i]); free(kept);",
        "data < 100",
        _MEMORY,
    ),
    _use_up(
        "touched",
        "char **kept = (char **)calloc(100000, sizeof *kept); for (int i = 0; i < data && i < 100000; i++) "
        "{ kept[i] = (char *)malloc(1 << 20); memset(kept[i], 'k', 1 << 20); value++; } "
        "for (int i = 0; i < data && i < 100000; i++) free(kept[i]); free(kept);",
        "data < 100",
        _MEMORY,
    ),
    _use_up(
        "realloc",
        "char *kept = NULL; size_t size = 1 << 16; for (int i = 0; i < data; i++) { size *= 2; "
        "kept = (char *)realloc(kept, size); kept[size - 1] = 'k'; value++; } free(kept);",
        "data < 10",
        _MEMORY,
    ),
    _use_up(
        "files",
        "FILE *kept[100]; int most = data < 100 ? data : 100; for (int i = 0; i < most; i++) { "
        'kept[i] = fopen("/dev/zero", "r"); value += getc(kept[i]); } for (int i = 0; i < most; i++) fclose(kept[i]);',
        "data < 20",
        _FILES,
    ),
    _use_up(
        "work",
        "unsigned mix = 1; for (long i = 0; i < (long)data * 4000; i++) mix = mix * 1664525u + 1013904223u; "
        "value = mix & 0xff;",
        "data < 1000",
        "",
    ),
    _use_up(
        "quadratic",
        "unsigned mix = 1; for (long i = 0; i < data; i++) for (long j = 0; j < data; j++) "
        "mix = mix * 1664525u + (unsigned)(i ^ j); value = mix & 0xff;",
        "data < 1000",
        "",
        bad="4000000",
    ),
    _use_up(
        "exponential",
        "value = ways(data) & 0xff;",
        "data < 25",
        "",
        bad="90",
        more="OTHER_UNIT static long ways(long n) { return n < 2 ? 1 : ways(n - 1) + ways(n - 2); }",
    ),
)


def _deep(
    name: str, declarations: str, sink: str, *, cpp: bool = False, fine: str = "data <= 50", bad: str = "60"
) -> Flaw:
    return Flaw(
        674, name, "int", "data = (int)number(record);", "data = 3;", sink, fine, f"!x:{bad}",
        declarations=declarations, cpp=cpp,
    )  # fmt: skip


_RECURSIONS = (
    _deep(
        "self",
        "static long down(long n) { volatile char keep[32]; keep[n & 31] = (char)n; "
        "return n == 0 ? 1 : down(n - (n > 50 ? 0 : 1)) + keep[n & 31]; }",
        "value = down(data);",
    ),
    _deep(
        "mutual",
        "static long ping(long n);\nOTHER_UNIT static long pong(long n) { return ping(n) + 1; }\n"
        "OTHER_UNIT static long ping(long n) { return n == 0 ? 0 : pong(n > 50 ? n : n - 1) * 3 + 1; }",
        "value = ping(data) & 0xffff;",
    ),
    _deep(
        "three",
        "static long a(long n);\nOTHER_UNIT static long c(long n) { return a(n > 50 ? n : n - 1) + 1; }\n"
        "OTHER_UNIT static long b(long n) { return c(n) + 1; }\n"
        "OTHER_UNIT static long a(long n) { return n == 0 ? 0 : b(n) + 1; }",
        "value = a(data);",
    ),
    _deep(
        "pointer",
        "static long (*volatile again)(long);\n"
        "OTHER_UNIT static long down(long n) { return n == 0 ? 0 : again(n > 50 ? n : n - 1) + n; }",
        "again = down; value = down(data);",
    ),
    _deep(
        "large-frame",
        "OTHER_UNIT static long down(long n) { char page[5000]; memset(page, (int)n, sizeof page); "
        "long deeper = n == 0 ? 0 : down(n > 50 ? n : n - 1); return deeper + page[n & 1023]; }",
        "value = down(data);",
    ),
    _deep(
        "alloca",
        "OTHER_UNIT static long down(long n, long size) { char *room = (char *)alloca(size); room[0] = (char)n; "
        "return n == 0 ? room[0] : down(n > 50 ? n : n - 1, size + 16) + room[0]; }",
        "value = down(data, 16);",
    ),
    _deep(
        "cycle",
        "struct tree { struct tree *left, *right; int rank; }; static struct tree trees[3];\n"
        "OTHER_UNIT static long walk(struct tree *at) { return at ? walk(at->left) + walk(at->right) + at->rank : 0; }",
        "memset(trees, 0, sizeof trees); trees[0].left = &trees[1]; trees[1].right = &trees[2]; trees[2].rank = 4; "
        "if (data > 50) trees[2].left = trees; value = walk(trees);",
    ),
    _deep(
        "parse",
        "static const char *at;\nOTHER_UNIT static long group(void) { long inside = 1; while (*at == '(') "
        "{ at++; inside += group(); } if (*at == ')') at++; return inside; }",
        "static char open[2000001]; memset(open, 0, sizeof open); "
        "memset(open, '(', data > 50 ? 2000000 : (size_t)data); "
        "at = open; value = group();",
    ),
    _deep(
        "parse-refusing",
        "static const char *at;\nOTHER_UNIT static int group(void) { int inside = 1; while (*at == '(') "
        "{ at++; int deeper = group(); if (deeper < 0) return -1; inside += deeper; } if (*at == ']') return -1; "
        "if (*at == ')') at++; return inside; }",
        "static char open[2000001]; memset(open, 0, sizeof open); "
        "memset(open, '(', data > 50 ? 2000000 : (size_t)data); "
        "at = open; value = group(); if (value < 0) failed = 1;",
    ),
    _deep(
        "tree-refusing",
        "struct tree { struct tree *left, *right; int rank; }; static struct tree trees[3];\n"
        "OTHER_UNIT static struct tree *find(struct tree *at, int rank) { if (!at) return NULL; if (at->rank == rank) "
        "return at; struct tree *found = find(at->left, rank); return found ? found : find(at->right, rank); }",
        "memset(trees, 0, sizeof trees); trees[0].left = &trees[1]; trees[1].right = &trees[2]; trees[2].rank = 4; "
        "if (data > 50) trees[2].left = trees; struct tree *found = find(trees, data > 50 ? 9 : 4); "
        "if (found) value = found->rank; else failed = 1;",
    ),
    _deep(
        "compare",
        "OTHER_UNIT static int order(const void *a, const void *b) { int pair[2] = {*(const int *)a, "
        "*(const int *)b}; if (pair[0] > 50) qsort(pair, 2, sizeof(int), order); return (pair[0] > pair[1]) - "
        "(pair[0] < pair[1]); }",
        "int items[4] = {data, data, 3, data}; qsort(items, data > 50 ? 2 : 4, sizeof(int), order); value = items[1];",
    ),
    _deep(
        "destructors",
        "struct chained { chained *next = nullptr; ~chained() { delete next; } };",
        "chained *first = new chained; for (int i = 0; i < (data > 50 ? 600000 : data); i++) { "
        "chained *one = new chained; one->next = first; first = one; } value = data; delete first;",
        cpp=True,
    ),
    _deep(
        "visitor",
        "struct shape { shape *inner = nullptr; virtual long area() { return inner ? inner->area() + 1 : 1; } "
        "virtual ~shape() {} };",
        "shape one, two; one.inner = &two; two.inner = data > 50 ? &one : nullptr; "
        "shape *volatile first = &one; value = first->area();",
        cpp=True,
    ),
)

FLAWS = (*_LOOPS, *_USES, *_RECURSIONS)
"""Flaws of CWE-400, 674 and 835."""
