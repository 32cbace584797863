"""Node tools from Debian's packages: fetched, unpacked side by side into one cache entry, never installed.

Owns which packages end up where in the entry: ``node`` is a root that programs run from on this host (without a C
library: the host's own serves), ``image`` holds what only images need.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from localk8s.artifacts.apt import Apt, Package
from localk8s.artifacts.catalog import IMAGE_PACKAGES, NODE_PACKAGES
from localk8s.artifacts.progress import Phase
from localk8s.artifacts.trouble import Unavailable
from localk8s.model.progress import Step
from localk8s.system.process import HostRunner

_RECIPE = "2"
"""Raised when the same packages are unpacked in another way, so that old entries are not used."""

_WANTED_SECTIONS = {"libs", "oldlibs", "python"}
_UNNEEDED = re.compile(r"lib(perl|pam|semanage|sepol|gdbm|db5)")
_ONLY_IMAGES = re.compile(r"libc6|python3|libpython3|libreadline|libncurses|libsqlite3|libffi|libcrypt1|libuuid1|libtinfo")
_STRIPPED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/lib/systemd",
    "usr/include",
)


def tools_entry_name(architecture: str) -> str:
    """The cache entry's name; another list of packages or another recipe makes another entry."""
    wanted = " ".join((_RECIPE, *NODE_PACKAGES, *IMAGE_PACKAGES))
    return f"debian/tools-{architecture}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"


def read_codename(os_release: Path = Path("/etc/os-release")) -> str:
    """The code name of this host's Debian release, or an empty string when it is not a Debian with apt."""
    try:
        fields = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', os_release.read_text(encoding="utf-8"), re.MULTILINE))
    except (OSError, ValueError):
        return ""
    is_debian = fields.get("ID") == "debian" and shutil.which("apt-get") and shutil.which("dpkg-deb")
    return fields.get("VERSION_CODENAME", "") if is_debian else ""


def make_tools(work: Path, codename: str, runner: HostRunner, step: Step) -> Mapping[str, str]:
    """Fill ``work/out`` with ``node`` and ``image``; returns what to record.

    Raises:
        Unavailable: this host is no Debian.
        ArtifactError: the archive cannot be reached, or a package is not what its signed list says.
    """
    return unpack_packages(
        work, codename, runner, step, (*NODE_PACKAGES, *IMAGE_PACKAGES), select_packages,
        lambda name: "image" if _ONLY_IMAGES.match(name) else "node",
    )  # fmt: skip


def unpack_packages(
    work: Path,
    codename: str,
    runner: HostRunner,
    step: Step,
    names: Sequence[str],
    select: Callable[[Iterable[Package]], Sequence[Package]],
    place: Callable[[str], str],
) -> Mapping[str, str]:
    """Fetch packages and unpack them below ``work/out``, as they would lie on a host; returns what to record.

    Args:
        work: a directory of its own.
        codename: of this host's Debian; empty where it is none.
        runner: runs apt on this host.
        step: told how far it is.
        names: of the packages that are wanted.
        select: of those and of all that they depend on, the ones to have.
        place: name of a package -> the root below ``work/out`` that it is unpacked to.

    Raises:
        Unavailable: this host is no Debian.
        ArtifactError: the archive cannot be reached, or a package is not what its signed list says.
    """
    if not codename:
        raise Unavailable("this host is not a Debian")
    apt = Apt(work / "apt", runner)
    step.progress(0, 1, "reading Debian's package lists")
    apt.update(codename)
    packages = select(apt.closure(names))
    archives = apt.download(packages, work / "archives", Phase(step, 0.3, 0.4), f"{len(packages)} Debian packages")
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    roots = {archive: out / place(archive.name.partition("_")[0]) for archive in archives}
    unpacking = Phase(step, 0.7, 0.3)
    for number, (archive, root) in enumerate(roots.items()):
        unpacking.progress(number, len(archives), f"unpacking {archive.name.partition('_')[0]}")
        root.mkdir(parents=True, exist_ok=True)
        apt.unpack(archive, root)
    for root in set(roots.values()):
        settle(root)
        strip(root)
    versions = " ".join(f"{package.name}={package.version}" for package in packages)
    return {"source": f"Debian {codename}", "packages": versions}


def select_packages(closure: Iterable[Package]) -> tuple[Package, ...]:
    """Of everything apt would install: what was asked for, and libraries. The rest is for a whole system."""
    asked = {*NODE_PACKAGES, *IMAGE_PACKAGES}
    return tuple(
        package
        for package in closure
        if package.name in asked or (package.section in _WANTED_SECTIONS and not _UNNEEDED.match(package.name))
    )


def settle(root: Path) -> None:
    """Do what the packages' scripts would have: one ``/usr``, and the names that Debian's alternatives give."""
    for name in ("bin", "sbin", "lib", "lib64"):
        _merge(root / name, root / "usr" / name)
        (root / name).symlink_to(f"usr/{name}")
    tables = root / "usr/sbin/xtables-nft-multi"
    for name in ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"):
        link = root / "usr/sbin" / name
        if tables.exists() and not link.is_symlink():
            link.symlink_to(tables.name)
    for link in [path for path in root.rglob("*") if path.is_symlink()]:
        _make_relative(link, root)


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


def strip(root: Path) -> None:
    """Remove documentation and units for systemd."""
    for name in _STRIPPED:
        shutil.rmtree(root / name, ignore_errors=True)
