"""Reads tar archives that others made, member by member and forward only, whatever is in them.

Owns the format: ustar, GNU's and pax's long names. Of Python's tarfile it takes the reading of one block, no more: that
one follows links, keeps extension headers of any size in memory and goes back where a size is negative. Here every step
goes forward and is bounded. Writes nothing.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, cast

BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 20
_LONGEST_EXTENSION = 1 << 20
"""Bytes of one extension header (a long name, pax records)."""
_MOST_EXTENSIONS = 8
"""Extension headers in front of one member."""
_MOST_LISTED = 200_000
_TRAILER = 1 << 20
"""Bytes that are read behind the end of the archive, so that gzip and xz compare their checksums."""


class ArchiveError(ValueError):
    """An archive is damaged, cut off or made to do harm; the text says what is wrong, without a full stop."""


class Kind(StrEnum):
    """What a member is."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "symbolic link"
    HARD_LINK = "hard link"
    DEVICE = "device"
    FIFO = "named pipe"


_KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.CONTTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.LINK,
    tarfile.LNKTYPE: Kind.HARD_LINK,
    tarfile.CHRTYPE: Kind.DEVICE,
    tarfile.BLKTYPE: Kind.DEVICE,
    tarfile.FIFOTYPE: Kind.FIFO,
}


@dataclass(frozen=True, slots=True)
class Member:
    """One member, as the archive describes it; nothing in it is to be believed."""

    name: str
    kind: Kind
    size: int
    """Bytes of its content."""
    mode: int
    mtime: int
    """Seconds since 1970."""
    target: str
    """What a link leads to."""
    offset: int
    """Where its content begins in the uncompressed archive; bytes."""

    @property
    def shown(self) -> str:
        """Its name for people: short, and without control characters."""
        return shown(self.name)


def shown(name: str) -> str:
    """A name from an archive for people: short, and without control characters."""
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:60]}…{text[-16:]}"


class TarReader:
    """The members of one archive, in order; a context manager.

    Args:
        archive: plain, gzip, bzip2 or xz.

    Raises:
        OSError: it cannot be opened.
        ArchiveError: it is empty or too short to be one.
    """

    def __init__(self, archive: Path) -> None:
        self._file = archive.open("rb")
        try:
            self._whole = archive.stat().st_size
            self._stream = self._decompressed()
        except BaseException:
            self._file.close()
            raise
        self._position = 0
        self._left = 0
        """Bytes of the present member's content, padding included, that nobody has read."""
        self._padding = 0

    def __enter__(self) -> TarReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Member]:
        """Every member; of each, ``content`` can be read until the next is asked for.

        Raises:
            ArchiveError: the archive is damaged, cut off, or holds what has no place in one.
        """
        while (member := self._next()) is not None:
            yield member
        self._finish()

    @property
    def compressed(self) -> bool:
        """Whether the offsets of members are not those in the file."""
        return self._stream is not self._file

    def content(self) -> Iterator[bytes]:
        """The content of the present member, in pieces; all of it, or an error.

        Raises:
            ArchiveError: there is less of it than the archive says.
        """
        while self._left > self._padding:
            data = self._read(min(self._left - self._padding, _CHUNK))
            self._left -= len(data)
            yield data

    def whole_content(self, member: Member, limit: int) -> bytes:
        """The content of the present member at once.

        Raises:
            ArchiveError: it has more than ``limit`` bytes.
        """
        if member.size > limit:
            raise ArchiveError(f"{member.shown} has more than {limit >> 20} MiB")
        return b"".join(self.content())

    def _decompressed(self) -> IO[bytes]:
        magic = self._file.read(6)
        self._file.seek(0)
        if magic.startswith(b"\x1f\x8b"):
            return cast("IO[bytes]", gzip.GzipFile(fileobj=self._file))
        if magic.startswith(b"BZh"):
            return bz2.BZ2File(self._file)
        if magic.startswith(b"\xfd7zXZ\0"):
            return lzma.LZMAFile(self._file)
        return self._file

    def _next(self) -> Member | None:
        named: dict[str, str] = {}
        for _ in range(_MOST_EXTENSIONS + 1):
            block = self._block()
            if block is None:
                return None
            info = _parse(block)
            if info.type in _KINDS:
                return self._member(info, named)
            if info.type not in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE):
                raise ArchiveError(f"{shown(info.name)} is of a kind that is not supported ({info.type!r})")
            named |= _extension(info.type, self._extension(info.size))
        raise ArchiveError("too many extension headers in front of one member")

    def _member(self, info: tarfile.TarInfo, named: dict[str, str]) -> Member:
        kind = _KINDS[info.type]
        name, target = named.get("path", info.name), named.get("linkpath", info.linkname)
        size = int(named["size"]) if "size" in named else info.size
        if size < 0 or (kind is not Kind.FILE and size > 0):
            raise ArchiveError(f"the size of {shown(name)} is wrong")
        self._padding = -size % BLOCK
        self._left = size + self._padding
        if not self.compressed and self._position + size > self._whole:
            raise ArchiveError(f"it is cut off in {shown(name)}")
        return Member(name, kind, size, info.mode, max(0, int(info.mtime)), target, self._position)

    def _extension(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_EXTENSION:
            raise ArchiveError("an extension header is too large")
        data = self._read(size, whole=True)
        self._left = -size % BLOCK
        return data

    def _block(self) -> bytes | None:
        """The next header, behind whatever of the member before it was not read; None at the end of the archive."""
        self._skip(self._left)
        self._left = self._padding = 0
        block = self._read(BLOCK, whole=True)
        return block if block.strip(b"\0") else None

    def _skip(self, count: int) -> None:
        if not self.compressed:
            if self._position + count > self._whole:
                raise ArchiveError("it is cut off")
            self._file.seek(count, io.SEEK_CUR)
            self._position += count
            return
        while count:
            count -= len(self._read(min(count, _CHUNK)))

    def _read(self, count: int, *, whole: bool = False) -> bytes:
        """Up to ``count`` bytes, at least one, or all of them."""
        parts: list[bytes] = []
        while count:
            data = self._raw(count)
            if not data:
                raise ArchiveError("it is cut off" if self._position else "it is empty")
            self._position += len(data)
            parts.append(data)
            count = count - len(data) if whole else 0
        return b"".join(parts)

    def _raw(self, count: int) -> bytes:
        try:
            return self._stream.read(count)
        except EOFError as exc:
            raise ArchiveError("it is cut off") from exc
        except (zlib.error, lzma.LZMAError) as exc:
            raise ArchiveError("its compressed data is damaged") from exc
        except OSError as exc:
            if exc.errno is None:  # gzip's and bzip2's way to say it
                raise ArchiveError("its compressed data is damaged") from exc
            raise

    def _finish(self) -> None:
        left = _TRAILER
        while left > 0 and (data := self._raw(min(left, _CHUNK))):
            left -= len(data)


def list_members(archive: Path) -> list[Member]:
    """All members of an archive that is not compressed; what they hold stays in the file, at ``offset``.

    Raises:
        ArchiveError: it is damaged, cut off, compressed, or has too many members.
        OSError: it cannot be read.
    """
    found = []
    with TarReader(archive) as reader:
        if reader.compressed:
            raise ArchiveError("it is compressed")
        for member in reader:
            found.append(member)
            if len(found) > _MOST_LISTED:
                raise ArchiveError(f"it holds more than {_MOST_LISTED} members")
    return found


def read_member(archive: Path, name: str, limit: int) -> bytes | None:
    """The content of the file ``name`` at the top of an archive; None when there is none, or it is a link.

    Args:
        archive: plain, gzip, bzip2 or xz.
        limit: the most that it may have; bytes.

    Raises:
        ArchiveError: the archive is damaged, or that file is larger.
        OSError: it cannot be read.
    """
    found = None
    with TarReader(archive) as reader:
        for member in reader:
            if member.name.removeprefix("./") == name:
                found = reader.whole_content(member, limit) if member.kind is Kind.FILE else None
    return found


def _parse(block: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError, OverflowError) as exc:
        raise ArchiveError(f"it is not a tar archive, or damaged ({exc})") from exc


def _extension(kind: bytes, data: bytes) -> dict[str, str]:
    """What an extension header says about the member behind it: ``path``, ``linkpath``, ``size``."""
    if kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
        key = "path" if kind == tarfile.GNUTYPE_LONGNAME else "linkpath"
        return {key: data.partition(b"\0")[0].decode("utf-8", "surrogateescape")}
    records = _pax_records(data)
    if any(key.startswith("GNU.sparse.") for key in records):
        raise ArchiveError("it holds a sparse file, which is not supported")
    found = {key: value for key, value in records.items() if key in ("path", "linkpath", "size")}
    if kind == tarfile.XGLTYPE and found:
        raise ArchiveError("it gives one name or size to all of its members")
    if not found.get("size", "0").isdecimal() or len(found.get("size", "")) > 20:
        raise ArchiveError("a size in it is no number")
    return found


def _pax_records(data: bytes) -> dict[str, str]:
    """``LENGTH KEY=VALUE`` lines; LENGTH counts the whole line."""
    records: dict[str, str] = {}
    start = 0
    while start < len(data):
        length, blank, _ = data[start : start + 12].partition(b" ")
        end = start + int(length) if blank and length.isdigit() else 0
        key, equals, value = data[start + len(length) + 1 : end].partition(b"=")
        if end <= start or end > len(data) or not equals or not value.endswith(b"\n"):
            raise ArchiveError("an extension header is damaged")
        records[key.decode("utf-8", "surrogateescape")] = value[:-1].decode("utf-8", "surrogateescape")
        start = end
    return records
