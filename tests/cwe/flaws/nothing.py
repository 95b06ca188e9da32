"""CWE-476 and 690: a pointer to nothing, found nowhere or handed out by a function whose result nobody tests."""

from __future__ import annotations

from cwe.model import Flaw

_ENTRY = """\
struct entry { long key; long worth; const char *name; long (*weigh)(long); struct entry *more; char body[8192]; };
OTHER_UNIT static long twice(long worth) { return 2 * worth; }
static struct entry entries[3] = {
    {3, 30, "three", twice, NULL, ""}, {5, 50, "five", twice, NULL, ""}, {7, 70, "seven", twice, NULL, ""}};
OTHER_UNIT static struct entry *look_up(long key) {
    for (int i = 0; i < 3; i++)
        if (entries[i].key == key)
            return &entries[i];
    return NULL;
}
"""


def _nothing(name: str, sink: str) -> Flaw:
    return Flaw(
        476,
        name,
        "struct entry *",
        "data = look_up(number(record));",
        "data = &entries[1];",
        sink,
        "data != NULL",
        "!x:4",
        declarations=_ENTRY,
    )


_TEXT = "data = number(record) > 50 ? NULL : text(record);"


def _no_text(name: str, sink: str) -> Flaw:
    return Flaw(476, name, "const char *", _TEXT, 'data = "tame";', sink, "data != NULL", "!x:60")


_CLASS = """\
struct shape {
    long size = 4;
    virtual long area() { return size; }
    long plain() { return size + 1; }
    virtual ~shape() {}
};
struct round_shape : shape { long area() override { return size * 3; } };
static round_shape one_shape;
"""


def _no_object(name: str, sink: str) -> Flaw:
    return Flaw(
        476, f"cpp-{name}", "shape *", "data = number(record) > 50 ? nullptr : &one_shape;", "data = &one_shape;", sink,
        "data != nullptr", "!x:60", declarations=_CLASS, cpp=True,
    )  # fmt: skip


_NULLS = (
    _nothing("read", "value = data->worth;"),
    _nothing("read-first", "value = data->key;"),
    _nothing("read-far", "value = data->body[8000] + data->key;"),
    _nothing("write", "data->worth++; KEEP(data); value = 5; data->worth--;"),
    _nothing("write-then-call", "data->worth = 30; value = data->weigh(data->worth);"),
    _nothing("call", "value = data->weigh(3);"),
    _nothing("nested", "data->more = &entries[0]; value = data->more->worth; data->more = NULL;"),
    _nothing("name", "value = (long)strlen(data->name);"),
    _nothing("copy", "struct entry copy = *data; value = copy.worth;"),
    _nothing("memset", "memset(data->body, 0, 100); value = data->worth;"),
    _no_text("strlen", "value = (long)strlen(data);"),
    _no_text("strcmp", 'value = strcmp(data, "3") == 0;'),
    _no_text("strcpy", "char copy[40]; strcpy(copy, data); value = checksum(copy, strlen(copy));"),
    _no_text("first", "value = *data;"),
    _no_text("loop", "for (const char *at = data; *at; at++) value += *at;"),
    _no_text("atoi", "value = atoi(data);"),
    _no_text("memcpy", "char copy[8]; memcpy(copy, data, 2); value = copy[0];"),
    _no_object("virtual", "value = data->area();"),
    _no_object("method", "value = data->plain();"),
    _no_object("copy", "shape copy(*data); value = copy.size;"),
)


def _unchecked(
    name: str, data: str, call: str, tame: str, sink: str, bad: str = "0x7000000000000000", more: str = ""
) -> Flaw:
    """`call` uses `size`, the number in the record."""
    get = f"long size = number(record); (void)size; data = ({data}){call};"
    return Flaw(690, name, data, get, f"data = ({data}){tame};", sink, "data != NULL", f"!x:{bad}", declarations=more)


_BUFFER = "data[1] = 'u'; data[0] = 'v'; KEEP(data); value = data[0] + data[1]; free(data);"
_FILE = "value = fgetc(data); fclose(data);"
_GETENV = '(setenv("KNOWN", "yes", 1), getenv(size > 50 ? "NOT_KNOWN_TO_ANYONE" : "KNOWN"))'

_UNCHECKED = (
    _unchecked("malloc", "char *", "malloc((size_t)size + 2)", "malloc(9)", _BUFFER),
    _unchecked("calloc", "char *", "calloc((size_t)size, 4)", "calloc(9, 1)", _BUFFER),
    _unchecked("realloc", "char *", "realloc(malloc(2), (size_t)size + 2)", "malloc(9)", _BUFFER),
    _unchecked("memset", "char *", "malloc((size_t)size + 40)", "malloc(49)",
               "memset(data, 'n', 40); KEEP(data); value = data[7]; free(data);"),
    _unchecked("aligned", "char *", "aligned_alloc(64, (size_t)size * 64)", "malloc(9)", _BUFFER,
               bad="0x100000000000000"),
    _unchecked("getenv", "const char *", _GETENV, '"tame"',
               "value = (long)strlen(data);", bad="60"),
    _unchecked("getenv-copy", "const char *", _GETENV, '"tame"',
               "char copy[20]; strcpy(copy, data); value = copy[0];", bad="60"),
    _unchecked("fopen", "FILE *", 'fopen(size > 50 ? "/does/not/exist" : "/dev/zero", "r")', 'fopen("/dev/zero", "r")',
               _FILE, bad="60"),
    _unchecked("fopen-gets", "FILE *", 'fopen(size > 50 ? "/does/not/exist" : "/dev/null", "r")',
               'fopen("/dev/null", "r")', "char line[20]; value = fgets(line, 20, data) == NULL; fclose(data);",
               bad="60"),
    _unchecked("opendir", "DIR *", 'opendir(size > 50 ? "/does/not/exist" : "/")', 'opendir("/")',
               "value = readdir(data) != NULL; closedir(data);", bad="60"),
    _unchecked("strchr", "const char *", "strchr(record, size > 50 ? '=' : ':')", 'strchr("a=b", \'=\')',
               "value = data[1];", bad="60"),
    _unchecked("strstr", "const char *", 'strstr(text(record), size > 50 ? "none" : "")', '"tame"', "value = *data;",
               bad="60"),
    _unchecked("strtok", "const char *", 'strtok(strdup(size > 50 ? "," : "one,two"), ",")', '"tame"',
               "value = (long)strlen(data);", bad="60"),
    _unchecked("localtime", "struct tm *", "localtime_from(size)", "localtime_from(1)",
               "value = data->tm_year > 60;", more="static struct tm *localtime_from(long when) "
               "{ time_t at = (time_t)when; return gmtime(&at); }"),
    _unchecked("realpath", "char *", 'realpath(size > 50 ? "/does/not/exist" : "/", NULL)', 'strdup("/")',
               "value = data[0]; free(data);", bad="60"),
    _unchecked("bsearch", "int *", "find_in(size)", "find_in(3)", "value = *data;", bad="60",
               more="static int sorted[4] = {1, 3, 5, 7};\nOTHER_UNIT static int order(const void *a, const void *b) "
               "{ return *(const int *)a - *(const int *)b; }\nstatic int *find_in(long key) { int wanted = (int)key; "
               "return (int *)bsearch(&wanted, sorted, 4, sizeof(int), order); }"),
    Flaw(690, "cpp-nothrow", "char *", "data = new (std::nothrow) char[(size_t)number(record) + 2];",
         "data = new (std::nothrow) char[9];", "data[1] = 'u'; KEEP(data); value = data[1]; delete[] data;",
         "data != nullptr",
         "!x:0x7000000000000000", declarations="#include <new>", cpp=True),
    Flaw(690, "cpp-dynamic_cast", "left *", "base *any = number(record) > 50 ? (base *)&a_right : (base *)&a_left; "
         "data = dynamic_cast<left *>(any);", "data = &a_left;", "value = data->more;", "data != nullptr", "!x:60",
         declarations="struct base { virtual ~base() {} };\nstruct left : base { long more = 5; };\n"
         "struct right : base {};\nstatic left a_left;\nstatic right a_right;", cpp=True),
)  # fmt: skip

FLAWS = (*_NULLS, *_UNCHECKED)
"""Flaws of CWE-476 and 690."""
