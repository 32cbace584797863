"""What goes into a running cluster, as methods of ``Cluster``: images, mirrors, mounts.

Owns which helper gets what of the cluster and of its driver; the work is in ``helpers``. Prints nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from localk8s.drivers.base import SupportsContainerd, SupportsImageTool, SupportsMount
from localk8s.model.errors import NotFoundError, NotSupportedError
from localk8s.model.hints import command, host_command

if TYPE_CHECKING:
    from localk8s.cluster.mounts import Mounts
    from localk8s.drivers.base import Driver
    from localk8s.helpers.images import Images, LoadedImage
    from localk8s.helpers.images_tool import ToolImages
    from localk8s.helpers.mount import Mount
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
        def _running(self) -> tuple[tuple[Node, ...], tuple[str, ...]]: ...
        @property
        def _driver(self) -> Driver: ...

    @property
    def images(self) -> Images | ToolImages:
        """The images on its nodes.

        ::

            for image in cluster.images.all():
                print(image.name, image.nodes)

        Raises:
            NotFoundError: there is no such cluster.
            NotSupportedError: its driver does not say how images get onto its nodes.
        """
        if tool := self._image_tool():
            return tool
        from localk8s.helpers.images import Images

        driver = self._driver
        if not isinstance(driver, SupportsContainerd):
            raise NotSupportedError(
                f"The {self.spec.driver} driver does not say how images get onto its nodes.",
                hint=command("start", "--driver", "native", cluster=self.name),
            )
        nodes, off = self._running()
        return Images(nodes, driver.containerd(self.spec), self._machine, self._report, cluster=self.name, off=off)

    def _image_tool(self) -> ToolImages | None:
        """Images by the driver's own tool; None where the nodes' containerd is asked."""
        driver = self._driver
        tool = driver.image_tool(self.spec) if isinstance(driver, SupportsImageTool) else None
        if tool is None:
            return None
        from localk8s.helpers.images_tool import ToolImages

        return ToolImages(tool, [node.name for node in self.nodes()], self._report, cluster=self.name)

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
                        hint=command("image pull", source, cluster=self.name),
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
        from localk8s.helpers.mirrors import sources

        mirrors = self._installation.config.mirrors
        if tool := self._image_tool():
            return tool.pull(name, nodes, sources(mirrors, name, registries=True))
        self.apply_mirrors()
        return self.images.pull(name, nodes, sources(mirrors, name))

    def apply_mirrors(self) -> None:
        """Let every node's runtime ask the mirrors of the configuration file, in their order, before a registry itself.

        Raises:
            ConfigError: the file holds something unusable.
        """
        from concurrent.futures import ThreadPoolExecutor

        from localk8s.helpers.mirrors import apply_mirrors

        mirrors = self._installation.config.mirrors
        if isinstance(self._driver, SupportsContainerd) and self._image_tool() is None:
            with ThreadPoolExecutor(max_workers=8) as pool:
                list(pool.map(lambda node: apply_mirrors(node, mirrors), self._running()[0]))

    def mount(self, source: str | Path, target: str, *, nodes: Sequence[str] = ()) -> tuple[str, ...]:
        """Let a directory of this host be one on nodes too, until they are switched off; pods reach it by hostPath.

        Where it is already, nothing is done.

        Args:
            source: the host's directory.
            target: an absolute path on the nodes; made when missing.
            nodes: their names; when empty all that run.

        Returns:
            names of the nodes that have it now.

        Raises:
            NotFoundError: there is no such directory, cluster or node.
            UsageError: ``target`` is not an absolute path, or one that the node itself needs.
            WrongStateError: something else is mounted there; a node that is named is off.
            NotSupportedError: this driver has no way.
        """
        from localk8s.helpers.mount import check_target

        mounts, directory = self._mounts(), Path(source).expanduser().absolute()
        if not directory.is_dir():
            raise NotFoundError(f"There is no directory {directory} on this host.")
        return mounts.add(self._named(nodes), directory, check_target(target), off_too=bool(nodes))

    def unmount(self, target: str, *, nodes: Sequence[str] = ()) -> None:
        """Take away what is mounted at ``target``. Errors as for ``mount``; NotFoundError: nothing is."""
        from localk8s.helpers.mount import check_target

        self._mounts().remove(self._named(nodes), check_target(target), off_too=bool(nodes))

    def mounts(self) -> tuple[Mount, ...]:
        """The directories of this host that are on nodes now. Errors as for ``mount``."""
        return self._mounts().mounted(self.nodes())

    def _named(self, nodes: Sequence[str]) -> tuple[Node, ...]:
        return tuple(self.node(name) for name in nodes) or self.nodes()

    def _mounts(self) -> Mounts:
        from localk8s.cluster.mounts import Mounts

        driver = self._driver
        if not isinstance(driver, SupportsMount):
            raise NotSupportedError(
                f"The {self.spec.driver} driver has no way to mount a directory of this host.",
                hint=host_command("cp", "--help"),
            )
        return Mounts(driver, self.spec, self._installation.layout.mounts(self.name), self._report)

    @property
    def _machine(self) -> str:
        import platform

        from localk8s.artifacts.catalog import architecture

        return architecture(platform.machine())


def _looks_like_file(source: str) -> bool:
    return source.startswith(("/", "./", "../", "~")) or source.endswith((".tar", ".tgz", ".gz", ".xz", ".bz2", ".zst"))
