"""A directory of this host in another mount namespace: a detached mount, made here and attached there. Knows Linux.

A program of its own, because a process cannot enter a mount namespace while it has threads. Owns two system calls.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

from localk8s.model.errors import CommandError, WrongStateError
from localk8s.model.node import Runner

_OPEN_TREE, _MOVE_MOUNT = 428, 429
"""System call numbers, the same on every machine (Linux 5.2)."""
_AT_FDCWD, _AT_RECURSIVE, _CLONE, _CLOEXEC, _EMPTY_PATH = -100, 0x8000, 1, os.O_CLOEXEC, 4
_NEW_MOUNTS = 0x00020000
_OPENAT2, _RESOLVE_IN_ROOT = 437, 0x10
"""System call and flag: links lead where they lead for a process with that root (Linux 5.6)."""


def open_inside(process: int, path: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor for the absolute ``path`` as ``process`` sees it: no link in it leads to a file of this host.

    Raises:
        OSError: it cannot be opened.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    root = os.open(f"/proc/{process}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT)
        opened: int = libc.syscall(_OPENAT2, root, os.fsencode(path), how, len(how))
    finally:
        os.close(root)
    if opened < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    return opened


def resolve_inside(process: int, path: str) -> Path:
    """Where this host finds the absolute ``path`` of ``process``, without a link that could lead to a file of this host.

    Raises:
        OSError: it is not there.
    """
    opened = open_inside(process, path, os.O_PATH)
    try:
        return Path(f"/proc/{process}/root{os.readlink(f'/proc/self/fd/{opened}')}")
    finally:
        os.close(opened)


def bind(runner: Runner, process: int | None, source: Path, target: str, *, node: str, hint: str) -> None:
    """Attach ``source`` at ``target`` in the mount namespace of ``process``.

    Raises:
        WrongStateError: the node is off.
        CommandError: the kernel refuses.
    """
    if process is None:
        raise WrongStateError(f"Node {node} is not running.", hint=hint)
    done = runner.run([sys.executable, __file__, str(process), str(source), target], check=False)
    if done.returncode != 0:
        why = done.stderr.strip().rpartition("\n")[2] or "the kernel refused"
        raise CommandError(
            done.argv, done.returncode, stderr=done.stderr, message=f"{source} cannot be mounted on node {node}: {why}."
        )


def main(process: int, source: str, target: str) -> None:
    """Do it; in a process without threads.

    Raises:
        OSError: a system call failed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    tree = libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), _CLONE | _AT_RECURSIVE | _CLOEXEC)
    _check(tree, source)
    namespace = os.open(f"/proc/{process}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    _check(libc.setns(namespace, _NEW_MOUNTS), "the node's mounts")
    os.makedirs(target, exist_ok=True)
    _check(libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _EMPTY_PATH), target)


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{os.strerror(ctypes.get_errno())}: {what}")


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
    except OSError as exc:
        sys.exit(str(exc.strerror or exc))
