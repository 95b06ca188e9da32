"""The input files of the table of programs: made, not kept, and the same every time."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import struct
import wave
from pathlib import Path

from workloads import SCRIPTS, text

_WHEN = 1_600_000_000
"""Modification time of every input: listings and archives show it."""


def make_inputs(folder: Path) -> None:
    """Fill a folder; its scripts come from scripts/, under their own names."""
    chance = random.Random(4)
    for script in SCRIPTS.iterdir():
        shutil.copy(script, folder / script.name)
    words = ["".join(chance.choices("etaoinshrdlcumwfgypbvk", k=chance.randint(2, 9))) for _ in range(600)]
    lines = [f"{chance.choice(words)} {chance.randrange(10000)} {chance.choice(words)}" for _ in range(3000)]
    (folder / "words.txt").write_text("".join(f"{line}\n" for line in lines))
    changed = [line.upper() if chance.random() < 0.05 else line for line in lines if chance.random() > 0.02]
    (folder / "other.txt").write_text("".join(f"{line}\n" for line in changed))
    (folder / "sorted.txt").write_text("".join(f"{word} {len(word)}\n" for word in sorted(set(words))))
    (folder / "numbers.txt").write_text("".join(f"{chance.uniform(-1e6, 1e6):.3f}\n" for _ in range(2000)))
    (folder / "prose.txt").write_text(_prose(chance, words))
    (folder / "table.csv").write_text(
        "name,group,value\n" + "".join(f"{line.replace(' ', ',')}\n" for line in lines[:500])
    )
    (folder / "data.json").write_text(
        json.dumps([{"name": word, "size": len(word), "tags": words[i : i + 3]} for i, word in enumerate(words[:300])])
    )
    (folder / "data.bin").write_bytes(text(1)[:600_000])
    items = "".join(f'<item id="{i}"><name>{word}</name>&amp;</item>\n' for i, word in enumerate(words))
    (folder / "data.xml").write_text(f'<?xml version="1.0"?>\n<list>\n{items}</list>\n')
    rows = "".join(f"<tr><td>{i}<td>{word}\n" for i, word in enumerate(words[:80]))
    (folder / "page.html").write_text(f"<title>Page</title>\n<h1>Words</h1><p>first<p>second\n<table>{rows}</table>\n")
    (folder / "big.c").write_text(_c_source(chance, 220))
    _picture(folder / "picture.ppm", 160, 120)
    _sound(folder / "sound.wav", 3)
    _tree(folder / "tree", words)
    make_old(folder)


def make_old(folder: Path) -> None:
    """Give all in a folder the inputs' time, so that what a program writes is known by its own."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (_WHEN, _WHEN), follow_symlinks=False)


def _prose(chance: random.Random, words: list[str]) -> str:
    sentences = (" ".join(chance.choices(words, k=chance.randint(4, 18))).capitalize() + "." for _ in range(2500))
    return "".join(sentence + chance.choice(("\n", " ", " ", "\n\n", "\t")) for sentence in sentences) + "\n"


def _tree(top: Path, words: list[str]) -> None:
    for i, word in enumerate(dict.fromkeys(words[:60])):
        place = top / f"part{i % 5}" / f"deeper{i % 3}"
        place.mkdir(parents=True, exist_ok=True)
        file = place / f"{word}.txt"
        file.write_text(f"{word}\n" * (i * 7 + 1))
        file.chmod((0o644, 0o600, 0o755, 0o444)[i % 4])
    (top / "link").symlink_to("part0")
    (top / "broken").symlink_to("nowhere")
    (top / "empty").touch()
    os.link(top / "empty", top / "second name")
    os.mkfifo(top / "fifo", 0o640)


def _picture(path: Path, width: int, height: int) -> None:
    pixels = bytes(
        value
        for y in range(height)
        for x in range(width)
        for value in (x * 255 // width, y * 255 // height, (x * y // 7 + (x ^ y)) & 255)
    )
    path.write_bytes(b"P6\n%d %d\n255\n" % (width, height) + pixels)


def _sound(path: Path, seconds: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(22050)
        for i in range(22050 * seconds):
            left, right = math.sin(i / 17) * 9000 + (i * 7919 % 811), math.sin(i / 31 + i * i / 4e8) * 12000
            file.writeframesraw(struct.pack("<hh", int(left), int(right)))


def _c_source(chance: random.Random, functions: int) -> str:
    """C with what compilers like: loops, switches, floating point, structures, recursion, vectorisable arrays."""
    headers = "".join(f"#include <{name}.h>\n" for name in ("stdio", "stdlib", "string", "math"))
    parts = [headers, "struct point { double x, y; int tags[8]; struct point *next; };\nstatic int table[256];\n"]
    for i in range(functions):
        a, b, c = (chance.randrange(3, 99) for _ in range(3))
        cases = "".join(f"    case {k}: n = n * {chance.randrange(2, 9)} + {k}; break;\n" for k in range(a % 9 + 2))
        call = f"n += f{chance.randrange(i)}(p, n / 2 + {c});" if i else "n++;"
        parts.append(f"""
static int f{i}(struct point *p, int n) {{
    double sum = {a}.5;
    float weights[{b}];
    for (int k = 0; k < {b}; k++) {{ weights[k] = k * {c}.25f + n; table[(k + n) & 255] ^= k << {a % 7}; }}
    for (int k = 0; k < {b}; k++) sum += weights[k] * sqrt(fabs(p->x)) - p->tags[k & 7];
    switch (n & 15) {{
{cases}    default: if (n > {a * 100}) return (int)sum; {call}
    }}
    if (p->next && n % {a} == {a % 3}) {{ p->next->y = sum; memcpy(p->next->tags, p->tags, sizeof p->tags); }}
    return n % {b + 1} + (int)sum + strlen("{chance.randbytes(c % 9).hex()}");
}}
""")
    calls = "".join(f"    total += f{i}(&points[{i % 4}], {i} + argc);\n" for i in range(functions))
    parts.append(
        "\nint main(int argc, char **argv) {\n    struct point points[4] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};\n"
        "    points[0].next = &points[1]; points[2].next = &points[3];\n    long total = 0;\n"
        f'{calls}    printf("%ld %s\\n", total, argc > 9 ? argv[1] : "");\n    return 0;\n}}\n'
    )
    return "".join(parts)
