"""What a Vagrant cluster looks like: machines, addresses, pod ranges, names that exist for it. Pure.

Must not touch the host. The plan is what the driver keeps of a cluster; it is written before anything is made, so
that ``delete`` knows what to look for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from localk8s.drivers.cluster_ranges import decode_ranges, encode_ranges, first_free
from localk8s.kubeadm.parameters import API_PORT, ClusterNetwork
from localk8s.model.errors import PrerequisiteError
from localk8s.model.hints import host_command
from localk8s.model.names import node_name
from localk8s.model.status import NodeRole

PREFIX = "lk8v"
"""Begins the name of everything that exists on the host for a Vagrant cluster."""
_FIRST_MACHINE = 10
_BALANCED_ADDRESS = 5
_CHOICES = 16


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine, before or while it exists."""

    index: int
    """From 1 on; 1 is the first control plane."""
    name: str
    role: NodeRole
    address: IPv4Address
    pods: IPv4Network
    """The range its pods get their addresses from."""
    identifier: str
    """Its name on the host: of the container, the virtual machine."""
    hardware_address: str
    """Of its network card, where the provider lets us choose."""


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """One cluster of machines."""

    name: str
    identity: str
    """Six hexadecimal digits, different for every cluster of every user."""
    provider: str
    network: ClusterNetwork
    control_planes: tuple[int, ...]
    """Indices of the machines that carry the control plane."""
    workers: tuple[int, ...] = ()
    balanced: bool = False
    """Whether the API has an address of its own that moves between control planes."""
    host_memory: int = 0
    """Bytes of memory a machine believes to have; 0 when that is what it was given."""
    host_cpus: int = 0
    """Processors a machine believes to have; 0 when that is what it was given."""
    cgroup_v1: bool = False
    box: str = ""
    """Key of the box built here from which the machines are made; empty for a box from elsewhere."""
    addresses: tuple[tuple[int, str], ...] = field(default=())
    """Addresses found after boot, by index, where a provider gives its own."""

    @property
    def endpoint(self) -> IPv4Address:
        """The address by which everyone reaches the API server."""
        if self.balanced:
            return self.network.nodes[_BALANCED_ADDRESS]
        return self.machine(self.control_planes[0]).address

    @property
    def endpoint_text(self) -> str:
        """``address:port`` of the API server."""
        return f"{self.endpoint}:{API_PORT}"

    @property
    def bridge(self) -> str:
        """The bridge, where this driver lays it."""
        return f"{PREFIX}-{self.identity}"

    @property
    def gateway(self) -> IPv4Address:
        """The host's address in the machines' network."""
        return self.network.nodes[1]

    @property
    def indices(self) -> tuple[int, ...]:
        """All machines, control planes first."""
        return (*self.control_planes, *self.workers)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """All machines, control planes first."""
        return tuple(self.machine(index) for index in self.indices)

    def machine(self, index: int) -> Machine:
        """Machine ``index``, whether it is a member or not."""
        found = dict(self.addresses).get(index)
        name = node_name(self.name, index)
        start = int(self.network.pods.network_address)
        octets = bytes.fromhex(self.identity) + bytes([index])
        return Machine(
            index=index,
            name=name,
            role=NodeRole.CONTROL_PLANE if index in self.control_planes else NodeRole.WORKER,
            address=IPv4Address(found) if found else self.network.nodes[_FIRST_MACHINE + index - 1],
            pods=IPv4Network((start + (index << 8), 24)),
            identifier=f"{PREFIX}-{self.identity}-{name}",
            hardware_address="52:54:" + ":".join(f"{octet:02x}" for octet in octets),
        )

    def named(self, name: str) -> Machine | None:
        """The member called ``name``."""
        return next((machine for machine in self.machines if machine.name == name), None)

    def grown(self, count: int) -> ClusterPlan:
        """This plan with workers added until there are ``count`` machines; free numbers are used again."""
        workers = list(self.workers)
        number = 1
        while len(self.control_planes) + len(workers) < count:
            if number not in self.control_planes and number not in workers:
                workers.append(number)
            number += 1
        return replace(self, workers=tuple(sorted(workers)))

    def without(self, index: int) -> ClusterPlan:
        """This plan with one machine less."""
        return replace(
            self,
            control_planes=tuple(other for other in self.control_planes if other != index),
            workers=tuple(other for other in self.workers if other != index),
        )


def identify(directory: str, name: str) -> str:
    """The identity of cluster ``name`` kept in ``directory``: two users' clusters of one name differ."""
    return hashlib.sha256(f"vagrant\0{directory}\0{name}".encode()).hexdigest()[:6]


def choose_network(taken: Iterable[IPv4Network], provider: str) -> ClusterNetwork:
    """Ranges that overlap nothing in ``taken`` (the host's addresses and routes, other clusters' ranges).

    VirtualBox allows host-only networks in 192.168.56.0/21 alone, unless the host's administrator says otherwise.

    Raises:
        PrerequisiteError: every range that may be used is taken.
    """
    machines = [IPv4Network((f"192.168.{56 + choice}.0", 24)) for choice in range(8)]
    if provider != "virtualbox":
        machines += [IPv4Network((f"10.84.{choice}.0", 24)) for choice in range(_CHOICES - 8)]
    choices = (
        ClusterNetwork(
            nodes=nodes,
            pods=IPv4Network((f"10.{220 + 2 * pair}.0.0", 16)),
            services=IPv4Network((f"10.{221 + 2 * pair}.0.0", 16)),
        )
        for number, nodes in enumerate(machines)
        for pair in ((number + shift) % _CHOICES for shift in range(_CHOICES))
    )
    if found := first_free(choices, taken):
        return found
    span = "192.168.56.0/21" if provider == "virtualbox" else "192.168.56.0/21 and 10.84.0.0/21"
    raise PrerequisiteError(
        f"Every address range for machines ({span}) or pods (10.220.0.0 to 10.251.255.255) is taken on this host.",
        hint=host_command("list"),
    )


def encode_plan(plan: ClusterPlan) -> str:
    """The plan as the driver keeps it."""
    content = {
        "format": 1,
        "name": plan.name,
        "identity": plan.identity,
        "provider": plan.provider,
        **encode_ranges(plan.network),
        "controlPlanes": plan.control_planes,
        "workers": plan.workers,
        "balanced": plan.balanced,
        "hostMemory": plan.host_memory,
        "hostCpus": plan.host_cpus,
        "cgroupV1": plan.cgroup_v1,
        "box": plan.box,
        "addresses": plan.addresses,
    }
    return json.dumps(content, indent=2) + "\n"


def decode_plan(text: str) -> ClusterPlan:
    """The plan in ``text``.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    content: dict[str, Any] = json.loads(text)
    return ClusterPlan(
        name=str(content["name"]),
        identity=str(content["identity"]),
        provider=str(content["provider"]),
        network=decode_ranges(content),
        control_planes=tuple(int(index) for index in content["controlPlanes"]),
        workers=tuple(int(index) for index in content["workers"]),
        balanced=bool(content["balanced"]),
        host_memory=int(content["hostMemory"]),
        host_cpus=int(content["hostCpus"]),
        cgroup_v1=bool(content["cgroupV1"]),
        box=str(content["box"]),
        addresses=tuple((int(index), str(IPv4Address(address))) for index, address in content["addresses"]),
    )
