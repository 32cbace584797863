"""Cluster DNS on machines: the feeder's image as a Deployment behind the tenth service address. Pure."""

from __future__ import annotations

import json
from typing import Any

from localk8s.kubeadm.parameters import ClusterNetwork

IMAGE = "localk8s.dev/dns:1"
_LABELS = {"k8s-app": "kube-dns"}
_NAMESPACE = "kube-system"
_NAME = "localk8s-dns"


def dns_manifests(network: ClusterNetwork, image: str = IMAGE) -> str:
    """Everything that cluster DNS is, as one JSON list for ``kubectl apply``.

    Args:
        network: the cluster's ranges and domain.
        image: reference of the image.
    """
    items = [_account(), *_rules(), _service(network), _deployment(network, image)]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _metadata(name: str = _NAME, *, namespaced: bool = True) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": dict(_LABELS)}
    if namespaced:
        metadata["namespace"] = _NAMESPACE
    return metadata


def _account() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata()}


def _rules() -> tuple[dict[str, Any], dict[str, Any]]:
    reads = ["get", "list", "watch"]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": _metadata(namespaced=False),
        "rules": [
            {"apiGroups": [""], "resources": ["services", "endpoints", "pods", "namespaces"], "verbs": reads},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": reads},
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _metadata(namespaced=False),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _NAME},
        "subjects": [{"kind": "ServiceAccount", "name": _NAME, "namespace": _NAMESPACE}],
    }
    return role, binding


def _service(network: ClusterNetwork) -> dict[str, Any]:
    ports = [{"name": name, "port": 53, "protocol": protocol} for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    metadata = _metadata("kube-dns")
    metadata["labels"] |= {"kubernetes.io/name": "KubeDNS", "kubernetes.io/cluster-service": "true"}
    spec = {"clusterIP": str(network.dns_address), "selector": dict(_LABELS), "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _deployment(network: ClusterNetwork, image: str) -> dict[str, Any]:
    gone = [
        {"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 15}
        for why in ("not-ready", "unreachable")
    ]
    pod = {
        "serviceAccountName": _NAME,
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}, *gone],
        "terminationGracePeriodSeconds": 1,
        "containers": [_container(network, image)],
    }
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": dict(_LABELS)},
        "strategy": {"rollingUpdate": {"maxUnavailable": 0}},
        "template": {"metadata": {"labels": dict(_LABELS)}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(), "spec": spec}


def _container(network: ClusterNetwork, image: str) -> dict[str, Any]:
    return {
        "name": "dns",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "/usr/bin/python3", "-m", "localk8s.kube.dns_feed",
            "--in-cluster",
            "--zone-dir", "/run/named",
            "--domain", network.domain,
            "--service-cidr", str(network.services),
            "--pod-cidr", str(network.pods),
            "--named", "/usr/sbin/named",
            "--listen", "0.0.0.0:53",
            "--announce", str(network.dns_address),
        ],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
        "readinessProbe": {"tcpSocket": {"port": 53}, "periodSeconds": 1, "failureThreshold": 3},
        "resources": {"requests": {"cpu": "20m", "memory": "40Mi"}},
    }  # fmt: skip
