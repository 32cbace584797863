"""From what was asked for to a spec: what wins over what, and what differs from a recorded spec. Pure.

Must not ask drivers, files or the host; those answers are handed in.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from localk8s.drivers.base import Change
from localk8s.model.errors import UsageError
from localk8s.model.hints import command
from localk8s.model.quantities import format_change, parse_cpus, parse_size, size_argument
from localk8s.model.spec import DEFAULT_NODE_SIZE, ClusterSpec, NodeSize
from localk8s.model.versions import KubernetesVersion, parse_kubernetes_version
from localk8s.system.config import Defaults


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting and where it came from."""

    value: str
    source: str
    """For people: ``--driver``, ``LOCALK8S_DRIVER``, ``recorded``."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asked for in one ``start``. None: left open."""

    driver: str | None = None
    nodes: int | None = None
    control_planes: int | None = None
    """Of the nodes."""
    cpus: Decimal | None = None
    memory: int | None = None
    """Bytes a node."""
    disk: int | None = None
    """Bytes a node."""
    kubernetes_version: KubernetesVersion | None = None
    artifacts: str | None = None
    """Absolute path of a directory or bundle."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What only one driver has."""

    @property
    def typed(self) -> frozenset[str]:
        """The sizes in it, by their options' names; see ``ClusterSpec.typed``."""
        sizes = {"cpus": self.cpus, "memory": self.memory, "disk-size": self.disk}
        return frozenset(name for name, value in sizes.items() if value is not None)


def parse_wish(
    *,
    driver: str | None = None,
    nodes: int | None = None,
    control_planes: int | None = None,
    cpus: str | None = None,
    memory: str | None = None,
    disk_size: str | None = None,
    kubernetes_version: str | None = None,
    artifacts: str | Path | None = None,
    options: Mapping[str, str] | None = None,
) -> Wish:
    """A wish from what people write.

    Args:
        driver: a driver's name.
        nodes: machines together.
        control_planes: how many of them carry the control plane.
        cpus: ``2``, ``0.5``.
        memory: ``4g``; a bare number is MiB.
        disk_size: ``20g``; a bare number is MiB.
        kubernetes_version: ``1.36.3``.
        artifacts: an existing directory or bundle.
        options: what only this driver has.

    Raises:
        UsageError: one of them makes no sense.
    """
    return Wish(
        driver=driver,
        nodes=nodes,
        control_planes=control_planes,
        cpus=None if cpus is None else parse_cpus(cpus),
        memory=None if memory is None else parse_size(memory, what="--memory"),
        disk=None if disk_size is None else parse_size(disk_size, what="--disk-size"),
        kubernetes_version=None if kubernetes_version is None else parse_kubernetes_version(kubernetes_version),
        artifacts=None if artifacts is None else _existing(artifacts),
        options=dict(options or {}),
    )


def _existing(path: str | Path) -> str:
    text = str(path)
    try:
        if "\0" not in text and Path(text).expanduser().exists():
            return str(Path(text).expanduser().resolve())
    except (OSError, RuntimeError):
        pass  # a name too long, a home that nobody has: no such path
    raise UsageError(f"--artifacts {shlex.quote(text)}: there is no such directory or file.", hint="ls -d DIRECTORY")


def new_spec(name: str, driver: str, wish: Wish, defaults: Defaults, host_cpus: int) -> ClusterSpec:
    """The spec of a cluster that is not there yet.

    Args:
        name: the cluster.
        driver: resolved already.
        wish: wins over everything.
        defaults: from the configuration file; win over what localk8s has by itself.
        host_cpus: processors of this host; the default for a node is not more.
    """
    own = DEFAULT_NODE_SIZE
    cpus = None if own.cpus is None else min(own.cpus, Decimal(host_cpus))
    size = NodeSize(
        cpus=_first(wish.cpus, defaults.cpus, cpus),
        memory=_first(wish.memory, defaults.memory, own.memory),
        disk=_first(wish.disk, defaults.disk, own.disk),
    )
    planes = _first(wish.control_planes, 1)
    return ClusterSpec(
        name=name,
        driver=driver,
        nodes=_first(wish.nodes, max(defaults.nodes or 1, planes)),
        control_planes=planes,
        size=size,
        kubernetes_version=_first(wish.kubernetes_version, None if wish.artifacts else defaults.kubernetes_version),
        artifacts=wish.artifacts,
        options=wish.options,
        typed=wish.typed,
    )


def amended(recorded: ClusterSpec, wish: Wish) -> ClusterSpec:
    """``recorded`` with what ``wish`` asks for; the driver stays."""
    size = NodeSize(
        cpus=_first(wish.cpus, recorded.size.cpus),
        memory=_first(wish.memory, recorded.size.memory),
        disk=_first(wish.disk, recorded.size.disk),
    )
    return replace(
        recorded,
        nodes=_first(wish.nodes, recorded.nodes),
        control_planes=_first(wish.control_planes, recorded.control_planes),
        size=size,
        kubernetes_version=_first(wish.kubernetes_version, recorded.kubernetes_version),
        artifacts=_first(wish.artifacts, recorded.artifacts),
        options={**recorded.options, **wish.options},
        typed=wish.typed,
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def with_unclaimed(changes: tuple[Change, ...], recorded: ClusterSpec, wanted: ClusterSpec) -> tuple[Change, ...]:
    """``changes`` and a refusal for each other difference, so that nothing asked for is silently ignored.

    Args:
        changes: what the driver says about the two specs.
        recorded: what the cluster was created from.
        wanted: what is asked for now.
    """
    claimed = {change.field for change in changes}
    left = [
        Change(option, before, after, live=False)
        for option, before, after in _differences(recorded, wanted)
        if option not in claimed
    ]
    return (*changes, *left)


def _differences(recorded: ClusterSpec, wanted: ClusterSpec) -> list[tuple[str, str, str]]:
    found = []
    for option, show in _FIELDS.items():
        before, after = show(recorded), show(wanted)
        if before != after:
            found.append((option, before, after))
    for option, was, will in (
        ("memory", recorded.size.memory, wanted.size.memory),
        ("disk-size", recorded.size.disk, wanted.size.disk),
    ):
        if was != will:
            found.append((option, *format_change(was, will)))
    for key in sorted({*recorded.options, *wanted.options}):
        before, after = recorded.options.get(key, ""), wanted.options.get(key, "")
        if before != after:
            found.append((key, before or "nothing", after or "nothing"))
    return found


_FIELDS: Mapping[str, Callable[[ClusterSpec], str]] = {
    "nodes": lambda spec: str(spec.nodes),
    "control-planes": lambda spec: str(spec.control_planes),
    "cpus": lambda spec: "unbounded" if spec.size.cpus is None else str(spec.size.cpus.normalize()),
    "kubernetes-version": lambda spec: str(spec.kubernetes_version),
    "artifacts": lambda spec: spec.artifacts or "none",
}


def start_command(spec: ClusterSpec) -> str:
    """The ``localk8s start`` line that makes ``spec`` anew; what is the default is left out."""
    arguments = ["--driver", spec.driver]
    if spec.nodes != 1:
        arguments += ["--nodes", str(spec.nodes)]
    if spec.control_planes != 1:
        arguments += ["--control-planes", str(spec.control_planes)]
    if spec.size.cpus not in (None, DEFAULT_NODE_SIZE.cpus):
        arguments += ["--cpus", f"{spec.size.cpus:f}"]
    if spec.size.memory not in (None, DEFAULT_NODE_SIZE.memory):
        arguments += ["--memory", size_argument(spec.size.memory or 0)]
    if spec.size.disk not in (None, DEFAULT_NODE_SIZE.disk):
        arguments += ["--disk-size", size_argument(spec.size.disk or 0)]
    if spec.artifacts:
        arguments += ["--artifacts", spec.artifacts]
    if spec.kubernetes_version:
        arguments += ["--kubernetes-version", str(spec.kubernetes_version).removeprefix("v")]
    for key, value in sorted(spec.options.items()):
        arguments += ["--driver-option", f"{key}={value}"]
    return command("start", *arguments, cluster=spec.name)
