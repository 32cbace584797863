"""Files and directories between this host and nodes, and from node to node. Prints nothing, knows no drivers.

As ``cp`` and ``scp`` do it: modes are kept, less the umask; a directory to copy into has to be there. What arrives is whole or
not there: it is written under another name first.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import secrets
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from localk8s.model.errors import CommandError, NotFoundError, UsageError
from localk8s.model.hints import instead
from localk8s.model.node import Node
from localk8s.system.archives import COPY, unpack
from localk8s.system.tar_reader import ArchiveError

_EXAMPLE = "cp ./file NODE:/root/file"
_NODE = re.compile(r"[a-z0-9][-a-z0-9.]+", re.ASCII)
_TIMEOUT = 600.0
_SOCKET = re.compile(r"^tar: (.+): socket ignored$", re.MULTILINE)

Warn = Callable[[str], None]
"""Called with a sentence about what is not copied."""


@dataclass(frozen=True, slots=True)
class Place:
    """One end of a copy."""

    path: str
    node: str = ""
    """Empty for this host."""


def parse_place(text: str) -> Place:
    """``NODE:/PATH`` or a path on this host (one with a colon in it begins with ``./`` or ``/``).

    Raises:
        UsageError: it is neither.
    """
    node, colon, path = text.partition(":")
    if not text or "\0" in text:
        raise UsageError("A path is empty.", hint=_EXAMPLE)
    if not colon or not _NODE.fullmatch(node):
        return Place(text)
    if not path.startswith("/"):
        raise UsageError(f"The path {path!r} on a node is not absolute.", hint=instead(f"{node}:/{path}", of=text))
    return Place(path, node)


def copy(source: Place, target: Place, node: Callable[[str], Node], warn: Warn) -> None:
    """Copy a file, or a directory with all that is in it, but without sockets, named pipes and devices.

    A target that is a directory gets the source into it under its own name.

    Args:
        source: from where.
        target: to where; at least one of both is on a node.
        node: finds a node by its name.
        warn: hears what is left out of a directory.

    Raises:
        UsageError: both are on this host, or a file would become a directory or the other way round.
        NotFoundError: the source, a node or the directory to copy into is not there.
        CommandError: it cannot be written.
    """
    if not source.node and not target.node:
        raise UsageError("Neither of the two is on a node.", hint=_EXAMPLE)
    if not source.node:
        _copy_in(Path(source.path), target.path, node(target.node), warn)
    elif not target.node:
        _copy_out(source.path, target.path, node(source.node), warn)
    else:
        with tempfile.TemporaryDirectory(prefix="localk8s-cp-") as directory:
            middle = Path(directory) / (posixpath.basename(source.path.rstrip("/")) or "root")
            _copy_out(source.path, str(middle), node(source.node), warn)
            _copy_in(middle, target.path, node(target.node), warn)


def _mode(node: Node, path: str) -> int | None:
    """What ``path`` is on the node, links followed, as ``st_mode``; None when it is not there."""
    done = node.run(["stat", "-L", "-c", "%f", "--", path], check=False)
    return int(done.stdout, 16) if done.returncode == 0 else None


def _copy_in(source: Path, target: str, node: Node, warn: Warn) -> None:
    if not source.exists():
        raise NotFoundError(f"There is no {source} on this host.")
    name = source.resolve().name if source.name in ("", ".", "..") else source.name
    there = _mode(node, target)
    if there is not None and stat.S_ISDIR(there):
        target = posixpath.join(target, name)
        there = _mode(node, target)
    elif target.endswith("/") or _mode(node, posixpath.dirname(target)) is None:
        missing = target if target.endswith("/") else posixpath.dirname(target)
        raise NotFoundError(f"There is no directory {missing} on node {node.name}.")
    _check_kinds(source.is_dir(), there, f"{node.name}:{target}")
    part = posixpath.join(posixpath.dirname(target), f".localk8s-{secrets.token_hex(8)}")
    try:
        if source.is_dir():
            _pack_in(source, part, node, warn)
            node.run(["sh", "-c", _ARRIVE, "sh", part, target], timeout=_TIMEOUT)
        elif not source.is_file():
            raise UsageError(f"{source} is neither a file nor a directory.")
        else:
            node.copy_in(source, part, mode=source.stat().st_mode & 0o777)
            node.run(["mv", "-f", "--", part, target])
    finally:
        node.run(["rm", "-rf", "--", part, f"{part}.tar"], check=False)


_ARRIVE = """set -e
if [ -e "$2" ]; then
  tar -xf "$1.tar" -C "$2" --no-same-owner
else
  mkdir -- "$1"
  tar -xf "$1.tar" -C "$1" --no-same-owner
  mv -- "$1" "$2"
fi
"""


def _pack_in(source: Path, part: str, node: Node, warn: Warn) -> None:
    """Put the directory ``source`` on the node as ``part``.tar."""

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return member if member.isreg() or member.isdir() or member.issym() or member.islnk() else None

    for path in _special_files(source):
        warn(f"Not copied, because it is a socket, a named pipe or a device: {path}")
    with tempfile.NamedTemporaryFile(prefix="localk8s-cp-", suffix=".tar") as file:
        with tarfile.open(file.name, "w") as archive:
            archive.add(source, ".", filter=wanted)
        node.copy_in(Path(file.name), f"{part}.tar", mode=0o600)


def _special_files(source: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(source):
        for path in (Path(directory) / name for name in sorted(names)):
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                yield path


def _check_kinds(directory: bool, there: int | None, target: str) -> None:
    """Refuse, as cp does, a file in place of a directory and a directory in place of a file.

    Args:
        directory: whether the source is one.
        there: what is at the target, as ``st_mode``; None when nothing is.
        target: for the message.
    """
    if there is None or directory == stat.S_ISDIR(there):
        return
    what, where = ("The directory", "is a file") if directory else ("The file", "is a directory")
    raise UsageError(f"{what} cannot be copied to {target}, which {where}.")


def _copy_out(source: str, target: str, node: Node, warn: Warn) -> None:
    mode = _mode(node, source)
    if mode is None:
        raise NotFoundError(f"There is no {source} on node {node.name}.")
    place = Path(target)
    if place.is_dir():
        place = place / posixpath.basename(source.rstrip("/"))
    elif target.endswith("/") or not place.parent.is_dir():
        raise NotFoundError(f"There is no directory {target if target.endswith('/') else place.parent} on this host.")
    _check_kinds(stat.S_ISDIR(mode), place.stat().st_mode if place.exists() else None, str(place))
    try:
        if stat.S_ISDIR(mode):
            _unpack_out(source, place, node, warn)
        elif stat.S_ISREG(mode):
            _file_out(source, place, mode, node)
        else:
            raise UsageError(f"{source} on node {node.name} is neither a file nor a directory.")
    except (ArchiveError, OSError) as exc:
        why = exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc)
        raise CommandError(["cp"], None, message=f"{source} cannot be copied to {place}: {why}.") from exc


def _file_out(source: str, target: Path, mode: int, node: Node) -> None:
    """A file that is there keeps its mode and, through a link, its place, as with cp; what is no file is written to."""
    target = target.resolve()
    with tempfile.TemporaryDirectory(prefix=".localk8s-", dir=target.parent if _is_plain(target) else None) as directory:
        part = Path(directory) / "file"
        node.copy_out(source, part)
        if not _is_plain(target):
            with part.open("rb") as content, target.open("wb") as device:
                shutil.copyfileobj(content, device)
            return
        part.chmod(target.stat().st_mode & 0o777 if target.exists() else _less_umask(mode, Path(directory)))
        os.replace(part, target)


def _is_plain(target: Path) -> bool:
    return not target.exists() or target.is_file()


def _less_umask(mode: int, scratch: Path) -> int:
    """The permission bits that a new file of ``mode`` gets; only making one says so without changing the umask."""
    probe = scratch / "mode"
    os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode & 0o777))
    return probe.stat().st_mode & 0o777


def _unpack_out(source: str, target: Path, node: Node, warn: Warn) -> None:
    packed = node.run(["mktemp", "/tmp/localk8s-cp-XXXXXX"]).stdout.strip()  # noqa: S108 - on the node, by mktemp
    try:
        said = node.run(["tar", "-cf", packed, "-C", source, "."], timeout=_TIMEOUT).stderr
        for name in _SOCKET.findall(said):
            warn(f"Not copied, because it is a socket: {posixpath.normpath(posixpath.join(source, name))}")
        with _beside(target) as directory:
            local, new = directory / "packed.tar", directory / "new"
            node.copy_out(packed, local)
            place = target if target.exists() else new
            for left_out in unpack(local, place, COPY):
                warn(f"Not copied, because it is {left_out.why}: {left_out.name} in {source}")
            if place is new:
                os.rename(new, target)
    finally:
        node.run(["rm", "-f", packed], check=False)


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".localk8s-", dir=target.parent) as directory:
        yield Path(directory)
