"""Where the archive of an image comes from: a file, a stream, the docker or podman of this host.

Owns making any of them into one uncompressed file that can be read again. Must not know nodes.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import shlex
import shutil
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

from localk8s.model.errors import CommandError, NotFoundError, PrerequisiteError, UsageError
from localk8s.model.node import Runner

_SAVE = 3600.0
_HEAD = 6
_ZSTD = b"\x28\xb5\x2f\xfd"
_CHUNK = 1 << 20

_Readable = IO[bytes] | io.BufferedIOBase
_OPENERS: tuple[tuple[bytes, Callable[[IO[bytes]], _Readable]], ...] = (
    (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


@contextlib.contextmanager
def archive_file(path: Path) -> Iterator[Path]:
    """An uncompressed file with what is in ``path``, for the block; ``path`` itself when it is one.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it cannot be read or unpacked.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UsageError(
                f"{path} is a directory, no image archive.", hint=shlex.join(["tar", "-C", str(path), "-cf", "image.tar", "."])
            )
        with path.open("rb") as file:
            if stat.S_ISREG(mode) and not _is_compressed(file.peek(_HEAD)):
                yield path
            else:
                with archive_stream(file) as spooled:
                    yield spooled
    except FileNotFoundError:
        raise NotFoundError(f"There is no image archive {path}.") from None
    except PermissionError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}.") from exc


@contextlib.contextmanager
def archive_stream(stream: Readable) -> Iterator[Path]:
    """A file with all that ``stream`` gives, unpacked if need be, for the block.

    Raises:
        UsageError: it cannot be unpacked.
    """
    with tempfile.TemporaryDirectory(prefix="localk8s-image-") as directory:
        spooled, plain = Path(directory) / "stream", Path(directory) / "archive.tar"
        with spooled.open("wb") as file:
            shutil.copyfileobj(stream, file, _CHUNK)
        with spooled.open("rb") as file:
            head = file.peek(_HEAD)
            if head.startswith(_ZSTD):
                raise UsageError("The archive is packed with zstd.", hint="zstd -d ARCHIVE")
            opener = next((opener for magic, opener in _OPENERS if head.startswith(magic)), None)
            if opener is not None:
                _unpack(opener(file), plain)
                spooled.unlink()
        yield plain if plain.exists() else spooled


def _is_compressed(head: bytes) -> bool:
    return any(head.startswith(magic) for magic in (_ZSTD, *(magic for magic, _ in _OPENERS)))


def _unpack(packed: _Readable, target: Path) -> None:
    try:
        with packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file, _CHUNK)
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, OSError) as exc:
        raise UsageError(f"The archive cannot be unpacked: {str(exc)[:100].rstrip('.')}.") from exc


@contextlib.contextmanager
def host_image(runner: Runner, name: str) -> Iterator[Path | None]:
    """An archive of the image that this host's docker or podman knows as ``name``; None when neither does.

    Raises:
        CommandError: it is there, but could not be saved.
    """
    program = next((each for each in ("docker", "podman") if _has(runner, each, name)), None)
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="localk8s-image-") as directory:
        target = Path(directory) / "archive.tar"
        form = ["--format", "docker-archive"] if program == "podman" else []
        runner.run([program, "save", *form, "--output", str(target), name], timeout=_SAVE)
        yield target


def _has(runner: Runner, program: str, name: str) -> bool:
    try:
        return runner.run([program, "image", "inspect", name], timeout=30, check=False).returncode == 0
    except (PrerequisiteError, CommandError):  # not installed, or its daemon hangs
        return False
