"""Single machines of a minikube profile, switched off and on while the others run."""

from __future__ import annotations

import contextlib

from localk8s.drivers.minikube import arguments
from localk8s.drivers.minikube.kubeconfig import read_kubeconfig
from localk8s.drivers.minikube.session import Session
from localk8s.drivers.minikube.status import Answer
from localk8s.drivers.minikube.vm_drivers import refuse_single, vm_driver
from localk8s.kube.readiness import wait_nodes
from localk8s.kube.rest import RestClient
from localk8s.model.errors import Localk8sError, NotFoundError
from localk8s.model.progress import Reporter

_LIMIT = 600.0
"""Seconds for one machine."""
_READY = 300.0


def find(session: Session, node: str) -> str:
    """The machine called ``node``.

    Raises:
        NotFoundError: the cluster has none of that name.
        NotSupportedError: the driver has one node, which is switched with the cluster.
    """
    config = session.existing()
    refuse_single(vm_driver(config.driver), session.cluster)
    if node not in config.machine_names:
        hint = session.command("node list")
        raise NotFoundError(f'Cluster "{session.cluster}" has no node {node!r}.', hint=hint)
    return node


def stop(session: Session, node: str, report: Reporter) -> None:
    """Switch the machine off, and see that it is.

    Raises:
        NotFoundError: there is none of that name.
        Localk8sError: minikube failed, or the machine still runs.
    """
    machine = find(session, node)
    with report.step("stop", f"stopping {machine}") as step:
        session.plain(arguments.node_stop(session.profile, machine), doing=f"stop node {machine}", timeout=_LIMIT)
        _see(session, machine, running=False)
        step.finish_as(f"stopped {machine}")


def start(session: Session, node: str, report: Reporter) -> None:
    """Switch the machine on, and wait until it is Ready. Errors as for ``stop``."""
    machine = find(session, node)
    with report.step("boot", f"booting {machine}") as step:
        session.plain(arguments.node_start(session.profile, machine), doing=f"start node {machine}", timeout=_LIMIT)
        _see(session, machine, running=True)
        step.finish_as(f"booted {machine}")
    with report.step("ready", f"waiting for {machine}") as step:
        text = read_kubeconfig(session.kubeconfig, session.profile, session.cluster)
        with contextlib.closing(RestClient.from_kubeconfig(text)) as client:
            wait_nodes(client, [machine], timeout=_READY)
        step.finish_as(f"{machine} is ready")


def _see(session: Session, machine: str, *, running: bool) -> None:
    """Minikube exits with 0 also when nothing happened: what counts is what its status says."""
    report = session.status()
    hosts = {status.name: status.host for status in report.machines} if report.answer is Answer.NODES else {}
    if machine in hosts and (hosts[machine] == "Running") is not running:
        did, is_ = ("started", "is not running") if running else ("stopped", "still runs")
        raise Localk8sError(f"minikube says that it {did} {machine}, but it {is_}.", hint=session.command("status"))
