"""From the memory of a live process to its Status.

    /proc/PID/maps ── executable, begins with the magic ──▶ struct payload_header ── state_address ──▶ struct state
                                                                └── patch_table ──▶ struct patch[]    └── ring, patches

Nothing is stopped, so counters are a moment apart from each other; an entry of the ring is believed when its number was
the same before and after it was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import cast, get_args

from stemrw.documents.manifest import PatchKind
from stemrw.documents.status import ModuleStatus, PatchStatus, RecoveryStatus, RuntimeState, Status
from stemrw.errors import SensorError, StemrwError
from stemrw.runtime import RuntimeImage, load_image
from stemrw.status._process import Mapping as MemoryMapping
from stemrw.status._process import Process
from stemrw.text import unicode

_READS = 4
"""How often the ring is read until all of its entries are whole."""
_STATE_SIZE_LIMIT = 1 << 24


def read_status(pid: int) -> Status | None:
    """What the runtimes of a process count; None if none of its modules is hardened.

    Raises SensorError: no such process, no permission, or a module whose runtime has another layout.
    """
    image = load_image()
    process = Process(pid)
    try:
        modules = [
            _Module(process, mapping, image).status()
            for mapping in process.mappings()
            if mapping.executable and process.read(mapping.start, len(image.magic)) == image.magic
        ]
        if not modules:
            return None
        return Status(pid=pid, command=process.command, modules=tuple(modules))
    finally:
        process.close()


class _Module:
    """One payload in the process's memory."""

    def __init__(self, process: Process, mapping: MemoryMapping, image: RuntimeImage) -> None:
        self._process, self._mapping, self._image = process, mapping, image
        self._header = self._fields("payload_header", self._read(mapping.start, "payload_header"))
        self._check_abi(self._header["abi_version"])
        self._bias = mapping.start - self._header["header_address"]

    def status(self) -> ModuleStatus:
        count, image = self._header["patch_count"], self._image
        address = self._bias + self._header["state_address"]
        size = image.state_size(count)
        if not size <= self._header["state_size"] < _STATE_SIZE_LIMIT:
            raise self._error("its header cannot be true")
        raw = self._memory(address, size)
        state = self._fields("state", raw)
        if state["magic"] not in (0, image.constants["STATE_MAGIC"] & (1 << 64) - 1):
            raise self._error("its state was overwritten")
        if state["magic"]:
            self._check_abi(state["abi_version"])
        named = image.enumerator("STATUS_", state["status"])
        if named not in get_args(RuntimeState):
            raise self._error(f"its state was overwritten: its status is {named}")
        name = self._names()
        recent, unreadable = self._recoveries(address, raw, name)
        reasons = _words(raw, image.structs["state"].fields["reasons"])
        return ModuleStatus(
            path=unicode(self._mapping.path) or None,
            payload=self._header["header_address"],
            bias=self._bias,
            plan_sha256=self._raw_header("plan_hash").hex(),
            state=cast(RuntimeState, named),
            recoveries=state["recoveries"],
            degradations=state["degradations"],
            reasons={image.enumerator("REASON_", i): n for i, n in enumerate(reasons) if n},
            threads=state["contexts_used"],
            translated_units=state["units"],
            translated_bytes=state["unit_bytes"],
            log_peak=state["log_peak"],
            patches=tuple(self._patches(raw, name)),
            recent=tuple(recent),
            unreadable=unreadable,
        )

    def _patches(self, state: bytes, name: Callable[[int], str | None]) -> list[PatchStatus]:
        patch, counters = self._image.structs["patch"], self._image.structs["patch_state"]
        first = self._image.constants["STATE_FIXED_BYTES"]
        table = self._memory(
            self._mapping.start + self._header["patch_table"], patch.size * self._header["patch_count"]
        )
        found = []
        for i in range(self._header["patch_count"]):
            known = self._fields("patch", table[patch.size * i :])
            counted = self._fields("patch_state", state[first + counters.size * i :])
            kind = self._image.enumerator("PATCH_", known["kind"])
            if kind not in get_args(PatchKind):
                continue  # a place that belongs to another entry
            found.append(
                PatchStatus(
                    kind=cast(PatchKind, kind),
                    function=known["function"],
                    symbol=name(known["function"]),
                    entries=counted["entries"],
                    commits=counted["commits"],
                    recoveries=counted["recoveries"],
                    degradations=counted["degradations"],
                    translated=counted["translation"] != 0,
                    peak_ticks=counted["peak_ticks"],
                    peak_memory=counted["peak_memory"],
                )
            )
        return found

    def _recoveries(
        self, address: int, state: bytes, name: Callable[[int], str | None]
    ) -> tuple[list[RecoveryStatus], int]:
        """The ring's entries, newest first, and how many could not be read whole."""
        offset, size = self._image.structs["state"].fields["ring"]
        slots = self._image.constants["RECOVERY_RING"]
        before = state[offset : offset + size]
        entries: dict[int, dict[str, int]] = {}
        torn: set[int] = set()
        for _ in range(_READS):
            after = self._memory(address + offset, size)
            torn.clear()
            for slot in range(slots):
                part = slice(size // slots * slot, size // slots * (slot + 1))
                fields = self._fields("recovery", before[part])
                if before[part] != after[part] or (not fields["number"] and any(before[part])):
                    torn.add(slot)
                elif fields["number"]:
                    entries[slot] = fields
            if not torn:
                break
            before = after
        whole = [fields for slot, fields in entries.items() if slot not in torn]
        newest_first = sorted(whole, key=lambda fields: -fields["number"])
        return [self._recovery(fields, name) for fields in newest_first], len(torn)

    def _recovery(self, fields: Mapping[str, int], name: Callable[[int], str | None]) -> RecoveryStatus:
        seconds = datetime.fromtimestamp(fields["seconds"] & (1 << 33) - 1, UTC)
        return RecoveryStatus(
            number=fields["number"],
            time=f"{seconds:%Y-%m-%dT%H:%M:%S}.{fields['nanoseconds']:09d}Z",
            thread=fields["thread"],
            fault_class=self._image.enumerator("FAULT_", fields["fault_class"]),
            region=fields["region"],
            symbol=name(fields["region"]),
            pc=fields["pc"],
            in_region_module=fields["own"] != 0,
            address=fields["address"],
            returned=fields["returned"],
            log_bytes=fields["log_bytes"],
            irreversible=fields["irreversible"],
        )

    def _names(self) -> Callable[[int], str | None]:
        """Names of functions, from the file where that is still there."""
        path = self._process.file(self._mapping)
        if path is None:
            return lambda _address: None
        from stemrw.image import Image

        try:
            image = Image.open(path)
        except StemrwError:
            return lambda _address: None

        def name(address: int) -> str | None:
            function = image.function_at(address)
            return function.symbol if function is not None else None

        return name

    # bytes

    def _read(self, address: int, struct: str) -> bytes:
        return self._memory(address, self._image.structs[struct].size)

    def _memory(self, address: int, size: int) -> bytes:
        data = self._process.read(address, size)
        if len(data) != size:
            raise self._error(f"{size} bytes at {address:#x} cannot be read: has the process ended?")
        return data

    def _fields(self, struct: str, data: bytes) -> dict[str, int]:
        unpacked = self._image.structs[struct].unpack(data)
        return {name: int.from_bytes(value, "little") for name, value in unpacked.items()}

    def _raw_header(self, field: str) -> bytes:
        offset, size = self._image.structs["payload_header"].fields[field]
        return self._memory(self._mapping.start + offset, size)

    def _check_abi(self, version: int) -> None:
        ours = self._image.constants["ABI_VERSION"]
        if version != ours:
            hint = "use the stemrw that hardened it, or harden the original anew"
            raise self._error(f"its runtime has layout {version}, this stemrw reads layout {ours}", hint)

    def _error(self, what: str, hint: str | None = None) -> SensorError:
        name = Path(unicode(self._mapping.path)).name or f"the module at {self._mapping.start:#x}"
        return SensorError(f"process {self._process.pid}, {name}: {what}", hint=hint)


def _words(data: bytes, field: tuple[int, int]) -> list[int]:
    offset, size = field
    return [int.from_bytes(data[at : at + 8], "little") for at in range(offset, offset + size, 8)]
