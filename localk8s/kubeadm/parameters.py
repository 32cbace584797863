"""What decides how a cluster is set up, the same for every driver that uses kubeadm. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from localk8s.model.versions import KubernetesVersion

PKI = "/etc/kubernetes/pki"
ADMIN_CONF = "/etc/kubernetes/admin.conf"
SUPER_ADMIN_CONF = "/etc/kubernetes/super-admin.conf"
KUBELET_CONF = "/etc/kubernetes/kubelet.conf"
BOOTSTRAP_CONF = "/etc/kubernetes/bootstrap-kubelet.conf"
PROXY_CONF = "/etc/kubernetes/kube-proxy.conf"
KUBELET_CONFIG = "/var/lib/kubelet/config.yaml"
KUBELET_FLAGS = "/var/lib/kubelet/kubeadm-flags.env"
RUNTIME_ENDPOINT = "unix:///run/containerd/containerd.sock"
API_PORT = 6443


@dataclass(frozen=True, slots=True)
class ClusterNetwork:
    """The address ranges of a cluster; they overlap neither each other nor anything of the host."""

    nodes: IPv4Network
    pods: IPv4Network
    services: IPv4Network
    domain: str = "cluster.local"

    @property
    def dns_address(self) -> IPv4Address:
        """The address of the cluster DNS service: the tenth of the service range, as kubeadm has it."""
        return self.services[10]


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a kubelet must leave alone, so that "allocatable" is what the user asked for."""

    cpus: str = "0"
    """A Kubernetes quantity, such as ``1500m``."""
    memory: str = "0"
    """A Kubernetes quantity, such as ``22000Mi``."""
    memory_threshold: str = "50Mi"
    """Free memory below which pods are evicted."""


@dataclass(frozen=True, slots=True)
class KubeadmParameters:
    """Everything the rendered configuration depends on, apart from the node it is for."""

    cluster: str
    version: KubernetesVersion
    network: ClusterNetwork
    endpoint: str
    """``address:port`` of the API server as every node reaches it (a balancer's, with several control planes)."""
    cgroup_driver: str = "cgroupfs"
    cgroup_v1: bool = False
    """True when the nodes have cgroup v1, which a kubelet from 1.35 on refuses unless told."""
    reservation: Reservation = Reservation()
    certificate_names: tuple[str, ...] = ()
    """Names and addresses in the API server's certificate, beyond kubeadm's own."""
    image_repository: str = ""
    """Where static pods' images are named; empty for kubeadm's default."""
    several_control_planes: bool = False
    """Their etcds share this host's disks and processors: they must not elect a new leader at every hiccup."""
    ignore_preflight: tuple[str, ...] = field(default=())
    """Checks of kubeadm's preflight that are known not to hold here."""
    control_plane_timeout: int = 240
    """Seconds that kubeadm waits for the control plane (virtual machines without KVM need more)."""
    slow: bool = False
    """True where processors are emulated: all takes ten times as long, and nothing is ended for its slowness."""

    def at_least(self, minor: int) -> bool:
        """Whether the version is 1.``minor`` or newer."""
        return self.version.minor >= minor


@dataclass(frozen=True, slots=True)
class JoinTicket:
    """The right to join a cluster for an hour."""

    token: str
    """The bootstrap token, ``abcdef.0123456789abcdef``; a secret."""
    authority_hash: str
    """``sha256:…`` of the cluster's certificate authority, by which the joining node knows the cluster."""

    @property
    def identity(self) -> str:
        """The token's public half."""
        return self.token.partition(".")[0]
