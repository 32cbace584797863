"""Full disks: how much room a file system has, which errors come of a lack of it, and the one sentence for it.

Knows nothing of what is kept there.
"""

from __future__ import annotations

import errno
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from localk8s.model.errors import Localk8sError, PrerequisiteError
from localk8s.model.quantities import MIB, format_size

FULL = 16 * MIB
"""With less than this free, whatever is written next fails. Bytes."""
_NEARLY = 512 * MIB
"""With less than this free, an error about a lack of room is believed to be about this file system: what did not fit has been
removed since."""
_FULL_CODES = (errno.ENOSPC, errno.EDQUOT)
_SIGNS = ("no space left on device", "disk quota exceeded", "not enough free space", "mvcc: database space exceeded")
_SIGNS_FROM_A_NODE = ("input/output error", "read-only file system", "structure needs cleaning")
"""What programs say whose disk is a file on a full disk."""


@dataclass(frozen=True, slots=True)
class Room:
    """The room of one file system."""

    mount: Path
    """Where it is mounted."""
    free: int
    """Bytes that can still be written."""
    total: int
    """Bytes."""

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be written."""
        return self.total > 0 and self.free < FULL


class DiskFullError(PrerequisiteError):
    """A file system has no room left."""


def room_at(path: Path) -> Room:
    """The room of the file system that keeps ``path``, or would, if it is not there yet.

    Raises:
        OSError: it cannot be looked at.
    """
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    mount = path
    while not mount.is_mount() and mount != mount.parent:
        mount = mount.parent
    return Room(mount, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def is_about_space(exc: BaseException) -> bool:
    """Whether ``exc``, or what caused it, says that a disk is full."""
    if isinstance(exc, OSError):
        return exc.errno in _FULL_CODES
    if isinstance(exc, Localk8sError):
        return _says(exc, _SIGNS) or (exc.__cause__ is not None and is_about_space(exc.__cause__))
    return False


def disk_full(path: Path, what: str) -> DiskFullError:
    """The error for a full file system.

    Args:
        path: what is kept there.
        what: what that is, for people: ``the clusters``.
    """
    try:
        room = room_at(path)
        free = f"{format_size(room.free)} of {format_size(room.total)} are free on {room.mount}, which keeps {what}"
    except OSError:
        free = f"nothing more can be written to {path}, which keeps {what}"
    return DiskFullError(f"The disk is full: {free}.", hint=f"df -h {shlex.quote(str(path))}")


def full_disk_behind(exc: BaseException, kept: dict[Path, str]) -> DiskFullError | None:
    """The full disk that made ``exc``; None when none did.

    Args:
        exc: what went wrong.
        kept: directories, and what is kept there, for people.
    """
    if isinstance(exc, DiskFullError):
        return exc
    for path, what in kept.items():
        try:
            room = room_at(path)
        except OSError:
            continue
        said = is_about_space(exc) or (isinstance(exc, Localk8sError) and _says(exc, _SIGNS_FROM_A_NODE))
        if room.is_full or (said and room.free < _NEARLY):
            return disk_full(path, what)
    return None


def _says(exc: Localk8sError, signs: tuple[str, ...]) -> bool:
    text = f"{exc.message}\n{exc.details}".lower()
    return any(sign in text for sign in signs)
