"""What is there of a Vagrant cluster, probed with short limits; Vagrant itself is too slow to ask. Judges; changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from localk8s.drivers.vagrant.cluster import VagrantCluster
from localk8s.drivers.vagrant.plan import Machine
from localk8s.drivers.vagrant.recipe import SSH_PORT, each, listens
from localk8s.kube.paths import api_path
from localk8s.kube.readiness import judge_node
from localk8s.kube.rest import RestClient
from localk8s.kubeadm.parameters import API_PORT
from localk8s.model.errors import Localk8sError, WrongStateError
from localk8s.model.hints import command
from localk8s.model.status import ClusterState, ClusterStatus, NodeState, NodeStatus

KUBELET_PORT = 10250
_API_LIMIT = 1.2
_PORT_LIMIT = 0.5
_FRESH = timedelta(seconds=60)
"""An older word of a kubelet (it reports every 5 s) does not count: yesterday's Ready is no Ready."""


def inspect(cluster: VagrantCluster, now: datetime | None = None) -> ClusterStatus:
    """The cluster now; takes two seconds at most, ten where processors are emulated."""
    machines = cluster.plan.machines
    there = [machine for machine in machines if cluster.exists(machine)]
    answers = {(machine.name, port): False for machine in machines for port in (SSH_PORT, KUBELET_PORT)}
    answers.update(each([(machine, port) for machine in there for port in (SSH_PORT, KUBELET_PORT)], _probe))
    up = {machine.name: answers[machine.name, SSH_PORT] for machine in machines}
    if not any(up.values()):
        return _without_machines(cluster)
    try:
        found = _api_nodes(cluster)
        reasons: tuple[str, ...] = ()
    except Localk8sError as exc:
        found, reasons = None, (f"the API does not answer: {exc.message}",)
    since = (now or datetime.now(UTC)) - _FRESH
    statuses = tuple(
        _node(cluster, machine, up[machine.name], answers[machine.name, KUBELET_PORT], found, since) for machine in machines
    )
    return _status(cluster, judge(statuses, reasons), statuses, reasons)


def judge(nodes: Sequence[NodeStatus], reasons: Sequence[str]) -> ClusterState:
    """The one word for a cluster of which at least one machine runs."""
    states = {node.state for node in nodes}
    if states & {NodeState.BROKEN, NodeState.STOPPED}:
        return ClusterState.BROKEN
    if reasons:
        return ClusterState.STARTING
    return ClusterState.RUNNING if states == {NodeState.READY} else ClusterState.STARTING


def _without_machines(cluster: VagrantCluster) -> ClusterStatus:
    gone = [machine for machine in cluster.plan.machines if not cluster.exists(machine)]
    nodes = tuple(_status_of(cluster, machine, *_off(cluster, machine)) for machine in cluster.plan.machines)
    if not cluster.kubeconfig:
        return _status(cluster, ClusterState.INCOMPLETE, nodes, ("creating it was interrupted",))
    return _status(cluster, ClusterState.BROKEN if gone else ClusterState.STOPPED, nodes)


def _back(cluster: VagrantCluster) -> str:
    return f"{command('start', cluster=cluster.spec.name)} brings it back"


def _off(cluster: VagrantCluster, machine: Machine) -> tuple[NodeState, str]:
    if cluster.exists(machine):
        return NodeState.STOPPED, ""
    return NodeState.BROKEN, f"its machine is gone; {command('start', cluster=cluster.spec.name)} makes it again"


def _node(
    cluster: VagrantCluster,
    machine: Machine,
    up: bool,
    kubelet: bool,
    found: Mapping[str, Mapping[str, Any]] | None,
    since: datetime,
) -> NodeStatus:
    if not up:
        state, reason = _off(cluster, machine)
        return _status_of(cluster, machine, state, reason or f"its machine is off; {_back(cluster)}")
    if found is None:
        return _status_of(cluster, machine, NodeState.UNKNOWN, "the API does not answer")
    node = found.get(machine.name)
    if node is None:
        return _status_of(cluster, machine, NodeState.NOT_READY, f"it has not joined; {_back(cluster)}")
    if not kubelet:
        return _status_of(cluster, machine, NodeState.BROKEN, f"kubelet is not running; {_back(cluster)}")
    judged = judge_node(node, heard_since=since)
    return _status_of(cluster, machine, NodeState.READY if judged else NodeState.NOT_READY, judged.reason)


def check_reachable(cluster: VagrantCluster) -> None:
    """Raise WrongStateError where no machine with a control plane answers on a network of this host."""
    planes = [cluster.plan.machine(index) for index in cluster.plan.control_planes]
    if not any(each([machine for machine in planes if cluster.exists(machine)], listens)):
        raise WrongStateError(f'Cluster "{cluster.spec.name}" is not running.')


def _probe(target: tuple[Machine, int]) -> tuple[tuple[str, int], bool]:
    machine, port = target
    return (machine.name, port), listens(machine, port, timeout=_PORT_LIMIT)


def _api_nodes(cluster: VagrantCluster) -> dict[str, Mapping[str, Any]]:
    if not cluster.kubeconfig:
        raise Localk8sError("creating the cluster was interrupted")
    limit = _API_LIMIT * cluster.slowness
    client = RestClient.from_kubeconfig(cluster.kubeconfig, timeout=limit)
    try:
        items = client.get(api_path("v1", "nodes"), timeout=limit)["items"]
    finally:
        client.close()
    return {item["metadata"]["name"]: item for item in items}


def _status_of(cluster: VagrantCluster, machine: Machine, state: NodeState, reason: str = "") -> NodeStatus:
    return NodeStatus(machine.name, machine.role, state, str(machine.address), cluster.spec.size, reason)


def _status(
    cluster: VagrantCluster, state: ClusterState, nodes: tuple[NodeStatus, ...], reasons: tuple[str, ...] = ()
) -> ClusterStatus:
    reasons += tuple(f"{node.name}: {node.reason}" for node in nodes if node.reason)
    return ClusterStatus(
        name=cluster.spec.name,
        driver="vagrant",
        state=state,
        kubernetes_version=cluster.spec.kubernetes_version,
        nodes=nodes,
        reasons=reasons,
        endpoint=f"https://{cluster.plan.endpoint}:{API_PORT}",
    )
