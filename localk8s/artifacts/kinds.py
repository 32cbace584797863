"""What the artifact floor hands out. Pure data: where things are, once they have been found and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from localk8s.model.versions import KubernetesVersion

KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubeadm",
    "kubectl",
    "kubelet",
)


@dataclass(frozen=True, slots=True)
class KubernetesBinaries:
    """The seven programs of one Kubernetes version, in one directory, each checked."""

    version: KubernetesVersion
    directory: Path
    source: str
    """For people: ``/srv/k8s``, ``mirror``, ``official``, ``Debian's source package``."""
    images: Path | None = None
    """A directory of image archives that came with them; they are preferred to images made here."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by program, as far as known; spares reading them again."""


@dataclass(frozen=True, slots=True)
class NodeTools:
    """Programs of a node that come from Debian packages, unpacked below one root (nothing is installed on the host).

    ``root`` looks like a file system: ``usr/bin/containerd``, ``usr/sbin/runc``, ``usr/lib/cni/…``.
    """

    root: Path

    @property
    def path(self) -> str:
        """A PATH value that finds all of them."""
        return ":".join(str(self.root / part) for part in ("usr/local/bin", "usr/bin", "usr/sbin", "bin", "sbin"))

    @property
    def library_path(self) -> str:
        """An LD_LIBRARY_PATH value for those of them that are linked dynamically (named)."""
        return ":".join(str(self.root / part) for part in ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib"))

    @property
    def environment(self) -> dict[str, str]:
        """Variables beside PATH with which all of them find their libraries and plugins."""
        plugins = next(iter(sorted(self.root.glob("usr/lib/*/xtables"))), self.root / "usr/lib/xtables")
        return {"LD_LIBRARY_PATH": self.library_path, "XTABLES_LIBDIR": str(plugins)}

    @property
    def cni(self) -> Path:
        """The directory of the CNI plugins."""
        return self.root / "usr/lib/cni"


class ImageRole(StrEnum):
    """What an image is for; its reference follows from the Kubernetes version."""

    PAUSE = "pause"
    ECHO = "echo"
    DNS = "dns"
    KUBE_PROXY = "kube-proxy"
    KUBE_APISERVER = "kube-apiserver"
    KUBE_CONTROLLER_MANAGER = "kube-controller-manager"
    KUBE_SCHEDULER = "kube-scheduler"
    ETCD = "etcd"


@dataclass(frozen=True, slots=True)
class Image:
    """A container image in a file that ``ctr -n k8s.io images import`` and ``docker load`` take."""

    role: ImageRole
    reference: str
    """Its full name and tag, such as ``registry.k8s.io/pause:3.10.2``."""
    archive: Path
