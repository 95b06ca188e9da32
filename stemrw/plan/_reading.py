"""What code says about itself: does a function report an error, end the program, leave by a jump; where is a loop.

Only what callers and their error branches can be told apart by; every answer is remembered for one plan.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Literal

from stemrw.image import NEVER_RETURN, Function, Image, Instruction
from stemrw.plan._operands import ARGUMENTS

Leaving = Literal["ends", "jumps"]

_REPORTERS = frozenset(
    "perror warn warnx vwarn vwarnx err errx verr verrx error error_at_line syslog __syslog_chk vsyslog __vsyslog_chk "
    "strerror strerror_r __xpg_strerror_r gai_strerror hstrerror herror dlerror g_log g_logv g_warning psignal "
    "g_set_error g_set_error_literal __assert_fail strsignal".split()
)
"""Library functions that are called to report an error."""

_TO_STREAM = {
    "fprintf": 0, "vfprintf": 0, "__fprintf_chk": 0, "__vfprintf_chk": 0, "fputs": 1, "fputc": 1, "putc": 1,
    "_IO_putc": 1, "fwrite": 3, "fwrite_unlocked": 3, "fputs_unlocked": 1,
}  # fmt: skip
"""Library functions that print to a stream → which argument it is."""

_JUMPS = frozenset(
    "longjmp _longjmp siglongjmp __longjmp_chk __cxa_throw __cxa_rethrow _Unwind_Resume pthread_exit".split()
)
"""Library functions that go on in a function further out."""

_COMPLAINT = re.compile(
    r"\b(errors?|invalid|illegal|fail(ed|ure|s)?|can'?t|cannot|could not|couldn'?t|unable|bad|unknown|missing|"
    r"unexpected|not found|no such|out of memory|too (many|long|large|big)|overflow|undefined|wrong|mismatch(ed)?|"
    r"malformed|corrupt(ed)?|warning|fatal|unrecogni[sz]ed|syntax|expected|unterminated)\b",
    re.IGNORECASE,
)
"""Words of messages that report an error."""

_NAMED = re.compile(r"(^|_)(err|error|warn|warning|fatal|fail|die|panic|complain)s?(_|$|\d)|(Error|Warning|Fatal)$")
"""Names of functions that report an error."""

Code = Callable[[int], Instruction | None]


class Reading:
    """Reads the code of one image; nothing is computed twice."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self._code: dict[int, dict[int, Instruction]] = {}
        self._reports: dict[int, str | None] = {}
        self._leaving: dict[int, Leaving] = {}
        self._before: dict[tuple[int, int], frozenset[int]] = {}

    def code(self, function: Function) -> Code:
        """Instructions of a function and of the parts split off it, by address."""
        if function.entry not in self._code:
            self._code[function.entry] = {i.address: i for i in self.image.whole_body(function)}
        return self._code[function.entry].get

    def callee(self, call: Instruction) -> Function | None:
        """The function of this file that a direct call enters."""
        callee = self.image.function_at(call.target) if call.target is not None else None
        return callee if callee is not None and callee.entry == call.target else None

    def calls_nothing(self, call: Instruction) -> bool:
        """Whether a call enters a function of this file that makes no calls and no system calls itself."""
        callee = self.callee(call)
        if callee is None:
            return False
        for instruction in self.image.whole_body(callee):
            tail = instruction.is_unconditional and self.image.called_name(instruction) is not None
            if instruction.is_call or tail or instruction.mnemonic == "syscall":
                return False
        return True

    # Errors

    def complaint(self, instruction: Instruction) -> str | None:
        """The message of an error that an instruction refers to."""
        pointed = instruction.pointed
        if instruction.mnemonic == "lea" and pointed is not None:
            text = self.image.text_at(pointed)
        elif instruction.mnemonic == "mov" and instruction.operands[-2:] and "[" not in instruction.operands:
            source = instruction.operands.rpartition(", ")[2]  # position-dependent code has addresses as constants
            address = int(source, 16) if source.startswith("0x") else 0
            text = self.image.text_at(address) if address >= 0x10000 else None
        else:
            return None
        return text if text is not None and _COMPLAINT.search(text) else None

    def stream(self, instruction: Instruction) -> bool:
        """Whether an instruction loads `stderr`, or the address of it."""
        pointed = instruction.pointed
        if instruction.mnemonic != "mov" or pointed is None:
            return False
        return "stderr" in (self.image.variable(pointed), self.image.imported(pointed))

    def reporter(self, call: Instruction, streams: frozenset[str] = frozenset()) -> str | None:
        """How a call reports an error, in words; `streams` are the argument registers that hold `stderr`."""
        name = self.image.called_name(call)
        if name in _REPORTERS:
            return f"calls {name}"
        if name in _TO_STREAM:
            return "prints to stderr" if ARGUMENTS[_TO_STREAM[name]] in streams else None
        callee = self.callee(call)
        if callee is None or not self._reports_error(callee, 2):
            return None
        return f"calls {callee}, which {self._reports_error(callee, 2)}"

    def _reports_error(self, function: Function, depth: int) -> str | None:
        """How a function reports an error each time it is called: it does little else."""
        if function.entry in self._reports:
            return self._reports[function.entry]
        self._reports[function.entry] = None
        self._reports[function.entry] = found = self._how_it_reports(function, depth)
        return found

    def _how_it_reports(self, function: Function, depth: int) -> str | None:
        if function.symbol is not None and _NAMED.search(function.symbol):
            return "is named so"
        body = self.image.body(function)
        if not body or len(body) > 250:  # what is long does more than to report
            return None
        loads = any(self.stream(i) for i in body)
        for call in body:
            if not call.is_call and not call.is_unconditional:
                continue
            name = self.image.called_name(call)
            if name in _REPORTERS:
                return f"calls {name}"
            if loads and name in _TO_STREAM:
                return "prints to stderr"
            callee = self.callee(call) if call.is_call else None
            if depth > 0 and callee is not None and callee.entry != function.entry and len(body) < 80:
                inner = self._reports_error(callee, depth - 1)
                if inner is not None:
                    return inner
        return None

    # Ends

    def leaving(self, call: Instruction) -> Leaving | None:
        """How a call does not come back: it ends the program, or jumps to a function further out; None if it may."""
        name = self.image.called_name(call)
        if name in _JUMPS:
            return "jumps"
        if name in NEVER_RETURN:
            return "ends"
        callee = self.callee(call)
        if callee is None or self.image.may_return(callee):
            return None
        return self._how_it_leaves(callee, 3)

    def _how_it_leaves(self, function: Function, depth: int) -> Leaving:
        if function.entry in self._leaving:
            return self._leaving[function.entry]
        self._leaving[function.entry] = "ends"
        for call in self.image.whole_body(function):
            if not call.is_call and not call.is_unconditional:
                continue
            callee = self.callee(call)
            inner = callee is not None and callee.entry != function.entry and not self.image.may_return(callee)
            jumps = self.image.called_name(call) in _JUMPS
            if jumps or (inner and callee is not None and depth and self._how_it_leaves(callee, depth - 1) == "jumps"):
                self._leaving[function.entry] = "jumps"
        return self._leaving[function.entry]

    # Loops

    def leads_back(self, function: Function, behind: int) -> frozenset[int]:
        """Addresses of a function from which the call that ends at `behind` can be reached."""
        key = (function.entry, behind)
        if key in self._before:
            return self._before[key]
        self.code(function)
        body = self._code[function.entry]
        sources: dict[int, list[int]] = {}
        work: list[int] = []
        for instruction in body.values():
            target = instruction.target
            if instruction.is_jump and target is not None:
                sources.setdefault(target, []).append(instruction.address)
            elif instruction.is_unconditional and self.image.called_name(instruction) is None:
                work.append(instruction.address)  # a jump table: it may lead anywhere in the function
            if not instruction.is_stop and not (instruction.is_call and self.leaving(instruction)):
                sources.setdefault(instruction.end, []).append(instruction.address)
        work += [i.address for i in body.values() if i.end == behind and i.is_call]
        found: set[int] = set()
        while work:
            address = work.pop()
            if address not in found:
                found.add(address)
                work += sources.get(address, ())
        self._before[key] = frozenset(found)
        return self._before[key]

    def calls_before(self, function: Function, start: int) -> dict[int, int]:
        """Addresses of a function that can be reached from `start`, each with the fewest calls on a way to it.

        Empty where a jump table may lead anywhere.
        """
        code = self.code(function)
        found: dict[int, int] = {}
        work = deque(((start, 0),))
        while work:
            address, calls = work.popleft()
            instruction = code(address)
            if instruction is None or found.get(address, calls + 1) <= calls:
                continue
            found[address] = calls
            if instruction.is_call:
                if self.leaving(instruction) is None:
                    work.append((instruction.end, calls + 1))
                continue
            if instruction.is_unconditional and instruction.target is None and not self.image.called_name(instruction):
                return {}
            if instruction.is_jump and instruction.target is not None:
                work.appendleft((instruction.target, calls))
            if not instruction.is_stop:
                work.appendleft((instruction.end, calls))
        return found
