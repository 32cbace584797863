"""Powers of drivers that make whole machines: a file of them, an inventory, what they are made from.

Owns these contracts and nothing else, as ``base`` does for what every driver can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from localk8s.model.progress import Reporter
from localk8s.model.spec import ClusterSpec
from localk8s.model.versions import KubernetesVersion


@runtime_checkable
class SupportsRender(Protocol):
    """The machines are described in a file that works without localk8s (``Feature.RENDER``)."""

    def render(self, spec: ClusterSpec) -> str:
        """That file, of the cluster or of one that would be made from ``spec``; changes nothing.

        Raises:
            WrongStateError: what it would name has to be made first; the hint says how.
        """


@runtime_checkable
class SupportsInventory(Protocol):
    """The machines can be handed on to Ansible."""

    def inventory(self, spec: ClusterSpec) -> str:
        """An inventory (YAML) with kubespray's group names.

        Raises:
            WrongStateError: no machine was ever booted.
        """


@dataclass(frozen=True, slots=True)
class MachineBox:
    """What machines are made from, on this host."""

    name: str
    provider: str
    kubernetes_version: KubernetesVersion | None
    """None when it does not say."""
    directory: Path
    size: int
    """Bytes on disk."""


@runtime_checkable
class SupportsBoxes(Protocol):
    """Machines are made from boxes that can be built here."""

    def build_box(
        self, provider: str | None, version: KubernetesVersion | None, artifacts: str | None, report: Reporter
    ) -> MachineBox:
        """Have a box; one of the same content is not built again.

        Args:
            provider: what makes the machines; the one of this host when None.
            version: of Kubernetes; the newest that a source gives when None.
            artifacts: a directory or bundle that is searched first.
            report: told about the steps.
        """

    def boxes(self) -> tuple[MachineBox, ...]:
        """All boxes on this host, by name."""

    def delete_boxes(self, names: Sequence[str]) -> None:
        """Remove boxes; all, and what they share, when ``names`` is empty. Clusters made from them keep their own links.

        Raises:
            NotFoundError: there is none of that name; nothing was removed.
        """
