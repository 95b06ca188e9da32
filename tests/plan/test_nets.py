"""Which function further out is there for the faults that an error value causes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness import Tool, execute

from stemrw.image import Image

SOURCE = """
#include <stdio.h>
struct record { int length; };
static struct record found;
__attribute__((noipa)) int parse(const char *p) { return *p == 'x'; }
__attribute__((noipa)) const char *blanks(const char *p) { while (*p == ' ') p++; return p; }
__attribute__((noipa)) void complain(void) { fputs("no record\\n", stderr); }
__attribute__((noipa)) struct record *label(const char *p) {
    if (!parse(p))
        complain();
    p = blanks(p);
    found.length = *p;
    return &found;
}
__attribute__((noipa)) void statement(const char *p) {
    struct record *record = label(p);
    printf("%d\\n", record->length);
}
int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    for (int i = 1; i < argc; i++)
        statement(*argv[i] == '-' ? NULL : argv[i]);
    puts("end");
    return 0;
}
"""


def test_a_net_is_none_whose_own_error_value_is_used_as_an_address(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text(SOURCE)
    subprocess.run(["gcc", "-O2", "-w", "p.c", "-o", "p"], cwd=tmp_path, check=True)
    program, report, hardened = tmp_path / "p", tmp_path / "report.json", tmp_path / "hardened"
    tool.report(report, [program, "x", "-", " x"])
    manifest = tool.patch(program, hardened, "--fault", report)
    image = Image.open(program)
    (parse,), (statement,) = image.functions_named("parse"), image.functions_named("statement")
    assert {region["address"] for region in manifest["regions"]} == {hex(parse.entry), hex(statement.entry)}
    after = execute([hardened, "x", "-", "  x"])
    assert (after.returncode, after.stdout, after.stderr) == (0, b"120\n120\nend\n", b"no record\n" * 2)
