"""Results as JSON documents and as tables for people. Pure: dataclasses in, data and text out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from localk8s.cli.errors import pasteable
from localk8s.cli.output import columns, document
from localk8s.cluster.plan import Plan
from localk8s.cluster.wish import Choice
from localk8s.model.hints import host_command
from localk8s.model.names import context_name
from localk8s.model.quantities import format_size
from localk8s.model.spec import ClusterSpec, NodeSize
from localk8s.model.status import ClusterStatus, Finding, NodeStatus, Severity

MARKS: Mapping[Severity, str] = {Severity.OK: "✓", Severity.WARNING: "!", Severity.ERROR: "✗"}


def cluster_content(status: ClusterStatus, choice: Choice | None) -> dict[str, Any]:
    """A cluster's state without apiVersion and kind."""
    return {
        "name": status.name,
        "driver": status.driver,
        "driverSource": choice.source if choice else "",
        "state": str(status.state),
        "kubernetesVersion": str(status.kubernetes_version) if status.kubernetes_version else None,
        "context": context_name(status.name),
        "endpoint": status.endpoint,
        "reasons": list(status.reasons),
        "nodes": [node_content(node) for node in status.nodes],
    }


def node_content(node: NodeStatus) -> dict[str, Any]:
    """A node's state as data."""
    return {
        "name": node.name,
        "role": str(node.role),
        "state": str(node.state),
        "address": node.address,
        **_size(node.size),
        "reason": node.reason,
    }


def _size(size: NodeSize) -> dict[str, Any]:
    """CPUs as a number, memory and disk in bytes; None: not bounded."""
    cpus = None if size.cpus is None else float(size.cpus)
    return {"cpus": cpus, "memoryBytes": size.memory, "diskBytes": size.disk}


def cluster_table(status: ClusterStatus, choice: Choice | None, width: int) -> str:
    """A cluster and its nodes for people, on lines of ``width`` characters where that can be."""
    version = str(status.kubernetes_version or "-").removeprefix("v")
    text = columns([("CLUSTER", "DRIVER", "KUBERNETES", "STATE"), (status.name, status.driver, version, str(status.state))])
    text += "".join(wrapped(reason, "  ", width) for reason in status.reasons)
    if status.nodes:
        text += columns(node_rows(status.nodes))
    if choice:
        text += f"{driver_sentence(choice)}\n"
    return text


def driver_sentence(choice: Choice) -> str:
    """Which driver and why."""
    if choice.source == "recorded":
        return f"The {choice.value} driver is recorded."
    if choice.source.startswith("this host"):
        return f"The {choice.value} driver was chosen because {choice.source}."
    return f"The {choice.value} driver was chosen by {choice.source}."


def node_rows(nodes: Sequence[NodeStatus]) -> list[tuple[str, ...]]:
    """A head and a row a node, for people."""
    return [("NODE", "ROLE", "STATE", "ADDRESS", "CPUS", "MEMORY", ""), *(_node_row(node) for node in nodes)]


def _node_row(node: NodeStatus) -> tuple[str, str, str, str, str, str, str]:
    cpus = "-" if node.size.cpus is None else f"{node.size.cpus.normalize():f}"
    memory = "-" if node.size.memory is None else format_size(node.size.memory)
    return (node.name, str(node.role), str(node.state), node.address or "-", cpus, memory, node.reason)


def list_table(statuses: Sequence[ClusterStatus]) -> str:
    """All clusters for people."""
    if not statuses:
        return f"No clusters. {host_command('start')} makes one.\n"
    rows = [("CLUSTER", "DRIVER", "KUBERNETES", "STATE", "NODES", "ADDRESS")]
    for status in statuses:
        version = str(status.kubernetes_version or "-").removeprefix("v")
        address = next((node.address for node in status.nodes if node.address), "-")
        rows.append((status.name, status.driver, version, str(status.state), str(len(status.nodes)), address))
    return columns(rows)


def spec_content(spec: ClusterSpec) -> dict[str, Any]:
    """A spec as data."""
    return {
        "name": spec.name,
        "driver": spec.driver,
        "nodes": spec.nodes,
        "controlPlanes": spec.control_planes,
        **_size(spec.size),
        "kubernetesVersion": str(spec.kubernetes_version) if spec.kubernetes_version else None,
        "artifacts": spec.artifacts,
        "options": dict(spec.options),
    }


def plan_content(plan: Plan) -> dict[str, Any]:
    """A plan as data."""
    return {
        "action": str(plan.action),
        "driverSource": plan.driver.source,
        "spec": spec_content(plan.spec),
        "changes": [{"field": change.field, "recorded": change.recorded, "wanted": change.wanted} for change in plan.changes],
        "findings": [finding_content(finding) for finding in plan.findings],
    }


def plan_table(plan: Plan) -> str:
    """A plan for people, each line a thing that would be so."""
    spec = plan.spec
    rows = [
        ("would", str(plan.action)),
        ("cluster", spec.name),
        ("driver", f"{spec.driver} ({plan.driver.source})"),
        ("kubernetes", str(spec.kubernetes_version or "the driver's own").removeprefix("v")),
        ("nodes", f"{spec.nodes}, each with {describe_size(spec.size)}"),
    ]
    if spec.artifacts:
        rows.append(("artifacts", spec.artifacts))
    rows += [(key, value) for key, value in sorted(spec.options.items())]
    rows += [("change", f"{change.field} from {change.recorded} to {change.wanted}") for change in plan.changes]
    rows += [(MARKS[finding.severity], finding.message) for finding in plan.findings if finding.severity is not Severity.OK]
    return columns(rows) + "Nothing was changed.\n"


def describe_size(size: NodeSize) -> str:
    """A node's bounds for people: ``2 CPUs, 2.0 GiB memory, 20.0 GiB disk``."""
    parts = []
    if size.cpus is not None:
        parts.append(f"{size.cpus.normalize():f} CPU{'' if size.cpus == 1 else 's'}")
    if size.memory is not None:
        parts.append(f"{format_size(size.memory)} memory")
    if size.disk is not None:
        parts.append(f"{format_size(size.disk)} disk")
    return ", ".join(parts) or "what the host has"


def wrapped(text: str, begin: str, width: int) -> str:
    """``text`` on lines of ``width`` characters, the first after ``begin``, the others below it."""
    return textwrap.fill(text, width, initial_indent=begin, subsequent_indent=" " * len(begin), break_long_words=False) + "\n"


def finding_content(finding: Finding) -> dict[str, Any]:
    """A finding as data."""
    return {
        "severity": str(finding.severity),
        "subject": finding.subject,
        "message": finding.message,
        "fix": pasteable(finding.fix),
    }


def findings_table(groups: Mapping[str, Sequence[Finding]], width: int) -> str:
    """Findings for people, under the names of those who found them."""
    text = ""
    for name, findings in groups.items():
        text += f"{name}\n"
        for finding in findings:
            text += wrapped(finding.message, f"  {MARKS[finding.severity]} ", width)
            if finding.fix and finding.severity is not Severity.OK:
                text += f"      {pasteable(finding.fix)}\n"
    return text


def listing(kind: str, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A list document."""
    return document(f"{kind}List", {"items": list(items)})
