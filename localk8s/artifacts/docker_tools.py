"""Docker's daemon and client and the image registry from Debian's packages, unpacked, never installed on the host.

A set of its own beside the node tools: only those who ask for a docker or a registry pay for it. Owns which packages
it is made of and which of their files count.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from localk8s.artifacts.apt import Apt
from localk8s.artifacts.debian import settle, strip
from localk8s.artifacts.progress import Phase
from localk8s.artifacts.trouble import Unavailable
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
    if not codename:
        raise Unavailable("this host is not a Debian")
    apt = Apt(work / "apt", runner)
    step.progress(0, 1, "reading Debian's package lists")
    apt.update(codename)
    wanted = {*PACKAGES, *_LIBRARIES}
    packages = [package for package in apt.closure(PACKAGES) if package.name in wanted]
    archives = apt.download(packages, work / "archives", Phase(step, 0.3, 0.6), f"{len(packages)} Debian packages")
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for archive in archives:
        apt.unpack(archive, out)
    settle(out)
    strip(out)
    versions = " ".join(f"{package.name}={package.version}" for package in packages)
    return {"source": f"Debian {codename}", "packages": versions}
