"""Says in one sentence what is wrong when the cache cannot be written or read. Owns nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from localk8s.model.errors import ArtifactError, CommandError
from localk8s.system.disk_space import DiskFullError, disk_full, is_about_space

_HOLDS = "the artifact cache"


class Unavailable(Exception):  # noqa: N818 - a source's answer, not a failure
    """Raised by a source that does not have what it was asked for; its text is the reason, without a full stop."""


@contextlib.contextmanager
def cache_trouble(directory: Path) -> Iterator[None]:
    """Translate what goes wrong with the file system in the block.

    Args:
        directory: the cache, for the message.

    Raises:
        DiskFullError: the disk is full.
        ArtifactError: the cache cannot be read or written.
    """
    try:
        yield
    except (CommandError, OSError) as exc:
        if is_about_space(exc):
            raise full_cache(directory) from exc
        if isinstance(exc, CommandError):
            raise
        reason = exc.strerror or str(exc)
        named = f" ({exc.filename})" if exc.filename else ""
        raise ArtifactError(
            f"The artifact cache {directory} cannot be used: {reason}{named}.",
            hint="export LOCALK8S_CACHE=/var/tmp/localk8s",
        ) from exc


def full_cache(directory: Path) -> DiskFullError:
    """The error for a cache at ``directory`` whose disk is full."""
    return disk_full(directory, _HOLDS)
