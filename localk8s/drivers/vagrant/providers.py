"""Vagrant's providers: what differs between them, as data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from localk8s.model.errors import UsageError
from localk8s.model.hints import instead
from localk8s.model.status import NodeState

_STATES: Mapping[str, NodeState] = {
    "running": NodeState.READY,
    "paused": NodeState.PAUSED,
    "pmsuspended": NodeState.PAUSED,
    "saved": NodeState.PAUSED,
    "suspended": NodeState.PAUSED,
    "frozen": NodeState.PAUSED,
    "aborted": NodeState.BROKEN,
    "inaccessible": NodeState.BROKEN,
    "gurumeditation": NodeState.BROKEN,
    "not_created": NodeState.BROKEN,
    "poweroff": NodeState.STOPPED,
    "shutoff": NodeState.STOPPED,
    "stopped": NodeState.STOPPED,
    "not_running": NodeState.STOPPED,
    "off": NodeState.STOPPED,
}


@dataclass(frozen=True, slots=True)
class StockBox:
    """A box from the public catalogue, pinned."""

    name: str
    version: str
    architectures: tuple[str, ...]
    """As Kubernetes spells them."""


_BENTO = StockBox("bento/debian-12", "202502.21.0", ("amd64", "arm64"))


@dataclass(frozen=True, slots=True)
class Provider:
    """One way in which Vagrant makes machines."""

    name: str
    """As ``vagrant up --provider`` takes it."""
    title: str
    program: str
    """A program that is there when the provider can be used."""
    platforms: frozenset[str]
    """Values of ``sys.platform``."""
    parallel: bool = False
    """Whether ``vagrant up`` boots several machines at once."""
    plugin: str = ""
    """The plugin that brings it; empty when Vagrant has it built in."""
    static_address: bool = True
    """Whether a machine gets the address that the Vagrantfile gives it (Hyper-V ignores networks)."""
    bounds_disk: bool = True
    """Whether a machine's disk can be given a size."""
    virtual_machines: bool = True
    """False for containers that look like machines and share the host's kernel."""
    builds_box: bool = False
    """Whether ``localk8s box build`` makes boxes for it."""
    stock: StockBox | None = _BENTO
    environment: Mapping[str, str] = field(default_factory=dict)
    """What Vagrant's environment needs for it."""
    sockets: tuple[str, ...] = ()
    """Where its service listens, when it is there: on one of these. Empty for a provider without a service."""


PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider("parallels", "Parallels Desktop", "prlctl", frozenset({"darwin"}), parallel=True, plugin="vagrant-parallels",
                 bounds_disk=False),
        Provider("virtualbox", "VirtualBox", "VBoxManage", frozenset({"linux", "darwin", "win32"})),
        Provider("libvirt", "libvirt (KVM, QEMU)", "virsh", frozenset({"linux"}), parallel=True, plugin="vagrant-libvirt",
                 builds_box=True, sockets=("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")),
        Provider("vmware_desktop", "VMware Workstation or Fusion", "vmrun", frozenset({"linux", "darwin", "win32"}),
                 plugin="vagrant-vmware-desktop", environment={"VAGRANT_EXPERIMENTAL": "disks"}),
        Provider("hyperv", "Hyper-V", "powershell", frozenset({"win32"}), static_address=False, stock=StockBox(
            "bento/debian-12", "202502.21.0", ("amd64",))),
        Provider("lxc", "LXC containers with systemd", "lxc-create", frozenset({"linux"}), parallel=True, plugin="vagrant-lxc",
                 bounds_disk=False, virtual_machines=False, builds_box=True, stock=None),
    )
}  # fmt: skip
"""In the order in which a host is asked for them, when nobody chose one."""


def find_provider(name: str) -> Provider:
    """The provider called ``name``.

    Raises:
        UsageError: there is none.
    """
    try:
        return PROVIDERS[name]
    except KeyError:
        known = ", ".join(sorted(PROVIDERS))
        raise UsageError(
            f"Vagrant provider {name!r} is not known to localk8s: there are {known}.",
            hint=instead("--provider", "libvirt"),
        ) from None


def machine_state(word: str) -> NodeState:
    """What Vagrant's word for a machine's state means; ``READY`` for one that runs, whatever runs in it."""
    return _STATES.get(word, NodeState.UNKNOWN)
