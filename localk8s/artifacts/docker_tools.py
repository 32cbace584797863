"""Docker's daemon and client and the image registry from Debian's packages, unpacked, never installed on the host.

A set of its own beside the node tools: only those who ask for a docker or a registry pay for it. Owns which packages
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

PACKAGES = ("docker.io", "docker-registry", "tini")
_LIBRARIES = {
    "libcap2", "libdevmapper1.02.1", "libgcrypt20", "libgpg-error0", "liblz4-1", "liblzma5", "libpcre2-8-0", "libselinux1",
    "libsystemd0", "libudev1", "libzstd1",
}  # fmt: skip
"""What dockerd is linked with, without the C library: the host's own serves."""
_RECIPE = "1"


def docker_entry_name(architecture: str) -> str:
    """The cache entry's name; other packages make another entry."""
    wanted = " ".join((_RECIPE, *PACKAGES, *sorted(_LIBRARIES)))
    return f"debian/docker-{architecture}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"


def make_docker_tools(work: Path, codename: str, runner: HostRunner, step: Step) -> Mapping[str, str]:
    """Fill ``work/out`` with a root that dockerd, docker and docker-registry run from; returns what to record.

    Raises:
        Unavailable: this host is no Debian.
        ArtifactError: the archive cannot be reached, or a package is not what its signed list says.
    """
    return unpack_packages(work, codename, runner, step, PACKAGES, select_packages, lambda name: "")


def select_packages(closure: Iterable[Package]) -> tuple[Package, ...]:
    """Of everything apt would install: what was asked for, and what dockerd is linked with."""
    return tuple(package for package in closure if package.name in {*PACKAGES, *_LIBRARIES})
