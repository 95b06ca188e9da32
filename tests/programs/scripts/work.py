"""json, re, hashlib, dictionaries, exceptions, generators, big numbers, decimals; the argument repeats it all."""

import collections
import decimal
import functools
import hashlib
import itertools
import json
import re
import struct
import sys
import zlib


class Shape:
    def __init__(self, side):
        self.side = side

    @property
    def area(self):
        return self.side**2

    def __lt__(self, other):
        return self.area < other.area


@functools.lru_cache(maxsize=500)
def partitions(n, largest):
    if n == 0:
        return 1
    return sum(partitions(n - k, k) for k in range(1, min(n, largest) + 1))


def errors():
    caught = collections.Counter()
    for i in range(600):
        try:
            try:
                [][i] if i % 3 == 0 else {}[i] if i % 3 == 1 else 1 / 0
            finally:
                caught["finally"] += 1
        except (IndexError, KeyError) as error:
            caught[type(error).__name__] += 1
        except ArithmeticError as error:
            caught[str(error)] += len(error.args)
    return sorted(caught.items())


def deep(n):
    return deep(n - 1) + 1 if n else 0


for _ in range(int(sys.argv[1])):
    rows = [{"id": i, "name": f"row {i * 7919 % 1009}", "tags": [i % 7, None, i / 8]} for i in range(2000)]
    text = json.dumps(rows, sort_keys=True, indent=1)
    assert json.loads(text) == rows
    found = re.findall(r'"name": "row (\d*7)"', text)
    print(len(text), len(found), re.sub(r"\d+", lambda m: str(int(m[0]) + 1), text[:80]).replace("\n", ""))
    digest = hashlib.sha256(text.encode())
    digest.update(hashlib.md5(text.encode(), usedforsecurity=False).digest() + hashlib.blake2b(b"x" * 10000).digest())
    print(digest.hexdigest(), zlib.crc32(text.encode()), len(zlib.compress(text.encode(), 9)))
    groups = collections.defaultdict(list)
    for row in rows:
        groups[row["tags"][0]].append(row["name"])
    print({key: len(set(value)) for key, value in sorted(groups.items())}, errors())
    print(partitions(60, 60), max(Shape(i * 31 % 100) for i in range(100)).area, deep(500))
    print(pow(3, 20000) % (10**40), decimal.Decimal(2).sqrt(decimal.Context(prec=60)))
    print(sum(struct.unpack("<20h", bytes(range(40)))), 0.1 + 0.2, f"{1e300 * 1e10:.1f}")
    print(sum(a * b for a, b in itertools.islice(itertools.permutations(range(40), 2), 900)))
try:
    raise ValueError("the end, with a traceback")
finally:
    sys.stdout.flush()
