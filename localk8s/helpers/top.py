"""What nodes and pods use, from the kubelets' summary API: no add-on has to be installed. Parsing is pure.

What a node has is its bound where it has one: the kubelet of a node that is no virtual machine sees the whole host.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from localk8s.drivers.base import NodeFigures
from localk8s.kube.paths import api_path
from localk8s.kube.rest import RestClient
from localk8s.model.errors import KubernetesError
from localk8s.model.spec import NodeSize

_ONE_NODE = 4.0
"""Seconds that one kubelet may take."""
_MOST_AT_ONCE = 16
_SAMPLE = 0.5
"""Seconds over which a node's processor time is measured where its kubelet does not."""
_SUFFIXES: Mapping[str, Decimal] = {
    "m": Decimal("0.001"),
    **{letter: Decimal(1000**power) for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}i": Decimal(1024**power) for power, letter in enumerate("KMGT", 1)},
}


@dataclass(frozen=True, slots=True)
class PodUsage:
    """What a pod uses."""

    namespace: str
    name: str
    node: str
    cpu: float | None
    """Cores; None while the kubelet has not measured it."""
    memory: int | None
    """Bytes of the working set."""


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """What a node uses, and has."""

    name: str
    cpu: float | None
    """Cores; None while the kubelet has not measured it, or does not answer."""
    cpu_total: float
    """Cores; its bound where it has one."""
    memory: int | None
    """Bytes of the working set; None as for ``cpu``."""
    memory_total: int
    """Bytes; its bound where it has one."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One look at all nodes."""

    nodes: tuple[NodeUsage, ...]
    pods: tuple[PodUsage, ...]


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number: ``500m`` is 0.5, ``2Ki`` is 2048; 0 for what is none."""
    number = text.rstrip("mkMGTKi")
    try:
        return float(Decimal(number) * _SUFFIXES.get(text[len(number) :], Decimal(1)))
    except ArithmeticError:
        return 0.0


def parse_summary(summary: Mapping[str, Any], node: str) -> tuple[float | None, int | None, tuple[PodUsage, ...]]:
    """A node's cores and bytes, and its pods', from what its kubelet said."""
    pods = []
    for pod in summary.get("pods") or []:
        reference = pod.get("podRef") or {}
        cpu, memory = _figures(pod)
        if cpu is None:
            cpus = [each for container in pod.get("containers") or [] if (each := _figures(container)[0]) is not None]
            cpu = sum(cpus) if cpus else None
        if memory is None:
            sizes = [each for container in pod.get("containers") or [] if (each := _figures(container)[1]) is not None]
            memory = sum(sizes) if sizes else None
        pods.append(PodUsage(str(reference.get("namespace", "")), str(reference.get("name", "")), node, cpu, memory))
    cpu, memory = _figures(summary.get("node") or {})
    if not memory:  # a node that answers uses some: an old kubelet that cannot measure says 0 (1.20 on version 2 groups)
        cpu, memory = cpu or None, None
    return cpu, memory, tuple(pods)


def _figures(thing: Mapping[str, Any]) -> tuple[float | None, int | None]:
    cpu = (thing.get("cpu") or {}).get("usageNanoCores")
    memory = (thing.get("memory") or {}).get("workingSetBytes")
    return (None if cpu is None else cpu / 1e9), (None if memory is None else int(memory))


FiguresOf = Callable[[str], NodeFigures | None]
"""A node's own figures by its name; None where there are none."""


def totals(capacity: Mapping[str, Any], size: NodeSize) -> tuple[float, int]:
    """Cores and bytes that a node has: what its kubelet sees, or its bound where that is less."""
    cpus, memory = quantity(str(capacity.get("cpu", "0"))), int(quantity(str(capacity.get("memory", "0"))))
    return (
        cpus if size.cpus is None else min(cpus, float(size.cpus)),
        memory if size.memory is None else min(memory, size.memory),
    )


def look(client: RestClient, size: NodeSize, figures_of: FiguresOf | None = None, *, off: Collection[str] = ()) -> Usage:
    """One look at all nodes, side by side; what neither a kubelet nor ``figures_of`` says is left blank.

    Args:
        client: of the cluster's API.
        size: the bounds of each node.
        figures_of: asked for the nodes whose kubelet does not measure them.
        off: nodes that are known to be off: they are not asked, like those that are not heard of.

    Raises:
        KubernetesError: the API refused, or gave no answer.
    """
    found = client.get(api_path("v1", "nodes"))["items"]
    if not found:
        return Usage((), ())
    with ThreadPoolExecutor(max_workers=min(_MOST_AT_ONCE, len(found))) as pool:
        parts = list(
            pool.map(
                lambda node: _one(client, node, size, figures_of, ask=answers(node) and node["metadata"]["name"] not in off),
                found,
            )
        )
    pods = sorted((pod for _, of_node in parts for pod in of_node), key=lambda pod: (pod.namespace, pod.name))
    return Usage(tuple(node for node, _ in parts), tuple(pods))


def answers(node: Mapping[str, Any]) -> bool:
    """Whether a node's kubelet is worth asking: it was heard of lately, or nothing is known yet."""
    conditions = (node.get("status") or {}).get("conditions") or []
    return all(each.get("status") != "Unknown" for each in conditions if each.get("type") == "Ready")


def _one(
    client: RestClient, node: Mapping[str, Any], size: NodeSize, figures_of: FiguresOf | None, *, ask: bool
) -> tuple[NodeUsage, tuple[PodUsage, ...]]:
    name = node["metadata"]["name"]
    cpu_total, memory_total = totals((node.get("status") or {}).get("capacity") or {}, size)
    cpu: float | None = None
    memory: int | None = None
    pods: tuple[PodUsage, ...] = ()
    try:
        path = api_path("v1", "nodes", name=name, subresource="proxy") + "/stats/summary"
        if ask:
            cpu, memory, pods = parse_summary(client.get(path, timeout=_ONE_NODE), name)
    except KubernetesError:
        pass  # blanks say it
    finally:
        client.close()  # this thread's connection
    if ask and figures_of is not None and (cpu is None or memory is None):
        own_cpu, own_memory = measure(lambda: figures_of(name))
        cpu, memory = own_cpu if cpu is None else cpu, own_memory if memory is None else memory
    return NodeUsage(name, cpu, cpu_total, memory, memory_total), pods


def measure(figures: Callable[[], NodeFigures | None]) -> tuple[float | None, int | None]:
    """Cores and bytes out of two looks, a moment apart; None where there are no figures."""
    began, first = time.monotonic(), figures()
    if first is None:
        return None, None
    threading.Event().wait(_SAMPLE)
    last = figures()
    if last is None:
        return None, None
    return max(0.0, last.cpu_seconds - first.cpu_seconds) / (time.monotonic() - began), last.memory


def labelled(client: RestClient, namespace: str, selector: str) -> frozenset[tuple[str, str]]:
    """Namespaces and names of the pods with these labels; of all namespaces when it is empty.

    Raises:
        KubernetesError: the API refused, or gave no answer.
    """
    items = client.get(api_path("v1", "pods", namespace=namespace, labelSelector=selector))["items"]
    return frozenset((each["metadata"]["namespace"], each["metadata"]["name"]) for each in items)
