"""The boxes that are on this host: listed, found by what is in them, removed. Builds none; ``box`` does."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from localk8s.drivers.machines import MachineBox
from localk8s.drivers.vagrant.box import PROVIDERS, BuiltBox, is_whole
from localk8s.model.errors import Localk8sError, NotFoundError
from localk8s.model.hints import host_command
from localk8s.model.node import Runner
from localk8s.model.versions import KubernetesVersion, parse_kubernetes_version
from localk8s.system.locks import exclusive

_LOCK_WAIT = 60.0
_REMOVE_LIMIT = 300.0


def describe(box: BuiltBox) -> MachineBox:
    """What is known of a box from its directory."""
    return MachineBox(box.name, box.provider, _version(box.directory), box.directory, _size(box.directory))


def stored(directory: Path) -> tuple[BuiltBox, ...]:
    """All boxes that are whole, by name."""
    found = []
    for path in directory.absolute().glob("*-*"):
        provider, _, key = path.name.partition("-")
        box = BuiltBox(provider, key, path)
        if provider in PROVIDERS and is_whole(box):
            found.append(box)
    return tuple(sorted(found, key=lambda box: box.name))


def with_version(directory: Path, provider: str, version: KubernetesVersion | None) -> BuiltBox | None:
    """The box of ``provider`` with that Kubernetes that was built last; None when there is none."""
    found = [box for box in stored(directory) if box.provider == provider and _version(box.directory) == version]
    return max(found, key=lambda box: (box.directory / "complete").stat().st_mtime, default=None)


def remove(directory: Path, names: Sequence[str], runner: Runner) -> None:
    """Remove the boxes called ``names``; all, and the unpacked packages that they share, when there are none.

    Raises:
        NotFoundError: there is none of that name; nothing was removed.
        Localk8sError: one could not be removed.
    """
    known = {box.name: box.directory for box in stored(directory)}
    for name in names:
        if name not in known:
            there = ", ".join(known) or "none"
            raise NotFoundError(f"There is no box {name!r}: there are {there}.", hint=host_command("box list"))
    doomed = [known[name] for name in names] or [path for path in directory.glob("*-*") if path.is_dir()]
    if not doomed:
        return
    with exclusive(directory / "lock", what="The store of boxes", timeout=_LOCK_WAIT):
        for path in doomed:
            (path / "complete").unlink(missing_ok=True)
            runner.run(["rm", "-rf", "--one-file-system", str(path)], check=False, timeout=_REMOVE_LIMIT)
    left = [str(path) for path in doomed if path.exists()]
    if left:
        raise Localk8sError(f"{left[0]} could not be removed.", hint=f"sudo rm -rf {left[0]}")


def _version(directory: Path) -> KubernetesVersion | None:
    try:
        text = (directory / "images.txt").read_text(encoding="utf-8")
        found = re.search(r"/kube-apiserver:(\S+)", text)
        return parse_kubernetes_version(found[1]) if found else None
    except (OSError, Localk8sError):
        return None


def _size(directory: Path) -> int:
    total = 0
    for current, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.lstat(os.path.join(current, name)).st_blocks * 512
            except OSError:
                continue  # it is being removed
    return total
