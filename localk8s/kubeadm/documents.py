"""kubeadm's own configuration files, for every version of its API (v1beta2, v1beta3, v1beta4). Pure.

Rendered as JSON documents, which are YAML. Versions as measured in shared/reference/versions.md: 1.20 takes
v1beta2, 1.22 to 1.30 v1beta3, 1.31 and newer v1beta4 (extra arguments as a list, timeouts and the key
algorithm as fields).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from localk8s.kubeadm.component_config import kubelet_configuration, proxy_configuration
from localk8s.kubeadm.parameters import API_PORT, PKI, RUNTIME_ENDPOINT, JoinTicket, KubeadmParameters

_SLOW_LEASE = {
    "leader-elect-lease-duration": "40s",
    "leader-elect-renew-deadline": "30s",
    "leader-elect-retry-period": "4s",
}
"""A controller that cannot renew its lease in time ends itself, and has to start anew on a machine that is too slow already."""
_SLOW_NODES = {"node-monitor-grace-period": "120s"}


def yaml_documents(documents: Iterable[Mapping[str, Any]]) -> str:
    """The documents as one YAML stream."""
    return "---\n".join(json.dumps(document, indent=1) + "\n" for document in documents)


def api_version(parameters: KubeadmParameters) -> str:
    """The newest configuration API that this kubeadm reads without complaint."""
    minor = parameters.version.minor
    release = "v1beta2" if minor < 22 else "v1beta3" if minor < 31 else "v1beta4"
    return f"kubeadm.k8s.io/{release}"


def init_documents(parameters: KubeadmParameters, *, name: str, address: str, certificates: str = PKI) -> str:
    """What ``kubeadm init`` (whole, or by phases) reads on the first control plane.

    Args:
        parameters: the cluster.
        name: the node's name.
        address: the node's own IPv4 address.
        certificates: the directory where certificates are made.
    """
    init: dict[str, Any] = {
        "apiVersion": api_version(parameters),
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": address, "bindPort": API_PORT},
        "nodeRegistration": _registration(parameters, name, address),
    }
    if parameters.at_least(31):
        init["timeouts"] = {"controlPlaneComponentHealthCheck": f"{parameters.control_plane_timeout}s"}
    return yaml_documents(
        [
            init,
            cluster_document(parameters, certificates=certificates),
            kubelet_configuration(parameters),
            proxy_configuration(parameters),
        ]
    )


def cluster_document(parameters: KubeadmParameters, *, certificates: str = PKI) -> dict[str, Any]:
    """The ClusterConfiguration."""
    network = parameters.network
    api_server: dict[str, Any] = {
        "certSANs": list(parameters.certificate_names),
        "extraArgs": _arguments(parameters, {"kubelet-preferred-address-types": "InternalIP"}),
    }
    lease = _SLOW_LEASE if parameters.slow else {}
    # Without the first the controller manager sleeps 10 s for its IPAM; each node's CNI configuration has its pod range.
    controllers = {"allocate-node-cidrs": "false", **lease, **(_SLOW_NODES if parameters.slow else {})}
    document: dict[str, Any] = {
        "apiVersion": api_version(parameters),
        "kind": "ClusterConfiguration",
        "clusterName": f"localk8s-{parameters.cluster}",
        "kubernetesVersion": str(parameters.version),
        "certificatesDir": certificates,
        "controlPlaneEndpoint": parameters.endpoint,
        "networking": {
            "podSubnet": str(network.pods),
            "serviceSubnet": str(network.services),
            "dnsDomain": network.domain,
        },
        "apiServer": api_server,
        "controllerManager": {"extraArgs": _arguments(parameters, controllers)},
        "scheduler": {"extraArgs": _arguments(parameters, lease)},
    }
    if parameters.several_control_planes:
        patience = {"heartbeat-interval": "300", "election-timeout": "3000"}
        document["etcd"] = {"local": {"extraArgs": _arguments(parameters, patience)}}
    if parameters.image_repository:
        document["imageRepository"] = parameters.image_repository
    if parameters.at_least(31):
        document["encryptionAlgorithm"] = "ECDSA-P256"
    else:
        document["featureGates"] = {"PublicKeysECDSA": True}
        api_server["timeoutForControlPlane"] = f"{parameters.control_plane_timeout}s"
    return document


def join_documents(
    parameters: KubeadmParameters, *, name: str, address: str, ticket: JoinTicket, control_plane: str = ""
) -> str:
    """What ``kubeadm join`` reads.

    Args:
        parameters: the cluster.
        name: the joining node's name.
        address: its own IPv4 address.
        ticket: the right to join, made for this join.
        control_plane: the key that decrypts the uploaded certificates, when the node becomes a control plane.
    """
    document: dict[str, Any] = {
        "apiVersion": api_version(parameters),
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "token": ticket.token,
                "apiServerEndpoint": parameters.endpoint,
                "caCertHashes": [ticket.authority_hash],
            },
            "tlsBootstrapToken": ticket.token,
        },
        "nodeRegistration": _registration(parameters, name, address),
    }
    if control_plane:
        document["controlPlane"] = {
            "localAPIEndpoint": {"advertiseAddress": address, "bindPort": API_PORT},
            "certificateKey": control_plane,
        }
    return yaml_documents([document])


def _registration(parameters: KubeadmParameters, name: str, address: str) -> dict[str, Any]:
    return {
        "name": name,
        "criSocket": RUNTIME_ENDPOINT if parameters.at_least(24) else RUNTIME_ENDPOINT.removeprefix("unix://"),
        "taints": [],  # every node takes pods: a developer's machine has none to spare
        "kubeletExtraArgs": _arguments(parameters, {"node-ip": address}),
        "ignorePreflightErrors": list(parameters.ignore_preflight),
    }


def _arguments(parameters: KubeadmParameters, arguments: Mapping[str, str]) -> Sequence[Mapping[str, str]] | Mapping[str, str]:
    if parameters.at_least(31):
        return [{"name": name, "value": value} for name, value in arguments.items()]
    return dict(arguments)
