"""Ways to write too much into a buffer, shared by what overruns the stack and what overruns the heap."""

from __future__ import annotations

from dataclasses import dataclass

ROOM = 24
"""Bytes in a buffer for text."""


@dataclass(frozen=True)
class Copy:
    """`code` writes `data` into `buffer`; `far` and `near` are values that overrun it by much and by little."""

    name: str
    data: str
    code: str
    fine: str
    near: str
    far: str
    tame: str
    element: str = "char"
    count: int = ROOM


def _text(name: str, code: str) -> Copy:
    return Copy(
        name, "const char *", code, f"strlen(data) < {ROOM - 3}", near="n" * (ROOM + 6), far="f" * 900, tame='"tame"'
    )


TEXT = (
    _text("strcpy", "strcpy(buffer, data);"),
    _text("stpcpy", "*stpcpy(buffer, data) = 0;"),
    _text("strcat", 'strcpy(buffer, "<"); strcat(buffer, data);'),
    _text("sprintf", 'sprintf(buffer, "<%s>", data);'),
    _text("snprintf", 'snprintf(buffer, strlen(data) + 1, "%s", data);'),
    _text("strncpy", "strncpy(buffer, data, strlen(data) + 1);"),
    _text("sscanf", 'sscanf(data, "%s", buffer);'),
    _text("memmove", "memmove(buffer, data, strlen(data) + 1);"),
    _text("characters", "size_t i = 0; while (data[i]) { buffer[i] = data[i]; i++; } buffer[i] = 0;"),
    _text(
        "read",
        "int ends[2]; if (pipe(ends) == 0) { ssize_t put = write(ends[1], data, strlen(data) + 1); close(ends[1]); "
        "ssize_t got = read(ends[0], buffer, strlen(data) + 1); value = put - got; close(ends[0]); }",
    ),
)
"""Copies of text; the buffer then holds a string."""


def _numbers(name: str, code: str, fine: str, element: str, count: int, far: int) -> Copy:
    return Copy(name, "int", code, fine, near=str(count + 2), far=str(far), tame="3", element=element, count=count)


def _loop(element: str, count: int, far: int) -> Copy:
    code = f"for (int i = 0; i <= data; i++) buffer[i] = ({element})(i + 'A');"
    return _numbers(f"loop-{element.split('_')[0].replace(' ', '-')}", code, f"data < {count}", element, count, far)


NUMBERS = (
    _loop("char", 16, 400),
    _loop("int", 10, 200),
    _loop("int64_t", 8, 100),
    _loop("double", 8, 100),
    _numbers("memcpy", "memcpy(buffer, letters, (size_t)data);", "data <= 40", "char", 40, 600),
    _numbers("memset", "memset(buffer, 'B', (size_t)data * sizeof *buffer);", "data <= 12", "int", 12, 300),
    _numbers("wide", "wmemset(buffer, L'w', (size_t)data);", "data <= 12", "wchar_t", 12, 300),
    _numbers("index", "buffer[data] = 7;", "data >= 0 && data < 10", "int", 10, 90_000_000),
    _numbers(
        "records",
        "for (int i = 0; i < data; i++) { buffer[i].key = i; buffer[i].value = 1.5 * i; }",
        "data <= 6",
        "struct pair",
        6,
        80,
    ),
)
"""Copies of so many elements, or to an index."""

PAIR = "struct pair { long key; double value; };"
"""Declaration of an element of one of them."""
