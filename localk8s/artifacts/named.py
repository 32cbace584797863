"""Directories and bundles that the user names: where the seven programs are in them, which version, and whether they are whole.

Files are used where they are. What was read once (digests, version) is remembered in the cache by size and time of
change, so that the next start does not read half a gigabyte again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from localk8s.artifacts.cache import Cache
from localk8s.artifacts.elf import MACHINES, read_elf
from localk8s.artifacts.kinds import KUBERNETES_PROGRAMS
from localk8s.artifacts.manifest import FileRecord, Manifest, read_manifest, record_file, write_manifest
from localk8s.artifacts.release import parse_digest
from localk8s.artifacts.trouble import cache_trouble
from localk8s.model.errors import ArtifactError, CommandError, Localk8sError, NotFoundError
from localk8s.model.versions import KubernetesVersion, parse_kubernetes_version
from localk8s.system.process import HostRunner

_SUMS = "SHA256SUMS"
_VERSION = re.compile(r"v\d+\.\d+\.\d+")


@dataclass(frozen=True, slots=True)
class NamedPrograms:
    """The seven programs of one version in a named directory, verified."""

    directory: Path
    version: KubernetesVersion
    digests: Manifest


def candidate_directories(root: Path, architecture: str) -> tuple[Path, ...]:
    """Where the programs may be below ``root``: the official layout, one level of it, a server archive, or just there."""
    inner = f"bin/linux/{architecture}"
    places = [root, root / "bin", root / inner, root / "server/bin", root / "kubernetes/server/bin"]
    for top in (root, root / "release"):
        if top.is_dir():
            versions = sorted(item for item in top.iterdir() if _VERSION.fullmatch(item.name))
            places += [place for version in versions for place in (version / inner, version / "bin", version)]
    return tuple(place for place in places if any((place / name).is_file() for name in KUBERNETES_PROGRAMS))


class NamedSource:
    """Reads one named directory.

    Args:
        root: the directory.
        architecture: this host's.
        runner: asks kubeadm for its version.
        cache: remembers what was read.
    """

    def __init__(self, root: Path, architecture: str, runner: HostRunner, cache: Cache) -> None:
        self.root = root
        self._arch = architecture
        self._runner = runner
        self._cache = cache

    def all(self) -> tuple[NamedPrograms, ...]:
        """Every version in it, verified.

        Raises:
            NotFoundError: there is no such directory.
            ArtifactError: programs are missing, unreadable, for another machine or not what their digests say.
        """
        if not self.root.is_dir():
            raise NotFoundError(f"There is no directory or bundle {self.root}.", hint="localk8s start --artifacts DIRECTORY")
        places = candidate_directories(self.root, self._arch)
        if not places:
            wanted = ", ".join(KUBERNETES_PROGRAMS)
            raise ArtifactError(
                f"{self.root} holds no Kubernetes programs for linux/{self._arch}.",
                hint=f"it should hold {wanted}, or the official layout release/vX.Y.Z/bin/linux/{self._arch}",
            )
        return tuple(self._read(place) for place in places)

    def _read(self, place: Path) -> NamedPrograms:
        missing = [name for name in KUBERNETES_PROGRAMS if not (place / name).is_file()]
        if missing:
            raise ArtifactError(f"{place} is not whole: {', '.join(missing)} is missing.")
        remembered = self._remembered(place)
        if remembered is None:
            remembered = self._examine(place)
            self._remember(place, remembered)
        return NamedPrograms(place, parse_kubernetes_version(remembered.facts["version"]), remembered)

    def _watched(self, place: Path) -> list[Path]:
        """The files whose change makes everything be read again."""
        digests = [place / f"{name}.sha256" for name in KUBERNETES_PROGRAMS]
        sums = [place / _SUMS, self.root / _SUMS]
        return [
            path for path in (*(place / name for name in KUBERNETES_PROGRAMS), *digests, *dict.fromkeys(sums)) if path.is_file()
        ]

    def _memory(self, place: Path) -> Path:
        return self._cache.path("named") / hashlib.sha256(os.fsencode(place.resolve())).hexdigest()[:24]

    def _remembered(self, place: Path) -> Manifest | None:
        try:
            manifest = read_manifest(self._memory(place), "")
        except (Localk8sError, OSError):
            return None
        now = {str(path): path.stat() for path in self._watched(place)}
        same = manifest.files.keys() == now.keys() and all(
            (record.size, record.mtime) == (now[name].st_size, now[name].st_mtime_ns) for name, record in manifest.files.items()
        )
        return manifest if same and "version" in manifest.facts else None

    def _remember(self, place: Path, manifest: Manifest) -> None:
        with cache_trouble(self._cache.directory):
            self._memory(place).mkdir(parents=True, exist_ok=True, mode=0o700)
            write_manifest(self._memory(place), manifest)

    def _examine(self, place: Path) -> Manifest:
        watched = self._watched(place)
        try:
            with ThreadPoolExecutor(4) as pool:
                records = dict(zip((str(path) for path in watched), pool.map(record_file, watched), strict=True))
        except OSError as exc:
            raise ArtifactError(f"{exc.filename or place} cannot be read: {exc.strerror}.") from exc
        for name in KUBERNETES_PROGRAMS:
            self._check(place / name, records[str(place / name)])
        return Manifest(records, {"version": str(self._ask_version(place))})

    def _check(self, program: Path, record: FileRecord) -> None:
        expected = self._expected(program)
        if expected is not None and expected != record.sha256:
            raise ArtifactError(
                f"{program} is not what its digest says: SHA-256 {record.sha256} instead of {expected}.",
                hint="copy that file again from where it came",
            )
        info = read_elf(program)
        if info is not None and info.machine != MACHINES[self._arch]:
            raise ArtifactError(f"{program} is a program for another machine type: this host needs linux/{self._arch}.")
        if not os.access(program, os.X_OK):
            raise ArtifactError(f"{program} is not executable.", hint=f"chmod +x {shlex.quote(str(program.parent))}/kube*")

    def _expected(self, program: Path) -> str | None:
        """The digest that the directory states for ``program``; None when it states none."""
        beside = program.with_name(f"{program.name}.sha256")
        if beside.is_file():
            digest = parse_digest(beside.read_text(encoding="ascii", errors="replace"))
            if digest is None:
                raise ArtifactError(f"{beside} holds no SHA-256 digest.")
            return digest
        for sums in (program.parent / _SUMS, self.root / _SUMS):
            if sums.is_file():
                listed = parse_sums(sums.read_text(encoding="utf-8", errors="replace").splitlines())
                if digest := listed.get(os.path.relpath(program, sums.parent)):
                    return digest
        return None

    def _ask_version(self, place: Path) -> KubernetesVersion:
        kubeadm = place / "kubeadm"
        try:
            said = self._runner.run([str(kubeadm), "version", "-o", "short"], timeout=30).stdout.strip()
        except CommandError as exc:
            raise ArtifactError(f"{kubeadm} does not run on this host.", details=exc.details) from exc
        return parse_kubernetes_version(said)


def parse_sums(lines: Iterable[str]) -> dict[str, str]:
    """File name to digest, from the lines of a SHA256SUMS file."""
    found = {}
    for line in lines:
        if match := re.fullmatch(r"([0-9A-Fa-f]{64})[ \t]+\*?(.+)", line.strip()):
            found[os.path.normpath(match[2])] = match[1].lower()
    return found
