"""The files that are broken: small ones of every kind of link, each with a function to make the region."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from elf_programs import without_section_headers

SOURCE = """
#include <stdio.h>
#include <string.h>
#include <signal.h>

typedef struct pair { int first; const char *volatile second; } pair;
static void handler(int number) { (void)number; }
void (*volatile table[4])(int) = {handler, handler};

__attribute__((noinline)) pair *deeper(pair *what, int times)
{
    static pair found;
    memcpy(&found, what, sizeof found);
    return times ? deeper(what, times - 1) : &found;
}

__attribute__((noinline)) int victim(int count)
{
    pair given = {count, 0};
    signal(SIGUSR1, table[count & 1]);
    return deeper(&given, count)->first;
}

int answer(void) { return victim(3); }
#ifndef LIBRARY
int main(void)
{
    printf("%d\\n", answer());
    return 0;
}
#endif
"""


@dataclass(frozen=True)
class Victim:
    """A well-formed file; `region` is the entry of its function `victim`."""

    name: str
    path: Path
    region: int
    program: bool = True

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()


_ZIG = (sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl", "-O2", "-g0", "-fno-sanitize=all")
_KINDS: dict[str, tuple[str, ...]] = {
    "pie": ("gcc", "-O2", "-g", "-gdwarf-4", "-pie", "-fPIE", "-Wl,--build-id"),
    "fixed": ("gcc", "-O2", "-fcf-protection", "-no-pie", "-Wl,--build-id,--hash-style=both,-z,noseparate-code"),
    "shared": ("gcc", "-O2", "-g", "-DLIBRARY", "-shared", "-fPIC", "-Wl,--build-id,-z,pack-relative-relocs"),
    "static": (*_ZIG, "-static", "-Wl,--build-id"),
}
KINDS = (*_KINDS, "no sections")


def build(kind: str, folder: Path) -> Victim:
    """Build one of `KINDS`."""
    source = folder / "victim.c"
    source.write_text(SOURCE)
    if kind == "no sections":
        fixed = build("fixed", folder)
        return Victim(kind, without_section_headers(fixed.path), fixed.region)
    program = folder / kind
    subprocess.run([*_KINDS[kind], "-o", str(program), str(source)], check=True, capture_output=True)
    if kind == "static":
        subprocess.run(["strip", "--strip-debug", program], check=True)  # of the C library
    listing = subprocess.run(["nm", program], check=True, capture_output=True, text=True).stdout
    entry = next(int(line.split()[0], 16) for line in listing.splitlines() if line.endswith(" victim"))
    return Victim(kind, program, entry, program="-shared" not in _KINDS[kind])
