"""Unpacking tar archives that others made: nothing lands outside the directory that was named.

Owns what may come out of an archive. It trusts no check of names and no library: every directory on the way to a member
is opened by the handle of the one above it, never through a link, and a member is made by the handle of its directory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from localk8s.system.tar_reader import ArchiveError, Kind, Member, TarReader, shown

_LONGEST_NAME = 2048
"""Bytes; with what is in front of it a name must stay below what the kernel takes (4096)."""
_DEEPEST = 100
"""Directories in each other."""
_OPEN = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_IN_THE_WAY = (errno.ELOOP, errno.ENOTDIR)


class Links(StrEnum):
    """Which symbolic links may come out of an archive. None is ever followed while it is unpacked."""

    INSIDE = "inside"
    """Those that lead to a place inside the directory, wherever other links in it lead."""
    ANY = "any"
    """All: the directory is a root file system, or is gone through with care."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What may come out of an archive, and how it lies there then. Owners are never taken over."""

    links: Links
    keep: int
    """Permission bits that files and directories keep."""
    umask: bool = False
    """Whether this process's umask counts too, as for cp."""
    leave_out: bool = False
    """Leave out devices, named pipes and links that lead outside, instead of refusing the archive."""
    strip: int = 0
    """How many leading directories of every name are cut off."""
    most_members: int = 500_000
    most_bytes: int = 64 << 30
    """Of all files together."""


BUNDLE = Rules(Links.INSIDE, keep=0o755)
"""For what a user hands in."""
PACKAGE = Rules(Links.ANY, keep=0o1777)
"""For packages and source archives of a distribution."""
COPY = Rules(Links.INSIDE, keep=0o777, umask=True, leave_out=True)
"""For a directory that is copied from a node."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A member that was not unpacked."""

    name: str
    why: str


def unpack(archive: Path, target: Path, rules: Rules = BUNDLE) -> tuple[LeftOut, ...]:
    """Unpack a tar archive (plain, gzip, bzip2 or xz) into the directory ``target``, which is made when missing.

    A file replaces what was there under its name, at once and whole; a directory is never replaced. What was unpacked
    before an error stays.

    Returns:
        what was left out; always nothing unless ``rules`` allow it.

    Raises:
        ArchiveError: it is damaged, no tar archive, too large, or holds a member that ``rules`` forbid.
        OSError: it cannot be read, or ``target`` not be written.
    """
    if os.open not in os.supports_dir_fd:
        raise OSError(errno.ENOTSUP, "archives cannot be unpacked safely on this system", str(target))
    left_out: list[LeftOut] = []
    with TarReader(archive) as reader, _opened(target, rules) as tree:
        unpacked = 0
        for count, member in enumerate(reader, start=1):
            unpacked += member.size
            if count > rules.most_members:
                raise ArchiveError(f"it holds more than {rules.most_members} members")
            if unpacked > rules.most_bytes:
                raise ArchiveError(f"it holds more than {rules.most_bytes >> 20} MiB")
            parts = _parts(member.name, member.shown)[rules.strip :]
            if why := _forbidden(member, parts, rules):
                if not rules.leave_out:
                    raise ArchiveError(f"{member.shown} is {why}")
                left_out.append(LeftOut(member.shown, why))
                continue
            tree.put(parts, member, reader.content)
    return tuple(left_out)


def _parts(name: str, for_people: str) -> tuple[str, ...]:
    """The directories and the name at the end; none for the top itself."""
    if name.startswith("/"):
        raise ArchiveError(f"the name {for_people} is absolute")
    if not name or "\0" in name or len(os.fsencode(name)) > _LONGEST_NAME:
        raise ArchiveError(f"the name {for_people} is empty, too long or unusable")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts or len(parts) > _DEEPEST:
        raise ArchiveError(f"the name {for_people} leads up or too deep")
    return parts


def _forbidden(member: Member, parts: tuple[str, ...], rules: Rules) -> str:
    """Why a member may not come out; empty when it may."""
    if member.kind in (Kind.DEVICE, Kind.FIFO):
        return f"a {member.kind}"
    if member.kind is Kind.LINK and (not member.target or "\0" in member.target):
        return "a link to nothing"
    if member.kind is Kind.LINK and rules.links is Links.INSIDE and not leads_inside(member.target, len(parts) - 1):
        return f"a link that may lead outside ({shown(member.target)})"
    return ""


def leads_inside(target: str, depth: int) -> bool:
    """Whether a symbolic link can only lead to places inside, whatever other such links there are.

    ``..`` counts at its beginning only: behind a name, which may be a link itself, it leads who knows where.

    Args:
        target: what the link says.
        depth: how many directories it is below the top.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    return not target.startswith("/") and ups <= depth and ".." not in parts[ups:]


@contextlib.contextmanager
def _opened(target: Path, rules: Rules) -> Iterator[_Tree]:
    made = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    top = os.open(target, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    tree = _Tree(top, rules, made)
    try:
        yield tree
    finally:
        tree.close()
        os.close(top)


class _Tree:
    """A directory that is filled by handles.

    Args:
        top: its handle.
        made: whether it is new, so that the archive may say its mode.
    """

    def __init__(self, top: int, rules: Rules, made: bool) -> None:
        self._top, self._rules, self._made = top, rules, made
        self._at: tuple[str, ...] = ()
        self._handle = os.dup(top)
        """Of the directory ``_at``: members of one directory mostly follow each other."""

    def close(self) -> None:
        os.close(self._handle)

    def put(self, parts: tuple[str, ...], member: Member, content: Callable[[], Iterator[bytes]]) -> None:
        """Make one member at ``parts``; ``content`` gives a file's."""
        if not parts:
            if member.kind is Kind.DIRECTORY and self._made:
                most = os.fstat(self._top).st_mode if self._rules.umask else 0o7777  # the kernel has taken the umask off
                os.fchmod(self._top, (member.mode | stat.S_IRWXU) & self._rules.keep & most)
            return
        try:
            if member.kind is Kind.DIRECTORY:
                self._directory(self._go_to(parts[:-1]), parts[-1], member.mode)
            else:
                self._leaf(self._go_to(parts[:-1]), parts[-1], member, content)
        except (IsADirectoryError, FileExistsError) as exc:
            raise ArchiveError(f"{member.shown} would replace a directory or be replaced by one") from exc
        except OSError as exc:
            if exc.errno in _IN_THE_WAY:
                raise ArchiveError(f"{member.shown} leads through a link or a file") from exc
            if exc.errno == errno.ENAMETOOLONG:
                raise ArchiveError(f"the name {member.shown} is too long") from exc
            raise

    def _go_to(self, parts: tuple[str, ...]) -> int:
        """The handle of a directory, made with those above it when missing; good until the next call."""
        if parts != self._at:
            handle = self._open(parts, make=True)
            os.close(self._handle)
            self._handle, self._at = handle, parts
        return self._handle

    def _open(self, parts: tuple[str, ...], *, make: bool) -> int:
        handle = os.dup(self._top)
        for part in parts:
            above = handle
            try:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o777 & self._rules.keep, dir_fd=above)
                handle = os.open(part, _OPEN, dir_fd=above)
            finally:
                os.close(above)
        return handle

    def _directory(self, above: int, name: str, mode: int) -> None:
        mode |= stat.S_IRWXU  # whoever unpacks it can also fill and remove it
        try:
            os.mkdir(name, mode & self._rules.keep, dir_fd=above)
        except FileExistsError:
            os.close(os.open(name, _OPEN, dir_fd=above))
            return
        handle = os.open(name, _OPEN, dir_fd=above)
        try:
            self._set_mode(handle, mode)
        finally:
            os.close(handle)

    def _leaf(self, above: int, name: str, member: Member, content: Callable[[], Iterator[bytes]]) -> None:
        """A file or link: made under a name that nobody knows, then renamed, so that it is there whole or not at all."""
        part = f".localk8s-{secrets.token_hex(8)}"
        try:
            if member.kind is Kind.FILE:
                self._file(above, part, member, content)
            elif member.kind is Kind.LINK:
                os.symlink(member.target, part, dir_fd=above)
            else:
                self._hard_link(above, part, member)
            os.rename(part, name, src_dir_fd=above, dst_dir_fd=above)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=above)  # also left by a rename of a file to another name of itself

    def _file(self, above: int, name: str, member: Member, content: Callable[[], Iterator[bytes]]) -> None:
        with os.fdopen(os.open(name, _CREATE, member.mode & self._rules.keep, dir_fd=above), "wb") as file:
            for data in content():
                file.write(data)
            file.flush()
            self._set_mode(file.fileno(), member.mode)
            with contextlib.suppress(OverflowError):  # a time that no file system knows
                os.utime(file.fileno(), (member.mtime, member.mtime))

    def _hard_link(self, above: int, name: str, member: Member) -> None:
        parts = _parts(member.target, shown(member.target))[self._rules.strip :]
        if not parts:
            raise ArchiveError(f"{member.shown} is a link to nothing")
        try:
            source = self._open(parts[:-1], make=False)
        except FileNotFoundError as exc:
            raise ArchiveError(f"{member.shown} is a link to {shown(member.target)}, which is missing") from exc
        try:
            if not stat.S_ISREG(os.stat(parts[-1], dir_fd=source, follow_symlinks=False).st_mode):
                raise ArchiveError(f"{member.shown} is a link to {shown(member.target)}, which is not a file")
            os.link(parts[-1], name, src_dir_fd=source, dst_dir_fd=above, follow_symlinks=False)
        except FileNotFoundError as exc:
            raise ArchiveError(f"{member.shown} is a link to {shown(member.target)}, which is missing") from exc
        finally:
            os.close(source)

    def _set_mode(self, handle: int, mode: int) -> None:
        if not self._rules.umask:  # else the kernel has set it when the file was made
            os.fchmod(handle, mode & self._rules.keep)
