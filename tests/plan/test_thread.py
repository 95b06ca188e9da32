"""The function that a thread starts with: to return from it ends the thread, and the plan says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from elf_programs import compile_program, stripped, symbols
from plan.test_evidence import primary

from stemrw.documents.localization import Localization, LocalizedFrame
from stemrw.image import Image
from stemrw.localize import identity
from stemrw.plan import plan

SOURCE = r"""
#include <pthread.h>
volatile int sink;
__attribute__((noinline)) static int answer(int *request) { return *request + 1; }
__attribute__((noinline)) static void *serve(void *given) {
    int **requests = given;
    for (int i = 0; requests[i]; i++)
        if (answer(requests[i]) < 0) sink++;
    return given;
}
__attribute__((noinline)) static void *once(void *given) { sink = *(int *)given; return given; }
static void *(*volatile other)(void *) = once;
int main(int argc, char **argv) {
    pthread_t thread;
    if (pthread_create(&thread, 0, serve, argv)) return 1;
    pthread_join(thread, 0);
    other(argv);
    return argc > 9;
}
"""


@pytest.fixture(scope="module", params=["pie", "fixed"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thread")
    return compile_program(folder, SOURCE, "-lpthread", kind=request.param, name="thread.c")


def fault(image: Image, *places: tuple[int, int]) -> Localization:
    """In functions, each with the point that it had reached; the outermost one was called by the C library."""
    frames = tuple(LocalizedFrame(index=index, address=at, function=entry) for index, (entry, at) in enumerate(places))
    return Localization(
        binary=identity(image), fault_class="null-dereference", fault_pc=places[0][1], frames=frames,
        evidence=("the fault is here",),
    )  # fmt: skip


def test_start_routine_says_that_its_rescue_ends_the_thread(program: Path) -> None:
    image, names = Image.open(stripped(program)), symbols(program)
    region = primary(plan(fault(image, (names["serve"], names["serve"] + 1)), image))
    assert (region.address, region.return_kind, region.return_value) == (names["serve"], "integer", 0)
    assert "pthread_create" in region.return_evidence[0]
    assert any("ends the thread" in reason for reason in region.considered[0].reasons)


def test_function_inside_of_the_thread_is_rescued_first(program: Path) -> None:
    image, names = Image.open(stripped(program)), symbols(program)
    answer = image.function_at(names["answer"])
    assert answer is not None
    behind = next(call.end for call, caller in image.callers(answer) if caller.entry == names["serve"])
    region = primary(plan(fault(image, (names["answer"], names["answer"]), (names["serve"], behind)), image))
    assert region.address == names["answer"]


def test_function_in_a_table_is_no_start_routine(program: Path) -> None:
    image, names = Image.open(stripped(program)), symbols(program)
    region = primary(plan(fault(image, (names["once"], names["once"] + 1)), image))
    assert not any("thread" in reason for point in region.considered for reason in point.reasons)
