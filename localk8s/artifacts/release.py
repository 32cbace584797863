"""The official release layout over HTTP: ``BASE/release/vX.Y.Z/bin/linux/ARCH/NAME`` with ``NAME.sha256``.

A mirror and the official site differ in their address and title only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from localk8s.artifacts import web
from localk8s.artifacts.catalog import NEWEST
from localk8s.artifacts.kinds import KUBERNETES_PROGRAMS
from localk8s.artifacts.manifest import file_digest
from localk8s.artifacts.sums import parse_digest
from localk8s.artifacts.trouble import Unavailable
from localk8s.model.errors import ArtifactError, UsageError
from localk8s.model.progress import Step
from localk8s.model.versions import NEWEST_MINOR, KubernetesVersion, parse_kubernetes_version

_ASK_LIMIT = 3.0
"""Seconds to wait for the answer which version is the newest."""


@dataclass(frozen=True, slots=True)
class ReleaseSite:
    """One place that has releases."""

    base: str
    """Its address; ``/release`` is added unless it ends so."""
    title: str
    """For people: ``mirror``, ``official``."""
    architecture: str

    @property
    def _releases(self) -> str:
        base = web.check_base_url(self.base)
        return base if base.endswith("/release") else f"{base}/release"

    def newest(self) -> KubernetesVersion:
        """The newest version it has that localk8s knows; asks with a short limit.

        Raises:
            Unavailable: it has none, or does not say so.
            ArtifactError: it cannot be reached.
        """
        for name in ("stable.txt", f"stable-1.{NEWEST_MINOR}.txt"):
            try:
                return parse_kubernetes_version(web.read_text(f"{self._releases}/{name}", timeout=_ASK_LIMIT))
            except (Unavailable, UsageError):
                continue
        web.read_text(f"{self._programs(NEWEST)}/kubeadm.sha256", timeout=_ASK_LIMIT)
        return NEWEST

    def fetch(self, version: KubernetesVersion, work: Path, step: Step) -> None:
        """Fill ``work/out`` with the seven programs of ``version``; whole ones that are there already are kept.

        Raises:
            Unavailable: it does not have that version.
            ArtifactError: it cannot be reached, or a file is not what its digest says.
        """
        out = work / "out"
        out.mkdir(parents=True, exist_ok=True)
        for part in out.glob(".*.part"):
            part.unlink()  # a killed download
        step.progress(0, None, f"asking {web.shown_url(self._releases)}")
        digests = {name: self._digest(version, name) for name in KUBERNETES_PROGRAMS}
        sizes = {name: web.read_size(f"{self._programs(version)}/{name}") for name in KUBERNETES_PROGRAMS}
        known = [size for size in sizes.values() if size is not None]
        total = sum(known) if len(known) == len(sizes) else None
        before, furthest = 0, 0
        for number, name in enumerate(KUBERNETES_PROGRAMS, start=1):
            target, start, detail = out / name, before, f"{name}  {number} of {len(KUBERNETES_PROGRAMS)}"

            def tell(done: int, start: int = start, detail: str = detail) -> None:
                nonlocal furthest
                furthest = max(furthest, start + done)  # a second try begins again, the bar does not
                step.progress(furthest, total, detail)

            tell(0)
            if not target.is_file() or file_digest(target) != digests[name]:
                web.download(f"{self._programs(version)}/{name}", target, digests[name], tell)
            before += target.stat().st_size
        for stray in set(os.listdir(out)) - set(KUBERNETES_PROGRAMS):
            (out / stray).unlink()
        step.progress(before, total, "")

    def _programs(self, version: KubernetesVersion) -> str:
        return f"{self._releases}/{version}/bin/linux/{self.architecture}"

    def _digest(self, version: KubernetesVersion, name: str) -> str:
        url = f"{self._programs(version)}/{name}.sha256"
        digest = parse_digest(web.read_text(url))
        if digest is None:
            raise ArtifactError(f"{web.shown_url(url)} holds no SHA-256 digest.")
        return digest
