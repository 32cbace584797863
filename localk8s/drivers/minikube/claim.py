"""Which minikube profile belongs to which cluster of localk8s.

Owns two small files: the claim, beside a cluster's private kubeconfig, and the mark, in the folder of the profile itself.
They hold the same random token. ``minikube delete`` removes the mark with the folder, and a profile that its user makes
afterwards, of the same name, has none: only a profile that bears the mark is ever stopped, changed or deleted.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from localk8s.drivers.minikube.profile import Home
from localk8s.model.errors import UsageError
from localk8s.model.names import check_cluster_name
from localk8s.system.files import write_atomic

MARK = "localk8s.json"
"""The mark's name in the profile's folder; minikube neither reads nor keeps it."""
_CLAIM = "claim.json"


class Ownership(StrEnum):
    """Whose a profile is."""

    ABSENT = "absent"
    """There is no profile of that name."""
    OURS = "ours"
    ORPHANED = "orphaned"
    """A localk8s made it whose files are gone."""
    FOREIGN = "foreign"
    """Its user made it, or a localk8s with another home."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One cluster's hold on a profile."""

    cluster: str
    profile: str
    home: str
    """The minikube home that the profile is in."""
    vm_driver: str
    token: str
    """What the profile's mark holds too."""
    started: bool = False
    """Whether a ``minikube start`` ever returned 0: before that the profile is half made, whatever minikube says of it."""
    stopped: bool = False
    """Whether localk8s stopped it last; counts only while neither minikube nor the API says anything."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the folder of a profile says about its maker."""

    cluster: str
    claim: Path
    """The maker's claim."""
    token: str


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
        return _load_claim(cluster, self.directory(cluster) / _CLAIM)

    def take(self, cluster: str, profile: str, home: Home, vm_driver: str) -> Claim:
        """Claim ``profile`` for ``cluster`` and mark its folder, which is made where minikube has not yet done so."""
        claim = self.load(cluster)
        if claim is None or self.ownership(cluster, home, profile) is not Ownership.OURS:
            claim = Claim(cluster, profile, str(home.root), vm_driver, secrets.token_hex(16))
            self._save(claim)
        content = {"cluster": cluster, "claim": str(self.directory(cluster) / _CLAIM), "token": claim.token}
        write_atomic(home.profile(profile) / MARK, json.dumps(content, indent=2) + "\n")
        return claim

    def note(self, cluster: str, *, started: bool = False, stopped: bool = False) -> None:
        """Note that ``minikube start`` returned 0 (it stays noted), and whether localk8s stopped the cluster last."""
        claim = self.load(cluster)
        wanted = claim and replace(claim, started=claim.started or started, stopped=stopped)
        if wanted is not None and wanted != claim:
            self._save(wanted)

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

    def ownership(self, cluster: str, home: Home, profile: str) -> Ownership:
        """Whose ``profile`` of ``home`` is, seen from ``cluster``."""
        if not home.profile(profile).exists():
            return Ownership.ABSENT
        mark, claim = load_mark(home, profile), self.load(cluster)
        if mark is None:
            return Ownership.FOREIGN
        if claim is not None and (claim.profile, claim.home, claim.token) == (profile, str(home.root), mark.token):
            return Ownership.OURS
        makers = _load_claim(mark.cluster, mark.claim)
        return Ownership.FOREIGN if makers is not None and makers.token == mark.token else Ownership.ORPHANED

    def orphans(self, home: Home) -> Iterator[tuple[str, str]]:
        """The profiles of ``home`` that a localk8s made whose files are gone: the cluster and the profile of each."""
        for profile in home.profile_names():
            mark = load_mark(home, profile)
            if mark is not None and self.ownership(mark.cluster, home, profile) is Ownership.ORPHANED:
                yield mark.cluster, profile

    def _save(self, claim: Claim) -> None:
        content = {
            "profile": claim.profile,
            "home": claim.home,
            "vmDriver": claim.vm_driver,
            "token": claim.token,
            "started": claim.started,
            "stopped": claim.stopped,
        }
        write_atomic(self.directory(claim.cluster) / _CLAIM, json.dumps(content, indent=2) + "\n")


def load_mark(home: Home, profile: str) -> Mark | None:
    """What the folder of ``profile`` says about its maker; None when it says nothing that can be understood."""
    try:
        content = json.loads((home.profile(profile) / MARK).read_text(encoding="utf-8"))
        return Mark(check_cluster_name(str(content["cluster"])), Path(str(content["claim"])), str(content["token"]))
    except (OSError, ValueError, KeyError, TypeError, UsageError):
        return None


def _load_claim(cluster: str, path: Path) -> Claim | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Claim(
            cluster=cluster,
            profile=str(content["profile"]),
            home=str(content["home"]),
            vm_driver=str(content["vmDriver"]),
            token=str(content["token"]),
            started=content["started"] is True,
            stopped=content.get("stopped") is True,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
