"""What goes into a running cluster, as methods of ``Cluster``: images, a docker to build them with, registries, mounts.

Owns which helper gets what of the cluster and of its driver; the work is in ``helpers``. Prints nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from localk8s.cluster.wish import command_for
from localk8s.drivers.base import SupportsContainerd
from localk8s.model.errors import NotFoundError, NotSupportedError

if TYPE_CHECKING:
    from localk8s.drivers.base import Driver
    from localk8s.helpers.images import Images, LoadedImage
    from localk8s.model.node import Node
    from localk8s.model.progress import Reporter
    from localk8s.model.spec import ClusterSpec
    from localk8s.wiring import Installation


class Builds:
    """Part of ``Cluster``; see there."""

    name: str
    _report: Reporter
    _installation: Installation
    if TYPE_CHECKING:

        @property
        def spec(self) -> ClusterSpec: ...  # noqa: D102
        def nodes(self) -> tuple[Node, ...]: ...  # noqa: D102
        def node(self, name: str = "") -> Node: ...  # noqa: D102
        @property
        def _driver(self) -> Driver: ...

    @property
    def images(self) -> Images:
        """The images on its nodes.

        ::

            for image in cluster.images.all():
                print(image.name, image.nodes)

        Raises:
            NotFoundError: there is no such cluster.
            NotSupportedError: its nodes' runtime is not containerd.
        """
        from localk8s.helpers.images import Images

        driver = self._driver
        if not isinstance(driver, SupportsContainerd):
            raise NotSupportedError(
                f"The {self.spec.driver} driver does not say how images get onto its nodes.",
                hint=command_for("start", self.name, "--driver", "native"),
            )
        return Images(self.nodes(), driver.containerd(self.spec), self._machine, self._report)

    def load_image(
        self, source: str | Path | BinaryIO, *, nodes: Sequence[str] = (), name: str = ""
    ) -> tuple[LoadedImage, ...]:
        """Bring an image onto the nodes, only the layers that they lack, and make sure that it is there.

        Args:
            source: a file (docker's or OCI's archive, also compressed), a stream of such a file, or the name of an image
                that this host's docker or podman has.
            nodes: names of the nodes; all when empty.
            name: a name instead of those in the archive.

        Raises:
            NotFoundError: there is no such file, image, cluster or node.
            UsageError: it is no image archive.
            CommandError, WaitTimeoutError: a node did not take it, or lacks it afterwards.
        """
        from localk8s.helpers.images_archive import open_archive
        from localk8s.helpers.images_names import full_name
        from localk8s.helpers.images_source import archive_file, archive_stream, host_image

        images = self.images
        with contextlib.ExitStack() as stack:
            if not isinstance(source, str | Path):
                file = stack.enter_context(archive_stream(source))
            elif isinstance(source, Path) or Path(source).exists() or _looks_like_file(source):
                file = stack.enter_context(archive_file(Path(source)))
            else:
                full_name(source)
                found = stack.enter_context(host_image(self._installation.runner(), source))
                if found is None:
                    raise NotFoundError(
                        f"Neither a file nor this host's docker or podman has {source!r}.",
                        hint=f"localk8s image pull {source}",
                    )
                file = found
            archive = open_archive(file, self._machine)
            return images.load(archive.named(name) if name else archive, nodes)

    def pull_image(self, name: str, *, nodes: Sequence[str] = ()) -> str:
        """Let the nodes fetch an image from its registry or a mirror; returns its full name.

        Args:
            name: short or full.
            nodes: names of the nodes; all when empty.

        Raises:
            UsageError: it is no name of an image.
            CommandError: a node could not get it.
        """
        return self.images.pull(name, nodes)

    def docker_environment(self, node: str = "") -> dict[str, str]:
        """The variables with which docker's client on this host works on a docker in the cluster; started if need be.

        What is built, pulled, loaded or tagged there is on every node of the cluster a moment later.

        Args:
            node: where docker runs; the first control plane when empty.

        Raises:
            NotFoundError: there is no such cluster or node.
            NotSupportedError: this cluster can have none.
            ArtifactError: Debian's docker is not in the cache and cannot be fetched.
        """
        from localk8s.drivers.base import SupportsDockerEnvironment, SupportsServices

        driver = self._driver
        if isinstance(driver, SupportsDockerEnvironment):
            return dict(driver.docker_environment(self.spec))
        if not isinstance(driver, SupportsServices) or not isinstance(driver, SupportsContainerd):
            raise NotSupportedError(
                f"The {self.spec.driver} driver has no docker on its nodes.", hint="localk8s image load IMAGE"
            )
        from localk8s.helpers.docker_env import DockerHost, Supervision, start_docker

        chosen = self.node(node)
        host = DockerHost(chosen, self._installation.layout.docker(self.name, chosen.name))
        with self._report.step("docker", f"starting docker on {chosen.name}") as step:
            start_docker(
                host,
                self.nodes(),
                Supervision(partial(driver.start_service, self.spec), driver.node_python, driver.containerd(self.spec)),
                partial(driver.docker_tools, step),
                self._installation.runner(),
                self._machine,
                step,
            )
            step.finish_as(f"docker runs on {chosen.name}")
        return host.variables

    @property
    def _machine(self) -> str:
        import platform

        from localk8s.artifacts.catalog import architecture

        return architecture(platform.machine())


def _looks_like_file(source: str) -> bool:
    return source.startswith(("/", "./", "../", "~")) or source.endswith((".tar", ".tgz", ".gz", ".xz", ".bz2", ".zst"))
