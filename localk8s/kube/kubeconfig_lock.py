"""The lock on a kubeconfig that client-go (kubectl, kind, minikube, …) honours: ``FILE.lock``, made exclusively.

Owns the lock files. Whoever finds one has to wait or give up; client-go gives up, localk8s waits. A lock left by a localk8s
that was killed is taken over: its holder also holds a kernel lock on it, which dies with the process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from localk8s.model.errors import ConfigError, WaitTimeoutError, WrongStateError
from localk8s.system.wait import wait_until

try:
    import fcntl
except ImportError:  # Windows: a lock that was left behind is not taken over there
    fcntl = None  # type: ignore[assignment]

_MARK = b"localk8s "
_NOT_OURS = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def locked(paths: Collection[Path], *, needed: Collection[Path], timeout: float = 10.0) -> Iterator[None]:
    """Hold the locks of these kubeconfig files for the block.

    Args:
        paths: the files, as they are named in KUBECONFIG; they need not exist. Those that this user could not change
            anyway are left out.
        needed: those of them that will be changed; their directories are made.
        timeout: seconds to wait for other holders, for each.

    Raises:
        WrongStateError: another program holds one and did not let go in time.
        ConfigError: a needed lock file cannot be made.
    """
    real = {path.resolve() for path in paths if path.is_symlink()}  # others may know the file by its own name
    with contextlib.ExitStack() as stack:
        for path in sorted({*paths, *real}, key=str):  # one order for all, as client-go does: no deadlock
            try:
                if path in needed:
                    make_directory(path.parent)
                stack.enter_context(_locked(path, timeout))
            except OSError as exc:
                if path in needed or exc.errno not in _NOT_OURS:
                    raise unusable(path, exc) from exc
        yield


@contextlib.contextmanager
def _locked(path: Path, timeout: float) -> Iterator[None]:
    lock = path.with_name(f"{path.name}.lock")
    try:
        handle = wait_until(lambda: _take(lock), what="the lock", timeout=timeout, interval=0.02)
    except WaitTimeoutError as exc:
        raise _held(path, lock) from exc
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(handle.number)


class _Handle:
    """An open lock file (its number may be 0, which is no false value here)."""

    def __init__(self, number: int) -> None:
        self.number = number


def _take(lock: Path) -> _Handle | None:
    try:
        number = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600)
    except FileExistsError:
        return _take_over(lock)
    try:
        if fcntl is not None:
            fcntl.flock(number, fcntl.LOCK_EX)
        os.write(number, _MARK + str(os.getpid()).encode() + b"\n")
    except BaseException:
        os.close(number)
        with contextlib.suppress(OSError):
            lock.unlink()
        raise
    return _Handle(number)


def _take_over(lock: Path) -> _Handle | None:
    """Take a lock that a dead localk8s left; None when it is another program's, or its holder lives."""
    if fcntl is None:
        return None
    try:
        number = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # gone in the meantime, or client-go's, which has no permission bits at all
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.pread(number, len(_MARK), 0) == _MARK and os.path.samestat(os.fstat(number), os.stat(lock)):
            os.ftruncate(number, 0)
            os.pwrite(number, _MARK + str(os.getpid()).encode() + b"\n", 0)
            return _Handle(number)
    except OSError:
        pass
    os.close(number)
    return None


def _held(path: Path, lock: Path) -> WrongStateError:
    try:
        age = f", made {max(0.0, time.time() - lock.stat().st_mtime):.0f} s ago"
    except OSError:
        age = ""
    return WrongStateError(
        f"The kubeconfig {path} is locked by another program ({lock}{age}); if none is running, the lock was left behind.",
        hint=f"rm -f {shlex.quote(str(lock))}",
    )


def unusable(path: Path, exc: OSError) -> ConfigError:
    """The error for a kubeconfig that cannot be read or written."""
    return ConfigError(
        f"The kubeconfig {path} cannot be used: {exc.strerror or exc}.", hint='export KUBECONFIG="$PWD/kubeconfig"'
    )


def make_directory(path: Path) -> None:
    """Make ``path`` and its parents (0700) when missing, for the user whose directory they are made in."""
    if path.exists():
        return
    make_directory(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        give(path, path.parent.stat())


def give(path: Path, like: os.stat_result) -> None:
    """Make ``path`` belong to whom ``like`` belongs to: with sudo, that is not who runs this."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 and like.st_uid != 0:
        os.chown(path, like.st_uid, like.st_gid, follow_symlinks=False)
