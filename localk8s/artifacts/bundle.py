"""Bundles: one file with everything a cluster needs, made here and used elsewhere as ``--artifacts BUNDLE``.

Inside is the official layout for the programs, ``images/*.tar``, the nodes' root and docker as they lie in the cache, and
SHA256SUMS over all files. Any tar of the official layout, or of the seven programs, is a bundle too.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shlex
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from localk8s.artifacts.cache import Cache
from localk8s.artifacts.manifest import MANIFEST, file_digest, regular_files
from localk8s.artifacts.sums import LONGEST_SUMS, SUMS, parse_sums, read_digest_file, render_sums
from localk8s.model.errors import ArtifactError, PrerequisiteError, UsageError
from localk8s.model.progress import Step
from localk8s.model.versions import KubernetesVersion, parse_kubernetes_version
from localk8s.system.archives import unpack
from localk8s.system.process import HostRunner
from localk8s.system.tar_reader import ArchiveError, Kind, TarReader

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst")
_COMPRESS_LIMIT = 3600.0


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle."""

    name: str
    """Its path in the bundle."""
    path: Path
    """Where it is now; a symbolic link stays one."""
    sha256: str
    """Known digest; empty when it has to be read, or for a link."""


def open_bundle(path: Path, cache: Cache, runner: HostRunner, step: Step) -> Path:
    """Unpack the bundle ``path`` into the cache, once, and check every file against its SHA256SUMS, if it has one.

    Returns:
        the directory.

    Raises:
        ArtifactError: it is no tar archive, is damaged, or a file is not what its digest says or is not listed; the file is
            named.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} is neither a directory nor a file.")
    if not path.name.endswith(SUFFIXES):
        raise ArtifactError(f"{path} is no bundle: its name should end in one of {', '.join(SUFFIXES)}.")
    found = path.stat()
    key = hashlib.sha256(f"{path}\n{found.st_size}\n{found.st_mtime_ns}".encode()).hexdigest()[:24]

    def make(work: Path, shared: Step) -> Mapping[str, str]:
        shared.progress(0, None, f"unpacking {path.name}")
        _unpack(path, work, runner)
        shared.progress(0, None, f"checking {path.name}")
        check_sums(work / "out", path)
        return {"source": str(path)}

    return cache.obtain(f"bundles/{key}", str(path), step, make).path


def listed_versions(path: Path, architecture: str) -> tuple[KubernetesVersion, ...]:
    """The Kubernetes versions in a bundle of ours, read from its beginning; empty when that does not tell."""
    try:
        with TarReader(path) as archive:
            first = next(iter(archive), None)
            if first is None or first.name != SUMS or first.kind is not Kind.FILE:
                return ()
            sums = parse_sums(archive.whole_content(first, LONGEST_SUMS).decode("utf-8", errors="replace"))
    except (ArchiveError, OSError):
        return ()
    inside = re.compile(rf"release/(v[^/]+)/bin/linux/{architecture}/kubelet")
    return tuple(parse_kubernetes_version(match[1]) for match in map(inside.fullmatch, sums) if match)


def _unpack(path: Path, work: Path, runner: HostRunner) -> None:
    plain = path
    if path.name.endswith(".zst"):
        _need_zstd(path)
        plain = work / "plain.tar"
        runner.run(["zstd", "-d", "-q", "-f", "-o", str(plain), str(path)], timeout=_COMPRESS_LIMIT)
    try:
        unpack(plain, work / "out")
    except ArchiveError as exc:
        raise ArtifactError(f"{path} cannot be unpacked: {exc}.", hint="copy it again from where it came") from exc
    if plain is not path:
        plain.unlink()


def check_sums(root: Path, origin: Path) -> None:
    """Compare all files below ``root`` with its SHA256SUMS; a directory without one passes.

    Raises:
        ArtifactError: a file is missing, differs or is not listed; it is named.
    """
    sums = root / SUMS
    if sums.is_symlink():
        raise ArtifactError(f"{SUMS} in {origin} is a link.", hint="copy it again from where it came")
    if not sums.is_file():
        return
    listed = parse_sums(read_digest_file(sums))
    found = {path.relative_to(root).as_posix() for path in regular_files(root)}
    if unlisted := sorted(found - listed.keys() - {SUMS}):
        raise ArtifactError(
            f"{origin} holds {unlisted[0]!r}, which its {SUMS} does not list.", hint="copy it again from where it came"
        )
    there = {name: root / name for name in listed if not name.startswith(("..", "/")) and (root / name).is_file()}
    if missing := sorted(listed.keys() - there.keys()):
        raise ArtifactError(f"{origin} is not whole: {missing[0]} is missing.", hint="copy it again from where it came")
    with ThreadPoolExecutor(4) as pool:
        for name, digest in zip(there, pool.map(file_digest, there.values()), strict=True):
            if digest != listed[name]:
                raise ArtifactError(
                    f"{name} in {origin} is not what its digest says: SHA-256 {digest} instead of {listed[name]}.",
                    hint="copy it again from where it came",
                )


def find_tools(root: Path, name: str) -> Path | None:
    """The cache entry ``name`` in a named directory, when that holds it."""
    place = root / name
    return place if (place / MANIFEST).is_file() else None


def check_target(target: Path) -> None:
    """Refuse a name that says no way to pack, before anything is gathered.

    Raises:
        UsageError: the suffix is none of a bundle.
        PrerequisiteError: zstd is needed and missing.
    """
    if not target.name.endswith(SUFFIXES):
        raise UsageError(f"{target} cannot be written: a bundle's name ends in one of {', '.join(SUFFIXES)}.")
    if target.name.endswith(".zst"):
        _need_zstd(target)


def write_bundle(target: Path, members: Iterable[Member], runner: HostRunner, step: Step) -> None:
    """Write the bundle ``target``; it appears only when it is whole.

    Args:
        target: its suffix says how it is compressed.

    Raises:
        UsageError, PrerequisiteError: see ``check_target``.
        ArtifactError: it cannot be written.
    """
    check_target(target)
    part, packed = (target.with_name(f".{target.name}.{kind}") for kind in ("part", "packed"))
    try:
        _write_tar(part, _compression(target.name), list(members), step)
        if target.name.endswith(".zst"):
            step.progress(1, 1, "compressing")
            runner.run(["zstd", "-q", "-f", "-T0", "-o", str(packed), str(part)], timeout=_COMPRESS_LIMIT)
            os.replace(packed, part)
        os.replace(part, target)
    except OSError as exc:
        hint = f"df -h {shlex.quote(str(target.parent))}"
        raise ArtifactError(f"The bundle {target} cannot be written: {exc.strerror or exc}.", hint=hint) from exc
    finally:
        part.unlink(missing_ok=True)
        packed.unlink(missing_ok=True)


def _write_tar(part: Path, compression: str, members: list[Member], step: Step) -> None:
    total, done = sum(member.path.lstat().st_size for member in members), 0
    step.progress(0, total, "reading digests")
    digests = {member.name: member.sha256 or file_digest(member.path) for member in members if not member.path.is_symlink()}
    with tarfile.open(part, f"w:{compression}", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        data = render_sums(digests).encode()
        listing = tarfile.TarInfo(SUMS)  # first, so that an archive that was cut off is found out
        listing.size, listing.mode = len(data), 0o644
        archive.addfile(listing, io.BytesIO(data))
        for member in members:
            step.progress(done, total, member.name)
            info = archive.gettarinfo(member.path, member.name)
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            if info.issym():
                archive.addfile(info)
                continue
            info.type, info.linkname = tarfile.REGTYPE, ""
            info.size = member.path.stat().st_size
            with member.path.open("rb") as file:
                archive.addfile(info, file)
            done += info.size


def _compression(name: str) -> str:
    return {".gz": "gz", ".tgz": "gz", ".xz": "xz"}.get(Path(name).suffix, "")


def _need_zstd(path: Path) -> None:
    if not shutil.which("zstd"):
        raise PrerequisiteError(f"zstd is needed for {path}.", hint="apt-get install -y zstd")
