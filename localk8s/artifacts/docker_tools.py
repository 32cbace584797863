"""Docker's daemon and client and the image registry from Debian's packages, unpacked, never installed on the host.

A set of its own beside the nodes' root: only those who ask for a docker or a registry pay for it. Owns which packages
it is made of and which of their files count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from localk8s.artifacts.apt import Package
from localk8s.artifacts.debian import unpack_packages
from localk8s.model.progress import Step
from localk8s.system.process import HostRunner

PACKAGES = ("docker.io", "docker-cli", "docker-registry", "tini")
"""They need a C library of 2022 or later and systemd's library, which every node has."""
_RECIPE = "2"


def docker_entry_name(architecture: str, suite: str) -> str:
    """The cache entry's name; other packages make another entry."""
    wanted = " ".join((_RECIPE, *PACKAGES))
    return f"debian/docker-{suite}-{architecture}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"


def make_docker_tools(work: Path, suite: str, runner: HostRunner, step: Step) -> Mapping[str, str]:
    """Fill ``work/out`` with a root that dockerd, docker and docker-registry run from; returns what to record.

    Args:
        work: a directory of its own.
        suite: of Debian; empty where this host has no Debian's apt.

    Raises:
        Unavailable: this host is no Debian.
        ArtifactError: the archive cannot be reached, or a package is not what its signed list says.
    """
    packages = unpack_packages(work, suite, runner, step, PACKAGES, select_packages, work / "out")
    return {"source": f"Debian {suite}", "packages": packages}


def select_packages(closure: Iterable[Package]) -> tuple[Package, ...]:
    """Of everything apt would install: what was asked for."""
    return tuple(package for package in closure if package.name in PACKAGES)
