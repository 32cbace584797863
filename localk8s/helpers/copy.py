"""Files and directories between this host and nodes, and from node to node. Prints nothing, knows no drivers."""

from __future__ import annotations

import posixpath
import re
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localk8s.model.errors import CommandError, NotFoundError, UsageError
from localk8s.model.hints import instead
from localk8s.model.node import Node
from localk8s.system.archives import unpack

_EXAMPLE = "cp ./file NODE:/root/file"
_NODE = re.compile(r"[a-z0-9][-a-z0-9.]+", re.ASCII)
_TIMEOUT = 600.0


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
        raise UsageError(f"{path!r} is no absolute path on a node.", hint=instead(f"{node}:/{path}", of=text))
    return Place(path, node)


def copy(source: Place, target: Place, node: Callable[[str], Node]) -> None:
    """Copy a file, or a directory with all that is in it.

    A target that ends in a slash or is a directory gets the source into it under its own name.

    Args:
        source: from where.
        target: to where; at least one of both is on a node.
        node: finds a node by its name.

    Raises:
        UsageError: both are on this host.
        NotFoundError: the source, or a node, is not there.
        CommandError: it cannot be written.
    """
    if not source.node and not target.node:
        raise UsageError("Neither of the two is on a node.", hint=_EXAMPLE)
    if not source.node:
        _copy_in(Path(source.path), target.path, node(target.node))
    elif not target.node:
        _copy_out(source.path, Path(target.path), target.path.endswith("/"), node(source.node))
    else:
        with tempfile.TemporaryDirectory(prefix="localk8s-cp-") as directory:
            middle = Path(directory) / posixpath.basename(source.path.rstrip("/"))
            _copy_out(source.path, middle, False, node(source.node))
            _copy_in(middle, target.path, node(target.node))


def _is_directory(node: Node, path: str) -> bool:
    return node.run(["test", "-d", path], check=False).returncode == 0


def _copy_in(source: Path, target: str, node: Node) -> None:
    if not source.exists():
        raise NotFoundError(f"There is no {source} on this host.")
    name = source.resolve().name if source.name in ("", ".", "..") else source.name
    if target.endswith("/") or _is_directory(node, target):
        target = posixpath.join(target, name)
    if not source.is_dir():
        node.copy_in(source, target, mode=source.stat().st_mode & 0o777)
        return
    with tempfile.NamedTemporaryFile(prefix="localk8s-cp-", suffix=".tar") as file:
        with tarfile.open(file.name, "w") as archive:
            archive.add(source, ".")
        packed = f"{target.rstrip('/')}.localk8s.tar"
        node.copy_in(Path(file.name), packed, mode=0o600)
    try:
        node.run(["mkdir", "-p", target])
        node.run(["tar", "-xf", packed, "-C", target, "--no-same-owner"], timeout=_TIMEOUT)
    finally:
        node.run(["rm", "-f", packed], check=False)


def _copy_out(source: str, target: Path, into: bool, node: Node) -> None:
    if into or target.is_dir():
        target = target / posixpath.basename(source.rstrip("/"))
    if not _is_directory(node, source):
        node.copy_out(source, target)
        return
    packed = node.run(["mktemp", "/tmp/localk8s-cp-XXXXXX"]).stdout.strip()  # noqa: S108 - on the node, by mktemp
    try:
        node.run(["tar", "-cf", packed, "-C", source, "."], timeout=_TIMEOUT)
        with tempfile.TemporaryDirectory(prefix="localk8s-cp-") as directory:
            local = Path(directory) / "packed.tar"
            node.copy_out(packed, local)
            target.mkdir(parents=True, exist_ok=True)
            unpack(local, target)
    except (ValueError, OSError) as exc:
        raise CommandError(["tar"], None, message=f"{source} could not be copied to {target}: {exc}.") from exc
    finally:
        node.run(["rm", "-f", packed], check=False)
