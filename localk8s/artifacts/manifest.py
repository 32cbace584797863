"""The list of files and digests that lies in every cache entry: written when files enter, compared on every later use.

On later use a file is believed when its size and time of change are the recorded ones; otherwise it is read whole and
its digest decides. Must not know what the files are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from localk8s.model.errors import ArtifactError
from localk8s.system.files import write_atomic

MANIFEST = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of an entry."""

    sha256: str
    size: int
    """Bytes."""
    mtime: int
    """Nanoseconds."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files of an entry by their path in it, and what else was recorded."""

    files: Mapping[str, FileRecord]
    facts: Mapping[str, str]

    @property
    def digest(self) -> str:
        """A SHA-256 over all paths and digests."""
        lines = "".join(f"{record.sha256}  {name}\n" for name, record in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


def describe(root: Path, facts: Mapping[str, str]) -> Manifest:
    """Read every regular file below ``root`` and record its digest."""
    files = {}
    for path in sorted(regular_files(root)):
        name = str(path.relative_to(root))
        if name != MANIFEST:
            files[name] = record_file(path)
    return Manifest(files, dict(facts))


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Put ``manifest`` into the entry at ``root``."""
    files = {name: [record.sha256, record.size, record.mtime] for name, record in manifest.files.items()}
    text = json.dumps({"format": _FORMAT, "facts": dict(manifest.facts), "files": files}, indent=0)
    write_atomic(root / MANIFEST, text, mode=0o644)


def read_manifest(root: Path, hint: str) -> Manifest:
    """The manifest of the entry at ``root``.

    Args:
        hint: for the error: what throws the entry away.

    Raises:
        ArtifactError: there is none, or it cannot be understood.
    """
    path = root / MANIFEST
    try:
        data = json.loads(path.read_bytes())
        if data["format"] != _FORMAT:
            raise ValueError("format")
        files = {str(name): FileRecord(str(sha), int(size), int(mtime)) for name, (sha, size, mtime) in data["files"].items()}
        return Manifest(files, {str(key): str(value) for key, value in data["facts"].items()})
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ArtifactError(f"The cache entry {root} is damaged: {path.name} is missing or unreadable.", hint=hint) from exc


def verify(root: Path, manifest: Manifest, hint: str) -> Manifest:
    """Compare the files at ``root`` with their records.

    Returns:
        the manifest, with new times where a file had been touched but is what it should be (recorded if possible).

    Raises:
        ArtifactError: a file is missing or differs; it is named.
    """
    touched = {}
    for name, record in manifest.files.items():
        path = root / name
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise ArtifactError(f"A cached file is missing: {path}.", hint=hint) from None
        if stat.S_ISREG(found.st_mode) and found.st_size == record.size and found.st_mtime_ns == record.mtime:
            continue
        if (
            not stat.S_ISREG(found.st_mode)
            or found.st_size != record.size
            or (now := record_file(path)).sha256 != record.sha256
        ):
            raise ArtifactError(f"A cached file is not what was put there, its SHA-256 differs: {path}.", hint=hint)
        touched[name] = now
    if not touched:
        return manifest
    renewed = replace(manifest, files={**manifest.files, **touched})
    with contextlib.suppress(OSError):  # a read-only cache is read whole each time
        write_manifest(root, renewed)
    return renewed


def record_file(path: Path) -> FileRecord:
    """Read a file whole and record its digest, size and time of change."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        found = os.fstat(file.fileno())
    return FileRecord(digest, found.st_size, found.st_mtime_ns)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return record_file(path).sha256


def regular_files(root: Path) -> list[Path]:
    """Every regular file below ``root``; links are not followed."""
    found = []
    for directory, _, names in os.walk(root):
        found += [path for name in names if not (path := Path(directory) / name).is_symlink() and path.is_file()]
    return found
