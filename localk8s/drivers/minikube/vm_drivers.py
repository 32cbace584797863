"""What each of minikube's own drivers (``--vm-driver``) can and cannot do. Pure data, and the refusals that follow from it.

Everything here is known before minikube is called: some of these wishes, once minikube has them, destroy the cluster.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from localk8s.model import hints
from localk8s.model.errors import NotSupportedError, UsageError


class Kind(StrEnum):
    """What a machine of a driver is."""

    NONE = "none"
    """This host itself."""
    SSH = "ssh"
    """A machine that exists already, reached over ssh."""
    CONTAINER = "container"
    VM = "vm"


@dataclass(frozen=True, slots=True)
class VmDriver:
    """One of minikube's drivers."""

    name: str
    kind: Kind
    platforms: frozenset[str] = frozenset({"linux", "darwin", "win32"})
    """Values of ``sys.platform`` on which minikube has it."""
    program: str = ""
    """What has to be on this host's PATH for it; empty when that cannot be said."""

    @property
    def several_nodes(self) -> bool:
        """Whether a cluster can have more than one node."""
        return self.kind in (Kind.CONTAINER, Kind.VM)

    @property
    def bounds_size(self) -> bool:
        """Whether memory, CPUs and disk asked for are given to the node, rather than taken as they are."""
        return self.kind in (Kind.CONTAINER, Kind.VM)

    @property
    def any_profile(self) -> bool:
        """Whether the profile may have any name."""
        return self.kind is not Kind.NONE

    @property
    def preloads(self) -> bool:
        """Whether minikube can unpack one archive of all images instead of caching each."""
        return self.kind in (Kind.CONTAINER, Kind.VM)

    @property
    def caches_images(self) -> bool:
        """Whether minikube loads images from its cache into the node; never into this host."""
        return self.kind is not Kind.NONE

    @property
    def static_address(self) -> bool:
        """Whether ``--static-ip`` means anything."""
        return self.kind is Kind.CONTAINER

    @property
    def host_is_in_cluster(self) -> bool:
        """Whether this host has routes to pods and services because it is the node."""
        return self.kind is Kind.NONE


_LINUX, _MAC, _WINDOWS = frozenset({"linux"}), frozenset({"darwin"}), frozenset({"win32"})

KNOWN = (
    VmDriver("docker", Kind.CONTAINER, program="docker"),
    VmDriver("podman", Kind.CONTAINER, program="podman"),
    VmDriver("kvm2", Kind.VM, _LINUX, "virsh"),
    VmDriver("qemu2", Kind.VM),
    VmDriver("virtualbox", Kind.VM, program="VBoxManage"),
    VmDriver("vmware", Kind.VM),
    VmDriver("parallels", Kind.VM, _MAC, "prlctl"),
    VmDriver("hyperkit", Kind.VM, _MAC, "hyperkit"),
    VmDriver("vfkit", Kind.VM, _MAC, "vfkit"),
    VmDriver("krunkit", Kind.VM, _MAC, "krunkit"),
    VmDriver("hyperv", Kind.VM, _WINDOWS),
    VmDriver("none", Kind.NONE, _LINUX),
    VmDriver("ssh", Kind.SSH),
)
_ALIASES = {"kvm": "kvm2", "qemu": "qemu2", "native": "none", "generic": "ssh", "vbox": "virtualbox"}
_BY_NAME = {driver.name: driver for driver in KNOWN}

NONE_PROFILE = "minikube"
"""The only profile that the none driver accepts."""


def vm_driver(name: str) -> VmDriver:
    """The driver called ``name``; one that is not in the table is taken for a virtual machine, and minikube decides.

    Raises:
        UsageError: no driver could be called so.
    """
    name = _ALIASES.get(name, name)
    if found := _BY_NAME.get(name):
        return found
    if not re.fullmatch(r"[a-z][a-z0-9]{1,19}", name, re.ASCII):
        names = ", ".join(driver.name for driver in KNOWN)
        raise UsageError(f"{name!r} is no driver of minikube: there are {names}.", hint=hints.host_command("start", "--help"))
    return VmDriver(name, Kind.VM)


def profile_name(cluster: str, driver: VmDriver | None) -> str:
    """The minikube profile of ``cluster``: ``localk8s-NAME``, or the one that the none driver insists on."""
    return NONE_PROFILE if driver is not None and not driver.any_profile else f"localk8s-{cluster}"


def refuse_nodes(driver: VmDriver, nodes: int, control_planes: int, cluster: str) -> None:
    """Refuse more nodes than ``driver`` can have; ``cluster`` is named in the hint.

    Raises:
        NotSupportedError: with the reason.
    """
    if nodes > 1 and not driver.several_nodes:
        raise NotSupportedError(
            f"minikube's {driver.name} driver has one node, {_why_one(driver)}; asked for {nodes} nodes.",
            hint=hints.command(
                "start", "--driver", "minikube", "--vm-driver", "docker", "--nodes", f"{nodes}", cluster=cluster
            ),
        )
    if control_planes not in (1, 3):
        raise NotSupportedError(
            f"minikube makes clusters with 1 or 3 control planes, not {control_planes}.",
            hint=hints.command("start", "--driver", "minikube", "--control-planes", "3", cluster=cluster),
        )


def refuse_single(driver: VmDriver, cluster: str) -> None:
    """Refuse to switch the one node of ``driver`` by itself.

    Raises:
        NotSupportedError: with the command that switches the cluster.
    """
    if not driver.several_nodes:
        raise NotSupportedError(
            f"minikube's {driver.name} driver has one node, {_why_one(driver)}: it is stopped and started with the cluster.",
            hint=hints.command("stop", cluster=cluster),
        )


def refuse_ssh(driver: VmDriver) -> None:
    """Refuse a login where the node is this host.

    Raises:
        NotSupportedError: with the reason.
    """
    if driver.kind is Kind.NONE:
        raise NotSupportedError(
            "minikube's none driver has no ssh: its node is this host itself.",
            hint="run the command here, in this terminal",
        )


def _why_one(driver: VmDriver) -> str:
    return "this host" if driver.kind is Kind.NONE else "the machine that it is given"
