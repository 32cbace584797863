"""The native driver: the contract of ``drivers.base``, kept with namespaces on this Linux host.

Owns the driver's entry points and what it promises; how a cluster comes up stands in ``recipe``. What a quick
command such as ``ip`` does not need is imported where it is used.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from localk8s.artifacts.kinds import NodeRoot, NodeTools
from localk8s.drivers.base import Change, DriverContext, DriverInfo, Feature, NodeFigures, NodeService, Tool
from localk8s.drivers.bridge_rules import remove_rules
from localk8s.drivers.cluster_ranges import ranges
from localk8s.drivers.host_fit import old_tools
from localk8s.drivers.host_routes import taken_ranges
from localk8s.drivers.native import checks, network
from localk8s.drivers.native.cluster import NativeCluster, find_hierarchies
from localk8s.drivers.native.host_programs import HostPrograms
from localk8s.drivers.native.machine import check_root
from localk8s.drivers.native.node_files import CTR, PYTHON
from localk8s.drivers.native.plan import LINK_PREFIX, ClusterPlan, choose_network, identify
from localk8s.drivers.native.storage import ClusterDirectory
from localk8s.kubeadm.parameters import ADMIN_CONF
from localk8s.model.errors import Localk8sError, NotFoundError, PrerequisiteError, UsageError, WrongStateError
from localk8s.model.hints import as_root, command, host_command, instead
from localk8s.model.node import Node
from localk8s.model.progress import Reporter, Step
from localk8s.model.quantities import format_change
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import ClusterStatus, Finding
from localk8s.system import namespaces
from localk8s.system.cgroups import ControlGroup
from localk8s.system.host import is_root
from localk8s.system.locks import exclusive, host_wide

INFO = DriverInfo(
    name="native",
    title="native (namespaces on this Linux host)",
    features=frozenset(
        {
            Feature.MULTI_NODE,
            Feature.NODE_ADD,
            Feature.NODE_DELETE,
            Feature.NODE_STOP,
            Feature.SSH,
            Feature.COPY,
            Feature.DOCKER_ENV,
            Feature.IMAGES,
            Feature.MOUNT,
            Feature.HOST_ROUTES,
            Feature.NO_WAIT,
        }
    ),
    platforms=frozenset({"linux"}),
    tools=(Tool("ip"), Tool("mount"), Tool("nsenter"), Tool("unshare", "2.36")),
)


class NativeDriver:
    """Makes each node a set of namespaces on this host (a ``Driver``).

    Args:
        context: what every driver is handed.
    """

    info = INFO

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._runner = context.runner

    def check(self, spec: ClusterSpec) -> tuple[Finding, ...]:
        """What this host has and lacks for ``spec``."""
        return (*checks.check(spec, self._context), *old_tools(self.info.tools, self._runner, self.info.name))

    def complete(self, spec: ClusterSpec) -> ClusterSpec:
        """Fill in the version; refuse options that this driver does not have."""
        if spec.options:
            name = sorted(spec.options)[0]
            raise UsageError(f"The native driver has no option {name}.", hint=host_command("start", "--help"))
        if spec.control_planes != 1:
            raise UsageError("The native driver has one control plane.", hint=instead("--driver", "vagrant"))
        if spec.kubernetes_version is not None:
            return spec
        return replace(spec, kubernetes_version=self._context.artifacts.newest_version(spec.artifacts))

    def changes(self, recorded: ClusterSpec, wanted: ClusterSpec) -> tuple[Change, ...]:
        """Sizes grow and shrink live, disks and node counts grow; the rest needs a new cluster."""
        found = []
        old, new = recorded.size, wanted.size
        if old.memory != new.memory:
            found.append(Change("memory", *format_change(old.memory, new.memory), live=True))
        if old.cpus != new.cpus:
            found.append(Change("cpus", str(old.cpus), str(new.cpus), live=True))
        if old.disk != new.disk:
            found.append(Change("disk-size", *format_change(old.disk, new.disk), False, "a node's disk keeps its size"))
        if recorded.nodes != wanted.nodes:
            grows = wanted.nodes > recorded.nodes
            reason = "" if grows else "its pods and data would be lost"
            found.append(Change("nodes", str(recorded.nodes), str(wanted.nodes), grows, reason))
        if recorded.kubernetes_version != wanted.kubernetes_version:
            versions = (str(recorded.kubernetes_version), str(wanted.kubernetes_version))
            found.append(Change("kubernetes-version", *versions, False, "a cluster keeps its version"))
        return tuple(found)

    def create(self, spec: ClusterSpec, report: Reporter) -> None:
        """Bring ``spec`` up; see ``recipe``."""
        from localk8s.drivers.native import recipe

        context = self._context
        recipe.bring_up(self._cluster(spec, plan=True), context.artifacts, context.host, report, wait=context.wait)

    def start(self, spec: ClusterSpec, report: Reporter) -> None:
        """The same recipe: every step is idempotent."""
        self.create(spec, report)

    def stop(self, spec: ClusterSpec, report: Reporter) -> None:
        """Let containers and etcd end by themselves for a moment, then switch every node off."""
        from concurrent.futures import ThreadPoolExecutor

        from localk8s.drivers.native import members, recipe

        cluster = self._cluster(spec)
        with report.step("stop", f"stopping {recipe.plural(spec.nodes, 'node')}") as step:
            with ThreadPoolExecutor(max_workers=spec.nodes) as pool:
                recipe.run_all(pool, [partial(members.switch_off, node) for node in cluster.nodes])
            network.remove_cables(self._runner, [node.plan for node in cluster.nodes])
            step.finish_as(f"stopped {recipe.plural(spec.nodes, 'node')}")

    def delete(self, name: str, report: Reporter) -> None:
        """Remove every trace, also of what is only half there."""
        directory = self._directory(name)
        if directory.path.exists():
            self.check_privileges(name)
        identity = identify(str(self._context.directory.resolve()), name)
        with report.step("delete", "deleting the cluster") as step:
            with contextlib.suppress(Localk8sError):
                identity = directory.load_plan().identity
            group = ControlGroup(find_hierarchies(), f"localk8s-{identity}-{name}")
            if group.exists():
                group.empty()
                group.remove()
            self._forget_network(directory, identity)
            shutil.rmtree(directory.path, ignore_errors=True)
            if directory.path.exists():
                raise Localk8sError(f"{directory.path} could not be removed.", hint=f"rm -rf {directory.path}")
            step.finish_as("deleted")

    def inspect(self, spec: ClusterSpec) -> ClusterStatus:
        """What is there; see ``inspection``."""
        from localk8s.drivers.native import inspection

        return inspection.inspect(self._cluster(spec), partial(self.kubeconfig, spec))

    def nodes(self, spec: ClusterSpec) -> tuple[Node, ...]:
        """The machines, the control plane first."""
        return self._cluster(spec).nodes

    def kubeconfig(self, spec: ClusterSpec) -> str:
        """admin.conf of the control plane; who may not read that reads what was kept of it."""
        if not is_root():
            return self._kept_kubeconfig(spec)
        try:
            return self._cluster(spec).control_plane.read(ADMIN_CONF).decode()
        except NotFoundError as exc:
            raise WrongStateError(
                f'Cluster "{spec.name}" has no kubeconfig yet.', hint=command("start", cluster=spec.name)
            ) from exc

    def _kept_kubeconfig(self, spec: ClusterSpec) -> str:
        try:
            return self._context.layout.kubeconfig(spec.name).read_text(encoding="utf-8")
        except OSError as exc:
            hint = as_root(command("kubeconfig", cluster=spec.name))
            raise WrongStateError(f'Cluster "{spec.name}" has no kubeconfig yet.', hint=hint) from exc

    def check_privileges(self, cluster: str) -> None:
        """See ``SupportsPrivileges``."""
        check_root(f'Cluster "{cluster}" can only be changed by root.', command("status", cluster=cluster))

    def check_reachable(self, spec: ClusterSpec) -> None:
        """See ``SupportsReach``: after a reboot of this host its ranges are not fenced off until the next start."""
        from localk8s.drivers.native import inspection

        inspection.check_reachable(self._cluster(spec))

    def leftovers(self, known: Sequence[str]) -> tuple[Finding, ...]:
        """Directories, links and control groups of clusters without a record."""
        return checks.leftovers(known, self._context)

    def add_node(self, spec: ClusterSpec, report: Reporter) -> ClusterSpec:
        """See ``SupportsNodes``; takes the first number that is free."""
        directory = self._directory(spec.name)
        plan = directory.load_plan()
        if plan.gone:
            directory.save_plan(plan.with_room())
        wanted = replace(spec, nodes=spec.nodes + 1)
        self.create(wanted, report)
        return wanted

    def delete_node(self, spec: ClusterSpec, node: str, report: Reporter) -> ClusterSpec:
        """See ``SupportsNodes``."""
        from localk8s.drivers.native import members

        cluster = self._cluster(spec)
        if node not in [cluster.plan.node(index).name for index in cluster.plan.gone]:
            members.remove(cluster, members.find(cluster, node), report)
        return replace(spec, nodes=spec.nodes - 1)

    def stop_node(self, spec: ClusterSpec, node: str, report: Reporter) -> None:
        """See ``SupportsNodeStop``."""
        from localk8s.drivers.native import members

        found = members.find(self._cluster(spec), node)
        with report.step("stop", f"stopping {node}") as step:
            members.switch_off(found)
            network.remove_cables(self._runner, [found.plan])
            step.finish_as(f"stopped {node}")

    def start_node(self, spec: ClusterSpec, node: str, report: Reporter) -> None:
        """See ``SupportsNodeStop``."""
        from localk8s.drivers.native import members

        cluster, context = self._cluster(spec), self._context
        members.switch_on(cluster, members.find(cluster, node), context.artifacts, context.host, report)

    def prepare(self, spec: ClusterSpec, report: Reporter) -> None:
        """See ``SupportsPrepare``."""
        from localk8s.drivers.native import recipe

        assert spec.kubernetes_version is not None  # noqa: S101 - ``complete`` filled it in
        recipe.prepare(spec.kubernetes_version, self._context.artifacts, report)

    def kubectl(self, spec: ClusterSpec) -> Path | None:
        """See ``SupportsKubectl``: the cluster keeps its own programs."""
        program = self._directory(spec.name).binaries / "kubectl"
        return program if program.is_file() else None

    def logs(self, spec: ClusterSpec, node: str, lines: int) -> str:
        """See ``SupportsLogs``: what the supervised services of the node wrote."""
        check_root(f"What runs on node {node} writes where only root can read it.", command("logs", node, cluster=spec.name))
        from localk8s.drivers.native import members
        from localk8s.drivers.native.node_logs import read_logs

        cluster = self._cluster(spec)
        found, directory = members.find(cluster, node), cluster.directory
        return read_logs(found, self._runner, directory.node(found.plan), directory.disk_image(found.plan), lines)

    def node_figures(self, spec: ClusterSpec, node: str) -> NodeFigures | None:
        """See ``SupportsNodeFigures``: what the node's control group has used."""
        found = next((each for each in self._cluster(spec).nodes if each.name == node), None)
        used = None if found is None or found.process() is None else found.group.usage()
        return None if used is None else NodeFigures(*used)

    def containerd(self, spec: ClusterSpec) -> tuple[str, ...]:
        """See ``SupportsContainerd``."""
        return (CTR, "-n", "k8s.io")

    @property
    def node_python(self) -> str:
        """See ``SupportsServices``."""
        return PYTHON

    def start_service(self, spec: ClusterSpec, node: str, service: NodeService) -> None:
        """See ``SupportsServices``."""
        from localk8s.drivers.native import docker

        docker.start_service(self._node(spec, node), service)

    def stop_service(self, spec: ClusterSpec, node: str, name: str) -> None:
        """See ``SupportsServices``."""
        from localk8s.drivers.native import docker

        docker.stop_service(self._node(spec, node), name)

    def docker_tools(self, step: Step) -> NodeTools:
        """See ``SupportsServices``."""
        return self._context.artifacts.docker_tools(step)

    def mount(self, spec: ClusterSpec, node: str, source: Path, target: str) -> None:
        """See ``SupportsMount``."""
        self.check_privileges(spec.name)
        found = next(each for each in self._cluster(spec).nodes if each.name == node)
        namespaces.bind(self._runner, found.process(), source, target, node=node, hint=command("start", cluster=spec.name))

    def unmount(self, spec: ClusterSpec, node: str, target: str) -> None:
        """See ``SupportsMount``."""
        self._node(spec, node).run(["umount", "--recursive", target])

    def _node(self, spec: ClusterSpec, name: str) -> Node:
        return next(node for node in self.nodes(spec) if node.name == name)

    def setup_commands(self) -> tuple[tuple[str, ...], ...]:
        """What installs the missing tools."""
        return checks.setup_commands()

    def _directory(self, name: str) -> ClusterDirectory:
        return ClusterDirectory(self._context.directory / name)

    def _cluster(self, spec: ClusterSpec, *, plan: bool = False) -> NativeCluster:
        """The cluster of ``spec``; with ``plan`` its addresses are chosen if they were not yet."""
        directory = self._directory(spec.name)
        try:
            chosen = directory.load_plan()
        except NotFoundError:
            if not plan:
                raise
            chosen = self._plan(directory, spec.name)
        return NativeCluster(spec, chosen, directory, self._runner, find_hierarchies())

    def _plan(self, directory: ClusterDirectory, name: str) -> ClusterPlan:
        """Choose ranges, record them, and fence them off, before another home chooses: others know them by the routes."""
        with exclusive(self._context.layout.driver_lock("native"), what="The native driver", timeout=30), host_wide():
            taken = list(taken_ranges(self._runner))
            for other in self._context.directory.glob("*/plan.json"):
                with contextlib.suppress(Localk8sError):
                    taken += ranges(ClusterDirectory(other.parent).load_plan().network)
            identity = identify(str(self._context.directory.resolve()), name)
            plan = ClusterPlan(name=name, identity=identity, network=choose_network(taken))
            directory.save_plan(plan)
            network.fence(self._runner, plan)
            return plan

    def _forget_network(self, directory: ClusterDirectory, identity: str) -> None:
        try:
            plan = directory.load_plan()
        except Localk8sError:
            network.remove_links(self._runner, identity)
        else:
            network.remove_host_network(self._runner, plan)
        with contextlib.suppress(PrerequisiteError):  # without iptables there are no rules
            remove_rules(HostPrograms(self._runner, NodeRoot(directory.root)), f"{LINK_PREFIX}-{identity}")
