"""CWE-415 and 416: blocks freed twice, and used after they were freed."""

from __future__ import annotations

from cwe.model import Flaw

_ITEM = """\
struct item { const char *name; long (*rank)(const struct item *); struct item *next; long size; char body[40]; };
static int freed;
OTHER_UNIT static long rank_of(const struct item *item) { return item->size + 1; }
OTHER_UNIT static void release(struct item *item) { free(item); }
OTHER_UNIT static struct item *make(size_t size) {
    struct item *item = (struct item *)calloc(1, size);
    item->name = "name"; item->rank = rank_of; item->size = 40; freed = 0;
    return item;
}
"""
_SMALL, _LARGE = "make(sizeof(struct item))", "make(40 << 20)"
_FREE = "if (number(record) > 50) { free(data); freed = 1; }"


def _flaw(cwe: int, name: str, sink: str, *, size: str = _SMALL, release: str = _FREE, declarations: str = "") -> Flaw:
    return Flaw(
        cwe,
        name,
        "struct item *",
        f"data = {size}; {release}",
        f"data = {size};",
        sink,
        "!freed",
        "!x:60",
        declarations=_ITEM + declarations,
    )


_LOST = (
    "if (number(record) > 50) { free(data); freed = 1; char *other = (char *)malloc(sizeof(struct item)); "
    "memset(other, 'A', sizeof(struct item)); state.closed = other[0] != 'A'; }"
)
"""The block is somebody else's by then; who overwrites it with text."""

_TWICE = (
    _flaw(415, "direct", "value = freed ? 0 : data->size; free(data);"),
    _flaw(415, "large", "value = freed ? 0 : data->size; free(data);", size=_LARGE),
    _flaw(415, "alias", "struct item *alias = data; value = 5; free(alias);"),
    _flaw(
        415, "function", "value = 6; release(data);", release="if (number(record) > 50) { release(data); freed = 1; }"
    ),
    _flaw(415, "in-between", "value = 7; char *other = (char *)malloc(2000); free(data); free(other);"),
    _flaw(415, "realloc", "value = 8; data = (struct item *)realloc(data, 500); free(data);"),
    _flaw(
        415,
        "interior",
        "value = 9; free((char *)data + (freed ? 16 : 0)); ",
        release="if (number(record) > 50) freed = 1;",
    ),
    _flaw(
        415,
        "stack",
        "struct item local; memset(&local, 1, sizeof local); value = local.body[2]; free(freed ? &local : data);",
        release="if (number(record) > 50) freed = 1;",
    ),
    _flaw(
        415,
        "wild",
        "value = 4; free(freed ? (struct item *)(uintptr_t)0x4141414141414140 : data);",
        release="if (number(record) > 50) freed = 1;",
    ),
    _flaw(
        415,
        "list",
        "data->next = make(sizeof(struct item)); freed = data->name == NULL; "
        "if (data->size > 50) { free(data->next); } struct item *next = data->next; free(data); free(next); value = 3;",
        release="if (number(record) > 50) { data->size = 60; freed = 1; }",
    ),
)

_AFTER = (
    _flaw(
        416,
        "read",
        "value = data->size; for (const char *at = data->name; *at; at++) value += *at; if (!freed) free(data);",
    ),
    _flaw(416, "read-large", "value = data->size + data->body[3]; if (!freed) free(data);", size=_LARGE),
    _flaw(
        416,
        "write-large",
        "data->size = 3; data->body[1] = 'w'; value = data->size; if (!freed) free(data);",
        size=_LARGE,
    ),
    _flaw(
        416,
        "memset-large",
        "memset(data->body, 'm', 5000); value = data->body[9]; if (!freed) free(data);",
        size=_LARGE,
    ),
    _flaw(
        416,
        "write-through",
        "*(long *)&data->body[8] = 5; static char spot[8]; "
        "if (!freed) data->name = spot; *(volatile char *)data->name = 'x'; value = spot[0]; if (!freed) free(data);",
    ),
    _flaw(416, "call", "value = data->rank(data); if (!freed) free(data);"),
    _flaw(416, "call-lost", "value = data->rank(data); if (!freed) free(data);", release=_LOST),
    _flaw(416, "read-lost", "value = (long)strlen(data->name); if (!freed) free(data);", release=_LOST),
    _flaw(
        416,
        "list-lost",
        "for (struct item *at = data; at; at = at->next) value += at->size & 0xff; if (!freed) free(data);",
        release=_LOST,
    ),
    _flaw(
        416, "print", 'char line[80]; value = snprintf(line, sizeof line, "%.20s", data->name); if (!freed) free(data);'
    ),
    _flaw(416, "copy-large", "struct item copy = *data; value = copy.size; if (!freed) free(data);", size=_LARGE),
    _flaw(416, "write-quiet", "data->size = 77; data->body[0] = 'q'; value = 2; if (!freed) free(data);"),
    _flaw(
        416,
        "realloc-moved",
        "struct item *moved = (struct item *)realloc(data, freed ? 90u << 20 : sizeof *data); "
        "value = (freed ? data : moved)->size; free(moved);",
        size=_LARGE,
        release="if (number(record) > 50) freed = 1;",
    ),
)

_CLASS = """\
static int freed;
struct shape { virtual long area() { return 4; } virtual ~shape() {} long more[6] = {1, 2, 3, 4, 5, 6}; };
struct circle : shape { long area() override { return 7; } };
"""


def _class(cwe: int, name: str, source: str, sink: str, data: str = "shape *") -> Flaw:
    start = "freed = 0; data = new " + (
        "circle;" if data == "shape *" else 'std::string("a long enough text for the heap");'
    )
    more = "" if data == "shape *" else "#include <string>\n"
    return Flaw(
        cwe, f"cpp-{name}", data, f"{start} if (number(record) > 50) {{ {source} }}", start, sink, "!freed", "!x:60",
        declarations=more + _CLASS, cpp=True,
    )  # fmt: skip


_CPP = (
    _class(415, "delete", "delete data; freed = 1;", "value = 5; delete data;"),
    _class(415, "string", "delete data; freed = 1;", "value = 6; delete data;", data="std::string *"),
    _class(416, "virtual", "delete data; freed = 1;", "value = data->area(); if (!freed) delete data;"),
    _class(
        416,
        "virtual-lost",
        "delete data; freed = 1; char *other = new char[sizeof(shape)]; memset(other, 'B', "
        "sizeof(shape)); state.closed = other[1] != 'B';",
        "value = data->area(); if (!freed) delete data;",
    ),
    _class(
        416,
        "string",
        "delete data; freed = 1;",
        "value = (long)data->size() + data->at(3); if (!freed) delete data;",
        data="std::string *",
    ),
)

FLAWS = (*_TWICE, *_AFTER, *_CPP)
"""Flaws of CWE-415 and 416."""
