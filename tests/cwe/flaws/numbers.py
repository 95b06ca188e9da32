"""CWE-190, where what overflows is an index or a size, and CWE-369."""

from __future__ import annotations

from cwe.model import Flaw

_TABLE = "int table[1000];"


def _overflow(name: str, sink: str, fine: str, bad: str, data: str = "int", tame: str = "3") -> Flaw:
    good = ("alpha:0", "beta:0") if tame == "0" else ("alpha:3", "beta:5")
    return Flaw(
        190,
        name,
        data,
        f"data = ({data})number(record);",
        f"data = {tame};",
        sink,
        fine,
        f"!x:{bad}",
        good=good,
        declarations=_TABLE,
    )


_OVERFLOWS = (
    _overflow(
        "multiply-index", "int at = (int)((unsigned)data * 65536u); value = table[at];", "data == 0", "24577", tame="0"
    ),
    _overflow(
        "add-index",
        "int at = (int)((unsigned)data + 5u); if (at < 1000) value = table[at] + at;",
        "data < 995",
        "2147483647",
    ),
    _overflow(
        "square-index",
        "int at = (int)((unsigned)data * (unsigned)data * 5u); value = table[at];",
        "data < 30",
        "20000",
        tame="0",
    ),
    _overflow(
        "increment-write",
        "int at = (int)((unsigned)data + 1u); if (at < 1000) { table[at] = 4; value = at; }",
        "data < 999",
        "2147483647",
    ),
    _overflow(
        "absolute",
        "int at = data < 0 ? (int)(0u - (unsigned)data) : data; if (at < 1000) value = table[at] + at;",
        "data > INT_MIN && data < 1000 && data > -1000",
        "-2147483648",
    ),
    _overflow("shift-index", "int at = (int)((unsigned)data << 28); value = table[at];", "data == 0", "8", tame="0"),
    _overflow(
        "size-32",
        "unsigned size = (unsigned)data * 16u; long *items = (long *)malloc(size); "
        "for (long i = 0; i < data; i++) items[2 * i] = i; KEEP(items); value = items[2]; free(items);",
        "data > 1 && data < 1000",
        "268435457",
    ),
    _overflow(
        "size-plus-one",
        "size_t size = (unsigned)(data + 1u); char *copy = (char *)malloc(size); memset(copy, 'c', data); KEEP(copy); "
        "value = copy[2]; free(copy);",
        "data < 1000",
        "4294967295",
        data="unsigned",
    ),
    _overflow(
        "size-16",
        "unsigned short size = (unsigned short)(data + 8); char *copy = (char *)malloc(size); "
        "memset(copy, 'c', (size_t)data + 8); KEEP(copy); value = copy[2]; free(copy);",
        "data < 1000",
        "3145728",
    ),
    _overflow(
        "size-64",
        "size_t size = data * sizeof(long); long *items = (long *)malloc(size); "
        "for (size_t i = 0; i < data; i++) items[i] = (long)i; KEEP(items); value = items[1]; free(items);",
        "data > 1 && data < 1000",
        "0x2000000000000004",
        data="uint64_t",
    ),
    Flaw(
        190,
        "negative-length",
        "int",
        "data = (int)number(record);",
        "data = 30;",
        "char copy[64]; int length = (int)((unsigned)data - 8u); memset(copy, 'x', 64); "
        "if (length < 64) memcpy(copy, letters, (size_t)length); value = checksum(copy, 64);",
        "data >= 8",
        "!x:4",
        good=("alpha:20", "beta:40"),
    ),
    _overflow(
        "counter",
        "unsigned char at = 250; for (int i = 0; i < data; i++) at++; value = 100 / at;",
        "data < 6",
        "6",
    ),
    _overflow(
        "offset-sum",
        "uint32_t end = data + 64u; if (end <= 4000) value = ((const char *)table)[(size_t)data];",
        "data <= 3000",
        "4294967250",
        data="uint32_t",
    ),
)


def _divide(name: str, data: str, sink: str, fine: str, bad: str = "0", tame: str = "2", convert: str = "") -> Flaw:
    return Flaw(
        369,
        name,
        data,
        f"data = ({data}){convert or 'number(record)'};",
        f"data = {tame};",
        sink,
        fine,
        f"!x:{bad}",
    )


_DIVISIONS = (
    _divide("int", "int", "value = 1000 / data;", "data != 0"),
    _divide("modulo", "int", "value = 1000 % data;", "data != 0"),
    _divide("long", "long", "value = state.total / data + 10000 / data;", "data != 0"),
    _divide("unsigned", "unsigned", "value = (long)(4000000000u / data % 1000u);", "data != 0"),
    _divide("unsigned-64", "uint64_t", "value = (long)(UINT64_MAX / data % 1000);", "data != 0"),
    _divide("char", "signed char", "value = 100 / data + 100 % data;", "data != 0"),
    _divide(
        "float-to-int", "float", "value = 100 / (int)data;", "(int)data != 0", bad="0.25", convert="atof(text(record))"
    ),
    _divide(
        "double-to-int", "double", "value = 100 % (long)data;", "(long)data != 0", bad="0", convert="atof(text(record))"
    ),
    _divide(
        "rounded",
        "double",
        "value = 100 / (int)(data * 0.5 + 0.4);",
        "data > 1.3",
        bad="1",
        convert="atof(text(record))",
    ),
    _divide("lowest", "int", "volatile int low = INT_MIN; value = low / data;", "data != -1", bad="-1"),
    _divide("lowest-modulo", "long", "volatile long low = LONG_MIN; value = low % data;", "data != -1", bad="-1"),
    _divide("difference", "int", "value = 500 / (data - 77);", "data != 77", bad="77"),
    _divide(
        "average",
        "int",
        "long sum = state.accepted + 1; for (int i = 0; i < data; i++) sum += i * i; value = sum / data;",
        "data",
    ),
    _divide(
        "length",
        "const char *",
        "value = 999 / (long)strlen(data);",
        "*data",
        bad="",
        tame='"tame"',
        convert="text(record)",
    ),
    _divide("library", "int", "div_t both = div(1000, data); value = both.quot + both.rem;", "data != 0"),
    _divide(
        "wide", "__int128", "__int128 big = (__int128)state.total << 40; value = (long)(big / data % 7);", "data != 0"
    ),
)

FLAWS = (*_OVERFLOWS, *_DIVISIONS)
"""Flaws of CWE-190 and 369."""
