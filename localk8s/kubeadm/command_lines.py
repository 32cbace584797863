"""Command lines of the control plane and node programs where they run as supervised processes. Pure.

Every flag here is held against the recorded flags of 1.20 to 1.36 by a test. The arguments are kubeadm's own,
but for those that make a start quick (shared/reference/versions.md): no look-up of the authentication
ConfigMap and a higher client rate, so that everything may start at once, and no leader election of one.
"""

from __future__ import annotations

from localk8s.kubeadm.parameters import (
    API_PORT,
    BOOTSTRAP_CONF,
    KUBELET_CONF,
    KUBELET_CONFIG,
    PKI,
    KubeadmParameters,
)

ETCD_DATA = "/var/lib/etcd"
_CONTROLLER_CONF = "/etc/kubernetes/controller-manager.conf"
_SCHEDULER_CONF = "/etc/kubernetes/scheduler.conf"


def etcd(name: str) -> tuple[str, ...]:
    """Etcd 3.4 and newer, for this one control plane, on loopback behind client certificates."""
    return (
        "etcd",
        f"--name={name}",
        f"--data-dir={ETCD_DATA}",
        "--listen-client-urls=https://127.0.0.1:2379",
        "--advertise-client-urls=https://127.0.0.1:2379",
        "--listen-peer-urls=https://127.0.0.1:2380",
        "--initial-advertise-peer-urls=https://127.0.0.1:2380",
        f"--initial-cluster={name}=https://127.0.0.1:2380",
        f"--cert-file={PKI}/etcd/server.crt",
        f"--key-file={PKI}/etcd/server.key",
        "--client-cert-auth=true",
        f"--trusted-ca-file={PKI}/etcd/ca.crt",
        f"--peer-cert-file={PKI}/etcd/peer.crt",
        f"--peer-key-file={PKI}/etcd/peer.key",
        "--peer-client-cert-auth=true",
        f"--peer-trusted-ca-file={PKI}/etcd/ca.crt",
        "--snapshot-count=10000",
        "--auto-compaction-retention=1",
        "--logger=zap",
    )


def kube_apiserver(parameters: KubeadmParameters, address: str) -> tuple[str, ...]:
    """The API server, advertised at ``address``."""
    domain = parameters.network.domain
    return (
        "kube-apiserver",
        f"--advertise-address={address}",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        f"--client-ca-file={PKI}/ca.crt",
        "--enable-admission-plugins=NodeRestriction",
        "--enable-bootstrap-token-auth=true",
        f"--etcd-cafile={PKI}/etcd/ca.crt",
        f"--etcd-certfile={PKI}/apiserver-etcd-client.crt",
        f"--etcd-keyfile={PKI}/apiserver-etcd-client.key",
        "--etcd-servers=https://127.0.0.1:2379",
        f"--kubelet-client-certificate={PKI}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={PKI}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--proxy-client-cert-file={PKI}/front-proxy-client.crt",
        f"--proxy-client-key-file={PKI}/front-proxy-client.key",
        "--requestheader-allowed-names=front-proxy-client",
        f"--requestheader-client-ca-file={PKI}/front-proxy-ca.crt",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--secure-port={API_PORT}",
        f"--service-account-issuer=https://kubernetes.default.svc.{domain}",
        f"--service-account-key-file={PKI}/sa.pub",
        f"--service-account-signing-key-file={PKI}/sa.key",
        f"--service-cluster-ip-range={parameters.network.services}",
        f"--tls-cert-file={PKI}/apiserver.crt",
        f"--tls-private-key-file={PKI}/apiserver.key",
        "--profiling=false",
    )


def _no_plain_port(parameters: KubeadmParameters) -> tuple[str, ...]:
    """Without this, versions before 1.23 serve metrics and debugging by plain HTTP on all addresses; kubeadm sets it too."""
    return () if parameters.at_least(23) else ("--port=0",)


def kube_controller_manager(parameters: KubeadmParameters) -> tuple[str, ...]:
    """The controller manager."""
    return (
        "kube-controller-manager",
        "--allocate-node-cidrs=false",
        f"--authentication-kubeconfig={_CONTROLLER_CONF}",
        "--authentication-skip-lookup=true",
        f"--authorization-kubeconfig={_CONTROLLER_CONF}",
        "--bind-address=127.0.0.1",
        f"--client-ca-file={PKI}/ca.crt",
        f"--cluster-name=localk8s-{parameters.cluster}",
        f"--cluster-signing-cert-file={PKI}/ca.crt",
        f"--cluster-signing-key-file={PKI}/ca.key",
        "--controllers=*,bootstrapsigner,tokencleaner",
        "--kube-api-burst=1000",
        "--kube-api-qps=500",
        f"--kubeconfig={_CONTROLLER_CONF}",
        "--leader-elect=false",
        f"--root-ca-file={PKI}/ca.crt",
        f"--service-account-private-key-file={PKI}/sa.key",
        "--use-service-account-credentials=true",
        "--profiling=false",
        *_no_plain_port(parameters),
    )


def kube_scheduler(parameters: KubeadmParameters) -> tuple[str, ...]:
    """The scheduler."""
    return (
        "kube-scheduler",
        f"--authentication-kubeconfig={_SCHEDULER_CONF}",
        "--authentication-skip-lookup=true",
        f"--authorization-kubeconfig={_SCHEDULER_CONF}",
        "--bind-address=127.0.0.1",
        f"--kubeconfig={_SCHEDULER_CONF}",
        "--leader-elect=false",
        *_no_plain_port(parameters),
    )


def kubelet() -> tuple[str, ...]:
    """The kubelet; what differs by node and version, kubeadm writes into ``kubeadm-flags.env``."""
    return (
        "kubelet",
        f"--bootstrap-kubeconfig={BOOTSTRAP_CONF}",
        f"--kubeconfig={KUBELET_CONF}",
        f"--config={KUBELET_CONFIG}",
    )


def kube_proxy(config: str) -> tuple[str, ...]:
    """kube-proxy, with the path of its configuration file."""
    return ("kube-proxy", f"--config={config}")
