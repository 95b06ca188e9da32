"""A fault in a library that the outermost loop of a program calls: the call is skipped, and the loop goes on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from harness import Tool, execute, recoveries

from stemrw.documents.fault_report import load_report
from stemrw.documents.plan import Plan
from stemrw.documents.rules import Slice
from stemrw.image import Image
from stemrw.localize import localize
from stemrw.plan import plan

LIBRARY = """
#include <string.h>
struct tag { int length; char title[28]; };
static struct tag tags[8];
static int used;
static volatile int *nowhere;
static int fits(const char *name) { return strcmp(name, "bad") ? (int)strlen(name) : *nowhere; }
void tag_load(struct tag *tag, const char *name) {
    memset(tag->title, 'x', sizeof tag->title);
    tag->length = fits(name);
    strcpy(tag->title, name);
}
static int depth(const char *name, volatile char *outer) {
    volatile char here[256];
    here[0] = *name == 'b' || outer == here ? depth(name, here) : 1;
    return here[0];
}
int tag_depth(const char *name) { return depth(name, 0); }
int tag_check(const char *name) { used++; return fits(name) > 5 ? -1 : used; }
struct tag *tag_open(const char *name) { tags[used % 8].length = fits(name); return &tags[used++ % 8]; }
double tag_weight(const char *name) { return fits(name) / 2.0; }
"""

PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct tag { int length; char title[28]; };
void tag_load(struct tag *tag, const char *name);
int tag_check(const char *name);
int tag_depth(const char *name);
struct tag *tag_open(const char *name);
double tag_weight(const char *name);
__attribute__((noipa)) void list(int count, char **names) {
    for (int i = 0; i < count; i++) {
        struct tag tag = {0};
        tag_load(&tag, names[i]);
        printf("%s: %d %s\\n", names[i], tag.length, tag.length ? tag.title : "no tag");
    }
}
__attribute__((noipa)) void check(int count, char **names) {
    for (int i = 0; i < count; i++) {
        int number = tag_check(names[i]);
        if (number < 0) { fprintf(stderr, "%s: invalid\\n", names[i]); continue; }
        printf("%s is number %d\\n", names[i], number);
    }
}
__attribute__((noipa)) void nest(int count, char **names) {
    for (int i = 0; i < count; i++) {
        if (tag_depth(names[i]) < 1) { fprintf(stderr, "%s: too deep\\n", names[i]); continue; }
        printf("%s: fine\\n", names[i]);
    }
}
__attribute__((noipa)) void show(int count, char **names) {
    for (int i = 0; i < count; i++) printf("%d\\n", tag_open(names[i])->length);
}
__attribute__((noipa)) void weigh(int count, char **names) {
    for (int i = 0; i < count; i++) printf("%g\\n", tag_weight(names[i]));
}
__attribute__((noipa)) void take(double weight) { printf("%g\\n", weight); }
__attribute__((noipa)) void balance(int count, char **names) {
    for (int i = 0; i < count; i++) take(tag_weight(names[i]));
}
__attribute__((noipa)) void unset(int count, char **names) {
    struct tag tag;
    for (int i = 0; i < count; i++) {
        printf("%s: ", names[i]);
        tag_load(&tag, names[i]);
        printf("%d\\n", tag.length);
    }
}
static struct tag global;
__attribute__((noipa)) void fixed(int count, char **names) {
    for (int i = 0; i < count; i++) {
        tag_load(&global, names[i]);
        printf("%d\\n", global.length);
    }
}
__attribute__((noipa)) void one(char *name) {
    for (int i = 0; i < 2; i++) {
        struct tag tag = {0};
        tag_load(&tag, name);
        printf("%s: %d\\n", name, tag.length);
    }
}
__attribute__((noipa)) void lengths(int count, char **names) {
    for (int i = 0; i < count; i++) {
        char copy[8];
        memcpy(copy, *names[i] == 'b' ? (char *)8 : names[i], 2);
        printf("%.2s\\n", copy);
    }
}
int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    switch (argv[1][0]) {
    case 'l': list(argc - 2, argv + 2); break;
    case 'c': check(argc - 2, argv + 2); break;
    case 'd': nest(argc - 2, argv + 2); break;
    case 's': show(argc - 2, argv + 2); break;
    case 'w': weigh(argc - 2, argv + 2); break;
    case 'b': balance(argc - 2, argv + 2); break;
    case 'u': unset(argc - 2, argv + 2); break;
    case 'f': fixed(argc - 2, argv + 2); break;
    case 'o': for (int i = 2; i < argc; i++) one(argv[i]); break;
    case 'n': lengths(argc - 2, argv + 2); break;
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library_call")
    (folder / "tag.c").write_text(LIBRARY)
    (folder / "p.c").write_text(PROGRAM)
    flags = ["-O2", "-w", "-fno-builtin"]
    subprocess.run(["gcc", *flags, "-fPIC", "-shared", "tag.c", "-o", "libtag.so"], cwd=folder, check=True)
    linked = ["-L.", "-ltag", "-Wl,-rpath,$ORIGIN"]
    subprocess.run(["gcc", *flags, "p.c", "-o", "p", *linked], cwd=folder, check=True)
    return folder / "p"


def _planned(tool: Tool, program: Path, command: str) -> Plan:
    report = program.with_name(f"{command}.json")
    tool.report(report, [program, command, "good", "bad", "end"])
    image = Image.open(program)
    return plan(localize(load_report(report), image), image)


def _slices(done: Plan) -> list[Slice]:
    return [rule for region in done.regions for rule in region.rules if isinstance(rule, Slice)]


@pytest.mark.parametrize(
    ("command", "out", "err"),
    [
        ("list", "good: 4 good\nbad: 0 no tag\nend: 3 end\n", ""),
        ("check", "good is number 1\nend is number 2\n", "bad: invalid\n"),
        ("depth", "good: fine\nend: fine\n", "bad: too deep\n"),
    ],
)
def test_the_call_is_skipped(tool: Tool, program: Path, tmp_path: Path, command: str, out: str, err: str) -> None:
    report = tmp_path / "report.json"
    tool.report(report, [program, command, "good", "bad", "end"])
    hardened = program.with_name(f"{command}.hardened")
    manifest = tool.patch(program, hardened, "--fault", report)
    events = tmp_path / "events"
    found = execute([hardened, command, "good", "bad", "end"], environment={"STEMRW_EVENTS": str(events)})
    assert (found.returncode, found.stdout.decode(), found.stderr.decode()) == (0, out, err)
    assert [event["strategy"] for event in recoveries(events)] == ["slice"]
    assert tool.patch(hardened, program.with_name("again"), "--fault", report)["regions"] == manifest["regions"]
    benign = [command, "good", "longer", "end"]
    assert execute([hardened, *benign]) == execute([program, *benign])


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("show", "its result would be used as an address without a look at it"),
        ("weigh", "its result is no integer"),
        ("balance", "nor is it where another function takes it as it is"),
        ("unset", "only it sets a variable that is read afterwards"),
        ("fixed", "so it does with a fixed variable"),
        ("one", "a loop further out goes on anyway"),
        ("numbers", "it is a function of the C library"),
    ],
)
def test_the_call_is_not_skipped(tool: Tool, program: Path, command: str, why: str) -> None:
    assert not _slices(_planned(tool, program, command)), why


def test_only_for_faults_of_the_call_and_where_nothing_else_is_asked_for(tool: Tool, program: Path) -> None:
    report = program.with_name("report.json")
    tool.report(report, [program, "list", "bad"])
    image = Image.open(program)
    place = localize(load_report(report), image)
    assert place.library == str(program.with_name("libtag.so"))
    assert _slices(plan(place, image))
    assert not _slices(plan(place.model_copy(update={"fault_class": "hang"}), image))
    assert not _slices(plan(place, image, strategy=()))
    assert not _slices(plan(place, image, return_value=-1))
    assert not _slices(plan(place, image, policy="types"))
