"""Manifests of what localk8s deploys into clusters: a Deployment, a NodePort Service. Pure; valid from 1.20 to 1.36.

Everything that a list of Kubernetes is keyed by is written out (a port's protocol, say): a server-side apply on 1.20
refuses what it would have to fill in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FROM_POD = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "NODE_NAME": "spec.nodeName"}
_CONTROL_PLANES = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
"""Taints of control planes: the second one up to 1.24."""


def deployment(
    name: str, image: str, *, namespace: str, labels: Mapping[str, str], replicas: int, port: int, ready_path: str = ""
) -> dict[str, Any]:
    """A Deployment of one container that is told its pod, namespace and node, and may run on control planes too.

    Args:
        image: used as it is on the node where it is there, pulled where it is not.
        labels: of the Deployment and its pods, by which it finds them.
        port: on which the container serves TCP.
        ready_path: an HTTP path whose answer makes a pod ready; empty when it is ready as soon as it runs.
    """
    container: dict[str, Any] = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in _FROM_POD.items()],
        "ports": [{"containerPort": port, "protocol": "TCP"}],
    }
    if ready_path:
        container["readinessProbe"] = {"httpGet": {"path": ready_path, "port": port}, "periodSeconds": 1}
    pod = {
        "containers": [container],
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in _CONTROL_PLANES],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": dict(labels)},
            "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
        },
    }


def node_port_service(name: str, *, namespace: str, labels: Mapping[str, str], port: int) -> dict[str, Any]:
    """A Service that every node offers on a port that the API server chooses.

    Args:
        labels: of the Service, and by which it finds its pods.
        port: on which the pods serve, and the Service too.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {
            "type": "NodePort",
            "selector": dict(labels),
            "ports": [{"port": port, "targetPort": port, "protocol": "TCP"}],
        },
    }
