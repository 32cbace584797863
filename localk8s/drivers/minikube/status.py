"""What ``minikube status -o json`` said, and what that means for the cluster. Pure.

It may print an object, an array, ``null``, events instead of an object, or a panic; its exit code is a bit mask that
collides with other codes. Whatever cannot be understood is "unknown" or "broken", never "running".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from localk8s.drivers.minikube.events import parse_events
from localk8s.drivers.minikube.versions import MinikubeVersion
from localk8s.drivers.minikube.vm_drivers import Kind
from localk8s.model.status import ClusterState, NodeState

NOT_FOUND = 85
_UP, _DOWN, _PAUSED = "Running", "Stopped", "Paused"
_OFF = ("Stopped", "Saved")
_MOVING = ("Starting", "Stopping")
_IRRELEVANT = "Irrelevant"


class Answer(StrEnum):
    """What kind of thing was printed."""

    NODES = "nodes"
    NOT_FOUND = "not-found"
    """There is no such profile."""
    GONE = "gone"
    """The profile is there, a machine of it is not, or cannot be asked."""
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class MachineStatus:
    """One machine, in minikube's words."""

    name: str
    host: str
    kubelet: str
    api_server: str
    kubeconfig: str
    worker: bool


@dataclass(frozen=True, slots=True)
class StatusReport:
    """One answer to ``status``."""

    answer: Answer
    machines: tuple[MachineStatus, ...] = ()
    reason: str = ""
    """What went wrong, in minikube's words; empty when nothing did."""

    @property
    def kubeconfig_stale(self) -> bool:
        """Whether the private kubeconfig does not point at the cluster."""
        return any(machine.kubeconfig == "Misconfigured" for machine in self.machines)


def parse_status(stdout: str, stderr: str, exit_code: int, version: MinikubeVersion | None = None) -> StatusReport:
    """What ``status -o json`` (without ``-l``) told.

    Args:
        stdout: its standard output.
        stderr: its standard error; klog lines there say why.
        exit_code: bits for host, kubelet or API server, and kubeconfig; 85 when there is no such profile.
        version: which minikube said so, when that is known.
    """
    reason = klog_reason(stderr)
    text = stdout.strip()
    if exit_code == NOT_FOUND:
        return StatusReport(Answer.NOT_FOUND, reason=reason)
    if "panic:" in stderr:
        return StatusReport(Answer.GONE, reason=reason or "minikube itself crashed while it looked")
    if text in ("", "null"):
        expected = version is None or version.status_may_be_null
        kind = Answer.GONE if expected or reason else Answer.UNREADABLE
        return StatusReport(kind, reason=reason or "minikube did not say anything about its machine")
    machines = _machines(text)
    if machines is None:
        events = parse_events(stdout)
        told = next((event.message for event in reversed(events) if event.message), "")
        return StatusReport(Answer.UNREADABLE, reason=reason or told or "minikube said what localk8s does not understand")
    return StatusReport(Answer.NODES, machines, reason)


def klog_reason(stderr: str) -> str:
    """The last error that klog wrote into ``stderr``, without its prefix; empty when there is none."""
    found = re.findall(r"^E\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] (.*)$", stderr, re.MULTILINE)
    return _shorten(found[-1].removeprefix("status error: ")) if found else ""


def cluster_state(report: StatusReport, kind: Kind | None) -> tuple[ClusterState, tuple[str, ...]]:
    """The one word for the cluster as minikube sees it, and why.

    Args:
        report: what ``status`` told; not for one that was not found.
        kind: of the machines, None when unknown; a machine that was there before the cluster is never "stopped" by itself.

    Returns:
        RUNNING here means that minikube has no complaint; the API has still to be asked.
    """
    if report.answer is not Answer.NODES:
        state = ClusterState.BROKEN if report.answer is Answer.GONE else ClusterState.UNKNOWN
        return state, (_gone(report.reason) if state is ClusterState.BROKEN else report.reason,)
    hosts = {machine.host for machine in report.machines}
    if any(machine.api_server == _PAUSED or machine.host == _PAUSED for machine in report.machines):
        return ClusterState.PAUSED, ()
    if all(is_off(machine, kind) for machine in report.machines):
        return ClusterState.STOPPED, ()
    if hosts & set(_MOVING):
        return ClusterState.STARTING, tuple(f"{m.name} is {m.host.lower()}" for m in report.machines if m.host in _MOVING)
    faults = tuple(fault for machine in report.machines for fault in [machine_fault(machine, kind)] if fault)
    return (ClusterState.BROKEN, faults) if faults else (ClusterState.RUNNING, ())


def machine_state(machine: MachineStatus, kind: Kind | None) -> NodeState:
    """The one word for one machine; READY means that minikube has no complaint."""
    if machine.api_server == _PAUSED or machine.host == _PAUSED:
        return NodeState.PAUSED
    if is_off(machine, kind):
        return NodeState.STOPPED
    if machine.host in _MOVING:
        return NodeState.NOT_READY
    return NodeState.BROKEN if machine_fault(machine, kind) else NodeState.READY


def machine_fault(machine: MachineStatus, kind: Kind | None) -> str:
    """What is wrong with a machine that should be up; empty when nothing is."""
    if machine.host == "Nonexistent":
        return f"the machine {machine.name} is gone"
    if machine.host == "InsufficientStorage":
        return f"the disk of {machine.name} is full"
    if is_off(machine, kind):
        return f"{machine.name} is stopped"
    if machine.host != _UP:
        return f"the machine {machine.name} is in state {machine.host or 'unknown'}"
    parts = (("kubelet", machine.kubelet), ("API server", machine.api_server))
    bad = [f"{what} of {machine.name} is {word.lower()}" for what, word in parts if word not in (_UP, _IRRELEVANT)]
    return f"the {' and the '.join(bad)}" if bad else ""


def is_off(machine: MachineStatus, kind: Kind | None) -> bool:
    """Whether the machine is switched off; one reached over ssh stays up, and only its Kubernetes is stopped."""
    if machine.host in _OFF:
        return True
    components = {machine.kubelet, machine.api_server} - {_IRRELEVANT}
    return kind in (Kind.SSH, Kind.NONE) and machine.host == _UP and components == {_DOWN}


def _gone(reason: str) -> str:
    return f"a machine of it is gone or cannot be reached: {reason}"


def _machines(text: str) -> tuple[MachineStatus, ...] | None:
    try:
        content = json.loads(text)
    except ValueError:
        return None
    items = content if isinstance(content, list) else [content]
    if not items or not all(isinstance(item, Mapping) and {"Name", "Host"} <= item.keys() for item in items):
        return None
    return tuple(_machine(item) for item in items)


def _machine(item: Mapping[str, Any]) -> MachineStatus:
    def word(key: str) -> str:
        return str(item.get(key) or "")

    return MachineStatus(
        name=word("Name"),
        host=word("Host"),
        kubelet=word("Kubelet"),
        api_server=word("APIServer"),
        kubeconfig=word("Kubeconfig"),
        worker=item.get("Worker") is True,
    )


def _shorten(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
