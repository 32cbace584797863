"""Names of clusters and nodes: what is allowed, and how one follows from the other."""

from __future__ import annotations

import re

from localk8s.model.errors import UsageError
from localk8s.model.hints import DEFAULT_CLUSTER, instead

__all__ = ["DEFAULT_CLUSTER", "check_cluster_name", "context_name", "node_name"]
_CLUSTER_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


def check_cluster_name(name: str) -> str:
    """Return ``name`` if a cluster may bear it.

    Raises:
        UsageError: it is not 1 to 40 lower-case letters, digits and inner dashes (a DNS label with room
            for a node's suffix).
    """
    if not _CLUSTER_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a cluster: use 1 to 40 lower-case letters, digits and dashes, "
            "beginning and ending with a letter or digit.",
            hint=instead("--cluster", "my-cluster"),
        )
    return name


def node_name(cluster: str, index: int) -> str:
    """Name of node ``index`` (1 is the first control plane): ``default``, ``default-2``, ``default-3``."""
    return cluster if index == 1 else f"{cluster}-{index}"


def context_name(cluster: str) -> str:
    """Name of the kubeconfig context, cluster and user entry of ``cluster``."""
    return f"localk8s-{cluster}"
