"""Classes and trees as pointer-free C tables.

An *entry* (16 bits) is 0: invalid · without bit 15: a class · else a node: axis << 11 | first child in `children`.
Bit 14 of an opcode's entry says that a ModRM byte follows.  The three busiest maps are arrays of 256 entries; each
other map is 16 block numbers, a block is 16 entries, and equal blocks are shared.
"""

from __future__ import annotations

from collections.abc import Iterable

from .encodings import Map
from .fold import AXES, MASKED_AXES, WIDTHS, Class, Function, Tree, unify
from .observe import IMMEDIATES, RULES_OF_ALL, RULES_OF_VECTORS

NODE = 0x8000
MODRM = 0x4000
AXIS_SHIFT = 11
DIRECT_MAPS = Map.TWO_BYTE + 1
CHILD_LIMIT = 1 << AXIS_SHIFT
CLASS_BITS = ("ignores_mod", "byte_reg", "byte_rm", "adjusting", "shift_count", "other", "needs_sib", "bit_offset")
RULE_BITS = RULES_OF_ALL + RULES_OF_VECTORS


class Pool:
    """Distinct values numbered in order of first use."""

    def __init__(self, *first: object) -> None:
        self.items: list[object] = list(first)
        self._index = {item: i for i, item in enumerate(first)}

    def number(self, item: object) -> int:
        if item not in self._index:
            self._index[item] = len(self.items)
            self.items.append(item)
        return self._index[item]


class Tables:
    """Everything that is emitted."""

    def __init__(self, trees: dict[tuple[Map, int], Tree], modrm: set[tuple[Map, int]]) -> None:
        self.classes: list[Class] = []
        self.children: list[int] = []
        self._arrays: dict[tuple[int, ...], int] = {}
        entries = {key: self._entry(tree) for key, tree in sorted(trees.items())}
        entries = {key: entry | MODRM * (entry != 0 and key in modrm) for key, entry in entries.items()}
        self.direct = [[entries.get((Map(i), opcode), 0) for opcode in range(256)] for i in range(DIRECT_MAPS)]
        self.blocks = Pool((0,) * 16)
        self.maps = [self._map(table, entries) for table in Map if table >= DIRECT_MAPS]
        self._functions()
        self.rows = Pool()
        self.flags, self.implicit, self.rules, self.immediates = Pool(), Pool(), Pool((0, 0, 0)), Pool((0, 0))
        self.class_rows = [self._row(found) for found in self.classes]

    def _entry(self, tree: Tree) -> int:
        if tree is None:
            return 0
        if isinstance(tree, Class):
            return self._class(tree)
        children = tuple(self._entry(child) for child in tree.children)
        if len(set(children)) == 1:
            return children[0]
        base = self._place(children)
        assert base < CHILD_LIMIT, "too many children for the entry format"
        return NODE | AXES.index(tree.axis) << AXIS_SHIFT | base

    def _place(self, children: tuple[int, ...]) -> int:
        """Where `children` lie in the pool; overlapping what is there already if possible."""
        if children in self._arrays:
            return self._arrays[children]
        size, pool = len(children), self.children
        for base in range(max(0, len(pool) - size + 1)):
            if tuple(pool[base : base + size]) == children:
                break
        else:
            overlap = next(n for n in range(size, -1, -1) if n == 0 or tuple(pool[-n:]) == children[:n])
            base = len(pool) - overlap
            pool.extend(children[overlap:])
        self._arrays[children] = base
        return base

    def _class(self, found: Class) -> int:
        for index, known in enumerate(self.classes):
            if known.absorb(found):
                return index + 1
        self.classes.append(found)
        return len(self.classes)

    def _map(self, table: Map, entries: dict[tuple[Map, int], int]) -> list[int]:
        cells = [entries.get((table, opcode), 0) for opcode in range(256)]
        return [self.blocks.number(tuple(cells[i : i + 16])) for i in range(0, 256, 16)]

    def _functions(self) -> None:
        """Number the functions: 0 is "always 0", then those by operand size and mode, then those by vector length."""
        self.sizes: list[Function] = [(0,) * 6]
        self.lengths: list[Function] = []
        for found in self.classes:
            for name in sorted(found.by_size):
                self._merge(self.sizes, found.by_size[name])
            for name in sorted(found.by_length):
                self._merge(self.lengths, found.by_length[name])

    @staticmethod
    def _merge(functions: list[Function], wanted: Function) -> int:
        for index, known in enumerate(functions):
            merged = unify(known, wanted)
            if merged is not None:
                functions[index] = merged
                return index
        functions.append(wanted)
        return len(functions) - 1

    def _size(self, found: Class, name: str) -> int:
        if name in found.by_length:
            return len(self.sizes) + self._find(self.lengths, found.by_length[name])
        return self._find(self.sizes, found.by_size.get(name, (None,) * 6))

    @staticmethod
    def _find(functions: list[Function], wanted: Function) -> int:
        return next(
            index
            for index, known in enumerate(functions)
            if all(b is None or a == b for a, b in zip(known, wanted, strict=True))
        )

    def _row(self, found: Class) -> tuple[int, ...]:
        exact = {name: value or 0 for name, value in found.exact.items()}
        valid = shift = 0
        for axis in MASKED_AXES:
            valid |= found.masks[axis] << shift
            shift += WIDTHS[axis]
        size = self._size(found, "size")
        scale = self._size(found, "displacement_scale")
        rule = tuple(exact[name] for name in RULE_BITS)
        rule_bits = sum(bit << i for i, bit in enumerate(rule))
        roles = exact["role_reg"] | exact["role_rm"] << 2 | exact["role_opcode"] << 4 | exact["role_vvvv"] << 6
        return (
            valid,
            self.immediates.number((exact["immediate"], self._size(found, "immediate_size"))),
            size,
            roles,
            exact["flow"] | exact["stack"] << 4,
            self._size(found, "stack_bytes"),
            exact["memory"] | exact["access"] << 3 | exact["lockable"] << 5 | exact["locks"] << 6,
            sum(exact.get(name, 0) << i for i, name in enumerate(CLASS_BITS)),
            self.flags.number((exact["flags_read"], exact["flags_written"])),
            self.implicit.number((exact["implicit_reads"], exact["implicit_writes"])),
            self.rules.number((rule_bits, self._size(found, "broadcast_size"), scale)),
        )

    def bytes(self) -> int:
        """Size of all tables, with the C structs' padding."""
        sizes = [
            len(self.maps) * 16,
            len(self.blocks.items) * 32,
            DIRECT_MAPS * 512,
            len(self.children) * 2,
            (len(self.class_rows) + 1) * 12,
            (len(self.sizes) + len(self.lengths)) * 12,
            len(self.immediates.items) * 2,
            len(self.flags.items) * 2,
            len(self.implicit.items) * 4,
            len(self.rules.items) * 4,
        ]
        return sum(sizes)


def render(tables: Tables, version: str) -> str:
    """The text of tables.inc."""
    lines = [
        f"/* Generated by scripts/generate_decoder from iced-x86 {version}.  Do not edit.",
        " *",
        f" * {len(tables.classes)} classes, {len(tables.children)} children of nodes, {tables.bytes()} bytes. */",
        "",
        "/* clang-format off */",
        "enum {",
        f"    ENTRY_NODE = {NODE:#x}, ENTRY_MODRM = {MODRM:#x},",
        f"    ENTRY_AXIS = {AXIS_SHIFT}, ENTRY_CHILD = {CHILD_LIMIT - 1:#x},",
        f"    DIRECT_MAPS = {DIRECT_MAPS},",
        *(f"    MAP_{table.name} = {int(table)}," for table in Map),
        *(f"    AXIS_{axis.upper()} = {i}," for i, axis in enumerate(AXES)),
        *(f"    IMMEDIATE_{name} = {i}," for i, name in enumerate(IMMEDIATES)),
        *(f"    CLASS_{name.upper()} = {1 << i}," for i, name in enumerate(CLASS_BITS)),
        *(f"    RULE_{name.upper()} = {1 << i}," for i, name in enumerate(RULE_BITS)),
        *_mask_positions(),
        f"    SIZES_BY_LENGTH = {len(tables.sizes)}, /* sizes[] from here on are indexed by vector length */",
        "};",
        "",
        *_array("uint16_t", f"direct[{DIRECT_MAPS}][256]", tables.direct),
        *_array("uint8_t", f"map_blocks[{len(tables.maps)}][16]", tables.maps),
        *_array("uint16_t", f"blocks[{len(tables.blocks.items)}][16]", tables.blocks.items),
        *_array("uint16_t", f"children[{len(tables.children)}]", [tables.children]),
        *_array("struct class", f"classes[{len(tables.class_rows) + 1}]", [(0,) * 11, *tables.class_rows]),
        *_array("uint16_t", f"sizes[{len(tables.sizes) + len(tables.lengths)}][6]", tables.sizes + tables.lengths),
        *_array("struct immediate", f"immediates[{len(tables.immediates.items)}]", tables.immediates.items),
        *_array("struct flags", f"flag_sets[{len(tables.flags.items)}]", tables.flags.items),
        *_array("struct implicit", f"implicit_sets[{len(tables.implicit.items)}]", tables.implicit.items),
        *_array("struct rule", f"rules[{len(tables.rules.items)}]", tables.rules.items),
        "/* clang-format on */",
    ]
    return "\n".join(lines) + "\n"


def _mask_positions() -> Iterable[str]:
    shift = 0
    for axis in MASKED_AXES:
        yield f"    VALID_{axis.upper()} = {shift}, /* first of the {WIDTHS[axis]} bits of class.valid */"
        shift += WIDTHS[axis]


def _array(kind: str, declaration: str, rows: Iterable[object]) -> Iterable[str]:
    """One array; a single row is an array of numbers, more are an array of rows."""
    table = [[value or 0 for value in row] for row in rows]  # type: ignore[attr-defined]
    yield f"static const {kind} {declaration} = {{"
    if len(table) == 1 and declaration.count("[") == 1:
        for start in range(0, len(table[0]), 20):
            yield "    " + ", ".join(str(value) for value in table[0][start : start + 20]) + ","
    else:
        for row in table:
            yield "    {" + ", ".join(str(value) for value in row) + "},"
    yield "};"
