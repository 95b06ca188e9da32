"""Hardened files to verify, and ways to damage them so that only what is looked for is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from build import Built, build
from catalogue import BY_NAME
from elf_programs import compile_program, symbols
from harness import Tool, manifest_path, symbol_address

from stemrw.documents.manifest import Manifest, load_manifest
from stemrw.documents.verification import Check, Verification
from stemrw.elf import Elf
from stemrw.runtime import load_image
from stemrw.verify import Wishes, verify


@dataclass(frozen=True)
class Hardened:
    """A hardened file beside its manifest, and the original."""

    original: Path
    path: Path

    @property
    def manifest(self) -> Manifest:
        return load_manifest(manifest_path(self.path))

    def verify(self, wishes: Wishes | None = None) -> Verification:
        wishes = wishes or Wishes()
        return verify(self.path, self.manifest, wishes, original=self.original, progress=lambda _what: None)

    def offset(self, address: int) -> int:
        """File offset of a link-time address."""
        found = Elf.open(self.path).offset_of(address)
        assert found is not None
        return found

    def payload_field(self, struct: str, field: str, at: int = 0) -> int:
        """File offset of a field of the struct at an offset of the payload."""
        return self.manifest.payload.offset + at + load_image().structs[struct].fields[field][0]

    def damaged(self, folder: Path, offset: int, new: bytes) -> Hardened:
        """A copy with other bytes in it, and a manifest that names the new sha256."""
        data = bytearray(self.path.read_bytes())
        assert data[offset : offset + len(new)] != new, "this changes nothing"
        data[offset : offset + len(new)] = new
        copy = Hardened(self.original, folder / self.path.name)
        copy.path.write_bytes(data)
        copy.path.chmod(0o755)
        identity = self.manifest.output.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
        manifest_path(copy.path).write_text(self.manifest.model_copy(update={"output": identity}).to_json())
        return copy


def failed(verification: Verification) -> set[str]:
    """The checks that failed."""
    return {check.name for check in verification.checks if check.outcome == "failed"}


def check_named(verification: Verification, name: str) -> Check:
    return next(check for check in verification.checks if check.name == name)


@pytest.fixture(scope="session")
def sample(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Hardened]:
    """The sample `divide-by-zero` in a link mode, `process` hardened; made once.  In the mode `shared` the library."""
    done: dict[str, Hardened] = {}

    def make(mode: str) -> Hardened:
        if mode not in done:
            folder = tmp_path_factory.mktemp(f"sample-{mode}")
            built: Built = build(BY_NAME["divide-by-zero"], folder / "built", mode=mode)
            path = folder / (built.target.name + ".hardened")
            tool.patch(built.target, path, "--region", hex(symbol_address(built.symbols, "process")))
            done[mode] = Hardened(built.target, path)
        return done[mode]

    return make


@pytest.fixture(scope="session")
def assembled(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Hardened]:
    """A program with the function `f`, given as assembly in AT&T syntax, hardened; each made once."""
    done: dict[tuple[str, str], Hardened] = {}

    def make(body: str, prologue: str = "") -> Hardened:
        if (body, prologue) not in done:
            done[body, prologue] = _assemble(tool, tmp_path_factory.mktemp("assembled"), body, prologue)
        return done[body, prologue]

    return make


def _assemble(tool: Tool, folder: Path, body: str, prologue: str) -> Hardened:
    source = f"""
        {prologue}
        long f(long, long);
        __asm__(".text\\n.balign 16\\n.globl f\\n.type f, @function\\nf:\\n.cfi_startproc\\n"
                "{body}" "\\n.cfi_endproc\\n.size f, .-f\\n");
        int main(int argc, char **argv) {{ (void)argv; return (int)f(argc, 2); }}
        """
    original = compile_program(folder, source, kind="fixed", name="assembled.c")
    path = folder / "assembled.hardened"
    tool.patch(original, path, "--region", hex(symbols(original)["f"]))
    return Hardened(original, path)
