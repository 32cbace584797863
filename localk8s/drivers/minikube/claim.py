"""Which minikube profile belongs to which cluster of localk8s: a small file a cluster, beside its private kubeconfig.

A profile that localk8s did not make is the user's own, and never touched.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from localk8s.model.names import check_cluster_name
from localk8s.system.files import write_atomic


@dataclass(frozen=True, slots=True)
class Claim:
    """One cluster's hold on a profile."""

    cluster: str
    profile: str
    home: str
    """The minikube home that the profile is in."""
    vm_driver: str
    finished: bool = False
    """Whether a start ever came to its end: before that the profile may be half made."""
    stopped: bool = False
    """Whether localk8s stopped it last; counts only while neither minikube nor the API says anything."""


class Claims:
    """All claims of this driver.

    Args:
        directory: the driver's own; one directory a cluster in it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def directory(self, cluster: str) -> Path:
        """Where the cluster's files are, or would be."""
        return self._directory / check_cluster_name(cluster)

    def kubeconfig(self, cluster: str) -> Path:
        """The kubeconfig that minikube writes."""
        return self.directory(cluster) / "kubeconfig"

    def known_hosts(self, cluster: str) -> Path:
        """Host keys of machines that minikube did not make."""
        return self.directory(cluster) / "known_hosts"

    def load(self, cluster: str) -> Claim | None:
        """The cluster's claim; None when it has none, or one that cannot be understood."""
        try:
            content = json.loads((self.directory(cluster) / "claim.json").read_text(encoding="utf-8"))
            return Claim(
                cluster=cluster,
                profile=str(content["profile"]),
                home=str(content["home"]),
                vm_driver=str(content["vmDriver"]),
                finished=content["finished"] is True,
                stopped=content.get("stopped") is True,
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, claim: Claim) -> None:
        """Write ``claim``, whole or not at all."""
        content = {
            "profile": claim.profile,
            "home": claim.home,
            "vmDriver": claim.vm_driver,
            "finished": claim.finished,
            "stopped": claim.stopped,
        }
        write_atomic(self.directory(claim.cluster) / "claim.json", json.dumps(content, indent=2) + "\n")

    def note(self, cluster: str, *, stopped: bool) -> None:
        """Note that a start came to its end, or a stop did."""
        claim = self.load(cluster)
        wanted = claim and replace(claim, finished=claim.finished or not stopped, stopped=stopped)
        if wanted is not None and wanted != claim:
            self.save(wanted)

    def drop(self, cluster: str) -> None:
        """Forget the cluster, its kubeconfig included. Forgetting what is not there succeeds."""
        shutil.rmtree(self.directory(cluster), ignore_errors=True)

    def clusters(self) -> Sequence[str]:
        """Names of all clusters that have a directory, sorted."""
        try:
            return sorted(path.name for path in self._directory.iterdir() if path.is_dir())
        except OSError:
            return ()

    def holder(self, profile: str, home: str) -> str | None:
        """The cluster that holds ``profile`` of ``home``; None when none does."""
        claims = (self.load(cluster) for cluster in self.clusters())
        return next((claim.cluster for claim in claims if claim and (claim.profile, claim.home) == (profile, home)), None)
