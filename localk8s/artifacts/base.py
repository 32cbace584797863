"""What the drivers ask of the artifact floor (implemented by ``artifacts.library.Library``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from localk8s.artifacts.kinds import Image, ImageRole, KubernetesBinaries, NodeRoot, NodeTools
from localk8s.model.progress import Step
from localk8s.model.versions import KubernetesVersion


class Artifacts(Protocol):
    """Finds what a cluster is made of."""

    def newest_version(self, named: str | None) -> KubernetesVersion:
        """The newest Kubernetes that a source can give; fetches nothing.

        Args:
            named: a directory or bundle that the user named; then its version counts.

        Raises:
            ArtifactError: no source gives any.
        """

    def kubernetes(self, version: KubernetesVersion, named: str | None, step: Step) -> KubernetesBinaries:
        """The seven programs of ``version``, fetched or built if need be. Two processes share one download.

        Raises:
            ArtifactError: no source gives it, or a file is not what its digest says (it is named).
        """

    def node_root(self, step: Step) -> NodeRoot:
        """The root file system of native nodes, from Debian's packages: own C library, shell, containerd, etcd and named.

        A bundle brings it too: ask ``kubernetes`` for its programs first.

        Raises:
            ArtifactError: it is not in the cache and cannot be made.
        """

    def docker_tools(self, step: Step) -> NodeTools:
        """dockerd, docker and docker-registry with their libraries, from Debian's packages; got when first asked for.

        Raises:
            ArtifactError: it is not in the cache and cannot be fetched.
        """

    def images(self, binaries: KubernetesBinaries, roles: Sequence[ImageRole], step: Step) -> tuple[Image, ...]:
        """Archives of the images for ``roles``, made from ``binaries`` and Debian's packages when no source has them."""
