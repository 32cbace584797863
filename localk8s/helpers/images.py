"""Images of a running cluster: loaded, saved, listed, removed, pulled, tagged, on all of its nodes side by side.

Works wherever the nodes' runtime is containerd. Takes nodes, returns results, prints nothing; must not know drivers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from localk8s.helpers.images_archive import Blob, ImageArchive, bytes_to_send, digest_of, missing_layers, partial_archive
from localk8s.helpers.images_names import full_name, short_name
from localk8s.helpers.images_store import NodeStore, StoredImage
from localk8s.model.errors import CommandError, Localk8sError, NotFoundError, UsageError, WrongStateError
from localk8s.model.hints import DEFAULT_CLUSTER, command
from localk8s.model.node import KnowsRoom, Node
from localk8s.model.progress import Reporter, Step
from localk8s.model.quantities import format_size
from localk8s.system.disk_space import disk_full, room_at

T = TypeVar("T")
CERTIFICATES = "/etc/containerd/certs.d"
"""Where containerd on a node finds out about mirrors."""
_LARGE = 4 << 20
_SPARE = 64 << 20
"""Bytes that have to stay free below the nodes' disks."""
"""Bytes of a layer that is worth a way of its own."""
_SPOOL = "/var/tmp/localk8s-image.tar"  # noqa: S108 - on a node, where root is alone


@dataclass(frozen=True, slots=True)
class ClusterImage:
    """An image in a cluster."""

    name: str
    """Full name with tag."""
    id: str
    """``sha256:…``; empty when the node's store does not hold all of it."""
    size: str
    """For people; of its compressed or plain layers, as they are kept."""
    nodes: tuple[str, ...]
    """Names of the nodes that have exactly this."""


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image that is now on the nodes."""

    name: str
    id: str
    nodes: tuple[str, ...]
    sent: int
    """Bytes of layers that went to the nodes, together."""
    size: int
    """Bytes of its layers."""


def left_out(off: Sequence[str]) -> str:
    """The warning about nodes that are switched off, by their names."""
    return f"{' and '.join(off)} {'is' if len(off) == 1 else 'are'} off and {'was' if len(off) == 1 else 'were'} left out."


def check_names(archive: ImageArchive) -> None:
    """Refuse an archive with an image that has no name.

    Raises:
        UsageError: it holds one.
    """
    unnamed = [image.id for image in archive.images if not image.names]
    if unnamed:
        raise UsageError(
            f"An image in {archive.path.name} has no name ({unnamed[0][:19]}).",
            hint="add --name app:1",
        )


class Images:
    """The images of one cluster.

    ::

        cluster.images.load_archive(open_archive(Path("app.tar"), "amd64"))

    Args:
        nodes: its running nodes.
        ctr: argv of ctr on a node, up to the subcommand.
        architecture: ``amd64`` or ``arm64``: the nodes'.
        report: told about the steps.
        cluster: the cluster's name, for hints.
        off: names of its nodes that are switched off: they are left out, with a warning.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        ctr: Sequence[str],
        architecture: str,
        report: Reporter,
        *,
        cluster: str = DEFAULT_CLUSTER,
        off: Sequence[str] = (),
    ) -> None:
        self._stores = tuple(NodeStore(node, ctr, cluster=cluster) for node in nodes)
        self._off = tuple(off)
        self.architecture = architecture
        self._cluster = cluster
        self._report = report

    def load(self, archive: ImageArchive, nodes: Collection[str] = ()) -> tuple[LoadedImage, ...]:
        """Bring the images of ``archive`` to the nodes, without the layers that a node has; verified afterwards.

        Args:
            archive: as ``open_archive`` gave it.
            nodes: names; all when empty.

        Raises:
            UsageError: an image in it has no name, or a layer is not what its digest says; then no node has got anything of it.
            NotFoundError: there is no such node.
            CommandError, WaitTimeoutError: a node did not take it, or lacks it afterwards.
        """
        check_names(archive)
        stores = self._chosen(nodes)
        names = ", ".join(short_name(name) for image in archive.images for name in image.names)
        with self._report.step("load", f"loading {names}") as step:
            meter = _Meter(step)
            digests = _Digests(archive.path)
            sent = sum(_side_by_side([partial(_send, store, archive, meter, digests, len(stores)) for store in stores]))
            where = stores[0].node.name if len(stores) == 1 else f"{len(stores)} nodes"
            step.finish_as(f"loaded {names} onto {where} ({format_size(sent) if sent else 'nothing'} sent)")
        there = tuple(store.node.name for store in stores)
        return tuple(LoadedImage(name, image.id, there, sent, image.size) for image in archive.images for name in image.names)

    def all(self) -> tuple[ClusterImage, ...]:
        """All images, by name; one that differs between nodes occurs once for each id."""
        self._warn_of_left_out()
        found: dict[tuple[str, str], tuple[StoredImage, list[str]]] = {}
        for store, images in zip(self._stores, _side_by_side([store.images for store in self._stores]), strict=True):
            known = store.identities(images, self.architecture)
            for image in images:
                if not image.is_id:
                    key = image.name, known[image.digest]
                    found.setdefault(key, (image, []))[1].append(store.node.name)
        return tuple(
            ClusterImage(name, identity, image.size, tuple(nodes)) for (name, identity), (image, nodes) in sorted(found.items())
        )

    def tag(self, source: str, target: str) -> str:
        """Give an image another name on every node that has it; returns the full new name.

        Raises:
            UsageError: a name is none.
            NotFoundError: no node has ``source``.
        """
        old, new = full_name(source), full_name(target)
        holders = self._holders(old)
        self._warn_of_left_out()
        _side_by_side([partial(store.tag, old, new) for store in holders])
        return new

    def remove(self, names: Sequence[str]) -> tuple[str, ...]:
        """Remove images from all nodes; containers that run of them go on. Returns the full names.

        Raises:
            UsageError: a name is none.
            NotFoundError: no node has an image of one of the names.
        """
        wanted = tuple(dict.fromkeys(full_name(name) for name in names))
        there = set().union(*({image.name for image in store.images()} for store in self._stores))
        for name in wanted:
            if name not in there:
                raise self._unknown(name)
        self._warn_of_left_out()
        _side_by_side([partial(store.remove, wanted, self.architecture) for store in self._stores])
        return wanted

    def save(self, names: Sequence[str], target: Path) -> None:
        """Write an archive of images, which docker, podman and ``image load`` take, from a node that has all of them.

        Args:
            names: short or full.
            target: replaced whole, mode 0600.

        Raises:
            NotFoundError: no node has them.
            CommandError: it cannot be written.
        """
        wanted = tuple(dict.fromkeys(full_name(name) for name in names))
        holders = [store for store in self._stores if {image.name for image in store.images()} >= set(wanted)]
        if not holders:
            raise self._unknown(", ".join(wanted))
        store = holders[0]
        with self._report.step("save", f"saving {', '.join(map(short_name, wanted))} from {store.node.name}") as step:
            try:
                store.export(wanted, _SPOOL, self.architecture)
                store.node.copy_out(_SPOOL, target)
            finally:
                store.node.run(["rm", "-f", _SPOOL], check=False)
            step.finish_as(f"saved {', '.join(map(short_name, wanted))} from {store.node.name}")

    def pull(self, name: str, nodes: Collection[str] = (), sources: Sequence[str] = ()) -> str:
        """Let the nodes fetch an image, by the mirrors they know of; returns its full name.

        Args:
            name: short or full.
            nodes: names; all when empty.
            sources: full names under which it is asked for first, in this order; the image gets ``name`` afterwards.

        Raises:
            CommandError: a node could not get it.
        """
        wanted = full_name(name)
        stores = self._chosen(nodes)
        with self._report.step("pull", f"pulling {short_name(wanted)}") as step:
            _side_by_side([partial(self._pull, store, wanted, sources) for store in stores])
            step.finish_as(f"pulled {short_name(wanted)} onto {', '.join(store.node.name for store in stores)}")
        return wanted

    def _pull(self, store: NodeStore, wanted: str, sources: Sequence[str]) -> None:
        for source in sources:
            try:
                store.pull(source, CERTIFICATES, self.architecture)
            except CommandError:
                continue  # the next one, and the image's own registry last
            store.tag(source, wanted)
            store.remove((source,), self.architecture)
            return
        store.pull(wanted, CERTIFICATES, self.architecture)

    def _holders(self, name: str) -> list[NodeStore]:
        holders = [store for store in self._stores if any(image.name == name for image in store.images())]
        if not holders:
            raise self._unknown(name)
        return holders

    def _unknown(self, name: str) -> NotFoundError:
        return NotFoundError(f"No node has an image {name}.", hint=command("image ls", cluster=self._cluster))

    def _chosen(self, names: Collection[str]) -> tuple[NodeStore, ...]:
        known = {store.node.name: store for store in self._stores}
        for name in names:
            if name in self._off:
                raise WrongStateError(f"Node {name} is off.", hint=command("node start", name, cluster=self._cluster))
            if name not in known:
                raise NotFoundError(
                    f"There is no node {name!r}: there are {', '.join(known)}.", hint=command("status", cluster=self._cluster)
                )
        if not names:
            self._warn_of_left_out()
        return tuple(store for name, store in known.items() if not names or name in names)

    def _warn_of_left_out(self) -> None:
        if self._off:
            self._report.warn(left_out(self._off))


class _Meter:
    """Adds up what goes to all nodes, and tells the step."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._lock = threading.Lock()
        self._done = self._total = 0

    def expect(self, size: int) -> None:
        with self._lock:
            self._total += size

    def count(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            self.add(len(piece))

    def add(self, size: int) -> None:
        with self._lock:
            self._done += size
            done, total = self._done, max(self._done, self._total)
        self._step.progress(done, total, f"{format_size(done)} of {format_size(total)}")


class _Digests:
    """Looks whether layers are what their digests say, each once for all nodes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, bool] = {}
        self._lock = threading.Lock()

    def insist(self, blob: Blob) -> None:
        with self._lock:
            if blob.digest not in self._known:
                self._known[blob.digest] = digest_of(self._path, blob) == blob.digest
            if not self._known[blob.digest]:
                raise UsageError(
                    f"A layer in {self._path.name} is not what its digest says ({blob.digest[:19]}): the archive is damaged.",
                    hint="docker save IMAGE -o image.tar",
                )


def insist_on_room(node: Node, size: int, nodes: int) -> None:
    """Refuse to load what the disk below the nodes' disks has no room for: each layer is kept packed and unpacked.

    Args:
        node: that gets it.
        size: bytes of layers.
        nodes: how many get the same at once.

    Raises:
        DiskFullError: there is less room.
    """
    place = node.place() if isinstance(node, KnowsRoom) else None
    if place is not None and size and room_at(place).free < 2 * size * nodes + _SPARE:
        raise disk_full(place, f"the cluster; about {format_size(2 * size * nodes)} are needed")


def _send(store: NodeStore, archive: ImageArchive, meter: _Meter, digests: _Digests, nodes: int) -> int:
    """Load onto one of ``nodes`` nodes; returns how many bytes of layers went there."""
    there = set(store.digests())
    size = bytes_to_send(archive, there)
    insist_on_room(store.node, size, nodes)
    meter.expect(size)
    missing = missing_layers(archive, there)
    for layer in missing:
        digests.insist(layer)  # containerd 1.6 would notice when the image has its name already
    for layer in missing:
        if layer.size >= _LARGE and store.adopt(archive.path, layer):
            there.add(layer.digest)
            meter.add(layer.size)
    try:
        store.receive(meter.count(partial_archive(archive, there)))
    except CommandError:
        if not there:
            raise
        size = bytes_to_send(archive, ())  # a layer may have been collected meanwhile: once more, with all of them
        meter.expect(size)
        store.receive(meter.count(partial_archive(archive, ())))
    for image in archive.images:
        for name in image.names:
            store.check(name, image.manifest.digest, image.id)
    return size


def _side_by_side(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Run all; when some fail, raise the first failure, with the others' sentences."""
    with ThreadPoolExecutor(max_workers=max(1, len(calls))) as pool:
        futures = [pool.submit(call) for call in calls]
    failures = [error for future in futures if (error := future.exception())]
    if not failures:
        return [future.result() for future in futures]
    first = failures[0]
    others = [error.message for error in failures[1:] if isinstance(error, Localk8sError)]
    if isinstance(first, Localk8sError) and others:
        first.details = "\n".join((first.details, *others)).strip()
    raise first
