"""The ways that data takes from source to sink, what callers expect, and how programs are built."""

from __future__ import annotations

from cwe.model import Contract, Flavour, Flow

_CALL = "@SINK@(data ARGUMENTS)"

FLOWS = (
    # Within one function.
    Flow("simple"),
    Flow("if-global", "if (five == 5) { @CODE@ } else state.closed = 1;", declarations="int five = 5;"),
    Flow("if-function", "if (is_five()) { @CODE@ }", declarations="static int is_five(void) { return 5 == 5; }"),
    Flow(
        "switch",
        "switch (six) { case 5: state.closed = 1; break; case 6: { @CODE@ break; } default: state.closed = 2; }",
        declarations="int six = 6;",
    ),
    Flow("while", "while (1) { { @CODE@ } break; }"),
    Flow("for", "for (int turn_@PART@ = 0; turn_@PART@ < 1; turn_@PART@++) { @CODE@ }"),
    Flow("goto", "if (state.closed) goto behind_@PART@; { @CODE@ } behind_@PART@: ;"),
    # Over functions.
    Flow("call", call=_CALL),
    Flow("returned", fetch="returns"),
    Flow("stored", fetch="stores"),
    Flow("returned-call", fetch="returns", call=_CALL),
    Flow("pointer", parameter="data_t *box", unpack="data_t data = *box;", call="@SINK@(&data ARGUMENTS)"),
    Flow("any-pointer", parameter="void *any", unpack="data_t data = *(data_t *)any;", call="@SINK@(&data ARGUMENTS)"),
    Flow(
        "struct",
        declarations="struct box { long before; data_t data; long behind; };",
        prepare="struct box box = {7, data, 9};",
        parameter="struct box box",
        unpack="data_t data = box.data;",
        call="@SINK@(box ARGUMENTS)",
    ),
    Flow(
        "array",
        prepare="data_t items[3]; items[0] = items[1] = (data_t)0; items[2] = data;",
        parameter="data_t *items",
        unpack="data_t data = items[2];",
        call="@SINK@(items ARGUMENTS)",
    ),
    Flow(
        "global",
        declarations="static data_t stored;",
        prepare="stored = data;",
        parameter="int level",
        unpack="data_t data = stored; (void)level;",
        call="@SINK@(1 ARGUMENTS)",
    ),
    Flow("function-pointer", prepare="__typeof__(&@SINK@) volatile handler = @SINK@;", call="handler(data ARGUMENTS)"),
    Flow(
        "chain",
        wrappers="OTHER_UNIT static result_t @SINK@_inner(data_t data PARAMETERS) { return @SINK@(data ARGUMENTS); }\n"
        "OTHER_UNIT static result_t @SINK@_outer(data_t data PARAMETERS) { return @SINK@_inner(data ARGUMENTS); }",
        call="@SINK@_outer(data ARGUMENTS)",
    ),
    # Of C++.
    Flow("reference", parameter="data_t &data", call=_CALL, cpp=True),
    Flow(
        "virtual",
        declarations="struct handler { virtual result_t take(data_t PARAMETERS) = 0; virtual ~handler() {} };",
        wrappers="struct @SINK@_handler : handler {\n"
        "    result_t take(data_t data PARAMETERS) override { return @SINK@(data ARGUMENTS); }\n};",
        prepare="@SINK@_handler object; handler *volatile chosen = &object;",
        call="chosen->take(data ARGUMENTS)",
        cpp=True,
    ),
    Flow(
        "vector",
        headers=("vector",),
        prepare="std::vector<data_t> items(3); items[2] = data;",
        parameter="std::vector<data_t> items",
        unpack="data_t data = items[2];",
        call="@SINK@(items ARGUMENTS)",
        cpp=True,
    ),
    Flow(
        "map",
        headers=("map",),
        prepare="std::map<int, data_t> items; items[2] = data;",
        parameter="std::map<int, data_t> items",
        unpack="data_t data = items[2];",
        call="@SINK@(items ARGUMENTS)",
        cpp=True,
    ),
    Flow("exception", headers=("stdexcept",), call=_CALL, refuse='throw std::runtime_error("refused");', cpp=True),
)
"""All flows."""

_SAY = 'if ({test}) said = "refused"; else {{ snprintf(room, sizeof room, "{form}", {value}); said = room; }}'

CONTRACTS = (
    Contract(
        "negative",
        "int",
        "return -1;",
        "return (int)(value & 0x7fff);",
        "int got = @WORK@; " + _SAY.format(test="got < 0", form="%d", value="got"),
        hand_on="int got = @CALL@; leave(); if (got < 0) return -1; return got;",
    ),
    Contract(
        "pointer",
        "const char *",
        "return NULL;",
        'snprintf(state.text, sizeof state.text, "%ld", value); return state.text;',
        'const char *got = @WORK@; if (got == NULL) said = "refused"; else said = got;',
    ),
    Contract(
        "status",
        "int",
        "return 3;",
        "return 0;",
        'if (@WORK@ != 0) said = "refused"; else said = "done";',
        hand_on="int got = @CALL@; leave(); if (got) return got; return 0;",
    ),
    Contract(
        "boolean",
        "_Bool",
        "return 0;",
        "*out = value; return 1;",
        'answer = 0; if (!@WORK@) said = "refused"; else { snprintf(room, sizeof room, "%ld", answer); said = room; }',
        parameters=", long *out",
        arguments=", out",
    ),
    Contract(
        "size",
        "size_t",
        "return 0;",
        "return (size_t)(value & 0xffff) + 1;",
        "size_t got = @WORK@; " + _SAY.format(test="got == 0", form="%zu", value="got"),
    ),
    Contract(
        "errno",
        "int",
        "{ errno = EINVAL; return -1; }",
        "return (int)(value & 0x7fff);",
        'errno = 0; int got = @WORK@; if (got == -1) said = errno ? "refused" : "refused without a reason"; '
        'else { snprintf(room, sizeof room, "%d", got); said = room; }',
    ),
    Contract(
        "ignored",
        "void",
        "return;",
        "return;",
        '@WORK@; said = "taken";',
        hand_on="@CALL@; leave(); return;",
    ),
)
"""What workers return, and how their callers look at it."""

_AS_DISTRIBUTED = ("-O2", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong", "-fcf-protection", "-Wl,-z,relro,-z,now")

FLAVOURS = (
    Flavour("debug", ("-O0", "-g")),
    Flavour("plain", ("-O2",)),
    Flavour("fortified", _AS_DISTRIBUTED),
    Flavour("stripped", _AS_DISTRIBUTED, stripped=True),
    Flavour("stripped-plain", ("-O2",), stripped=True),
)
"""How programs are built."""
