"""Reads from an ELF file which loader and libraries it needs, so that images can be made without running ``ldd``.

Pure but for reading files. 64-bit little-endian only, which both known architectures are.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from localk8s.model.errors import ArtifactError

_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS = 1, 5
MACHINES = {"amd64": 62, "arm64": 183}
"""ELF machine numbers by architecture."""


@dataclass(frozen=True, slots=True)
class ElfInfo:
    """What matters of one program or library."""

    machine: int
    interpreter: str
    """The loader's path; empty for static programs and libraries."""
    needed: tuple[str, ...]
    """File names of the libraries it names."""


def read_elf(path: Path) -> ElfInfo | None:
    """What ``path`` needs; None when it is no ELF file (a script, say).

    Raises:
        ArtifactError: it starts like an ELF file and is none that can be used.
    """
    with path.open("rb") as file:
        head = file.read(64)
        if head[:4] != b"\x7fELF":
            return None
        try:
            if head[4:6] != b"\x02\x01":
                raise ValueError("not 64-bit little-endian")
            (machine,) = struct.unpack_from("<H", head, 18)
            (start,) = struct.unpack_from("<Q", head, 32)
            size, count = struct.unpack_from("<HH", head, 54)
            file.seek(start)
            segments = [struct.unpack("<IIQQQQQQ", file.read(56)) for _ in range(count)] if size == 56 else []
            read = _Reader(file.fileno(), segments)
            return ElfInfo(machine, read.interpreter(), read.needed())
        except (struct.error, ValueError) as exc:
            raise ArtifactError(f"{path} is a damaged program, or one for another machine.") from exc


class _Reader:
    def __init__(self, file: int, segments: Sequence[tuple[int, ...]]) -> None:
        self._file = file
        self._segments = segments

    def _bytes(self, kind: int) -> bytes:
        for segment in self._segments:
            if segment[0] == kind:
                return os.pread(self._file, segment[5], segment[2])
        return b""

    def interpreter(self) -> str:
        return self._bytes(_INTERPRETER).rstrip(b"\0").decode("ascii")

    def needed(self) -> tuple[str, ...]:
        pairs = list(struct.iter_unpack("<qQ", self._bytes(_DYNAMIC)))
        tables = [value for tag, value in pairs if tag == _STRINGS]
        return tuple(self._string(tables[0] + value) for tag, value in pairs if tag == _NEEDED) if tables else ()

    def _string(self, address: int) -> str:
        for kind, _, offset, start, _, size, _, _ in self._segments:
            if kind == _LOAD and start <= address < start + size:
                return os.pread(self._file, 256, offset + address - start).partition(b"\0")[0].decode("ascii")
        raise ValueError("a string outside of the file")


def library_closure(programs: Iterable[Path], roots: Sequence[Path], triplet: str) -> dict[str, Path]:
    """The loader and all libraries that ``programs`` need, directly or not.

    Args:
        programs: ELF files; others are passed over.
        roots: searched in order, each like a file system.
        triplet: ``x86_64-linux-gnu``.

    Returns:
        path in the image (absolute) to file here.

    Raises:
        ArtifactError: a library is in none of the roots.
    """
    found: dict[str, Path] = {}
    waiting = list(programs)
    while waiting:
        path = waiting.pop()
        info = read_elf(path)
        if info is None:
            continue
        wanted = [f"/usr/lib/{triplet}/{name}" for name in info.needed]
        if info.interpreter:
            wanted.append(info.interpreter)
        for name in wanted:
            if name not in found:
                found[name] = _find(name, roots, triplet, path)
                waiting.append(found[name])
    return found


def _find(name: str, roots: Sequence[Path], triplet: str, asker: Path) -> Path:
    base = os.path.basename(name)
    for root in roots:
        for place in (name.lstrip("/"), f"usr/lib/{triplet}/{base}", f"usr/lib/{base}"):
            if (root / place).exists():
                return root / place
    raise ArtifactError(f"{asker} needs the library {base}, which is in none of the Debian packages.")
