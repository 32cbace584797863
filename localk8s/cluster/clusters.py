"""``Clusters``: all clusters of this user, and what this host has to say about running more.

Prints nothing; one broken cluster or driver never hides the others.
"""

from __future__ import annotations

from localk8s.cluster.objects import Cluster
from localk8s.model.names import DEFAULT_CLUSTER
from localk8s.model.progress import Reporter
from localk8s.model.status import ClusterStatus
from localk8s.wiring import Installation


class Clusters:
    """The clusters of one installation.

    Args:
        installation: where and with what; this user's own when None.
        report: told about progress; nobody when None.
    """

    def __init__(self, installation: Installation | None = None, *, report: Reporter | None = None) -> None:
        self._installation = installation or Installation()
        self._report = report

    def names(self) -> tuple[str, ...]:
        """Names of all clusters, sorted; reads only local files, in milliseconds."""
        return self._installation.records.names()

    def get(self, name: str = DEFAULT_CLUSTER) -> Cluster:
        """The cluster called ``name``, there or not.

        Raises:
            UsageError: no cluster can have that name.
        """
        return Cluster(name, installation=self._installation, report=self._report)

    def list(self) -> tuple[ClusterStatus, ...]:
        """The state of every cluster, by name; all are asked at once, so it takes two seconds at most."""
        clusters = [self.get(name) for name in self.names()]
        if len(clusters) < 2:
            return tuple(cluster.status() for cluster in clusters)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=min(16, len(clusters))) as pool:
            return tuple(pool.map(Cluster.status, clusters))
