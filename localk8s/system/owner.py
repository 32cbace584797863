"""Whose files localk8s makes: under sudo, those of the user who typed it. The only reader of SUDO_UID and SUDO_GID.

Gives away only what root made in a directory that is that user's already, so nothing outside the user's own directories;
nothing behind a link, and no file that has a second name.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localk8s.system.host import is_root

try:
    import pwd
except ImportError:  # Windows has neither sudo nor this
    pwd = None  # type: ignore[assignment]

_LOOK = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class Owner:
    """An ordinary user who runs localk8s by sudo."""

    uid: int
    gid: int
    name: str
    home: Path


_current: Owner | None = None
"""Set once a process, by whoever reads its environment."""


def sudo_owner(environment: Mapping[str, str]) -> Owner | None:
    """Who typed ``sudo`` (sudo(8), SUDO_UID); None for root itself, for no root, and for who has no name or no home here."""
    if pwd is None or not is_root():
        return None
    try:
        uid, gid = int(environment["SUDO_UID"]), int(environment["SUDO_GID"])
        entry = pwd.getpwuid(uid)
    except (KeyError, ValueError, OverflowError):
        return None
    home = Path(entry.pw_dir)
    ordinary = uid > 0 and gid >= 0 and home.is_absolute() and home != Path("/") and home.is_dir()
    return Owner(uid, gid, entry.pw_name, home) if ordinary else None


def set_owner(owner: Owner | None) -> None:
    """From now on, what is made in a directory of ``owner`` is that user's; None: it is whose process this is."""
    global _current
    _current = owner


def owner() -> Owner | None:
    """Who was set last."""
    return _current


def make_owned(directory: Path, mode: int = 0o777) -> None:
    """Make ``directory`` and its parents when missing; in a directory of the owner they are the owner's.

    Args:
        directory: may be there already.
        mode: permission bits of the last one, less the umask.

    Raises:
        OSError: it cannot be made, or is no directory.
    """
    if not directory.is_dir():
        if directory.parent != directory:
            make_owned(directory.parent)
        directory.mkdir(mode=mode, exist_ok=True)
        hand_over(directory)


def hand_over(path: Path) -> bool:
    """Give ``path`` to the owner, if it is root's and its directory the owner's; returns whether that was so."""
    if _current is None:
        return False
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.fstat(parent).st_uid == _current.uid and _give(path.name, parent, _current)
    finally:
        os.close(parent)


def take_over(tree: Path) -> int:
    """Give the owner ``tree`` and all below it that is root's, as ``hand_over`` does; returns how many that were.

    What lies in a directory of somebody else is left alone, as that directory is.
    """
    if _current is None:
        return 0
    count = int(hand_over(tree))
    with contextlib.suppress(OSError):  # it is not there, or no directory
        for _, directories, files, handle in os.fwalk(tree, follow_symlinks=False):
            if os.fstat(handle).st_uid != _current.uid:
                directories.clear()
                continue
            count += sum(_give(name, handle, _current) for name in (*directories, *files))
    return count


def _give(name: str, parent: int, owner: Owner) -> bool:
    with contextlib.suppress(OSError):
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if found.st_uid != 0:
            return False
        if stat.S_ISLNK(found.st_mode):
            os.chown(name, owner.uid, owner.gid, dir_fd=parent, follow_symlinks=False)
            return True
        if stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode):
            return _give_opened(os.open(name, _LOOK, dir_fd=parent), owner)
    return False


def _give_opened(handle: int, owner: Owner) -> bool:
    """Judged once more by what was opened: the name may be another file's by now."""
    try:
        found = os.fstat(handle)
        is_one = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if found.st_uid != 0 or not (is_one or stat.S_ISDIR(found.st_mode)):
            return False
        os.fchown(handle, owner.uid, owner.gid)
        return True
    finally:
        os.close(handle)
