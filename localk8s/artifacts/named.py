"""Directories that the user names: where the seven programs are in them, which version, and whether they are whole.

Files are used where they are, unless they cannot be run there. What was read once (digests, version) is remembered in
the cache by size and time of change, so that the next start does not read half a gigabyte again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from localk8s.artifacts.cache import Cache
from localk8s.artifacts.elf import MACHINES, read_elf
from localk8s.artifacts.kinds import KUBERNETES_PROGRAMS
from localk8s.artifacts.manifest import FileRecord, Manifest, read_manifest, record_file, write_manifest
from localk8s.artifacts.sums import SUMS, parse_digest, parse_sums, read_digest_file
from localk8s.model.errors import ArtifactError, CommandError, Localk8sError, NotFoundError
from localk8s.model.hints import instead
from localk8s.model.progress import Step
from localk8s.model.versions import KubernetesVersion, parse_kubernetes_version
from localk8s.system.process import HostRunner

_VERSION = re.compile(r"v\d+\.\d+\.\d+")


@dataclass(frozen=True, slots=True)
class NamedPrograms:
    """The seven programs of one version in a named directory, verified."""

    directory: Path
    """Where they can be run: in the named directory, or in a copy."""
    version: KubernetesVersion
    digests: Mapping[str, str]
    """SHA-256 by program."""


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
        step: told while files are copied.
    """

    def __init__(self, root: Path, architecture: str, runner: HostRunner, cache: Cache, step: Step) -> None:
        self.root = root
        self._arch = architecture
        self._runner = runner
        self._cache = cache
        self._step = step

    def all(self) -> tuple[NamedPrograms, ...]:
        """Every version in it, verified.

        Raises:
            NotFoundError: there is no such directory.
            ArtifactError: programs are missing, unreadable, for another machine or not what their digests say.
        """
        if not self.root.is_dir():
            raise NotFoundError(f"There is no directory or bundle {self.root}.", hint=instead("--artifacts", "DIRECTORY"))
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
        digests = {name: remembered.files[str(place / name)].sha256 for name in KUBERNETES_PROGRAMS}
        return NamedPrograms(
            Path(remembered.facts["directory"]), parse_kubernetes_version(remembered.facts["version"]), digests
        )

    def _watched(self, place: Path) -> list[Path]:
        """The files whose change makes everything be read again."""
        paths = [place / f"{name}{suffix}" for name in KUBERNETES_PROGRAMS for suffix in ("", ".sha256")]
        paths += sorted((self.root / "images").glob("*.tar*"))
        return [path for path in dict.fromkeys((*paths, place / SUMS, self.root / SUMS)) if path.is_file()]

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
        usable = "version" in manifest.facts and Path(manifest.facts.get("directory", "")).is_dir()
        return manifest if same and usable else None

    def _remember(self, place: Path, manifest: Manifest) -> None:
        with contextlib.suppress(OSError):  # a read-only cache remembers nothing: it is all read again next time
            self._memory(place).mkdir(parents=True, exist_ok=True, mode=0o700)
            write_manifest(self._memory(place), manifest)

    def _examine(self, place: Path) -> Manifest:
        watched = self._watched(place)
        for path in watched:
            if path.name == SUMS or path.suffix == ".sha256":
                read_digest_file(path)  # refused when it is endless, before anything is read whole
        try:
            with ThreadPoolExecutor(4) as pool:
                records = dict(zip((str(path) for path in watched), pool.map(record_file, watched), strict=True))
        except OSError as exc:
            raise ArtifactError(f"{exc.filename or place} cannot be read: {exc.strerror}.") from exc
        for path in watched:
            if path.name in KUBERNETES_PROGRAMS or path.suffix == ".tar":
                self._check_digest(path, records[str(path)])
        programs = {name: records[str(place / name)] for name in KUBERNETES_PROGRAMS}
        for name in programs:
            self._check_machine(place / name)
        usable = all(os.access(place / name, os.X_OK) for name in programs)
        directory = place if usable else self._copy(place, Manifest(programs, {}))
        return Manifest(records, {"version": str(self._ask_version(directory)), "directory": str(directory)})

    def _copy(self, place: Path, programs: Manifest) -> Path:
        """Programs that cannot be run where they are (downloaded without the executable bit, say), copied into the cache."""

        def make(work: Path, step: Step) -> Mapping[str, str]:
            shutil.rmtree(work / "out", ignore_errors=True)
            (work / "out").mkdir()
            for number, name in enumerate(programs.files):
                step.progress(number, len(programs.files), f"copying {place / name}")
                shutil.copyfile(place / name, work / "out" / name)
                (work / "out" / name).chmod(0o755)
            return {"source": str(place)}

        entry = self._cache.obtain(f"copies/{programs.digest[:24]}", str(place), self._step, make)
        if entry.digest != programs.digest:
            raise ArtifactError(f"{place} changed while it was copied.", hint=f"rm -rf {shlex.quote(str(entry.path))}")
        return entry.path

    def _check_digest(self, path: Path, record: FileRecord) -> None:
        expected = self._expected(path)
        if expected is not None and expected != record.sha256:
            raise ArtifactError(
                f"{path} is not what its digest says: SHA-256 {record.sha256} instead of {expected}.",
                hint="copy that file again from where it came",
            )

    def _check_machine(self, program: Path) -> None:
        info = read_elf(program)
        if info is not None and info.machine != MACHINES[self._arch]:
            raise ArtifactError(f"{program} is a program for another machine type: this host needs linux/{self._arch}.")

    def _expected(self, path: Path) -> str | None:
        """The digest that the directory states for ``path``; None when it states none."""
        beside = path.with_name(f"{path.name}.sha256")
        if beside.is_file():
            digest = parse_digest(read_digest_file(beside))
            if digest is None:
                raise ArtifactError(f"{beside} holds no SHA-256 digest.")
            return digest
        for sums in (path.parent / SUMS, self.root / SUMS):
            if sums.is_file():
                listed = parse_sums(read_digest_file(sums))
                if digest := listed.get(os.path.relpath(path, sums.parent)):
                    return digest
        return None

    def _ask_version(self, place: Path) -> KubernetesVersion:
        kubeadm = place / "kubeadm"
        try:
            said = self._runner.run([str(kubeadm), "version", "-o", "short"], timeout=30).stdout.strip()
        except CommandError as exc:
            raise ArtifactError(f"{kubeadm} does not run on this host.", details=exc.details) from exc
        return parse_kubernetes_version(said)
