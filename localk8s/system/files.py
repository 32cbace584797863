"""Files written whole or not at all, with the mode they should have from the first moment."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from localk8s.system.owner import hand_over, make_owned


def write_atomic(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Replace ``path`` by ``content`` in one step; see ``writing``. Text is written as UTF-8."""
    with writing(path, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def writing(path: Path, *, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """A file to write that replaces ``path`` at the end; a reader sees the old or the new file, never half of one.

    Args:
        path: the file; its parents are made (0700) when missing. A symbolic link is followed. In a directory of the user
            who typed sudo it is that user's.
        mode: the file's permission bits.

    Raises:
        OSError: it cannot be written; nothing is left of the attempt.
    """
    path = path.resolve() if path.is_symlink() else path
    make_owned(path.parent, 0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.fileno() if os.chmod in os.supports_fd else temporary, mode)
        hand_over(Path(temporary))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
