"""What is known about artifacts without asking anybody: names, versions, image references, Debian package lists.

Pure data and pure functions. Must not read a file, the environment or the network.
"""

from __future__ import annotations

from localk8s.artifacts.kinds import ImageRole
from localk8s.model.errors import NotSupportedError
from localk8s.model.versions import KubernetesVersion

NEWEST = KubernetesVersion(1, 36, 3)
"""The newest release that localk8s was written against."""

SOURCE_SUITE, SOURCE_VERSION = "bookworm", KubernetesVersion(1, 20, 2)
"""The Debian suite that holds the whole source of a Kubernetes, and of which. Later suites have kubectl's sources only."""

ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
"""The host's machine name, as Debian and Kubernetes call it."""

NODE_SUITE = "trixie"
"""The Debian suite that a native node's root is made of, whatever the host is."""

NODE_PACKAGES = (
    # a machine: the C library comes by itself
    "base-files", "base-passwd", "bash", "ca-certificates", "coreutils", "curl", "dash", "debianutils", "diffutils",
    "findutils", "grep", "gzip", "hostname", "less", "libc-bin", "mawk", "nano", "ncurses-base", "ncurses-bin",
    "netbase", "procps", "psmisc", "sed", "tar", "util-linux", "xz-utils",
    # its file systems, network and kernel
    "apparmor", "conntrack", "e2fsprogs", "ethtool", "iproute2", "iptables", "iputils-ping", "kmod", "mount",
    "nftables", "socat",
    # what runs Kubernetes, and beside it
    "catatonit", "containerd", "containernetworking-plugins", "etcd-client", "etcd-server", "runc", "runit",
    # the cluster DNS, and what images are made of
    "bind9", "bind9-libs", "bind9-utils", "busybox", "ipsvd", "libpython3-stdlib", "openssl", "python3",
    "python3-minimal",
)  # fmt: skip
"""Debian packages of a native node; the libraries they need are found by apt."""

RECORDED = (*(KubernetesVersion(1, *rest) for rest in ((20, 2), (24, 17), (28, 15), (34, 10))), NEWEST)
"""The versions whose references below were read from their kubeadm; for others it is asked."""

_ECHO_REFERENCE = "localk8s.dev/echo:1"
_DNS_REFERENCE = "localk8s.dev/dns:1"

_PAUSE_TAGS = {
    20: "3.2",
    21: "3.4.1",
    22: "3.5",
    23: "3.6",
    24: "3.7",
    25: "3.8",
    26: "3.9",
    31: "3.10",
    34: "3.10.1",
    36: "3.10.2",
}
"""By the first minor that asks for the tag (``kubeadm config images list``)."""

_ETCD_TAGS = {20: "3.4.13-0", 22: "3.5.0-0", 24: "3.5.6-0", 28: "3.5.15-0", 34: "3.6.5-0", 36: "3.6.8-0"}
"""As seen with 1.20.2, 1.24.17, 1.28.15, 1.34.10 and 1.36.3; kubeadm itself is asked for any other version."""

_REGISTRY_MOVED = KubernetesVersion(1, 24, 17)


def architecture(machine: str) -> str:
    """``amd64`` or ``arm64`` for the machine name that the kernel gives.

    Raises:
        NotSupportedError: no artifacts are known for it.
    """
    try:
        return ARCHITECTURES[machine.lower()]
    except KeyError:
        raise NotSupportedError(f"There are no artifacts for the machine type {machine}: only for amd64 and arm64.") from None


def registry(version: KubernetesVersion) -> str:
    """Where kubeadm of ``version`` expects its images."""
    return "registry.k8s.io" if version >= _REGISTRY_MOVED else "k8s.gcr.io"


def image_reference(role: ImageRole, version: KubernetesVersion) -> str:
    """The full name and tag of the image for ``role`` in a cluster of ``version``."""
    if role is ImageRole.ECHO:
        return _ECHO_REFERENCE
    if role is ImageRole.DNS:
        return _DNS_REFERENCE
    tags = {ImageRole.PAUSE: _PAUSE_TAGS, ImageRole.ETCD: _ETCD_TAGS}
    tag = _by_minor(tags[role], version.minor) if role in tags else str(version)
    return f"{registry(version)}/{role.value}:{tag}"


def _by_minor(table: dict[int, str], minor: int) -> str:
    return table[max(first for first in table if first <= max(minor, min(table)))]
