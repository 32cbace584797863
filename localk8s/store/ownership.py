"""What of localk8s's own directories is the user's under sudo: all but what drivers keep and the boxes, which are root's."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from localk8s.store.layout import Layout
from localk8s.system.owner import hand_over, owner, take_over


def take_over_files(layout: Layout) -> int:
    """Give the user who typed sudo what is root's of it; returns how many files and directories that were.

    What other programs wrote is found this way, and what an earlier run of root left.
    """
    if owner() is None:
        return 0
    roots = layout.roots
    count = sum(take_over(each) for each in (roots.config, roots.state))
    count += hand_over(roots.data) + take_over(layout.tools)
    count += hand_over(roots.cache) + hand_over(layout.artifacts)
    for kind in _inside(layout.artifacts):
        count += hand_over(kind) + sum(take_over(entry) for entry in _inside(kind) if _is_roots(entry))
    return count


def _inside(directory: Path) -> tuple[Path, ...]:
    with contextlib.suppress(OSError), os.scandir(directory) as found:
        return tuple(Path(each.path) for each in found)
    return ()


def _is_roots(path: Path) -> bool:
    """An entry is made whole: where its directory is the user's, all in it is."""
    with contextlib.suppress(OSError):
        return path.lstat().st_uid == 0
    return False
