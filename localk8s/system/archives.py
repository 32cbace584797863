"""Unpacking tar archives that others made: nothing lands outside the directory that was named.

Owns the choice of what unpacks them. Python's own tarfile does it from 3.12 on; 3.11 got the filters with 3.11.4,
and Debian 12 has 3.11.2, so there it is the backport.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING or sys.version_info >= (3, 12):
    import tarfile
else:
    from backports import tarfile


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar archive (plain, gzip, bzip2 or xz) into the directory ``target``.

    Raises:
        ValueError: it is damaged, no tar archive, or holds a member that would land outside ``target``.
        OSError: it cannot be read, or ``target`` not be written.
    """
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(target, filter="data")
    except (tarfile.TarError, EOFError, KeyError) as exc:
        raise ValueError(str(exc)) from exc
