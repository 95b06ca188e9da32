"""Effects that cannot be taken back, which a function may have had before the fault: estimated from what it calls.

Memory, locks, allocations and descriptors are undone; what has left the process is not. Counted are the library
functions on ways from the function's entry to the call that led to the fault, and those that functions of this file on
these ways call themselves.
"""

from __future__ import annotations

from stemrw.image import Function, Instruction
from stemrw.plan._reading import Reading

_IRREVERSIBLE = frozenset(
    "write writev pwrite pwrite64 pwritev send sendto sendmsg sendmmsg sendfile sendfile64 splice fflush fclose pclose "
    "unlink unlinkat remove rename renameat renameat2 rmdir mkdir mkdirat truncate truncate64 ftruncate ftruncate64 "
    "link symlink chmod chown fchmod fchown kill raise system popen fork vfork execve execvp execv execl execlp "
    "posix_spawn posix_spawnp connect accept accept4 shutdown ioctl fsync msync tcsetattr perror syslog "
    "__syslog_chk".split()
)
"""Library functions whose effect is outside the process, or in another one."""

_MOST_CALLEES = 40


def irreversible(reading: Reading, function: Function, behind: int | None) -> list[str]:
    """Names of library functions with lasting effects that may run between a function's entry and a call in it.

    `behind` is the address behind that call; None for the function in which the fault itself lies: all its calls count.
    """
    before = reading.leads_back(function, behind) if behind is not None else None
    found: dict[str, None] = {}
    callees: dict[int, Function] = {}
    for call in _calls(reading, function):
        if (before is not None and call.address not in before) or call.end == behind:
            continue
        name = reading.image.called_name(call)
        if name in _IRREVERSIBLE:
            found[name] = None
        callee = reading.callee(call)
        if callee is not None and len(callees) < _MOST_CALLEES:
            callees[callee.entry] = callee
    for callee in callees.values():
        for call in _calls(reading, callee):
            name = reading.image.called_name(call)
            if name in _IRREVERSIBLE:
                found[name] = None
    return sorted(found)


def _calls(reading: Reading, function: Function) -> list[Instruction]:
    return [i for i in reading.image.whole_body(function) if i.is_call]
