"""minikube's cache: filled beforehand from a directory or bundle, so that a start needs no network, and looked through.

Only adds files, whole or not at all; never removes or replaces what minikube put there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from localk8s.drivers.minikube.profile import Home
from localk8s.drivers.minikube.vm_drivers import Kind, VmDriver
from localk8s.model.versions import KubernetesVersion

PROGRAMS = ("kubeadm", "kubelet", "kubectl")
"""What minikube copies into every node."""

_TELLING = ("iso", "kic", "preloaded-tarball", "images/amd64", "images/arm64")
"""What only a cache has; a bundle has a folder of images too, but not by architecture."""
_FOLDERS = ("iso", "kic", "images", "preloaded-tarball", "linux", "darwin", "windows")
"""What a cache consists of."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The cluster whose start shall need no network."""

    version: KubernetesVersion
    runtime: str
    driver: VmDriver
    architecture: str


def program_directory(home: Home, version: KubernetesVersion, architecture: str) -> Path:
    """Where minikube keeps the programs of one version."""
    return home.cache / "linux" / architecture / str(version)


def image_file(home: Home, reference: str, architecture: str) -> Path:
    """Where minikube keeps the archive of one image.

    Args:
        reference: registry, name and tag: ``registry.k8s.io/coredns/coredns:v1.10.1``.
    """
    return home.cache / _image_path(reference, architecture)


def fill_programs(home: Home, source: Path, version: KubernetesVersion, architecture: str) -> int:
    """Put the programs that are in ``source`` into the cache; returns how many were missing there.

    Raises:
        OSError: the cache cannot be written.
    """
    target = program_directory(home, version, architecture)
    return sum(_place(source / name, target / name, mode=0o755) for name in PROGRAMS if (source / name).is_file())


def fill_images(home: Home, archives: Iterable[tuple[str, Path]], architecture: str) -> int:
    """Put image archives (reference, file) into the cache; returns how many were missing. Errors as ``fill_programs``."""
    return sum(_place(archive, image_file(home, reference, architecture)) for reference, archive in archives)


def fill_from_cache(home: Home, source: Path) -> int:
    """Put what a copy of another host's minikube cache holds into this one; returns how many files were missing.

    Args:
        source: the copy itself, or a directory that has it as ``cache``, ``.minikube/cache`` or ``minikube/cache``.
    """
    return sum(_place(file, home.cache / file.relative_to(root)) for root in copies(source) for file in _files(root))


def missing(places: Sequence[Path], wanted: Wanted) -> tuple[str, ...]:
    """What a start without a network would lack, for people; empty when it is all there.

    Images are not looked for where they need not come from the cache: on this host itself, and on remote machines.

    Args:
        places: minikube's cache, and copies of one.
        wanted: the cluster.
    """
    folder = Path("linux") / wanted.architecture / str(wanted.version)
    lacking = [
        f"{name} {wanted.version}" for name in PROGRAMS if not any((place / folder / name).is_file() for place in places)
    ]
    lacking += missing_machine(places, wanted)
    if wanted.driver.preloads and not has_preload(places, wanted) and not _has_images(places, wanted):
        lacking.append(f"the images of Kubernetes {wanted.version} (a preload, or each of them)")
    return tuple(lacking)


def missing_machine(places: Sequence[Path], wanted: Wanted) -> tuple[str, ...]:
    """The image that the driver makes machines from, for people, when it is in none of ``places``."""
    kind = wanted.driver.kind
    if kind is Kind.CONTAINER and not _anywhere(places, f"kic/{wanted.architecture}/*.tar"):
        return ("the node's image (kicbase)",)
    if kind is Kind.VM and not _anywhere(places, f"iso/{wanted.architecture}/*.iso"):
        return ("the machine's image (ISO)",)
    return ()


def has_image(places: Sequence[Path], reference: str, architecture: str) -> bool:
    """Whether the archive of one image is there."""
    return any((place / _image_path(reference, architecture)).is_file() for place in places)


def on_this_host(version: KubernetesVersion, root: Path = Path("/var/lib/minikube/binaries")) -> bool:
    """Whether this host, as the node of an earlier cluster, has the programs already: minikube then copies none."""
    return all((root / str(version) / name).is_file() for name in PROGRAMS)


def has_preload(places: Sequence[Path], wanted: Wanted) -> bool:
    """Whether the archive of all images is there, of whichever generation."""
    runtime = "cri-o" if wanted.runtime == "crio" else wanted.runtime
    name = f"preloaded-images-k8s-v*-{wanted.version}-{runtime}-overlay*-{wanted.architecture}.tar.lz4"
    return _anywhere(places, f"preloaded-tarball/{name}")


def cached_versions(home: Home, architecture: str) -> tuple[str, ...]:
    """The Kubernetes versions whose programs are all in the cache, oldest first."""
    folders = _listed(home.cache / "linux" / architecture, "v*")
    whole = [folder.name for folder in folders if all((folder / name).is_file() for name in PROGRAMS)]
    return tuple(sorted(whole, key=lambda name: [int(part) if part.isdecimal() else 0 for part in name[1:].split(".")]))


def copies(source: Path) -> tuple[Path, ...]:
    """Where ``source`` holds copies of a minikube cache: itself, or as ``cache`` or ``minikube/cache`` in it."""
    places = (source, source / "cache", source / ".minikube" / "cache", source / "minikube" / "cache")
    return tuple(
        place
        for place in places
        if any((place / name).is_dir() for name in _TELLING) or _listed(place / "linux", "*/v*/kubeadm")
    )


def _image_path(reference: str, architecture: str) -> Path:
    name, _, tag = reference.rpartition(":")
    return Path("images") / architecture / f"{name}_{tag}"


def _has_images(places: Sequence[Path], wanted: Wanted) -> bool:
    return _anywhere(places, f"images/{wanted.architecture}/*/kube-apiserver_{wanted.version}")


def _anywhere(places: Sequence[Path], pattern: str) -> bool:
    return any(_listed(place, pattern) for place in places)


def _files(root: Path) -> Iterator[Path]:
    for name in _FOLDERS:
        for directory, folders, files in os.walk(root / name):
            if Path(directory) == root / "images":
                folders[:] = [folder for folder in folders if folder in ("amd64", "arm64")]
                continue
            yield from (
                path for file in files if not (path := Path(directory) / file).is_symlink() and not file.endswith(".lock")
            )


def _listed(directory: Path, pattern: str) -> list[Path]:
    try:
        return list(directory.glob(pattern))
    except OSError:
        return []


def _place(source: Path, target: Path, *, mode: int = 0o644) -> int:
    """Copy one file unless it is there; a hard link is not made, because minikube changes modes. Returns 1 if copied."""
    if target.exists():
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(source, part)
        os.chmod(part, mode)
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    return 1
