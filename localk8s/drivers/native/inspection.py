"""What is there of a native cluster, asked with short limits. Judges; changes nothing."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from localk8s.drivers.native import network
from localk8s.drivers.native.cluster import NativeCluster
from localk8s.drivers.native.machine import NativeNode
from localk8s.drivers.native.storage import has_failed_disk
from localk8s.kube.readiness import node_state
from localk8s.kube.rest import RestClient
from localk8s.kubeadm.parameters import API_PORT
from localk8s.model.errors import Localk8sError, WrongStateError
from localk8s.model.hints import command
from localk8s.model.status import ClusterState, ClusterStatus, NodeState, NodeStatus
from localk8s.system.cgroups import ControlGroup
from localk8s.system.disk_space import disk_full, room_at
from localk8s.system.slowness import measure_slowness

API_LIMIT = 1.5
"""Seconds that the API server has to answer."""


def inspect(cluster: NativeCluster, kubeconfig: Callable[[], str]) -> ClusterStatus:
    """The cluster now, as far as this user may see: inside a node, and among the host's rules, only root may look.

    Args:
        cluster: which one.
        kubeconfig: gives the kubeconfig of its administrator, once it runs.
    """
    nodes = cluster.nodes
    running = {node.name: node.process() for node in nodes}
    if not any(running.values()):
        return _status(cluster, ClusterState.STOPPED, tuple(_off(cluster, node) for node in nodes))
    try:
        found = _api_nodes(cluster, kubeconfig)
        reasons: tuple[str, ...] = ()
    except Localk8sError as exc:
        found, reasons = None, (f"the API does not answer: {exc.message}",)
    reasons += _full_disk(cluster)
    statuses = tuple(_node(cluster, node, running[node.name], found) for node in nodes)
    state = _judge(statuses, reasons)
    if state is ClusterState.RUNNING and (lacking := network.what_is_missing(cluster.runner, cluster.plan, len(nodes))):
        state, reasons = ClusterState.BROKEN, (f"{lacking} of the cluster are missing on this host: {_back(cluster)}",)
    return _status(cluster, state, statuses, reasons)


def _judge(nodes: tuple[NodeStatus, ...], reasons: tuple[str, ...]) -> ClusterState:
    if any(node.state in (NodeState.BROKEN, NodeState.STOPPED) for node in nodes):
        return ClusterState.BROKEN
    if reasons:
        return ClusterState.STARTING
    return ClusterState.RUNNING if all(node.state is NodeState.READY for node in nodes) else ClusterState.STARTING


def _status(
    cluster: NativeCluster, state: ClusterState, nodes: tuple[NodeStatus, ...], reasons: tuple[str, ...] = ()
) -> ClusterStatus:
    reasons += tuple(f"{node.name}: {node.reason}" for node in nodes if node.reason and node.reason != _back(cluster))
    return ClusterStatus(
        name=cluster.spec.name,
        driver="native",
        state=state,
        kubernetes_version=cluster.spec.kubernetes_version,
        nodes=nodes,
        reasons=reasons,
        endpoint=f"https://{cluster.control_plane.address}:{API_PORT}",
    )


def _api_nodes(cluster: NativeCluster, kubeconfig: Callable[[], str]) -> dict[str, Any]:
    if not has_bridge(cluster.plan.bridge):
        # The cluster may have been started in another network namespace: nothing is asked by this one's uplink.
        raise WrongStateError("its bridge is not on this host.", hint=command("start", cluster=cluster.spec.name))
    items = RestClient.from_kubeconfig(kubeconfig(), timeout=API_LIMIT * measure_slowness()).get("/api/v1/nodes")["items"]
    return {item["metadata"]["name"]: item for item in items}


def _back(cluster: NativeCluster) -> str:
    return f"{command('start', cluster=cluster.spec.name)} brings it back"


def check_reachable(cluster: NativeCluster) -> None:
    """Raise WrongStateError where the control plane is off, or its bridge is not in this process's network."""
    if cluster.control_plane.process() is None:
        raise WrongStateError(f'Cluster "{cluster.spec.name}" is not running.')
    if not has_bridge(cluster.plan.bridge):
        raise WrongStateError(f'The bridge of cluster "{cluster.spec.name}" is not on this host.')


def _off(cluster: NativeCluster, node: NativeNode) -> NodeStatus:
    return NodeStatus(node.name, node.role, NodeState.STOPPED, node.address, cluster.spec.size, _back(cluster))


def _node(cluster: NativeCluster, node: NativeNode, process: int | None, found: dict[str, Any] | None) -> NodeStatus:
    state, reason = NodeState.UNKNOWN, ""
    down = down_services(process, node.group) if process is not None else ()
    if process is None:
        state, reason = NodeState.STOPPED, f"the node is off: {_back(cluster)}"
    elif down:
        state, reason = (
            NodeState.BROKEN,
            f"{' and '.join(down)} {'is' if len(down) == 1 else 'are'} not running: {_back(cluster)}",
        )
    elif process is not None and has_failed_disk(process):
        state, reason = NodeState.BROKEN, f"its disk cannot be written any more: {_back(cluster)}"
    elif found is None:
        reason = "the API cannot be asked"
    elif node.name not in found:
        state, reason = NodeState.NOT_READY, "it has not joined yet"
    else:
        state, reason = node_state(found[node.name])
    return NodeStatus(node.name, node.role, state, node.address, cluster.spec.size, reason)


def _full_disk(cluster: NativeCluster) -> tuple[str, ...]:
    """What fails next when the disk below the nodes' disks is full, whatever is still well."""
    path = cluster.directory.path
    try:
        return (disk_full(path, "the cluster").message,) if room_at(path).is_full else ()
    except OSError:
        return ()


def has_bridge(name: str) -> bool:
    """Whether this process's network has a link of that name."""
    try:
        return socket.if_nametoindex(name) > 0
    except OSError:
        return False


def down_services(process: int, group: ControlGroup) -> tuple[str, ...]:
    """Names of supervised programs of a node that are down or paused (runsv's ``supervise/stat``), sorted.

    Args:
        process: the node's process 1.
        group: its control group, by which who may not look into the node sees what runs there.
    """
    directory = Path(f"/proc/{process}/root/run/localk8s/service")
    down = []
    try:
        for service in sorted(directory.iterdir()):
            stat = service / "supervise" / "stat"
            if stat.exists() and not _runs(stat.read_text()):
                down.append(service.name)
    except PermissionError:
        return without_program(group.processes())
    except OSError:
        return ()
    return tuple(down)


def without_program(processes: Iterable[int]) -> tuple[str, ...]:
    """Names of what a ``runsv`` among ``processes`` supervises that has no process beside its log, or only a paused one."""
    import psutil

    supervisors, running = {}, set()
    for number in processes:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(number)
            words = process.cmdline()
            if words[:1] == ["runsv"]:
                supervisors[number] = words[-1]
            elif words[:1] != ["svlogd"] and process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
                running.add(process.ppid())
    return tuple(sorted(name for number, name in supervisors.items() if number not in running))


def _runs(stat: str) -> bool:
    """Whether runsv's one line, such as ``run, paused, want down``, is that of a program that runs and is to go on."""
    words = stat.strip().split(", ")
    return words[0] == "run" and not {"paused", "want down"}.intersection(words)
