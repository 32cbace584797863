"""Single nodes of a native cluster that runs: removed, switched off and on. Recipes of one node."""

from __future__ import annotations

import contextlib
import shutil
from datetime import UTC, datetime

from localk8s.artifacts.base import Artifacts
from localk8s.drivers.native import network, recipe
from localk8s.drivers.native.cluster import NativeCluster
from localk8s.drivers.native.machine import NativeNode
from localk8s.drivers.native.node_files import SERVICES, hosts_file
from localk8s.kube.readiness import wait_api, wait_nodes
from localk8s.kube.rest import RestClient
from localk8s.kubeadm import machines as kubeadm
from localk8s.kubeadm import phases
from localk8s.kubeadm.parameters import ADMIN_CONF
from localk8s.model.errors import Localk8sError, NotFoundError, UsageError, WrongStateError
from localk8s.model.hints import command
from localk8s.model.progress import Reporter
from localk8s.model.status import NodeRole
from localk8s.system.host import Host

_GRACE = 5.0
"""Seconds that containers have to end by themselves at a stop."""
_LIMIT = 180.0


def find(cluster: NativeCluster, name: str) -> NativeNode:
    """The node called ``name``.

    Raises:
        NotFoundError: the cluster has none of that name.
    """
    for node in cluster.nodes:
        if node.name == name:
            return node
    raise NotFoundError(
        f'Cluster "{cluster.spec.name}" has no node {name!r}.', hint=command("node list", cluster=cluster.spec.name)
    )


def remove(cluster: NativeCluster, node: NativeNode, report: Reporter) -> None:
    """Drain the node, take it out of the cluster and remove everything of it. One that is off or half gone goes too.

    Raises:
        UsageError: it is the control plane.
        WrongStateError: the control plane is off.
    """
    if node.role is NodeRole.CONTROL_PLANE:
        raise UsageError(
            f"{node.name} is the only control plane: without it there is no cluster.",
            hint=command("delete", cluster=cluster.spec.name),
        )
    first = cluster.control_plane
    if first.process() is None:
        raise WrongStateError("The control plane of the cluster is off.", hint=command("start", cluster=cluster.spec.name))
    with report.step("drain", f"draining {node.name}") as step:
        if node.process() is not None:
            kubeadm.drain(first, node.name)
        step.finish_as(f"drained {node.name}")
    with report.step("remove", f"removing {node.name}") as step:
        switch_off(node)
        kubeadm.forget_node(first, node.name)
        node.group.remove()
        network.remove_cables(cluster.runner, [node.plan])
        shutil.rmtree(cluster.directory.node(node.plan), ignore_errors=True)
        _forget_routes(cluster, node)
        cluster.directory.save_plan(cluster.plan.without(node.plan.index, cluster.spec.nodes))
        step.finish_as(f"removed {node.name}")


def _forget_routes(cluster: NativeCluster, gone: NativeNode) -> None:
    """Take the ways to the node's pods off the host and the other nodes, and its name out of their files."""
    route = f"route delete {gone.plan.pods} via {gone.address}\n"
    network.run_batch(cluster.runner, route, force=True)
    others = [node for node in cluster.nodes if node.name != gone.name]
    for node in others:
        process = node.process()
        if process is not None:
            inside = cluster.runner.with_prefix(["nsenter", f"--net=/proc/{process}/ns/net"])
            network.run_batch(inside, route, force=True)
            node.write("/etc/hosts", hosts_file([other.plan for other in others]))


def switch_off(node: NativeNode) -> None:
    """The kubelet first, so that it restarts nothing; then the containers, then etcd; the rest bears a kill."""
    if node.process() is not None:
        with contextlib.suppress(Localk8sError):  # it may be dying already
            node.run(["sv", "-w", "3", "force-stop", f"{SERVICES}/kubelet"], check=False)
            node.end_gently("kubepods", timeout=_GRACE)
            if node.role is NodeRole.CONTROL_PLANE:
                node.run(["sv", "-w", "3", "force-stop", f"{SERVICES}/etcd"], check=False)
    node.kill()


def switch_on(cluster: NativeCluster, node: NativeNode, artifacts: Artifacts, host: Host, report: Reporter) -> None:
    """Bring one node back and wait until it is Ready by a word from after the boot.

    Raises:
        WrongStateError: it has never joined.
    """
    bringing = recipe.Bringing(cluster, cluster.parameters(host.facts()), since=datetime.now(UTC))
    with report.step("boot", f"booting {node.name}") as step:
        recipe.fetch(bringing, artifacts, step)
        was_off = not node.is_supervised()
        network.lay_host_network(cluster.host, cluster.plan)
        cluster.boot(node, bringing.parameters, bringing.pause)
        routes = network.route_batch(cluster.plan, cluster.plan.nodes(cluster.spec.nodes))
        network.run_batch(cluster.runner, routes)
        step.finish_as(f"booted {node.name}")
    if node.role is NodeRole.WORKER and not phases.has_joined(node):
        raise WrongStateError(f"{node.name} has never joined its cluster.", hint=command("start", cluster=cluster.spec.name))
    with report.step("ready", f"waiting for {node.name}") as step:
        text = cluster.control_plane.read(ADMIN_CONF).decode()
        with contextlib.closing(RestClient.from_kubeconfig(text, timeout=10)) as client:
            wait_api(client, timeout=_LIMIT)
            wait_nodes(client, [node.name], timeout=_LIMIT, heard_since=bringing.since if was_off else None)
        step.finish_as(f"{node.name} is ready")
