"""Says in one sentence what is wrong when the cache cannot be written or read. Owns nothing else."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from localk8s.model.errors import ArtifactError, CommandError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_SIGNS_OF_FULL = ("No space left on device", "Disk quota exceeded", "not enough free space")


class Unavailable(Exception):  # noqa: N818 - a source's answer, not a failure
    """Raised by a source that does not have what it was asked for; its text is the reason, without a full stop."""


@contextlib.contextmanager
def cache_trouble(directory: Path) -> Iterator[None]:
    """Translate what goes wrong with the file system in the block.

    Args:
        directory: the cache, for the message.

    Raises:
        ArtifactError: the disk is full, or the cache cannot be read or written.
    """
    try:
        yield
    except CommandError as exc:
        if is_about_space(exc):
            raise _full(directory) from exc
        raise
    except OSError as exc:
        if is_about_space(exc):
            raise _full(directory) from exc
        reason = exc.strerror or str(exc)
        named = f" ({exc.filename})" if exc.filename else ""
        raise ArtifactError(
            f"The artifact cache {directory} cannot be used: {reason}{named}.",
            hint="export LOCALK8S_CACHE=/var/tmp/localk8s",
        ) from exc


def is_about_space(exc: BaseException) -> bool:
    """Whether ``exc`` says that a disk is full."""
    if isinstance(exc, CommandError):
        return any(sign in exc.stderr + exc.stdout for sign in _SIGNS_OF_FULL)
    return isinstance(exc, OSError) and exc.errno in _FULL


def _full(directory: Path) -> ArtifactError:
    return ArtifactError(
        f"The disk is full: no space is left for the artifact cache {directory}.",
        hint="free some, or use another disk: export LOCALK8S_CACHE=/var/tmp/localk8s",
    )
