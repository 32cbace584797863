"""Images of a cluster whose driver handles them with a tool of its own: the same questions as ``images``, in weaker words.

The tool takes all nodes together: there is no choosing of nodes, no sending of missing layers alone. Takes an ``ImageTool``,
returns results, prints nothing; must not know drivers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from localk8s.drivers.image_tool import ImageBuild, ImageTool, RuntimeImage
from localk8s.helpers.images import ClusterImage, LoadedImage, check_names
from localk8s.helpers.images_archive import ImageArchive, digest_of, missing_layers, whole_archive
from localk8s.helpers.images_names import full_name, short_name
from localk8s.model.errors import CommandError, Localk8sError, NotFoundError, NotSupportedError, UsageError
from localk8s.model.hints import DEFAULT_CLUSTER, command
from localk8s.model.progress import Reporter
from localk8s.model.quantities import format_size


class ToolImages:
    """The images of one cluster; offers what ``Images`` does.

    Args:
        tool: the driver's.
        nodes: names of the cluster's nodes.
        report: told about the steps.
    """

    def __init__(self, tool: ImageTool, nodes: Sequence[str], report: Reporter, *, cluster: str = DEFAULT_CLUSTER) -> None:
        self._tool = tool
        self._nodes = tuple(nodes)
        self._report = report
        self._cluster = cluster

    def load(self, archive: ImageArchive, nodes: Collection[str] = ()) -> tuple[LoadedImage, ...]:
        """Bring the images of ``archive`` to all nodes, whole; verified afterwards by name, and by id where the tool keeps it.

        Raises:
            NotSupportedError: some of several nodes were asked for.
            UsageError: an image in it has no name, or a layer is not what its digest says.
            CommandError: it is not on all of them afterwards.
        """
        self._all_or_none(nodes)
        check_names(archive)
        names = [name for image in archive.images for name in image.names]
        title = ", ".join(map(short_name, names))
        with (
            self._report.step("load", f"loading {title}") as step,
            tempfile.TemporaryDirectory(prefix="localk8s-image-") as place,
        ):
            for layer in missing_layers(archive, ()):
                if digest_of(archive.path, layer) != layer.digest:
                    raise UsageError(f"A layer in {archive.path.name} is not what its digest says: the archive is damaged.")
            file = Path(place) / "image.tar"
            with file.open("wb") as target:
                target.writelines(whole_archive(archive))
            self._tool.load(file, names)
            self._insist(archive)
            step.finish_as(f"loaded {title} onto {self._where}")
        size = sum(image.size for image in archive.images) * len(self._nodes)
        return tuple(
            LoadedImage(name, image.id, self._nodes, size, image.size) for image in archive.images for name in image.names
        )

    def all(self) -> tuple[ClusterImage, ...]:
        """All images, by name; where there are several nodes the tool does not say which have one: none is named then."""
        where = self._nodes if len(self._nodes) == 1 else ()
        found = {
            (_full(name), image.id): ClusterImage(_full(name), image.id, format_size(image.size), where)
            for image in self._tool.images()
            for name in image.names
            if "<none>" not in name
        }
        return tuple(image for _, image in sorted(found.items()))

    def tag(self, source: str, target: str) -> str:
        """Give an image another name on every node; returns the full new name. Errors as for ``Images.tag``."""
        old, new = full_name(source), full_name(target)
        self._insist_there([old])
        self._tool.tag(old, new)
        return new

    def remove(self, names: Sequence[str]) -> tuple[str, ...]:
        """Remove images from all nodes. Returns the full names. Errors as for ``Images.remove``."""
        wanted = tuple(dict.fromkeys(full_name(name) for name in names))
        self._insist_there(wanted)
        for name in wanted:
            self._tool.remove(name)
        return wanted

    def save(self, names: Sequence[str], target: Path) -> None:
        """Write an archive of one image; errors as for ``Images.save``.

        Raises:
            NotSupportedError: several images are asked for.
        """
        wanted = tuple(dict.fromkeys(full_name(name) for name in names))
        if len(wanted) > 1:
            raise NotSupportedError(
                "This driver's tool saves one image into a file.",
                hint=command("image save", short_name(wanted[0]), "image.tar", cluster=self._cluster),
            )
        self._insist_there(wanted)
        shown = short_name(wanted[0])
        with self._report.step("save", f"saving {shown}") as step:
            with tempfile.TemporaryDirectory(prefix=".localk8s-image-", dir=target.parent) as place:
                file = Path(place) / "image.tar"
                self._tool.save(wanted[0], file)
                file.chmod(0o600)
                try:
                    file.replace(target)
                except OSError as exc:
                    raise CommandError(("image", "save"), None, message=f"{target} cannot be written: {exc.strerror}.") from exc
            step.finish_as(f"saved {shown}")

    def pull(self, name: str, nodes: Collection[str] = (), sources: Sequence[str] = ()) -> str:
        """Let all nodes fetch an image; returns its full name. Errors as for ``Images.pull``.

        Raises:
            NotSupportedError: some of several nodes were asked for.
        """
        self._all_or_none(nodes)
        wanted = full_name(name)
        with self._report.step("pull", f"pulling {short_name(wanted)}") as step:
            self._pull(wanted, sources)
            step.finish_as(f"pulled {short_name(wanted)} onto {self._where}")
        return wanted

    def build(self, wanted: ImageBuild) -> None:
        """Build an image on every node.

        Raises:
            CommandError: it failed; with what the build said.
        """
        with self._report.step("build", f"building {wanted.name}") as step:
            self._tool.build(wanted, lambda line: step.progress(0, None, line.strip()[:80]))
            step.finish_as(f"built {wanted.name} on {self._where}")

    def _pull(self, wanted: str, sources: Sequence[str]) -> None:
        for source in sources:
            try:
                self._tool.pull(source)
            except Localk8sError:
                continue  # the next one, and the image's own registry last
            self._tool.tag(source, wanted)
            self._tool.remove(source)
            return
        self._tool.pull(wanted)

    @property
    def _where(self) -> str:
        return self._nodes[0] if len(self._nodes) == 1 else f"{len(self._nodes)} nodes"

    def _all_or_none(self, nodes: Collection[str]) -> None:
        for name in nodes:
            if name not in self._nodes:
                raise NotFoundError(
                    f"There is no node {name!r}: there are {', '.join(self._nodes)}.",
                    hint=command("status", cluster=self._cluster),
                )
        if nodes and set(nodes) != set(self._nodes):
            raise NotSupportedError("This driver's tool takes all nodes together.", hint="leave --node out")

    def _insist(self, archive: ImageArchive) -> None:
        """A name that leads to the new image and to another one was left as it was on some node."""
        listed = self._tool.images()
        for image in archive.images:
            for name in image.names:
                ids = {each.id for each in listed if _bears(each, name)}
                if image.id in ids and len(ids) > 1:
                    raise CommandError(
                        ("image", "load"),
                        None,
                        message=f"Some node still has another {short_name(name)}.",
                        hint=command("image ls", cluster=self._cluster),
                    )

    def _insist_there(self, names: Collection[str]) -> None:
        listed = self._tool.images()
        for name in names:
            if not any(_bears(image, name) for image in listed):
                raise NotFoundError(f"No node has an image {name}.", hint=command("image ls", cluster=self._cluster))


def _bears(image: RuntimeImage, name: str) -> bool:
    return any(_full(each) == name for each in image.names)


def _full(name: str) -> str:
    """As everything else here spells it; a runtime may print what is no name."""
    try:
        return full_name(name)
    except UsageError:
        return name
