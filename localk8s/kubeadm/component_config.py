"""The kubelet's and kube-proxy's configuration files, 1.20 to 1.36 (differences as data). Pure."""

from __future__ import annotations

from typing import Any

from localk8s.kubeadm.parameters import PKI, PROXY_CONF, RUNTIME_ENDPOINT, KubeadmParameters


def kubelet_configuration(parameters: KubeadmParameters) -> dict[str, Any]:
    """The KubeletConfiguration that every node shares."""
    reservation = parameters.reservation
    document: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{PKI}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": parameters.cgroup_driver,
        "cgroupRoot": "/",
        "clusterDNS": [str(parameters.network.dns_address)],
        "clusterDomain": parameters.network.domain,
        "failSwapOn": False,
        "rotateCertificates": True,
        "resolvConf": "/etc/resolv.conf",
        "staticPodPath": "/etc/kubernetes/manifests",
        # Looked at every second, so that a node is Ready when it is; told to the API when it changes or every 10 s.
        "nodeStatusUpdateFrequency": "5s" if parameters.slow else "1s",
        "nodeStatusReportFrequency": "10s",
        "serializeImagePulls": False,
        "systemReserved": {"cpu": reservation.cpus, "memory": reservation.memory},
        "enforceNodeAllocatable": ["pods"],
        "evictionHard": {
            "memory.available": reservation.memory_threshold,
            "nodefs.available": "5%",
            "nodefs.inodesFree": "2%",
            "imagefs.available": "5%",
        },
        "imageGCHighThresholdPercent": 95,
        "imageGCLowThresholdPercent": 90,
        "shutdownGracePeriod": "0s",
        "shutdownGracePeriodCriticalPods": "0s",
    }
    if parameters.at_least(27):
        document["containerRuntimeEndpoint"] = RUNTIME_ENDPOINT
    if parameters.at_least(35) and parameters.cgroup_v1:
        document["failCgroupV1"] = False
    return document


def proxy_configuration(parameters: KubeadmParameters, *, name: str = "") -> dict[str, Any]:
    """The KubeProxyConfiguration.

    Args:
        parameters: the cluster.
        name: the node's name, where kube-proxy runs as a process of one node and not as a DaemonSet.
    """
    document: dict[str, Any] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": str(parameters.network.pods),
        "bindAddress": "0.0.0.0",  # noqa: S104 - a node's own network namespace or machine
        # The size of the connection table belongs to the host: writing it fails in a network namespace.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "iptables": {"minSyncPeriod": "0s", "syncPeriod": "30s"},
    }
    if name:
        document["hostnameOverride"] = name
        document["clientConnection"] = {"kubeconfig": PROXY_CONF}
    return document
