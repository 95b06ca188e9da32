"""Points of the x86 encoding space, and the bytes that stand for them.

A point names everything on which the decoder's answer may depend: opcode map, opcode, mode, mandatory prefix, operand
size, ModRM form and fields, vector length, and EVEX's masking bits.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from iced_x86 import Code, EncodingKind, OpCodeInfo, OpCodeTableKind


class Map(IntEnum):
    """Opcode maps in the order of the generated tables (MAP_… in C)."""

    ONE_BYTE_64 = 0
    ONE_BYTE_32 = 1
    TWO_BYTE = 2
    THREE_BYTE_38 = 3
    THREE_BYTE_3A = 4
    VEX_1 = 5
    VEX_2 = 6
    VEX_3 = 7
    EVEX_1 = 8
    EVEX_2 = 9
    EVEX_3 = 10
    EVEX_5 = 11
    EVEX_6 = 12
    XOP_8 = 13
    XOP_9 = 14
    XOP_A = 15

    @property
    def is_legacy(self) -> bool:
        return self <= Map.THREE_BYTE_3A

    @property
    def is_evex(self) -> bool:
        return Map.EVEX_1 <= self <= Map.EVEX_6

    @property
    def modes(self) -> tuple[int, ...]:
        """Modes that reach this map: 0 is 64-bit, 1 is 32-bit."""
        return {Map.ONE_BYTE_64: (0,), Map.ONE_BYTE_32: (1,)}.get(self, (0, 1))


_ESCAPES = {
    Map.ONE_BYTE_64: b"",
    Map.ONE_BYTE_32: b"",
    Map.TWO_BYTE: b"\x0f",
    Map.THREE_BYTE_38: b"\x0f\x38",
    Map.THREE_BYTE_3A: b"\x0f\x3a",
}
_MAP_NUMBERS = {
    Map.VEX_1: 1, Map.VEX_2: 2, Map.VEX_3: 3,
    Map.EVEX_1: 1, Map.EVEX_2: 2, Map.EVEX_3: 3, Map.EVEX_5: 5, Map.EVEX_6: 6,
    Map.XOP_8: 8, Map.XOP_9: 9, Map.XOP_A: 10,
}  # fmt: skip
_TABLES = {
    (EncodingKind.LEGACY, OpCodeTableKind.T0F): (Map.TWO_BYTE,),
    (EncodingKind.LEGACY, OpCodeTableKind.T0F38): (Map.THREE_BYTE_38,),
    (EncodingKind.LEGACY, OpCodeTableKind.T0F3A): (Map.THREE_BYTE_3A,),
    (EncodingKind.VEX, OpCodeTableKind.T0F): (Map.VEX_1,),
    (EncodingKind.VEX, OpCodeTableKind.T0F38): (Map.VEX_2,),
    (EncodingKind.VEX, OpCodeTableKind.T0F3A): (Map.VEX_3,),
    (EncodingKind.EVEX, OpCodeTableKind.T0F): (Map.EVEX_1,),
    (EncodingKind.EVEX, OpCodeTableKind.T0F38): (Map.EVEX_2,),
    (EncodingKind.EVEX, OpCodeTableKind.T0F3A): (Map.EVEX_3,),
    (EncodingKind.EVEX, OpCodeTableKind.MAP5): (Map.EVEX_5,),
    (EncodingKind.EVEX, OpCodeTableKind.MAP6): (Map.EVEX_6,),
    (EncodingKind.XOP, OpCodeTableKind.MAP8): (Map.XOP_8,),
    (EncodingKind.XOP, OpCodeTableKind.MAP9): (Map.XOP_9,),
    (EncodingKind.XOP, OpCodeTableKind.MAP10): (Map.XOP_A,),
}

IMMEDIATE_FILL = 0x13  # no shift count that is 0 modulo 8, 9, 16, 17, 32 or 64; not 0x80 (int 0x80)
DISPLACEMENT = bytes([0x44, 0x33, 0x22, 0x11])
MEMORY, REGISTER = 0, 1


class Point(NamedTuple):
    """One encoding.  `pp`: 0 none, 1 66, 2 F3, 3 F2.  `osz`: operand size 0 default, 1 16-bit, 2 W.  `form`: MEMORY
    or REGISTER.  `length`: vector length L'L.  `rex_r`, `evex_r` (R') extend `reg`, `rex_b` extends `rm`.  Register
    fields are given before any inversion."""

    map: Map
    opcode: int
    mode: int
    pp: int = 0
    osz: int = 0
    form: int = REGISTER
    reg: int = 0
    rm: int = 0
    length: int = 0
    rex_b: int = 0
    rex_r: int = 0
    evex_r: int = 0
    broadcast: int = 0
    zeroing: int = 0
    mask: int = 0
    vvvv: int = 0
    sib: bool = False
    modrm: bool = True

    def but(self, **changes: int | bool) -> Point:
        return self._replace(**changes)  # type: ignore[arg-type]

    @property
    def bits(self) -> int:
        return 32 if self.mode else 64


def encode(point: Point) -> tuple[bytes, int]:
    """The bytes of a point, padded to 24, and how many of them come before the ModRM byte."""
    if point.map.is_legacy:
        head = _legacy(point)
    elif point.map.is_evex:
        head = _evex(point)
    else:
        head = _vex(point)
    code = head + (_modrm(point) if point.modrm else b"")
    return code.ljust(24, bytes([IMMEDIATE_FILL])), len(head)


def _modrm(point: Point) -> bytes:
    if point.form == REGISTER:
        return bytes([0xC0 | point.reg << 3 | point.rm])
    if point.sib:  # [rm + rcx or rdx + disp32]
        index = 1 + (~point.rm & 1)
        return bytes([0x84 | point.reg << 3, index << 3 | point.rm]) + DISPLACEMENT
    return bytes([0x80 | point.reg << 3 | point.rm]) + DISPLACEMENT


def _legacy(point: Point) -> bytes:
    prefixes = {0: b"", 1: b"", 2: b"\xf3", 3: b"\xf2"}[point.pp]
    if point.pp == 1 or point.osz == 1:
        prefixes += b"\x66"
    if point.osz == 2 or point.rex_b or point.rex_r:
        prefixes += bytes([0x40 | (point.osz == 2) << 3 | point.rex_r << 2 | point.rex_b])
    return prefixes + _ESCAPES[point.map] + bytes([point.opcode])


def _vex(point: Point) -> bytes:
    lead = 0x8F if point.map >= Map.XOP_8 else 0xC4
    second = (0xE0 | _MAP_NUMBERS[point.map]) ^ point.rex_r << 7 ^ point.rex_b << 5
    third = (point.osz == 2) << 7 | (~point.vvvv & 15) << 3 | (point.length & 1) << 2 | point.pp
    return bytes([lead, second, third, point.opcode])


def _evex(point: Point) -> bytes:
    second = (0xF0 | _MAP_NUMBERS[point.map]) ^ point.rex_r << 7 ^ point.rex_b << 5 ^ point.evex_r << 4
    third = (point.osz == 2) << 7 | (~point.vvvv & 15) << 3 | 4 | point.pp
    fourth = point.zeroing << 7 | point.length << 5 | point.broadcast << 4 | 8 | point.mask
    return bytes([0x62, second, third, fourth, point.opcode])


def known_opcodes() -> set[tuple[Map, int]]:
    """Every (map, opcode byte) that some instruction known to iced-x86 uses; the one-byte maps are complete."""
    found = {(table, opcode) for table in (Map.ONE_BYTE_64, Map.ONE_BYTE_32) for opcode in range(256)}
    for name in dir(Code):
        if not name.isupper():
            continue
        info = OpCodeInfo(getattr(Code, name))
        opcode = info.op_code >> 8 if info.op_code_len == 2 else info.op_code
        for table in _TABLES.get((info.encoding, info.table), ()):
            span = 8 if any(kind.endswith("_OPCODE") for kind in _operand_kinds(info)) else 1
            found.update((table, (opcode + i) & 255) for i in range(span))
    return found


def _operand_kinds(info: OpCodeInfo) -> list[str]:
    return [OPERAND_KINDS[kind] for kind in info.op_kinds()]


def names_of(enumeration: object) -> dict[int, str]:
    """Value to name for one of iced-x86's constant modules."""
    return {getattr(enumeration, name): name for name in dir(enumeration) if name.isupper()}


def _load_operand_kinds() -> dict[int, str]:
    from iced_x86 import OpCodeOperandKind

    return names_of(OpCodeOperandKind)


OPERAND_KINDS = _load_operand_kinds()
PREFIX_BYTES_32 = frozenset({0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x0F})
PREFIX_BYTES_64 = PREFIX_BYTES_32 | set(range(0x40, 0x50))


def legacy_points(table: Map, opcode: int, modrm: bool) -> list[Point]:
    """The points of one opcode of a legacy map that may decode differently."""
    points = []
    for mode in table.modes:
        for pp in range(4):
            for osz in (0, 1, 2):
                if (pp == 0 and osz == 1) or (pp == 1 and osz == 0) or (mode == 1 and osz == 2):
                    continue
                point = Point(table, opcode, mode, pp, osz, modrm=modrm)
                points += _forms(point, 8) if modrm else [point.but(rex_b=b) for b in range(2 - mode)]
    return points


def vector_points(table: Map, opcode: int, modrm: bool) -> list[Point]:
    """The points of one opcode of a VEX, XOP or EVEX map that may decode differently."""
    points = []
    for mode in table.modes:
        for pp in range(4):
            for osz in (0, 2):
                for length in range(4 if table.is_evex else 2):
                    point = Point(table, opcode, mode, pp, osz, length=length, modrm=modrm)
                    points += _forms(point, 2 if table.is_evex else 8) if modrm else [point]
    return points


def _forms(point: Point, rms: int) -> list[Point]:
    forms = []
    for reg in range(8):
        forms.append(point.but(form=MEMORY, reg=reg, rm=3))
        forms += [point.but(form=REGISTER, reg=reg, rm=rm) for rm in range(rms)]
    return forms
