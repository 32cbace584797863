"""What a cluster is right now, from two sides asked at once: minikube, and the Kubernetes API. Never takes long, never raises
but for "not there".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from localk8s.drivers.minikube.api import ApiView, ask_api, live_address
from localk8s.drivers.minikube.claim import Ownership
from localk8s.drivers.minikube.machines import kubernetes_name, ordered_nodes, role_of
from localk8s.drivers.minikube.profile import ProfileConfig, ProfileNode
from localk8s.drivers.minikube.session import Session, replaced
from localk8s.drivers.minikube.status import Answer, MachineStatus, StatusReport, cluster_state, machine_fault, machine_state
from localk8s.drivers.minikube.tool import is_running
from localk8s.drivers.minikube.vm_drivers import VmDriver, vm_driver
from localk8s.model import hints
from localk8s.model.errors import Localk8sError, NotFoundError, UsageError
from localk8s.model.spec import ClusterSpec, NodeSize
from localk8s.model.status import ClusterState, ClusterStatus, NodeState, NodeStatus
from localk8s.model.versions import KubernetesVersion, parse_kubernetes_version

_LIMIT = 1.8
"""Seconds for both sides; ``inspect`` has two in all."""


def inspect(session: Session, spec: ClusterSpec) -> ClusterStatus:
    """See ``Driver.inspect``."""
    try:
        config = session.config()
    except Localk8sError as exc:
        return ClusterStatus(spec.name, spec.driver, ClusterState.BROKEN, spec.kubernetes_version, reasons=(exc.message,))
    if config is None:
        return _without_profile(session, spec)
    claim = session.claims.load(spec.name)
    if claim is not None and not claim.started:
        return _half_made(session, spec, config)
    with ThreadPoolExecutor(max_workers=2) as pool:
        api: Future[ApiView] = pool.submit(ask_api, session.kubeconfig, session.profile, session.cluster, timeout=_LIMIT)
        report = _ask_minikube(session)
        view = api.result()
    if report is not None and report.answer is Answer.NOT_FOUND:
        return _without_profile(session, spec)
    if report is None and view.refused and claim is not None and claim.stopped:
        report = StatusReport(Answer.NODES, tuple(_stopped_machine(name) for name in config.machine_names))
    return judge(spec, config, report, view)


def judge(spec: ClusterSpec, config: ProfileConfig, report: StatusReport | None, view: ApiView) -> ClusterStatus:
    """What the two sides say together. Pure.

    Args:
        spec: as recorded by localk8s.
        config: as recorded by minikube.
        report: what minikube says; None when it did not say anything in time.
        view: what the API says.
    """
    driver = vm_driver(config.driver)
    size = spec.size if driver.bounds_size else NodeSize()
    nodes = tuple(_node(config, node, driver, report, view, size) for node in ordered_nodes(config))
    state, reasons = _state(spec.name, driver, report, view, nodes)
    version = _version(config.kubernetes_version) or spec.kubernetes_version
    return ClusterStatus(spec.name, spec.driver, state, version, nodes, reasons, view.endpoint)


def _state(
    cluster: str, driver: VmDriver, report: StatusReport | None, view: ApiView, nodes: Sequence[NodeStatus]
) -> tuple[ClusterState, tuple[str, ...]]:
    if report is None:
        if view.nodes is None:
            return ClusterState.UNKNOWN, (f"neither minikube nor the API answered within {_LIMIT:g} s",)
        return _api_state(nodes)
    state, reasons = cluster_state(report, driver.kind)
    start = f"{hints.command('start', cluster=cluster)} brings it back"
    if state is ClusterState.BROKEN:
        again = f"{hints.command('delete', cluster=cluster)}, then start, creates it again"
        return state, (*reasons, again if report.answer is Answer.GONE else start)
    if state is not ClusterState.RUNNING:
        return state, reasons
    if view.nodes is None:
        why = "minikube's kubeconfig points elsewhere" if report.kubeconfig_stale else view.reason
        return ClusterState.BROKEN, (f"the API does not answer: {why}", start)
    return _api_state(nodes)


def _api_state(nodes: Sequence[NodeStatus]) -> tuple[ClusterState, tuple[str, ...]]:
    """The API answers: the nodes decide."""
    bad = tuple(node.reason or f"{node.name} is {node.state.value}" for node in nodes if node.state is not NodeState.READY)
    if not bad:
        return ClusterState.RUNNING, ()
    starting = all(node.state in (NodeState.READY, NodeState.NOT_READY) for node in nodes)
    return (ClusterState.STARTING if starting else ClusterState.BROKEN), bad


def _node(
    config: ProfileConfig, node: ProfileNode, driver: VmDriver, report: StatusReport | None, view: ApiView, size: NodeSize
) -> NodeStatus:
    from localk8s.kube.readiness import node_state

    machine, name = config.machine_name(node), kubernetes_name(config, node, driver)
    told = _told(machine, report)
    seen = _seen(name, node, view, alone=len(config.nodes) == 1)
    state, reason = _machine_word(told, report, driver)
    if seen is not None and state in (NodeState.READY, NodeState.UNKNOWN):
        state, reason = node_state(seen)
    elif state is NodeState.READY:
        state = NodeState.NOT_READY
        reason = "it is not among the API's nodes" if view.nodes is not None else "the API does not answer"
    address = live_address(seen) or ("" if state is NodeState.BROKEN else node.address)
    return NodeStatus(name, role_of(node), state, address, size, reason)


def _machine_word(told: MachineStatus | None, report: StatusReport | None, driver: VmDriver) -> tuple[NodeState, str]:
    """What minikube says about one machine; a machine of which it says nothing is unknown, or gone."""
    if told is not None:
        state = machine_state(told, driver.kind)
        return state, "" if state is NodeState.STOPPED else machine_fault(told, driver.kind)
    if report is not None and report.answer is Answer.GONE:
        return NodeState.BROKEN, report.reason
    return NodeState.UNKNOWN, ""


def _told(machine: str, report: StatusReport | None) -> MachineStatus | None:
    return next((status for status in report.machines if status.name == machine), None) if report else None


def _seen(name: str, node: ProfileNode, view: ApiView, *, alone: bool) -> Mapping[str, Any] | None:
    """The API's node of that name or address; where there is one machine and one node, they are the same."""
    nodes = view.nodes or ()
    for found in nodes:
        if found["metadata"]["name"] == name or (node.address and live_address(found) == node.address and alone):
            return found
    return nodes[0] if alone and len(nodes) == 1 else None


def _stopped_machine(name: str) -> MachineStatus:
    """What minikube would say about a machine that localk8s stopped, had it had the time."""
    return MachineStatus(name, "Stopped", "Stopped", "Stopped", "Stopped", worker=False)


def _ask_minikube(session: Session) -> StatusReport | None:
    try:
        return session.status(timeout=_LIMIT, quick=True)
    except Localk8sError:
        return None


def _half_made(session: Session, spec: ClusterSpec, config: ProfileConfig) -> ClusterStatus:
    """No ``minikube start`` came to its end yet.

    minikube itself is not asked: it would say Running of a cluster without kube-proxy and DNS, and take 14 s to say so
    while its kubeconfig does not have the context yet.
    """
    driver, size = vm_driver(config.driver), NodeSize()
    state, word = ClusterState.BROKEN, NodeState.UNKNOWN
    reason = f"its first start did not finish: {session.command('start')} creates it again"
    if is_running(session.profile, session.kubeconfig):
        state, word, reason = ClusterState.STARTING, NodeState.NOT_READY, "minikube is creating it"
    nodes = tuple(
        NodeStatus(kubernetes_name(config, node, driver), role_of(node), word, node.address, size)
        for node in ordered_nodes(config)
    )
    return ClusterStatus(spec.name, spec.driver, state, spec.kubernetes_version, nodes, (reason,))


def _without_profile(session: Session, spec: ClusterSpec) -> ClusterStatus:
    """There is no profile: nothing at all, or one that was lost, or replaced, after localk8s had laid claim to it."""
    claim = session.claims.load(spec.name)
    if claim is None or (not claim.started and session.ownership is not Ownership.FOREIGN):
        raise NotFoundError(f'minikube has nothing of cluster "{spec.name}".', hint=session.command("start"))
    reasons: tuple[str, ...] = (f"minikube's profile {session.profile} is gone: {session.command('start')} creates it again",)
    if session.ownership is Ownership.FOREIGN:
        reasons = (replaced(session).rstrip("."), f"{session.command('delete')} forgets the cluster")
    return ClusterStatus(spec.name, spec.driver, ClusterState.BROKEN, spec.kubernetes_version, reasons=reasons)


def _version(text: str) -> KubernetesVersion | None:
    try:
        return parse_kubernetes_version(text) if text else None
    except UsageError:
        return None
