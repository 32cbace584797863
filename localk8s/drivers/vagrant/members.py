"""Single machines of a cluster that runs: removed, switched off and on, their logs, their kubectl. Recipes of one machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from localk8s.drivers.vagrant import recipe
from localk8s.drivers.vagrant.cluster import VagrantCluster
from localk8s.drivers.vagrant.plan import Machine
from localk8s.drivers.vagrant.providers import machine_state
from localk8s.kube.readiness import wait_nodes
from localk8s.kube.rest import RestClient
from localk8s.kubeadm import machines as kubeadm
from localk8s.model.errors import CommandError, Localk8sError, NotFoundError, UsageError, WrongStateError
from localk8s.model.hints import command
from localk8s.model.node import Node
from localk8s.model.progress import Reporter
from localk8s.model.status import NodeState
from localk8s.system.wait import wait_until

_UNITS = ("kubelet", "containerd")
_GONE = (NodeState.STOPPED, NodeState.BROKEN)


def find(cluster: VagrantCluster, name: str) -> Machine:
    """The machine called ``name``.

    Raises:
        NotFoundError: the cluster has none of that name.
    """
    machine = cluster.plan.named(name)
    if machine is None:
        known = ", ".join(machine.name for machine in cluster.plan.machines)
        raise NotFoundError(
            f'Cluster "{cluster.spec.name}" has no node {name!r}: it has {known}.',
            hint=command("node list", cluster=cluster.spec.name),
        )
    return machine


def copy_kubectl(cluster: VagrantCluster, program: Path) -> None:
    """Copy the machines' kubectl to ``program`` on this host, from the first control plane that answers; none may."""
    for index in cluster.plan.control_planes:
        machine = cluster.plan.machine(index)
        partial = program.with_name(f"{program.name}.{os.getpid()}")
        with contextlib.suppress(Localk8sError):
            if cluster.exists(machine) and recipe.listens(machine):
                node = cluster.node(machine)
                node.copy_out(node.run(["sh", "-c", "command -v kubectl"], timeout=20).stdout.strip(), partial)
                partial.chmod(0o755)
                partial.replace(program)
                return


def remove(cluster: VagrantCluster, machine: Machine, report: Reporter) -> None:
    """Drain the node, take it out of the cluster and destroy its machine. A machine that is off or gone goes too.

    Raises:
        UsageError: it is the only control plane.
        WrongStateError: no other control plane runs that could let it go.
    """
    if cluster.plan.control_planes == (machine.index,):
        raise UsageError(
            f"{machine.name} is the only control plane: without it there is no cluster.",
            hint=command("delete", cluster=cluster.spec.name),
        )
    first = _other_control_plane(cluster, machine)
    running = cluster.exists(machine) and recipe.listens(machine)
    with report.step("drain", f"draining {machine.name}") as step:
        if running:
            kubeadm.drain(first, machine.name)
        step.finish_as(f"drained {machine.name}")
    with report.step("remove", f"removing {machine.name}") as step:
        if running:
            kubeadm.reset(cluster.node(machine))
        if machine.index in cluster.plan.control_planes:
            kubeadm.remove_member(first, machine.name)
        kubeadm.forget_node(first, machine.name)
        with contextlib.suppress(NotFoundError):  # it was never booted
            cluster.node(machine).fresh()
        cluster.client.destroy(machine.name)
        cluster.save_plan(cluster.plan.without(machine.index))
        cluster.write_vagrantfile()
        others = [other for other in cluster.plan.machines if recipe.listens(other)]
        recipe.each(others, lambda other: recipe.send_files(cluster, other))
        step.finish_as(f"removed {machine.name}")


def _other_control_plane(cluster: VagrantCluster, machine: Machine) -> Node:
    for index in cluster.plan.control_planes:
        other = cluster.plan.machine(index)
        if index != machine.index and cluster.exists(other) and recipe.listens(other):
            node = cluster.node(other)
            if kubeadm.is_control_plane(node):
                return node
    raise WrongStateError("No control plane of the cluster runs.", hint=command("start", cluster=cluster.spec.name))


def switch_off(cluster: VagrantCluster, machines: Sequence[Machine]) -> None:
    """Switch machines off from within, all at once, and by Vagrant where that does not help. What is off stays off."""
    limit = 60.0 if cluster.traits.kvm else 240.0
    wanted = [machine for machine in machines if cluster.exists(machine)]
    if not wanted:
        return
    for machine in recipe.power_off(cluster, wanted, limit):
        cluster.client.halt(machine.name, force=True)
    names = {machine.name for machine in wanted}

    def off() -> bool:
        states = cluster.client.states()
        return all(machine_state(states.get(name, "not_created")) in _GONE for name in names)

    wait_until(off, what="the machines to be off", timeout=limit, interval=0.2, hint=command("stop", cluster=cluster.spec.name))


def switch_on(cluster: VagrantCluster, machine: Machine, report: Reporter) -> None:
    """Bring one machine back and wait until its node is Ready by a word from after the boot."""
    began = datetime.now(UTC)
    cluster.write_vagrantfile()
    with report.step("boot", f"booting {machine.name}") as step:
        if not (cluster.exists(machine) and recipe.listens(machine)):
            cluster.node(machine).fresh()
            cluster.client.up([machine.name], cluster.plan.provider)
        recipe.send_files(cluster, machine)
        step.finish_as(f"booted {machine.name}")
    with report.step("ready", f"waiting for {machine.name}") as step:
        client = RestClient.from_kubeconfig(cluster.kubeconfig)
        try:
            limit = float(cluster.parameters.control_plane_timeout)
            wait_nodes(client, [machine.name], timeout=limit, heard_since=began)
        finally:
            client.close()
        step.finish_as(f"{machine.name} is ready")


def logs(cluster: VagrantCluster, machine: Machine, lines: int) -> str:
    """The last ``lines`` lines of each unit and each control plane container on a machine."""
    node = cluster.node(machine)
    parts = []
    for unit in _UNITS:
        done = node.run(["journalctl", "--no-pager", "-o", "short-iso", "-n", str(lines), "-u", unit], check=False)
        parts.append(f"==> {unit} <==\n{done.stdout}")
    listing = node.run(["sh", "-c", "ls -t /var/log/pods/kube-system_*/*/*.log 2>/dev/null"], check=False)
    seen = set()
    for path in listing.stdout.split():
        container = path.split("/")[-2]
        if container in seen:
            continue
        seen.add(container)
        try:
            text = node.run(["tail", "-n", str(lines), path]).stdout
        except CommandError:
            continue  # rotated away meanwhile
        parts.append(f"==> {container} <==\n{text}")
    return "".join(parts)
