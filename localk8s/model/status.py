"""What is there: states of clusters and nodes, and findings about a host. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from localk8s.model.spec import NodeSize
from localk8s.model.versions import KubernetesVersion


class ClusterState(StrEnum):
    """The one word for a cluster."""

    RUNNING = "running"
    """The API answers and every node is ready."""
    STARTING = "starting"
    """It is on its way: machines are up, not everything answers yet."""
    STOPPED = "stopped"
    """All its machines are off; ``start`` brings it back."""
    PAUSED = "paused"
    BROKEN = "broken"
    """Something is wrong; the reasons say what."""
    UNKNOWN = "unknown"
    """It could not be asked in the time allowed."""
    INCOMPLETE = "incomplete"
    """Creating it was interrupted; ``start`` finishes, ``delete`` clears."""


class NodeState(StrEnum):
    """The one word for a node."""

    READY = "ready"
    NOT_READY = "not-ready"
    STOPPED = "stopped"
    PAUSED = "paused"
    BROKEN = "broken"
    UNKNOWN = "unknown"


class NodeRole(StrEnum):
    """What a node does in its cluster."""

    CONTROL_PLANE = "control-plane"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One machine, as it is."""

    name: str
    role: NodeRole
    state: NodeState
    address: str
    """Its IPv4 address in the cluster's network; empty while it has none."""
    size: NodeSize
    reason: str = ""
    """Why it is not ready, and the command that brings it back."""


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """One cluster, as it is."""

    name: str
    driver: str
    state: ClusterState
    kubernetes_version: KubernetesVersion | None
    nodes: tuple[NodeStatus, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why it is broken, unknown or incomplete."""
    endpoint: str = ""
    """URL of the API server, as the host reaches it."""


class Severity(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    """``start`` would fail, so it is refused."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at on this host."""

    severity: Severity
    subject: str
    """What was looked at, such as ``memory`` or ``vagrant``."""
    message: str
    """What was found, in a sentence."""
    fix: str = ""
    """A command that can be pasted; empty when nothing has to be done or nothing can be."""
