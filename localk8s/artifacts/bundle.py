"""Bundles: one file with everything a cluster needs, made here and used elsewhere as ``--artifacts BUNDLE``.

Inside is the official layout for the programs, ``images/*.tar``, the node tools as they lie in the cache, and SHA256SUMS
over all files. Any tar of the official layout is a bundle too.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

from localk8s.artifacts.cache import Cache
from localk8s.artifacts.manifest import MANIFEST
from localk8s.model.errors import ArtifactError, PrerequisiteError
from localk8s.model.progress import SilentReporter, Step
from localk8s.system.process import HostRunner

_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz")
_UNPACK_LIMIT = 1800.0


def open_named(path: Path, cache: Cache, runner: HostRunner) -> Path:
    """The directory that a user's ``--artifacts`` means: itself, or a bundle unpacked into the cache once.

    Raises:
        ArtifactError: it is a file and no tar archive, or is damaged.
    """
    path = path.absolute()
    if not path.is_file():
        return path
    if not path.name.endswith(_SUFFIXES):
        raise ArtifactError(f"{path} is no bundle: it should end in {', '.join(_SUFFIXES)}.")
    found = path.stat()
    key = hashlib.sha256(f"{path}\n{found.st_size}\n{found.st_mtime_ns}".encode()).hexdigest()[:24]

    def make(work: Path, step: Step) -> Mapping[str, str]:
        shutil.rmtree(work / "out", ignore_errors=True)
        step.progress(0, None, f"unpacking {path.name}")
        _unpack(path, work, runner)
        return {"source": str(path)}

    with SilentReporter().step("unpack", "") as step:
        return cache.obtain(f"bundles/{key}", str(path), step, make).path


def _unpack(path: Path, work: Path, runner: HostRunner) -> None:
    plain = path
    if path.name.endswith(".zst"):
        if not shutil.which("zstd"):
            raise PrerequisiteError(f"zstd is needed to unpack {path}.", hint="apt-get install -y zstd")
        plain = work / "plain.tar"
        runner.run(["zstd", "-d", "-q", "-f", "-o", str(plain), str(path)], timeout=_UNPACK_LIMIT)
    try:
        with tarfile.open(plain) as archive:
            archive.extractall(work / "out", filter="data")
    except (tarfile.TarError, EOFError, ValueError) as exc:
        raise ArtifactError(f"{path} is damaged or no tar archive: {exc}.", hint="copy it again from where it came") from exc


def find_tools(root: Path, name: str) -> Path | None:
    """The node tools in a named directory, when it has those that this localk8s uses."""
    place = root / name
    return place if (place / MANIFEST).is_file() else None
