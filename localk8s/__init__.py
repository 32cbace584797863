"""localk8s: a real Kubernetes cluster on your own machine, the same way on every driver.

Owns the public surface of the library. Names are loaded on first use, so that
``localk8s --help`` does not pay for what it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localk8s._version import __version__

if TYPE_CHECKING:
    from localk8s.cluster import Cluster, Clusters
    from localk8s.model.errors import Localk8sError
    from localk8s.model.spec import ClusterSpec
    from localk8s.model.status import ClusterStatus

__all__ = ["Cluster", "ClusterSpec", "ClusterStatus", "Clusters", "Localk8sError", "__version__"]

_HOMES = {
    "Cluster": "localk8s.cluster",
    "Clusters": "localk8s.cluster",
    "ClusterSpec": "localk8s.model.spec",
    "ClusterStatus": "localk8s.model.status",
    "Localk8sError": "localk8s.model.errors",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module the first time it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'localk8s' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
