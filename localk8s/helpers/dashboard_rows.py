"""What the dashboard's page shows of Kubernetes objects: small rows of plain data, nothing secret. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localk8s.helpers.services import addresses_of
from localk8s.helpers.top import Usage, totals
from localk8s.model.spec import NodeSize

Row = dict[str, Any]
Item = Mapping[str, Any]

_LONGEST_MESSAGE = 600


def _base(item: Item) -> Row:
    metadata = item["metadata"]
    return {
        "uid": metadata["uid"],
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "created": metadata.get("creationTimestamp", ""),
    }


def node_row(node: Item, size: NodeSize) -> Row:
    """A node, with the processors and memory that it has: ``size``, where it is bounded."""
    status = node.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    ready = conditions.get("Ready", {})
    pressures = [name for name, each in conditions.items() if name != "Ready" and each.get("status") == "True"]
    labels = node["metadata"].get("labels") or {}
    prefix = "node-role.kubernetes.io/"
    roles = sorted({key.removeprefix(prefix).replace("master", "control-plane") for key in labels if key.startswith(prefix)})
    cordoned = bool((node.get("spec") or {}).get("unschedulable"))
    state = "Ready" if ready.get("status") == "True" else "NotReady"
    cpus, memory = totals(status.get("capacity") or {}, size)
    return {
        **_base(node),
        "status": ", ".join([state, *pressures, *(["cordoned"] if cordoned else [])]),
        "good": state == "Ready" and not pressures,
        "roles": ", ".join(roles) or "worker",
        "version": (status.get("nodeInfo") or {}).get("kubeletVersion", ""),
        "address": next((each["address"] for each in status.get("addresses") or [] if each["type"] == "InternalIP"), ""),
        "cpu": cpus,
        "memory": memory,
    }


def namespace_row(namespace: Item) -> Row:
    """A namespace."""
    return {**_base(namespace), "status": (namespace.get("status") or {}).get("phase", "")}


def pod_status(pod: Item) -> str:
    """The one word that kubectl has for a pod."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for each in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        state = each.get("state") or {}
        reason = (state.get("waiting") or {}).get("reason") or (state.get("terminated") or {}).get("reason")
        if reason and reason not in ("Completed", "PodInitializing"):
            return str(reason)
    return str(status.get("reason") or status.get("phase") or "Unknown")


def pod_row(pod: Item) -> Row:
    """A pod."""
    spec, status = pod["spec"], pod.get("status") or {}
    statuses = status.get("containerStatuses") or []
    ready, total = sum(bool(each.get("ready")) for each in statuses), len(spec.get("containers") or [])
    word = pod_status(pod)
    owner: Item = next((each for each in pod["metadata"].get("ownerReferences") or [] if each.get("controller")), {})
    return {
        **_base(pod),
        "status": word,
        "good": (word == "Running" and ready == total) or word in ("Succeeded", "Completed"),
        "ready": f"{ready}/{total}",
        "restarts": sum(each.get("restartCount", 0) for each in statuses),
        "node": spec.get("nodeName", ""),
        "address": status.get("podIP", ""),
        "owner": f"{owner['kind']}/{owner['name']}" if owner else "",
        "containers": [each["name"] for key in ("initContainers", "containers") for each in spec.get(key) or []],
        "images": [each.get("image", "") for each in spec.get("containers") or []],
    }


def workload_row(workload: Item) -> Row:
    """A Deployment, StatefulSet or DaemonSet."""
    spec, status = workload["spec"], workload.get("status") or {}
    kind = workload.get("kind", "")
    wanted = status.get("desiredNumberScheduled", 0) if kind == "DaemonSet" else spec.get("replicas", 1)
    ready = status.get("numberReady", 0) if kind == "DaemonSet" else status.get("readyReplicas", 0)
    return {
        **_base(workload),
        "kind": kind,
        "ready": f"{ready}/{wanted}",
        "good": ready == wanted,
        "images": [each.get("image", "") for each in spec["template"]["spec"].get("containers") or []],
    }


def service_rows(nodes: tuple[str, ...], *, routes: bool) -> Callable[[Item], Row]:
    """Makes rows of services with where this host reaches them; see ``services.addresses_of``."""

    def service_row(service: Item) -> Row:
        spec = service["spec"]
        ports = [f"{port['port']}/{port.get('protocol', 'TCP')}" for port in spec.get("ports") or []]
        found = addresses_of(service, nodes, routes=routes)
        return {
            **_base(service),
            "type": spec.get("type", "ClusterIP"),
            "address": spec.get("clusterIP", ""),
            "ports": ", ".join(ports),
            "urls": sorted({each.url for each in found if each.url.startswith("http")}),
        }

    return service_row


def event_row(event: Item) -> Row:
    """An event."""
    about = event.get("involvedObject") or {}
    series = event.get("series") or {}
    last = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return {
        **_base(event),
        "good": event.get("type") != "Warning",
        "type": event.get("type", ""),
        "reason": event.get("reason", ""),
        "about": f"{about.get('kind', '')}/{about.get('name', '')}",
        "message": str(event.get("message") or "")[:_LONGEST_MESSAGE],
        "count": series.get("count") or event.get("count") or 1,
        "last": last or event["metadata"].get("creationTimestamp", ""),
    }


def usage_message(usage: Usage, at: float) -> Row:
    """A look at what is used: seconds since 1970, cores, bytes."""
    return {
        "at": round(at, 1),
        "nodes": {node.name: [node.cpu, node.memory] for node in usage.nodes},
        "pods": {f"{pod.namespace}/{pod.name}": [pod.cpu, pod.memory] for pod in usage.pods},
    }
