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
    """Programs for nodes from Debian packages, unpacked below one root without any library (nothing is installed).

    ``root`` looks like a file system: ``usr/sbin/dockerd`` …
    """

    root: Path


@dataclass(frozen=True, slots=True)
class NodeRoot:
    """The root file system of native nodes, read-only: a whole Debian with its own C library, shell, containerd and etcd."""

    directory: Path

    def command(self, program: str) -> tuple[str, ...]:
        """What runs one of its programs in this host's own namespaces, whatever C library the host has.

        Args:
            program: its path in the root, such as ``usr/sbin/mke2fs``.
        """
        loader = next(iter(sorted(self.directory.glob("usr/lib*/ld-linux-*.so.*"))), self.directory / "usr/lib64/ld-linux.so")
        libraries = next(iter(sorted(self.directory.glob("usr/lib/*-linux-gnu"))), self.directory / "usr/lib")
        plugins = f"XTABLES_LIBDIR={libraries}/xtables"
        return ("env", plugins, str(loader), "--library-path", str(libraries), str(self.directory / program))


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
