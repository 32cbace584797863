"""Locks between processes, held by the kernel so that they die with the process that holds them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from localk8s.model.errors import WrongStateError
from localk8s.system.owner import hand_over, make_owned


@contextlib.contextmanager
def exclusive(path: Path, *, what: str, timeout: float = 0.0, hint: str = "") -> Iterator[None]:
    """Hold the lock file ``path`` for the block; its content names the holder's process id.

    Args:
        path: the lock file; made when missing, left in place afterwards.
        what: what is locked, for the error: ``cluster "default"``.
        timeout: seconds to wait for another holder; -1 waits as long as it takes.
        hint: for the error.

    Raises:
        WrongStateError: another process holds it and did not let go in time; the message names its process id.
    """
    import filelock

    make_owned(path.parent, 0o700)
    lock = filelock.FileLock(path, timeout=timeout, mode=0o600)
    try:
        lock.acquire(poll_interval=0.1)
    except filelock.Timeout as exc:
        raise WrongStateError(f"{what} is in use by another localk8s{_holder(path)}.", hint=hint) from exc
    try:
        hand_over(path)
        path.write_text(f"{os.getpid()}\n")
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def host_wide(directory: Path = Path("/run")) -> Iterator[None]:
    """Hold a lock that all users and homes of this host share, for a moment; waits until it is free. Unix only.

    Args:
        directory: the lock is the directory itself, so nothing is left behind; it must be readable.
    """
    import fcntl

    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _holder(path: Path) -> str:
    try:
        return f" (process {int(path.read_text())})"
    except (OSError, ValueError):
        return ""
