"""One native cluster on this host, as an object: its plan, its parameters, its nodes, what they are born with.

Owns what follows from plan and spec; ``recipe`` says in which order things happen.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from localk8s.artifacts.images import own_scripts
from localk8s.artifacts.kinds import NodeRoot
from localk8s.drivers.host_routes import has_uplink
from localk8s.drivers.native import bounds
from localk8s.drivers.native.host_programs import HostPrograms
from localk8s.drivers.native.host_settings import host_settings
from localk8s.drivers.native.machine import NativeNode, boot_failure, release
from localk8s.drivers.native.network import (
    connect_node,
    link_exists,
    node_batch,
    run_batch,
)
from localk8s.drivers.native.node_files import (
    CONTAINERD_CONFIG,
    LIBRARY,
    NO_DOCKER,
    RESOLV_CONF,
    SERVICES,
    START_SERVICES,
    cni_configuration,
    containerd_configuration,
    find_upstream,
    hosts_file,
    log_script,
    machine_identity,
    no_docker_script,
    resolv_conf,
    run_script,
    services,
)
from localk8s.drivers.native.plan import ClusterPlan, NodePlan
from localk8s.drivers.native.storage import ClusterDirectory, has_failed_disk, prepare_disk
from localk8s.kubeadm.parameters import API_PORT, KubeadmParameters, Reservation
from localk8s.model.errors import CommandError, WrongStateError
from localk8s.model.hints import command
from localk8s.model.quantities import MIB
from localk8s.model.spec import ClusterSpec
from localk8s.system.cgroups import ControlGroup, Hierarchy, parse_hierarchies
from localk8s.system.files import write_atomic
from localk8s.system.host import HostFacts
from localk8s.system.process import HostRunner
from localk8s.system.wait import wait_until

EVICTION_MEMORY = 50 * MIB
_CAP_SYS_RESOURCE = 24


@dataclass(frozen=True, slots=True)
class NativeCluster:
    """A cluster of this driver; nothing is made by knowing it."""

    spec: ClusterSpec
    plan: ClusterPlan
    directory: ClusterDirectory
    runner: HostRunner
    hierarchies: tuple[Hierarchy, ...]

    @property
    def group(self) -> ControlGroup:
        """The control group of all its nodes."""
        return ControlGroup(self.hierarchies, self.plan.cgroup)

    @property
    def host(self) -> HostPrograms:
        """Runs what sets up this host's network."""
        return HostPrograms(self.runner, NodeRoot(self.directory.root))

    @property
    def nodes(self) -> tuple[NativeNode, ...]:
        """All nodes of the spec."""
        return tuple(self.node(plan) for plan in self.plan.nodes(self.spec.nodes))

    @property
    def control_plane(self) -> NativeNode:
        """Node 1."""
        return self.node(self.plan.node(1))

    def node(self, plan: NodePlan) -> NativeNode:
        """The node of ``plan``."""
        group = ControlGroup(self.hierarchies, f"{self.plan.cgroup}/{plan.name}")
        return NativeNode(plan, group, self.runner, self.spec.name, self.directory.node(plan))

    def parameters(self, facts: HostFacts) -> KubeadmParameters:
        """What kubeadm's phases need to know."""
        version = self.spec.kubernetes_version
        if version is None:
            raise WrongStateError(
                f'Cluster "{self.spec.name}" has no version yet.', hint=command("start", cluster=self.spec.name)
            )
        return KubeadmParameters(
            cluster=self.spec.name,
            version=version,
            network=self.plan.network,
            endpoint=f"{self.plan.node(1).address}:{API_PORT}",
            cgroup_v1=not any(hierarchy.version == 2 and "memory" in offered_by(hierarchy) for hierarchy in self.hierarchies),
            reservation=reservation(self.spec, facts),
            certificate_names=("127.0.0.1", "localhost", str(self.plan.gateway)),
        )

    def is_up(self, node: NativeNode) -> bool:
        """Whether ``node`` need not be booted: its supervisor runs, on a disk that takes what is written."""
        return node.is_supervised() and not has_failed_disk(node.process() or 0)

    def boot(self, node: NativeNode, parameters: KubeadmParameters, pause: str) -> None:
        """Bring ``node`` up, if it is off, with its network; its supervisor starts everything else."""
        nodes = self.plan.nodes(self.spec.nodes)
        uplink = has_uplink(self.runner)
        if not self.is_up(node) or not link_exists(self.runner, node.plan.link):  # its cable may be elsewhere
            node.kill()  # what may be left of a boot that was killed half-way
            node.group.remove()
            node.group.make()
            prepare_disk(self.runner, NodeRoot(self.directory.root), self._disk(node.plan), self.spec.size.disk)
            self._give_files(node.plan, parameters, pause, uplink)
            log = self.directory.boot_log(node.plan)
            boot = node.boot(self._environment(node.plan), self.directory.init_script, log)
            process = node.wait_for_process(log)
            try:
                connect_node(self.runner, self.plan, node.plan, process)
                self._lay_routes(process, node.plan, nodes, uplink)
            except CommandError as exc:
                if node.process() is None:  # it died meanwhile, and knows why
                    raise boot_failure(node.name, log) from exc
                raise
            wait_until(node.is_waiting, what=f"node {node.name} to boot", timeout=15, interval=0.01)
            node.group.move_own_processes("system")
            release(boot, process, node.name, log)
        else:
            node.end_orphans()
            node.run(["sh", "-c", START_SERVICES], check=False)
            self._lay_routes(node.process() or 0, node.plan, nodes, uplink)
            node.write("/etc/hosts", hosts_file(nodes))
        bounds.enforce(node, self.spec)

    def _lay_routes(self, process: int, node: NodePlan, nodes: tuple[NodePlan, ...], uplink: bool) -> None:
        inside = self.runner.with_prefix(["nsenter", f"--net=/proc/{process}/ns/net"])
        run_batch(inside, node_batch(self.plan, node, nodes, uplink=uplink))

    def _disk(self, node: NodePlan) -> Path:
        directory = self.directory.node(node)
        directory.mkdir(parents=True, exist_ok=True)
        return self.directory.disk_image(node)

    def _environment(self, node: NodePlan) -> dict[str, str]:
        directory = Path(os.path.realpath(self.directory.path))  # a link on the host would lead nowhere from the node's root
        return {
            "CLUSTER_DIR": str(directory),
            "NODE_DIR": str(directory / self.directory.node(node).relative_to(self.directory.path)),
            "NODE_NAME": node.name,
            "NODE_DISK": str(self.directory.disk_image(node)) if self.spec.size.disk else "",
            "CGROUPS": "\n".join(f"{h.version} {h.mount} {h.mount_options or '-'}" for h in self.hierarchies),
            "POD_RANGE": str(self.plan.network.pods),
            "NODE_RANGE": str(self.plan.network.nodes),
        }

    def _give_files(self, node: NodePlan, parameters: KubeadmParameters, pause: str, uplink: bool) -> None:
        """Write what the node copies over its root when it boots: for the next boot all of it is written again."""
        for script in (self.directory.init_script, self.directory.boot_script):
            write_atomic(script, (Path(__file__).parent / script.name).read_text(), mode=0o755)
        given = self.directory.given(node)
        shutil.rmtree(given, ignore_errors=True)
        upstream = find_upstream([_read(path) for path in RESOLV_CONF], uplink=uplink)
        containerd = containerd_configuration(pause, may_raise_priority=may_raise_priority(_read("/proc/self/status")))
        files: dict[str, str | bytes] = {
            **host_settings(),
            **{f"{LIBRARY}/{name}": module.read_bytes() for name, module in own_scripts()[1].items()},
            "/etc/resolv.conf": resolv_conf(upstream),
            "/etc/hosts": hosts_file(self.plan.nodes(self.spec.nodes)),
            "/etc/hostname": f"{node.name}\n",
            "/etc/machine-id": machine_identity(self.plan, node),
            "/etc/cni/net.d/10-localk8s.conflist": cni_configuration(node),
            CONTAINERD_CONFIG: containerd,
        }
        programs = {NO_DOCKER: no_docker_script()}
        for service in services(parameters, self.plan, node, upstream=upstream):
            programs[f"{SERVICES}/{service.name}/run"] = run_script(service)
            programs[f"{SERVICES}/{service.name}/log/run"] = log_script(service)
        _write(given, files, 0o644)
        _write(given, programs, 0o755)


def _write(root: Path, files: Mapping[str, str | bytes], mode: int) -> None:
    for name, content in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)


def reservation(spec: ClusterSpec, facts: HostFacts) -> Reservation:
    """What each kubelet leaves alone, since it sees the whole host: what the host has beyond the node's size."""
    cpus = Decimal(0) if spec.size.cpus is None else max(Decimal(0), facts.cpus - spec.size.cpus)
    memory = 0 if spec.size.memory is None else max(0, facts.memory_total - spec.size.memory)
    return Reservation(
        cpus=f"{math.floor(cpus * 1000)}m",
        memory=f"{memory // 1024}Ki",
        memory_threshold=f"{EVICTION_MEMORY // 1024}Ki",
    )


def find_hierarchies() -> tuple[Hierarchy, ...]:
    """The control group hierarchies of this host."""
    return parse_hierarchies(_read("/proc/self/mountinfo"))


def may_raise_priority(status: str) -> bool:
    """Whether the process with this ``/proc/PID/status`` has CAP_SYS_RESOURCE (capabilities(7))."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    return False


def offered_by(hierarchy: Hierarchy) -> tuple[str, ...]:
    """The controllers that a hierarchy of version 2 has for its children; none for one of version 1."""
    return tuple(_read(str(hierarchy.mount / "cgroup.controllers")).split())


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
