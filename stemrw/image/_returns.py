"""Whether a function ever returns: helpers that end in abort, exit or longjmp do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stemrw.image._code import Instruction
from stemrw.image._function import Function

if TYPE_CHECKING:
    from stemrw.image._image import Image

NEVER_RETURN = frozenset(
    "abort exit _exit _Exit quick_exit __assert_fail __assert __assert_perror_fail __stack_chk_fail __chk_fail "
    "__fortify_fail longjmp _longjmp siglongjmp __longjmp_chk err errx verr verrx pthread_exit execv_fail "
    "__cxa_throw __cxa_rethrow __cxa_bad_cast __cxa_bad_typeid __cxa_throw_bad_array_new_length _Unwind_Resume "
    "_ZSt9terminatev _ZSt17__throw_bad_allocv _ZSt20__throw_length_errorPKc _ZSt24__throw_out_of_range_fmtPKcz "
    "_ZSt19__throw_logic_errorPKc _ZSt20__throw_out_of_rangePKc _ZSt24__throw_invalid_argumentPKc "
    "_ZSt25__throw_bad_function_callv _ZSt16__throw_bad_castv __libc_start_main __libc_fatal _Jv_Throw".split()
)
"""Library functions that do not come back to the instruction behind the call."""

_DEPTH = 8
"""Calls that are followed into each other."""


class Returns:
    """The answers for the functions of one image; each is found once."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._known: dict[int, bool] = {}

    def may_return(self, function: Function) -> bool:
        """False where no path from the entry reaches a return: helpers that end in abort, exit or longjmp."""
        return self._may_return(function, _DEPTH)

    def _may_return(self, function: Function, depth: int) -> bool:
        known = self._known.get(function.entry)
        if known is not None:
            return known
        self._known[function.entry] = False  # a cycle alone returns nothing; another path may
        result = self._reaches_return(function, depth)
        if result or depth == _DEPTH:
            self._known[function.entry] = result
        else:
            del self._known[function.entry]
        return result

    def _reaches_return(self, function: Function, depth: int) -> bool:
        if depth == 0 or not self._image.body(function):
            return True
        code = {i.address: i for i in self._image.whole_body(function)}
        work, seen = [function.entry], set()
        while work:
            address = work.pop()
            while address in code and address not in seen:
                seen.add(address)
                i = code[address]
                if i.is_return:
                    return True
                target = i.target
                if i.is_call and not self._leads_to_return(i, depth):
                    break
                if i.is_jump:
                    if target is None:  # a jump table (returns if any way out exists) or an indirect tail call
                        if self._indirect_jump_returns(i, code, depth):
                            return True
                        break
                    if target in code:
                        work.append(target)
                    elif self._leads_to_return(i, depth):
                        return True
                if i.is_stop:
                    break
                address = i.end
        return False

    def _indirect_jump_returns(self, jump: Instruction, code: dict[int, Instruction], depth: int) -> bool:
        if self._image.called_name(jump):
            return self._leads_to_return(jump, depth)
        return any(i.is_return or i.is_jump for i in code.values())

    def _leads_to_return(self, branch: Instruction, depth: int) -> bool:
        """Whether what a call or a jump out of the function leads to may return."""
        if self._image.called_name(branch) in NEVER_RETURN:
            return False
        other = self._image.function_at(branch.target) if branch.target is not None else None
        if other is None or other.entry != branch.target:
            other = self._own(branch)
        return other is None or depth <= 1 or self._may_return(other, depth - 1)

    def _own(self, branch: Instruction) -> Function | None:
        """The function that this file exports under the name that a branch goes by way of the loader to.

        Another file may put one of its own before it, which will do the like.
        """
        address = self._image.exports.get(self._image.called_name(branch) or "")
        return self._image.function_at(address) if address is not None else None
