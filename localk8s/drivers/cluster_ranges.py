"""The address ranges of a cluster, as drivers that lay networks of their own choose, keep and compare them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any

from localk8s.kubeadm.parameters import ClusterNetwork


def ranges(network: ClusterNetwork) -> Sequence[IPv4Network]:
    """All ranges of a cluster."""
    return (network.nodes, network.pods, network.services)


def first_free(choices: Iterable[ClusterNetwork], taken: Iterable[IPv4Network]) -> ClusterNetwork | None:
    """The first choice that overlaps nothing in ``taken`` (a default route overlaps nothing); None when there is none."""
    occupied = [network for network in taken if network.prefixlen > 0]
    for choice in choices:
        if not any(mine.overlaps(other) for mine in ranges(choice) for other in occupied):
            return choice
    return None


def encode_ranges(network: ClusterNetwork) -> dict[str, str]:
    """The ranges as they stand in a plan that is kept."""
    return {"nodes": str(network.nodes), "pods": str(network.pods), "services": str(network.services)}


def decode_ranges(content: Mapping[str, Any]) -> ClusterNetwork:
    """The ranges in a plan.

    Raises:
        ValueError, KeyError, TypeError: there are none.
    """
    return ClusterNetwork(
        nodes=IPv4Network(content["nodes"]), pods=IPv4Network(content["pods"]), services=IPv4Network(content["services"])
    )
