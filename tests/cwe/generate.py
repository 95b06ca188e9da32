"""From flaws, flows, contracts and flavours to programs, and from a program to its source text."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from cwe.flaws import FLAWS
from cwe.flows import CONTRACTS, FLAVOURS, FLOWS
from cwe.model import Flow, Program

WORKERS = ("bad", "good_source", "good_sink")
"""What a program can be asked to do with its records, by its first argument: the flaw; the same sink with tame data;
the bad data with a sink that tests it, which is what the program should have been."""

_PRELUDE = """\
#define _GNU_SOURCE
#include <alloca.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
@HEADERS@

#ifdef __cplusplus
#define _Bool bool
#define PLAIN_NAME extern "C"
#else
#define PLAIN_NAME
#endif
/* As a function of another source file is compiled: nothing of it is known where it is called. */
#define OTHER_UNIT __attribute__((noipa))

struct state {
    long total;
    int accepted, depth, closed;
    char text[32];
} state; /* not static: anybody might close it */
static char letters[1 << 18];
static char large_room[1 << 25];

/* What the compiler then cannot leave out as of no use to anybody. */
#define KEEP(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

/* A record is NAME:VALUE. */
static inline const char *text(const char *record) {
    const char *colon = strchr(record, ':');
    return colon ? colon + 1 : record;
}
static inline long number(const char *record) {
    return strtol(text(record), NULL, 0);
}
static inline long checksum(const void *at, size_t size) {
    long sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (sum * 31 + ((const unsigned char *)at)[i]) & 0xffffff;
    return sum;
}
static inline void enter(void) {
    state.depth++;
}
static inline void leave(void) {
    state.depth--;
}

@FLAW_DECLARATIONS@
typedef @DATA@ data_t;
typedef @RESULT@ result_t;
#define PARAMETERS @PARAMETERS@
#define ARGUMENTS @ARGUMENTS@
#define REFUSED @REFUSED@
#define ACCEPTED @ACCEPTED@
@FLOW_DECLARATIONS@
"""

_SINK = """
static result_t @SINK@(@PARAMETER@ PARAMETERS) {
    @UNPACK@
    long value = 0;
    int failed = 0;
    if (state.closed) { @REFUSE@ }
    @CODE@
    if (failed) { @REFUSE@ }
    state.total += value;
    state.accepted++;
    ACCEPTED
}
@WRAPPERS@
"""

_FETCH = {
    "returns": """
static data_t @FETCH@(const char *record) {
    data_t data = (data_t)0;
    { @CODE@ }
    return data;
}
""",
    "stores": """
static void @FETCH@(const char *record, data_t *to) {
    data_t data = (data_t)0;
    { @CODE@ }
    *to = data;
}
""",
}
_FETCHED = {"returns": "data = @FETCH@(record);", "stores": "@FETCH@(record, &data);"}

_WORKER_HEAD = """
PLAIN_NAME OTHER_UNIT result_t @WORKER@(const char *record PARAMETERS) {
    data_t data = (data_t)0;
    if (!*record) REFUSED
    enter();
    @SOURCE@
"""
_WORKER_CALL = """\
    @PREPARE@
    @HAND_ON@
}
"""
_WORKER_INLINE = """\
    long value = 0;
    int failed = 0;
    @CODE@
    leave();
    if (failed) REFUSED
    state.total += value;
    state.accepted++;
    ACCEPTED
}
"""

_MAIN = """
enum mode { BAD, GOOD_SOURCE, GOOD_SINK };

OTHER_UNIT static void one(enum mode mode, const char *record) {
    const char *said = "";
    char room[32];
    long answer = 0, *out = &answer;
    (void)out, (void)room;
    switch (mode) {
    case BAD: { @BAD@ break; }
    case GOOD_SOURCE: { @GOOD_SOURCE@ break; }
    case GOOD_SINK: { @GOOD_SINK@ break; }
    }
    printf("%.*s: %s, total %ld of %d, depth %d\\n", (int)strcspn(record, ":"), record, said, state.total,
           state.accepted, state.depth);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    memset(letters, 'x', sizeof letters - 1);
    @LIMIT@
    enum mode mode = argv[1][0] == 'b' ? BAD : strcmp(argv[1], "good_source") ? GOOD_SINK : GOOD_SOURCE;
    for (int i = 2; i < argc; i++)
        one(mode, argv[i]);
    return 0;
}
"""


def source(program: Program) -> str:
    """The program's text."""
    flaw, flow, contract = program.flaw, program.flow, program.contract
    checked = f"if (!({flaw.fine})) failed = 1; else {{ {flaw.sink} }}"
    parts = [
        _filled(
            _PRELUDE,
            HEADERS="\n".join(f"#include <{header}>" for header in flow.headers),
            DATA=flaw.data,
            RESULT=contract.result,
            PARAMETERS=contract.parameters,
            ARGUMENTS=contract.arguments,
            REFUSED=contract.refused,
            ACCEPTED=contract.accepted,
            FLAW_DECLARATIONS=flaw.declarations,
            FLOW_DECLARATIONS=flow.declarations,
        )
    ]
    sinks = {"use": f"{{ {flaw.sink} }}", "use_checked": checked}
    sources = {"fetch": flaw.source, "fetch_tame": flaw.good_source}
    if flow.call:
        parts += [_sink(program, name, code) for name, code in sinks.items()]
    if flow.fetch:
        parts += [_filled(_FETCH[flow.fetch], FETCH=name, CODE=code) for name, code in sources.items()]
    for worker, fetch, sink in zip(
        WORKERS, ("fetch", "fetch_tame", "fetch"), ("use", "use", "use_checked"), strict=True
    ):
        code = _filled(_FETCHED[flow.fetch], FETCH=fetch) if flow.fetch else f"{{ {sources[fetch]} }}"
        head = _filled(_WORKER_HEAD, WORKER=worker, SOURCE=_around(flow, code, "source"))
        if flow.call:
            parts.append(head + _call(program, sink))
        else:
            parts.append(head + _filled(_WORKER_INLINE, CODE=_around(flow, sinks[sink], "sink")))
    takes = {w.upper(): contract.take.replace("@WORK@", f"{w}(record ARGUMENTS)") for w in WORKERS}
    parts.append(_filled(_MAIN, LIMIT=flaw.limit, **takes))
    return "".join(parts)


def _sink(program: Program, name: str, code: str) -> str:
    flow = program.flow
    refuse = flow.refuse or "REFUSED"
    return _filled(
        _filled(_SINK, PARAMETER=flow.parameter, UNPACK=flow.unpack, REFUSE=refuse, CODE=code, WRAPPERS=flow.wrappers),
        SINK=name,
    )


def _call(program: Program, sink: str) -> str:
    flow, contract = program.flow, program.contract
    hand_on = contract.hand_on.replace("@CALL@", flow.call)
    if flow.refuse:
        hand_on = f"try {{ {hand_on} }} catch (const std::exception &) {{ leave(); REFUSED }}"
    return _filled(_filled(_WORKER_CALL, PREPARE=flow.prepare, HAND_ON=hand_on), SINK=sink)


def _around(flow: Flow, code: str, part: str) -> str:
    return _filled(flow.around, CODE=code, PART=part)


def _filled(template: str, **values: str) -> str:
    for name, value in values.items():
        template = template.replace(f"@{name}@", value)
    return template


def programs(*, only: Sequence[int] = (), sample: int | None = None, seed: int = 1) -> list[Program]:
    """Every flaw with every flow, each in a contract and a flavour drawn by `seed`; `sample` of them per CWE.

    A sample is spread over the flaws of its CWE: none comes twice before each came once.
    """
    found: list[Program] = []
    for cwe in sorted({flaw.cwe for flaw in FLAWS}):
        if not only or cwe in only:
            every = list(_of(cwe, seed))
            found += every if sample is None else every[:sample]
    return found


def _of(cwe: int, seed: int) -> Iterator[Program]:
    """Programs for one weakness, flaw by flaw in turn, flows in an order of each flaw's own."""
    draw = random.Random(f"{seed}-{cwe}")
    flaws = [flaw for flaw in FLAWS if flaw.cwe == cwe]
    draw.shuffle(flaws)
    orders = [draw.sample(FLOWS, len(FLOWS)) for _ in flaws]
    for turn in range(len(FLOWS)):
        for flaw, flows in zip(flaws, orders, strict=True):
            yield Program(flaw, flows[turn], draw.choice(CONTRACTS), draw.choice(FLAVOURS))
