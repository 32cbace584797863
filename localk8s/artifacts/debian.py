"""Debian packages unpacked side by side into one directory, never installed: none of their scripts run.

Owns how packages come to lie below one root, and what every such root is spared; which packages, and what else a root
needs, its makers know (``node_root``, ``docker_tools``).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from localk8s.artifacts.apt import Apt, Package
from localk8s.artifacts.progress import Phase
from localk8s.artifacts.trouble import Unavailable
from localk8s.model.progress import Step
from localk8s.system.process import HostRunner

_STRIPPED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/lib/systemd",
    "usr/include",
)


def read_codename(os_release: Path = Path("/etc/os-release")) -> str:
    """The code name of this host's Debian release, or an empty string when it is not a Debian with apt."""
    try:
        fields = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', os_release.read_text(encoding="utf-8"), re.MULTILINE))
    except (OSError, ValueError):
        return ""
    is_debian = fields.get("ID") == "debian" and shutil.which("apt-get") and shutil.which("dpkg-deb")
    return fields.get("VERSION_CODENAME", "") if is_debian else ""


def unpack_packages(
    work: Path,
    suite: str,
    runner: HostRunner,
    step: Step,
    names: Sequence[str],
    select: Callable[[Iterable[Package]], Sequence[Package]],
    root: Path,
) -> str:
    """Fetch packages and unpack them below ``root``, as they would lie on a host.

    Args:
        work: a directory of its own.
        suite: of Debian; empty where this host has no Debian's apt.
        runner: runs apt on this host.
        step: told how far it is.
        names: of the packages that are wanted.
        select: of those and of all that they depend on, the ones to have.
        root: a directory that is made anew.

    Returns:
        names and versions of the packages, for the record.

    Raises:
        Unavailable: this host is no Debian.
        ArtifactError: the archive cannot be reached, has no such suite, or a package is not what its signed list says.
    """
    if not suite:
        raise Unavailable("this host is not a Debian")
    apt = Apt(work / "apt", runner)
    step.progress(0, 1, "reading Debian's package lists")
    apt.update(suite)
    packages = select(apt.closure(names))
    archives = apt.download(packages, work / "archives", Phase(step, 0.3, 0.4), f"{len(packages)} Debian packages")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    unpacking = Phase(step, 0.7, 0.3)
    for number, archive in enumerate(archives):
        unpacking.progress(number, len(archives), f"unpacking {archive.name.partition('_')[0]}")
        apt.unpack(archive, root)
    settle(root)
    remove(root, _STRIPPED)
    return " ".join(f"{package.name}={package.version}" for package in packages)


def settle(root: Path) -> None:
    """Do what the packages' scripts would have: one ``/usr``; and let every link lead to its file in this root."""
    for name in ("bin", "sbin", "lib", "lib64"):
        if not (root / name).is_symlink():
            _merge(root / name, root / "usr" / name)
            (root / name).symlink_to(f"usr/{name}")
    for link in [path for path in root.rglob("*") if path.is_symlink()]:
        _make_relative(link, root)


def remove(root: Path, names: Iterable[str]) -> None:
    """Remove what ``names`` match below ``root``."""
    for name in names:
        for path in list(root.glob(name)) if "*" in name else [root / name]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _make_relative(link: Path, root: Path) -> None:
    """Let an absolute link lead to its file in this root instead of one on the host."""
    target = Path(os.readlink(link))
    if target.is_absolute():
        link.unlink()
        link.symlink_to(os.path.relpath(root / target.relative_to("/"), link.parent))


def _merge(source: Path, target: Path) -> None:
    """Move all that is below ``source`` to the same places below ``target``."""
    target.mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        return
    for item in sorted(source.iterdir()):
        if item.is_dir() and not item.is_symlink():
            _merge(item, target / item.name)
        else:
            os.replace(item, target / item.name)
    source.rmdir()
