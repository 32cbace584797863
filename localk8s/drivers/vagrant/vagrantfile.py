"""Renders the one Vagrantfile template from a cluster's plan and size, for every provider. Pure but for reading the template.

Every value goes through the ``ruby`` filter, which makes a Ruby literal of it; nothing is written between quotes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from localk8s.drivers.vagrant.plan import ClusterPlan, Machine
from localk8s.drivers.vagrant.providers import Provider
from localk8s.model.quantities import GIB, MIB
from localk8s.model.spec import DEFAULT_NODE_SIZE, NodeSize

_PERIOD = 100_000
"""Microseconds of the kernel's CPU accounting period."""


@dataclass(frozen=True, slots=True)
class Box:
    """The box that machines are made from."""

    name: str
    version: str = ""
    kernel: str = ""
    """Path on the host of a kernel that is booted directly (libvirt, boxes built here)."""
    initrd: str = ""
    own: bool = False
    """True for a box built by localk8s, whose machines configure their own network."""


@dataclass(frozen=True, slots=True)
class HostTraits:
    """What the rendering must know of the host."""

    cgroup_v1: bool = False
    root: bool = False
    architecture: str = "amd64"
    kvm: bool = True
    """Whether virtual machines may use the processor's help; without it they are emulated."""
    uplink: bool = False
    """Whether machines should be led out of the host."""
    containers: str = "/var/lib/lxc"
    """Where LXC keeps its containers."""


@dataclass(frozen=True, slots=True)
class Limits:
    """One machine's bounds in the units that providers take."""

    memory_mib: int
    cpus: int
    """Whole processors, for providers that have no parts of one."""
    cpu_quota: int
    """Microseconds in each period of 100 ms."""
    disk_gib: int


def limits(size: NodeSize) -> Limits:
    """``size`` in the units of providers; what is not bounded gets the default size, since a machine needs some."""
    cpus = size.cpus if size.cpus is not None else DEFAULT_NODE_SIZE.cpus
    memory = size.memory if size.memory is not None else DEFAULT_NODE_SIZE.memory
    disk = size.disk if size.disk is not None else DEFAULT_NODE_SIZE.disk
    assert cpus is not None and memory is not None and disk is not None  # noqa: S101 - the default bounds all
    return Limits(
        memory_mib=-(-memory // MIB),
        cpus=max(1, math.ceil(cpus)),
        cpu_quota=int(cpus * _PERIOD),
        disk_gib=max(1, -(-disk // GIB)),
    )


def render_vagrantfile(
    plan: ClusterPlan,
    provider: Provider,
    size: NodeSize,
    box: Box,
    host: HostTraits,
    *,
    machines: Sequence[Machine] | None = None,
) -> str:
    """The Vagrantfile.

    Args:
        plan: the cluster.
        provider: which machines are made.
        size: of each machine.
        box: what they are made from.
        host: what the rendering must know of the host.
        machines: those to define; all of the plan when None.
    """
    import jinja2

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - it is no HTML; the ruby filter quotes
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ruby"] = ruby
    template = environment.from_string(template_text())
    values: dict[str, Any] = {
        "plan": plan,
        "provider": provider,
        "limits": limits(size),
        "box": box,
        "host": host,
        "netmask": str(plan.network.nodes.netmask),
        "prefix": plan.network.nodes.prefixlen,
        "machines": plan.machines if machines is None else machines,
        "cmdline": kernel_command_line,
    }
    return template.render(values)


def kernel_command_line(plan: ClusterPlan, machine: Machine, host: HostTraits) -> str:
    """What a directly booted kernel is told; the box's network script reads the address from it.

    Emulated processors share one counter of time, but a kernel's own trial of it fails by their slowness, and it would
    read a device at every look at the clock instead.
    """
    words = ["root=/dev/vda", "rw", "console=ttyS0", "net.ifnames=0", "mitigations=off", "systemd.show_status=0", "quiet"]
    words += [] if host.kvm else ["tsc=reliable"]
    words += [f"localk8s.address={machine.address}/{plan.network.nodes.prefixlen}", f"localk8s.hostname={machine.name}"]
    return " ".join(words)


def template_text() -> str:
    """``Vagrantfile.j2``: in the wheel beside the package's modules, in a working tree at its top."""
    packaged = files("localk8s") / "Vagrantfile.j2"
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).resolve().parents[3] / "Vagrantfile.j2").read_text(encoding="utf-8")


def ruby(value: object) -> str:
    """``value`` as a Ruby literal: texts in single quotes, where only a backslash and the quote mean something.

    Raises:
        TypeError: there is no literal for it.
    """
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{ruby(key)} => {ruby(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(ruby(item) for item in value) + "]"
    raise TypeError(f"no Ruby literal for {type(value).__name__}")


def _quoted(text: str) -> str:
    if "\0" in text:
        raise TypeError("no Ruby literal for a text with a NUL")
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
