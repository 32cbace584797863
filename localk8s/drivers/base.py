"""The driver contract: what localk8s asks of whatever makes the nodes.

Owns the contract and nothing else. A driver knows nothing of helpers, of the user's kubeconfig files or of
the cluster record; it is handed a spec and keeps its own things in the directory it was given.
Powers that not every driver has are named in ``DriverInfo.features`` and mirrored by ``Supports…`` protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from localk8s.artifacts.base import Artifacts
    from localk8s.artifacts.kinds import NodeTools
    from localk8s.drivers.image_tool import ImageTool
    from localk8s.model.node import Node
    from localk8s.model.progress import Reporter, Step
    from localk8s.model.spec import ClusterSpec
    from localk8s.model.status import ClusterStatus, Finding
    from localk8s.store.layout import Layout
    from localk8s.system.host import Host
    from localk8s.system.process import HostRunner


class Feature(StrEnum):
    """A power that not every driver has. Helpers ask for these, never for a driver's name."""

    MULTI_NODE = "multi-node"
    CONTROL_PLANES = "control-planes"
    NODE_ADD = "node-add"
    NODE_DELETE = "node-delete"
    NODE_STOP = "node-stop"
    SSH = "ssh"
    COPY = "copy"
    DOCKER_ENV = "docker-env"
    IMAGES = "images"
    MOUNT = "mount"
    DASHBOARD = "dashboard"
    """Brings a dashboard of its own."""
    PAUSE = "pause"
    HOST_ROUTES = "host-routes"
    """The host reaches pod and service addresses by itself."""
    RENDER = "render"
    NO_WAIT = "no-wait"
    """Heeds ``DriverContext.wait``; without it ``--no-wait`` is refused."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that a driver needs on this host."""

    name: str
    minimum: str = ""
    """The oldest version that works; empty when any does. ``check`` finds an older one."""


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """What is known about a driver without asking the host anything."""

    name: str
    title: str
    """For people: ``native (namespaces on this Linux host)``."""
    features: frozenset[Feature]
    platforms: frozenset[str]
    """Values of ``sys.platform`` on which it can work."""
    tools: tuple[Tool, ...] = ()
    options: frozenset[str] = frozenset()
    """What only this driver has of ``ClusterSpec.options``: asked for, it chooses the driver."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the recorded spec and the one asked for."""

    field: str
    """The option's name without dashes in front: ``memory``, ``nodes``, ``kubernetes-version``."""
    recorded: str
    """For people."""
    wanted: str
    """For people."""
    live: bool
    """True when ``start`` with the wanted spec makes it so; False when only recreating the cluster does."""
    reason: str = ""
    """Why it cannot be changed on what exists."""


@dataclass(frozen=True, slots=True)
class DriverContext:
    """All that a driver is handed when it is built. Building one does no I/O and reads no environment.

    A driver's module offers ``build(context: DriverContext) -> Driver``; the registry names it.
    """

    directory: Path
    """Where the driver keeps all its things, one directory a cluster; made by the driver when it needs it."""
    runner: HostRunner
    """Runs programs on this host, into the log of the command that is running."""
    artifacts: Artifacts
    host: Host
    """Facts of this host, read when asked."""
    layout: Layout
    """Names of everything else on disk, such as ``tools``. Records, locks and the user's files are not the driver's."""
    environment: Mapping[str, str]
    """The environment of this process, read once."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The driver's own section of the configuration file, checked by the driver."""
    wait: bool = True
    """False (only with ``Feature.NO_WAIT``): ``create`` and ``start`` end when the API answers, nodes and DNS may follow."""


class Driver(Protocol):
    """Makes, keeps and removes the machines of clusters, and the Kubernetes on them.

    Every method is safe to call again after it was killed at any point.
    """

    @property
    def info(self) -> DriverInfo:
        """Name, features, platforms, tools. No I/O."""

    def check(self, spec: ClusterSpec) -> tuple[Finding, ...]:
        """Look whether this host can run ``spec``. Never raises, changes nothing, takes at most a few seconds."""

    def complete(self, spec: ClusterSpec) -> ClusterSpec:
        """Fill in what the user left open (version, sizes, addresses), so that it can be recorded.

        Raises:
            UsageError: the spec holds an option or combination that this driver does not have.
            ArtifactError: no source gives such a version.
        """

    def changes(self, recorded: ClusterSpec, wanted: ClusterSpec) -> tuple[Change, ...]:
        """The differences that matter between two specs of one cluster. Pure."""

    def create(self, spec: ClusterSpec, report: Reporter) -> None:
        """Bring ``spec`` to Running: nodes, control plane, joins, addons, ready.

        Idempotent: what a killed run left is finished, the same spec again changes nothing.
        Does not take back what it made when it fails: the caller decides and calls ``delete``; it keeps what an error
        that is ``resumable`` left.
        """

    def start(self, spec: ClusterSpec, report: Reporter) -> None:
        """Bring an existing cluster to Running as ``spec`` has it, with the same addresses and data.

        Live changes (see ``changes``) are made on the way. On a running cluster that needs nothing: no effect.
        """

    def stop(self, spec: ClusterSpec, report: Reporter) -> None:
        """Switch all machines off and keep their data. Stopping what is stopped succeeds."""

    def delete(self, name: str, report: Reporter) -> None:
        """Remove every trace of the cluster. Deleting what is not there, or half there, succeeds.

        Raises:
            Localk8sError: something could not be removed; the message lists it.
        """

    def inspect(self, spec: ClusterSpec) -> ClusterStatus:
        """What is there now; asks with short limits (2 s in all) and says ``unknown`` rather than hang.

        Raises:
            NotFoundError: this driver has nothing of that name. Any other trouble is a state with its reasons.
        """

    def nodes(self, spec: ClusterSpec) -> tuple[Node, ...]:
        """The machines, control planes first, in the order of their names' numbers."""

    def kubeconfig(self, spec: ClusterSpec) -> str:
        """A kubeconfig (YAML, certificates embedded) with one context that administers the cluster.

        Names inside are the driver's own; the caller renames them. Never touches the user's files.

        Raises:
            WrongStateError: there is none yet.
        """

    def leftovers(self, known: Sequence[str]) -> tuple[Finding, ...]:
        """What is on this host of clusters that are not in ``known`` (names with a record). For ``doctor``."""


@runtime_checkable
class SupportsReach(Protocol):
    """Whether there is a way to the API server is known at once, without asking it."""

    def check_reachable(self, spec: ClusterSpec) -> None:
        """Look before anything dials an address of the cluster; takes a second at most.

        Raises:
            WrongStateError: its control plane is off, or this network has no way to it, so that a packet for it would
                leave by the host's uplink.
        """


@runtime_checkable
class SupportsPrivileges(Protocol):
    """Who may look at its clusters may not always change them."""

    def check_privileges(self, cluster: str) -> None:
        """Look before anything of the cluster ``cluster`` is changed, or one of its nodes entered.

        Raises:
            PrerequisiteError: this user may not; the hint is what was typed, by who may.
        """


@runtime_checkable
class SupportsNodes(Protocol):
    """Single nodes can be added and removed while the others run."""

    def add_node(self, spec: ClusterSpec, report: Reporter) -> ClusterSpec:
        """Add one worker; returns the spec to record.

        What a killed call left is finished by ``start`` with one node more than ``spec`` has.

        Raises:
            UsageError, NotSupportedError, PrerequisiteError: it cannot be had; nothing was begun.
        """

    def delete_node(self, spec: ClusterSpec, node: str, report: Reporter) -> ClusterSpec:
        """Drain and remove ``node``, also one whose machine is off or gone; returns the spec to record.

        What a killed call left is finished by calling it again with the same arguments.

        Raises:
            NotFoundError: the cluster has none of that name, or no longer.
            UsageError: the cluster would not live without it.
            WrongStateError: no control plane runs that could let it go; nothing was begun.
        """


@runtime_checkable
class SupportsNodeStop(Protocol):
    """Single nodes can be switched off and on while the others run (``Feature.NODE_STOP``)."""

    def stop_node(self, spec: ClusterSpec, node: str, report: Reporter) -> None:
        """Switch one machine off and keep its data; the others go on. What is off stays off.

        Raises:
            NotFoundError: the cluster has none of that name.
        """

    def start_node(self, spec: ClusterSpec, node: str, report: Reporter) -> None:
        """Bring one machine back with the same address and data, until it is Ready. What runs goes on.

        Raises:
            NotFoundError: the cluster has none of that name.
        """


@runtime_checkable
class SupportsOwnership(Protocol):
    """The user can replace a cluster behind localk8s's back, by one of the same name that the same kubeconfig reaches."""

    def refuse_replaced(self, spec: ClusterSpec) -> None:
        """Look whether the cluster is still the one that localk8s created; asks nothing of the cluster.

        Raises:
            WrongStateError: it is another one, which must not be touched.
        """


@runtime_checkable
class SupportsSetup(Protocol):
    """The driver can say what has to be installed on this host."""

    def setup_commands(self) -> tuple[tuple[str, ...], ...]:
        """The command lines (argv, to run as root in order) that install what is missing; empty when nothing is."""


@runtime_checkable
class SupportsInstall(Protocol):
    """The driver can fetch the program that it drives into localk8s's own folder; needs no root."""

    def install(self, report: Reporter) -> None:
        """Have a usable one on this host; changes nothing when one is there.

        Raises:
            ArtifactError: it cannot be had, or is not what its digest says.
        """


@runtime_checkable
class SupportsPrepare(Protocol):
    """What a cluster is made of can be had beforehand."""

    def prepare(self, spec: ClusterSpec, report: Reporter) -> None:
        """Fetch and build everything that ``create`` of ``spec`` needs from outside; then it needs no network.

        Args:
            spec: as ``complete`` returned it.
            report: told about the steps.
        """


@runtime_checkable
class SupportsKubectl(Protocol):
    """The cluster's own version of kubectl is on this host."""

    def kubectl(self, spec: ClusterSpec) -> Path | None:
        """Where it is; None when it is not there (yet)."""


@runtime_checkable
class SupportsLogs(Protocol):
    """What the components on a node wrote can be had."""

    def logs(self, spec: ClusterSpec, node: str, lines: int) -> str:
        """The last ``lines`` lines of each component's log on ``node``, each under a line ``==> COMPONENT <==``."""


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """What a whole node has used and uses, as the kernel counts it."""

    cpu_seconds: float
    """Processor time since the node booted."""
    memory: int
    """Bytes of the working set: without what could be dropped at once."""


@runtime_checkable
class SupportsNodeFigures(Protocol):
    """What a node uses can be read beside its kubelet."""

    def node_figures(self, spec: ClusterSpec, node: str) -> NodeFigures | None:
        """The figures now; None while the node is off or the kernel does not count."""


@runtime_checkable
class SupportsContainerd(Protocol):
    """The nodes' runtime is containerd, reached on every node by its own tool (``Feature.IMAGES``)."""

    def containerd(self, spec: ClusterSpec) -> tuple[str, ...]:
        """The argv of ``ctr`` on a node, up to its subcommand, the namespace of Kubernetes included.

        Raises:
            NotSupportedError: this cluster has another runtime.
        """


@runtime_checkable
class SupportsImageTool(Protocol):
    """Images are handled by a tool of the driver's own (``Feature.IMAGES``)."""

    def image_tool(self, spec: ClusterSpec) -> ImageTool | None:
        """The tool; None where this cluster's nodes run on containerd, which is asked by itself then."""


@runtime_checkable
class SupportsDashboard(Protocol):
    """Brings a dashboard of its own, called like the driver (``Feature.DASHBOARD``)."""

    def dashboard(self, spec: ClusterSpec, port: int) -> AbstractContextManager[str]:
        """Serve it on this host's loopback while the block runs; yields the address. Port 0 is any that is free.

        Raises:
            WaitTimeoutError: it did not come up.
            Localk8sError: the driver's tool failed.
        """


@runtime_checkable
class SupportsDockerEnvironment(Protocol):
    """The cluster has a docker of its own that this host's client reaches (``Feature.DOCKER_ENV``)."""

    def docker_environment(self, spec: ClusterSpec) -> Mapping[str, str]:
        """The variables for docker's client.

        Raises:
            NotSupportedError: this cluster has none; the hint says what to do instead.
        """


@dataclass(frozen=True, slots=True)
class NodeService:
    """A program that a node's supervisor keeps running, at each boot of the node again."""

    name: str
    """Lower-case letters and dashes."""
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: tuple[str, ...] = ()
    """Shell lines that run before it, at each start."""

    @property
    def log(self) -> str:
        """The file on the node with what it printed last."""
        return f"/var/log/localk8s/{self.name}/current"


@runtime_checkable
class SupportsServices(Protocol):
    """Programs can be supervised on a node. Without it a docker on a node cannot be had (``Feature.DOCKER_ENV``)."""

    @property
    def node_python(self) -> str:
        """A Python 3.11 or later on every node, with its standard library."""

    def start_service(self, spec: ClusterSpec, node: str, service: NodeService) -> None:
        """Let ``service`` run on ``node``; one of that name that runs is replaced when it is another. Idempotent."""

    def stop_service(self, spec: ClusterSpec, node: str, name: str) -> None:
        """End the service and forget it. Stopping what does not run succeeds."""

    def docker_tools(self, step: Step) -> NodeTools:
        """dockerd, docker and docker-registry on this host, with their libraries, to be copied to nodes.

        Raises:
            ArtifactError: they are not in the cache and cannot be fetched.
        """


@runtime_checkable
class SupportsMount(Protocol):
    """Directories of this host can appear on a node (``Feature.MOUNT``)."""

    def mount(self, spec: ClusterSpec, node: str, source: Path, target: str) -> None:
        """Let the host's directory ``source`` be the absolute path ``target`` on ``node``, until the node is switched off.

        Raises:
            CommandError: it cannot be; with the reason.
        """

    def unmount(self, spec: ClusterSpec, node: str, target: str) -> None:
        """Take it away again.

        Raises:
            CommandError: nothing is mounted there, or it is in use.
        """
