"""The Vagrant driver as the contract has it; the steps stand in ``recipe``, what is there in ``inspection``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

from localk8s.drivers.base import Change, DriverContext, DriverInfo, Feature, Tool
from localk8s.drivers.cluster_ranges import ranges
from localk8s.drivers.host_fit import old_tools
from localk8s.drivers.host_routes import taken_ranges
from localk8s.drivers.machines import MachineBox
from localk8s.drivers.vagrant import box_store, checks, members, pod_network, recipe, removal
from localk8s.drivers.vagrant.cluster import VagrantCluster, boxes, cluster_directory, identity, load, load_plan
from localk8s.drivers.vagrant.inspection import check_reachable, inspect
from localk8s.drivers.vagrant.inventory import render_inventory
from localk8s.drivers.vagrant.options import KNOWN, detect_provider, read_options
from localk8s.drivers.vagrant.plan import ClusterPlan, choose_network
from localk8s.drivers.vagrant.services import Services
from localk8s.model.errors import ConfigError, NotFoundError, NotSupportedError, UsageError, WrongStateError
from localk8s.model.hints import command, host_command, instead
from localk8s.model.node import Node
from localk8s.model.progress import Reporter
from localk8s.model.quantities import format_change
from localk8s.model.spec import DEFAULT_NODE_SIZE, ClusterSpec, NodeSize
from localk8s.model.status import ClusterState, ClusterStatus, Finding, Severity
from localk8s.model.versions import KubernetesVersion

INFO = DriverInfo(
    name="vagrant",
    title="vagrant (machines by Vagrant, on whatever provider it has)",
    features=frozenset(
        {
            Feature.MULTI_NODE,
            Feature.CONTROL_PLANES,
            Feature.NODE_ADD,
            Feature.NODE_DELETE,
            Feature.NODE_STOP,
            Feature.SSH,
            Feature.COPY,
            Feature.DOCKER_ENV,
            Feature.MOUNT,
            Feature.IMAGES,
            Feature.RENDER,
        }
    ),
    platforms=frozenset({"linux", "darwin", "win32"}),
    tools=(Tool("vagrant", "2.3.4"), Tool("ssh")),
    options=frozenset(KNOWN),
)
MOST_MACHINES = 40


class VagrantDriver(Services):
    """Makes clusters of machines (a ``Driver``).

    Args:
        context: what drivers are handed.
    """

    def __init__(self, context: DriverContext) -> None:
        self._context = context

    @property
    def info(self) -> DriverInfo:
        """See ``Driver.info``."""
        return INFO

    def check(self, spec: ClusterSpec) -> tuple[Finding, ...]:
        """See ``Driver.check``."""
        try:
            spec = replace(spec, options=self._wished(spec))
        except ConfigError as exc:
            return (Finding(Severity.ERROR, "configuration", exc.message, exc.hint),)
        return (*checks.check(spec, self._context), *old_tools(INFO.tools, self._context.runner, INFO.name))

    def complete(self, spec: ClusterSpec) -> ClusterSpec:
        """See ``Driver.complete``: names the provider, and bounds what was left open."""
        wished = self._wished(spec)
        options = read_options(wished)
        if spec.nodes > MOST_MACHINES:
            raise UsageError(f"{spec.nodes} machines are more than {MOST_MACHINES}.", hint=instead("--nodes", "3"))
        if spec.control_planes == 2 and not cluster_directory(self._context, spec.name).exists():
            raise UsageError(
                "Two control planes are worse than one: etcd stops when either is lost.",
                hint=instead("--control-planes", "3"),
            )
        checks.refuse_disk(spec, options)
        size = NodeSize(
            cpus=spec.size.cpus or DEFAULT_NODE_SIZE.cpus,
            memory=spec.size.memory or DEFAULT_NODE_SIZE.memory,
            disk=(spec.size.disk or DEFAULT_NODE_SIZE.disk) if options.provider.bounds_disk else None,
        )
        version = spec.kubernetes_version or self._context.artifacts.newest_version(spec.artifacts)
        chosen = {**wished, "provider": options.provider.name}
        if options.cni_manifest:
            chosen[pod_network.MANIFEST] = str(Path(options.cni_manifest).expanduser().absolute())
        if options.cni.foreign and not (cluster_directory(self._context, spec.name) / "cni.yaml").exists():
            pod_network.read_manifest(options.cni, chosen.get(pod_network.MANIFEST, ""))
        return replace(spec, size=size, kubernetes_version=version, options=chosen)

    def changes(self, recorded: ClusterSpec, wanted: ClusterSpec) -> tuple[Change, ...]:
        """See ``Driver.changes``: machines can be added while the others run."""
        found = []
        if wanted.nodes != recorded.nodes:
            grows = wanted.nodes > recorded.nodes
            gone = command("node delete", "NODE", cluster=recorded.name)
            reason = "" if grows else f"which machine has to go must be said: {gone}"
            found.append(Change("nodes", str(recorded.nodes), str(wanted.nodes), live=grows, reason=reason))
        if recorded.size.disk is not None and wanted.size.disk is None:  # promised by an older localk8s, never held
            found.append(Change("disk-size", *format_change(recorded.size.disk, None), live=True))
        for field, before, after in _differences(recorded, wanted):
            found.append(Change(field, before, after, live=False, reason="a machine keeps what it was made with"))
        return tuple(found)

    def create(self, spec: ClusterSpec, report: Reporter) -> None:
        """See ``Driver.create``."""
        cluster = VagrantCluster(self._context, spec, self._plan(spec))
        if cluster.plan.indices and len(cluster.plan.indices) < spec.nodes:
            cluster.save_plan(cluster.plan.grown(spec.nodes))
        recipe.bring_up(cluster, report)

    def start(self, spec: ClusterSpec, report: Reporter) -> None:
        """See ``Driver.start``."""
        if load_plan(self._context, spec.name) and self.inspect(spec).state is ClusterState.RUNNING:
            plan = load_plan(self._context, spec.name)
            if len(plan.indices) == spec.nodes:
                return
        self.create(spec, report)

    def stop(self, spec: ClusterSpec, report: Reporter) -> None:
        """See ``Driver.stop``."""
        cluster = load(self._context, spec)
        with report.step("stop", f"stopping {spec.nodes} machines") as step:
            members.switch_off(cluster, cluster.plan.machines)
            step.finish_as(f"stopped {len(cluster.plan.machines)} machines")

    def delete(self, name: str, report: Reporter) -> None:
        """See ``Driver.delete``."""
        try:
            plan = load_plan(self._context, name)
        except NotFoundError:
            plan = self._lost_plan(name)
        spec = ClusterSpec(name, INFO.name, options={"provider": plan.provider})
        cluster = VagrantCluster(self._context, spec, plan)
        with report.step("delete", "deleting machines"):
            removal.remove(cluster)
            cluster.forget()

    def inspect(self, spec: ClusterSpec) -> ClusterStatus:
        """See ``Driver.inspect``."""
        return inspect(load(self._context, spec))

    def nodes(self, spec: ClusterSpec) -> tuple[Node, ...]:
        """See ``Driver.nodes``."""
        return load(self._context, spec).nodes

    def kubeconfig(self, spec: ClusterSpec) -> str:
        """See ``Driver.kubeconfig``."""
        try:
            content = load(self._context, spec).kubeconfig
        except NotFoundError:
            content = ""
        if not content:
            raise WrongStateError(f'Cluster "{spec.name}" has no kubeconfig yet.', hint=command("start", cluster=spec.name))
        return content

    def kubectl(self, spec: ClusterSpec) -> Path | None:
        """See ``SupportsKubectl``: a copy of the machines' own, made when it is first asked for."""
        program = cluster_directory(self._context, spec.name) / "bin" / "kubectl"
        if not program.is_file() and self._context.host.facts().platform == "linux":
            members.copy_kubectl(load(self._context, spec), program)
        return program if program.is_file() else None

    def check_reachable(self, spec: ClusterSpec) -> None:
        """See ``SupportsReach``."""
        check_reachable(load(self._context, spec))

    def leftovers(self, known: Sequence[str]) -> tuple[Finding, ...]:
        """See ``Driver.leftovers``."""
        return checks.leftovers(known, self._context)

    def add_node(self, spec: ClusterSpec, report: Reporter) -> ClusterSpec:
        """See ``SupportsNodes.add_node``."""
        wanted = replace(spec, nodes=spec.nodes + 1)
        self.create(wanted, report)
        return wanted

    def delete_node(self, spec: ClusterSpec, node: str, report: Reporter) -> ClusterSpec:
        """See ``SupportsNodes.delete_node``."""
        cluster = load(self._context, spec)
        members.remove(cluster, members.find(cluster, node), report)
        planes = len(cluster.plan.control_planes)
        return replace(spec, nodes=len(cluster.plan.indices), control_planes=planes)

    def stop_node(self, spec: ClusterSpec, node: str, report: Reporter) -> None:
        """See ``SupportsNodeStop``."""
        cluster = load(self._context, spec)
        machine = members.find(cluster, node)
        with report.step("stop", f"stopping {node}") as step:
            members.switch_off(cluster, (machine,))
            step.finish_as(f"stopped {node}")

    def start_node(self, spec: ClusterSpec, node: str, report: Reporter) -> None:
        """See ``SupportsNodeStop``."""
        cluster = load(self._context, spec)
        members.switch_on(cluster, members.find(cluster, node), report)

    def prepare(self, spec: ClusterSpec, report: Reporter) -> None:
        """See ``SupportsPrepare.prepare``: builds the box."""
        options = read_options(spec.options)
        version = spec.kubernetes_version
        if options.builds_box and version is not None:
            with report.step("box", f"building a {options.provider.name} box") as step:
                boxes(self._context).build(options.provider.name, version, spec.artifacts, step)

    def logs(self, spec: ClusterSpec, node: str, lines: int) -> str:
        """See ``SupportsLogs.logs``."""
        cluster = load(self._context, spec)
        return members.logs(cluster, members.find(cluster, node), lines)

    def render(self, spec: ClusterSpec) -> str:
        """See ``SupportsRender``: the Vagrantfile."""
        try:
            return load(self._context, spec).render()
        except NotFoundError:
            plan = self._new_plan(spec)
        if read_options(spec.options).builds_box:
            box = box_store.with_version(self._context.layout.boxes, plan.provider, spec.kubernetes_version)
            if box is None:
                made = f"with Kubernetes {spec.kubernetes_version} for {plan.provider}"
                raise WrongStateError(
                    f"There is no box {made} yet.", hint=host_command("box build", "--provider", plan.provider)
                )
            plan = replace(plan, box=box.key)
        return VagrantCluster(self._context, spec, plan).render()

    def build_box(
        self, provider: str | None, version: KubernetesVersion | None, artifacts: str | None, report: Reporter
    ) -> MachineBox:
        """See ``SupportsBoxes``."""
        name = provider or self._context.settings.get("provider") or detect_provider()
        wanted = version or self._context.artifacts.newest_version(artifacts)
        with report.step("box", f"building a {name} box with Kubernetes {wanted}") as step:
            return box_store.describe(boxes(self._context).build(name, wanted, artifacts, step))

    def boxes(self) -> tuple[MachineBox, ...]:
        """See ``SupportsBoxes``."""
        return tuple(box_store.describe(box) for box in box_store.stored(self._context.layout.boxes))

    def delete_boxes(self, names: Sequence[str]) -> None:
        """See ``SupportsBoxes``."""
        box_store.remove(self._context.layout.boxes, names, self._context.runner)

    def containerd(self, spec: ClusterSpec) -> tuple[str, ...]:
        """See ``SupportsContainerd``."""
        return ("ctr", "-n", "k8s.io")

    def inventory(self, spec: ClusterSpec) -> str:
        """See ``SupportsInventory``."""
        cluster = load(self._context, spec)
        if not cluster.entries():
            raise WrongStateError(
                f'No machine of cluster "{spec.name}" was ever booted.', hint=command("start", cluster=spec.name)
            )
        return render_inventory(cluster.plan, cluster.entries())

    def setup_commands(self) -> tuple[tuple[str, ...], ...]:
        """See ``SupportsSetup.setup_commands``: Debian's packages for the provider that is there, or for LXC."""
        try:
            provider = self._context.settings.get("provider") or detect_provider()
        except Exception:
            provider = "lxc"
        return checks.setup_commands(provider if provider in checks.PACKAGES else "lxc")

    def _wished(self, spec: ClusterSpec) -> dict[str, str]:
        """The options asked for; for a new cluster the configuration's section fills in what was left open.

        Raises:
            ConfigError: the section holds something unusable.
        """
        settings = self._context.settings
        if not settings or cluster_directory(self._context, spec.name).exists():
            return dict(spec.options)
        try:
            read_options({"provider": "lxc", **settings})
        except UsageError as exc:
            raise ConfigError(
                f"The section vagrant of the configuration: {exc.message}", hint=host_command("config view")
            ) from exc
        return {**settings, **spec.options}

    def _plan(self, spec: ClusterSpec) -> ClusterPlan:
        """The cluster's plan; made and kept before anything else is."""
        try:
            return load_plan(self._context, spec.name)
        except NotFoundError:
            plan = self._new_plan(spec)
            VagrantCluster(self._context, spec, plan).save_plan(plan)
            return plan

    def _new_plan(self, spec: ClusterSpec) -> ClusterPlan:
        options = read_options(spec.options)
        facts = self._context.host.facts()
        taken = [*taken_ranges(self._context.runner), *self._planned_ranges()]
        shares_host = not options.provider.virtual_machines
        plan = ClusterPlan(
            name=spec.name,
            identity=identity(self._context, spec.name),
            provider=options.provider.name,
            network=choose_network(taken, options.provider.name),
            control_planes=tuple(range(1, spec.control_planes + 1)),
            balanced=spec.control_planes > 1,
            host_memory=facts.memory_total if shares_host else 0,
            host_cpus=facts.cpus if shares_host else 0,
            cgroup_v1=shares_host and not Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        )
        if plan.balanced and not options.provider.static_address:
            raise NotSupportedError(
                f"{options.provider.title} gives machines their addresses, so control planes cannot share one.",
                hint=instead("--control-planes", "1"),
            )
        return plan.grown(spec.nodes)

    def _planned_ranges(self) -> list[IPv4Network]:
        found: list[IPv4Network] = []
        for path in (self._context.directory / "clusters").glob("*/plan.json"):
            try:
                found += ranges(load_plan(self._context, path.parent.name).network)
            except NotFoundError:
                continue
        return found

    def _lost_plan(self, name: str) -> ClusterPlan:
        """Enough of a plan to look for what may be left of a cluster whose plan is gone."""
        known = cluster_directory(self._context, name)
        machines = known / ".vagrant/machines"
        providers = {path.parent.name for path in machines.glob("*/*/id")} & {"lxc", "libvirt"}
        provider = min(providers) if providers else "lxc" if checks.find_program("lxc-create") else "virtualbox"
        return ClusterPlan(name, identity(self._context, name), provider, choose_network((), "lxc"), (1,))


def _differences(recorded: ClusterSpec, wanted: ClusterSpec) -> list[tuple[str, str, str]]:
    found = []
    for field in ("memory", "disk", "cpus"):
        before, after = getattr(recorded.size, field), getattr(wanted.size, field)
        if after is not None and before != after:
            shown = (str(before), str(after)) if field == "cpus" else format_change(before, after)
            found.append(("disk-size" if field == "disk" else field, *shown))
    if wanted.control_planes != recorded.control_planes:
        found.append(("control-planes", str(recorded.control_planes), str(wanted.control_planes)))
    if wanted.kubernetes_version not in (None, recorded.kubernetes_version):
        found.append(("kubernetes-version", str(recorded.kubernetes_version), str(wanted.kubernetes_version)))
    options = recorded.options
    found += [(key, options.get(key, ""), value) for key, value in wanted.options.items() if value != options.get(key, "")]
    return found
