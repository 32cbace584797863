"""What the artifact cache holds and what it lacks, with sizes, for ``doctor``. Reads names and sizes only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from localk8s.artifacts.cache import Cache
from localk8s.model.quantities import GIB, MIB
from localk8s.model.versions import KubernetesVersion

_KINDS = ("kubernetes", "debian", "images", "bundles", "copies")


@dataclass(frozen=True, slots=True)
class Holding:
    """One thing in the cache."""

    name: str
    """``kubernetes/v1.20.2-amd64``."""
    path: Path
    size: int
    """Bytes on disk."""
    finished: bool
    """False for what a killed fetch or build left: the next start goes on with it, removing it is safe too."""


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that a start would have to get first."""

    what: str
    """For people: ``Kubernetes v1.20.2``."""
    how: str
    """For people: ``built from Debian's source package, about 5 minutes``."""
    download: int
    """Bytes that come over the network, about."""
    disk: int
    """Bytes of disk that are needed meanwhile, about."""


def list_holdings(cache: Cache) -> tuple[Holding, ...]:
    """Every entry and every unfinished one, sorted by name."""
    found = [Holding(name, cache.path(name), _size(cache.path(name)), True) for kind in _KINDS for name in cache.names(kind)]
    try:
        unfinished = sorted(item for item in (cache.directory / "work").iterdir() if item.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        unfinished = []
    return (*found, *(Holding(f"work/{item.name}", item, _size(item), False) for item in unfinished))


def missing_kubernetes(version: KubernetesVersion, built: bool) -> Missing:
    """What getting the seven programs takes."""
    if built:
        how = "built from Debian's source package, about 5 minutes on 2 processors"
        return Missing(f"Kubernetes {version}", how, 145 * MIB, 3 * GIB)
    return Missing(f"Kubernetes {version}", "downloaded", 450 * MIB, 450 * MIB)


def missing_root() -> Missing:
    """What making the nodes' root takes."""
    return Missing("the nodes' root file system (containerd, etcd, …)", "unpacked from Debian packages", 120 * MIB, 800 * MIB)


def _size(path: Path) -> int:
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(directory, name)).st_blocks * 512
            except OSError:  # it went away meanwhile
                continue
    return total
