"""What a native cluster looks like on this host: ids, names of links, addresses, pod ranges. Pure.

Must not touch the host; whoever reads a plan knows every name that exists for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from localk8s.drivers.cluster_ranges import decode_ranges, encode_ranges, first_free
from localk8s.kubeadm.parameters import ClusterNetwork
from localk8s.model.errors import PrerequisiteError
from localk8s.model.hints import host_command
from localk8s.model.names import node_name
from localk8s.model.status import NodeRole

LINK_PREFIX = "lk8s"
_FIRST_NODE_ADDRESS = 10
_CHOICES = 60


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node, before or while it exists."""

    index: int
    """1 is the control plane."""
    name: str
    address: IPv4Address
    pods: IPv4Network
    """The range its pods get their addresses from."""
    link: str
    """The host's end of its cable."""

    @property
    def role(self) -> NodeRole:
        """Node 1 carries the control plane."""
        return NodeRole.CONTROL_PLANE if self.index == 1 else NodeRole.WORKER


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """One cluster on this host."""

    name: str
    identity: str
    """Six hexadecimal digits, different for every cluster of every user; part of every name on the host."""
    network: ClusterNetwork
    gone: tuple[int, ...] = ()
    """Indices of nodes that were deleted, and are not to be made again by themselves."""

    @property
    def bridge(self) -> str:
        """The bridge that joins the nodes and the host."""
        return f"{LINK_PREFIX}-{self.identity}"

    @property
    def cgroup(self) -> str:
        """The control group below which everything of the cluster runs, in every hierarchy."""
        return f"localk8s-{self.identity}-{self.name}"

    @property
    def gateway(self) -> IPv4Address:
        """The host's address on the bridge."""
        return self.network.nodes[1]

    def node(self, index: int) -> NodePlan:
        """Node ``index``, counted from 1."""
        pods = list(self.network.pods.subnets(new_prefix=24))[index - 1]
        return NodePlan(
            index=index,
            name=node_name(self.name, index),
            address=self.network.nodes[_FIRST_NODE_ADDRESS + index - 1],
            pods=pods,
            link=f"{LINK_PREFIX}{self.identity}-{index}",
        )

    def nodes(self, count: int) -> tuple[NodePlan, ...]:
        """The first ``count`` nodes that are not gone."""
        indices = [index for index in range(1, count + len(self.gone) + 1) if index not in self.gone]
        return tuple(self.node(index) for index in indices[:count])

    def without(self, index: int, count: int) -> ClusterPlan:
        """This plan, of which ``count`` nodes are there, with one less: the others keep their numbers."""
        last = max(node.index for node in self.nodes(count) if node.index != index)
        return replace(self, gone=tuple(sorted(number for number in {*self.gone, index} if number < last)))

    def with_room(self) -> ClusterPlan:
        """This plan with the first number that was given up free for the next node."""
        return replace(self, gone=self.gone[1:])


def identify(directory: str, name: str) -> str:
    """The identity of cluster ``name`` kept in ``directory``: two users' clusters of one name differ."""
    return hashlib.sha256(f"{directory}\0{name}".encode()).hexdigest()[:6]


def choose_network(taken: Iterable[IPv4Network]) -> ClusterNetwork:
    """Ranges that overlap nothing in ``taken`` (the host's addresses and routes, other clusters' ranges).

    Raises:
        PrerequisiteError: every range that localk8s uses is taken.
    """
    choices = (
        ClusterNetwork(
            nodes=IPv4Network((f"10.83.{choice}.0", 24)),
            pods=IPv4Network((f"10.{100 + 2 * choice}.0.0", 16)),
            services=IPv4Network((f"10.{101 + 2 * choice}.0.0", 16)),
        )
        for choice in range(_CHOICES)
    )
    if found := first_free(choices, taken):
        return found
    raise PrerequisiteError(
        "Every address range that localk8s uses (10.83.0.0/16, 10.100.0.0 to 10.219.255.255) is taken on this host.",
        hint=host_command("doctor"),
    )


def encode_plan(plan: ClusterPlan) -> str:
    """The plan as the driver keeps it."""
    content = {
        "format": 1,
        "name": plan.name,
        "identity": plan.identity,
        **encode_ranges(plan.network),
        "gone": plan.gone,
    }
    return json.dumps(content, indent=2) + "\n"


def decode_plan(text: str) -> ClusterPlan:
    """The plan in ``text``.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    content: dict[str, Any] = json.loads(text)
    network = decode_ranges(content)
    gone = tuple(int(index) for index in content.get("gone", ()))
    return ClusterPlan(name=str(content["name"]), identity=str(content["identity"]), network=network, gone=gone)
