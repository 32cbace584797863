"""What nodes and pods use, from the kubelets' summary API: no add-on has to be installed. Parsing is pure."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from localk8s.kube.paths import api_path
from localk8s.kube.rest import RestClient
from localk8s.model.errors import KubernetesError

_ONE_NODE = 4.0
"""Seconds that one kubelet may take."""
_MOST_AT_ONCE = 16
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
    memory: int | None
    """Bytes of the working set."""
    memory_total: int


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
    return (*_figures(summary.get("node") or {}), tuple(pods))


def _figures(thing: Mapping[str, Any]) -> tuple[float | None, int | None]:
    cpu = (thing.get("cpu") or {}).get("usageNanoCores")
    memory = (thing.get("memory") or {}).get("workingSetBytes")
    return (None if cpu is None else cpu / 1e9), (None if memory is None else int(memory))


def look(client: RestClient) -> Usage:
    """One look at all nodes, side by side; a kubelet that does not answer leaves blanks.

    Args:
        client: of the cluster's API.

    Raises:
        KubernetesError: the API refused, or gave no answer.
    """
    found = client.get(api_path("v1", "nodes"))["items"]
    if not found:
        return Usage((), ())
    with ThreadPoolExecutor(max_workers=min(_MOST_AT_ONCE, len(found))) as pool:
        parts = list(pool.map(lambda node: _one(client, node), found))
    pods = sorted((pod for _, of_node in parts for pod in of_node), key=lambda pod: (pod.namespace, pod.name))
    return Usage(tuple(node for node, _ in parts), tuple(pods))


def _one(client: RestClient, node: Mapping[str, Any]) -> tuple[NodeUsage, tuple[PodUsage, ...]]:
    name = node["metadata"]["name"]
    has = (node.get("status") or {}).get("capacity") or {}
    cpu: float | None = None
    memory: int | None = None
    pods: tuple[PodUsage, ...] = ()
    try:
        path = api_path("v1", "nodes", name=name, subresource="proxy") + "/stats/summary"
        cpu, memory, pods = parse_summary(client.get(path, timeout=_ONE_NODE), name)
    except KubernetesError:
        pass  # blanks say it
    finally:
        client.close()  # this thread's connection
    return NodeUsage(name, cpu, quantity(has.get("cpu", "0")), memory, int(quantity(has.get("memory", "0")))), pods
