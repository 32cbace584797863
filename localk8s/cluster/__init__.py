"""Floor 6: ``Cluster`` and ``Clusters``, the objects that a user of the library holds and that the command line calls."""

from localk8s.cluster.clusters import Clusters
from localk8s.cluster.objects import Cluster

__all__ = ["Cluster", "Clusters"]
