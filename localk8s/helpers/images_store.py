"""The image store of one node whose runtime is containerd, asked and changed through ``ctr``.

Owns the command lines of ctr (1.6 and later) and what they print. Everything is looked at again after it was done.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localk8s.helpers.images_archive import Blob
from localk8s.model.errors import CommandError, Localk8sError, NotFoundError
from localk8s.model.hints import DEFAULT_CLUSTER, command
from localk8s.model.node import Completed, Node, SharesFiles
from localk8s.system.wait import Pending, wait_until

_TRANSFER = 3600.0
_QUESTION = 30.0
_KNOWN = 15.0
"""Seconds until the kubelet's side of containerd has noticed an image."""
_BLOBS = "/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256"
_MANAGED = "io.cri-containerd.image"
_ROW = re.compile(r"^(?P<name>\S+)\s+(?P<type>\S+)\s+(?P<digest>sha256:[0-9a-f]{64})\s+(?P<size>[0-9.]+ \S+|\S+)")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A name in a node's store."""

    name: str
    """Full name, or ``sha256:…``: the image's id, under which the kubelet's side knows it."""
    digest: str
    """Of what the name leads to (a manifest or an index)."""
    size: str
    """For people, such as ``5.0 MiB``."""

    @property
    def is_id(self) -> bool:
        """Whether the name is an image's id."""
        return self.name.startswith("sha256:")


def parse_images(stdout: str) -> tuple[StoredImage, ...]:
    """The rows of ``ctr images ls``."""
    rows = (_ROW.match(line) for line in stdout.splitlines())
    return tuple(StoredImage(row["name"], row["digest"], row["size"]) for row in rows if row)


class NodeStore:
    """One node's images.

    Args:
        node: runs ctr.
        ctr: its argv up to the subcommand, the namespace of Kubernetes included.
    """

    def __init__(self, node: Node, ctr: Sequence[str], *, cluster: str = DEFAULT_CLUSTER) -> None:
        self.node = node
        self._ctr = tuple(ctr)
        self._cluster = cluster

    def images(self) -> tuple[StoredImage, ...]:
        """All names."""
        return parse_images(self._run("images", "ls").stdout)

    def identities(self, images: Iterable[StoredImage], architecture: str) -> Mapping[str, str]:
        """The ids of ``images`` by what their names lead to; empty for what is not whole."""
        known = tuple(images)
        found = {image.digest: image.name for image in known if image.is_id}
        for digest in {image.digest for image in known} - set(found):
            found[digest] = self._configuration(digest, architecture)
        return found

    def _configuration(self, digest: str, architecture: str) -> str:
        """The digest of the configuration that the manifest or index ``digest`` leads to."""
        try:
            content = json.loads(self._run("content", "get", digest).stdout)
            for each in content.get("manifests", ()):
                if (each.get("platform") or {}).get("architecture", architecture) == architecture:
                    return self._configuration(str(each["digest"]), architecture)
            return str(content["config"]["digest"])
        except (CommandError, ValueError, KeyError, TypeError, AttributeError):
            return ""

    def digests(self) -> frozenset[str]:
        """Digests of all content: layers, configurations, manifests."""
        return frozenset(self._run("content", "ls", "-q").stdout.split())

    def receive(self, archive: Iterable[bytes]) -> None:
        """Take in an OCI archive, layers that it refers to and that are there already may be missing.

        Raises:
            CommandError: containerd did not take it.
        """
        done = self.node.run([*self._ctr, "images", "import", "-"], input=archive, timeout=_TRANSFER, check=False)
        if done.returncode != 0:
            raise self._failure(done, "The images were not taken")

    def adopt(self, source: Path, blob: Blob) -> bool:
        """Put a layer straight among containerd's files, where this host reaches them; whether that was possible.

        Containerd does not look into what it finds there: the caller has made sure of the digest.
        """
        if not isinstance(self.node, SharesFiles):
            return False
        name = blob.digest.removeprefix("sha256:")
        try:
            directory = self.node.outside(_BLOBS)
        except NotFoundError:
            return False
        partial = directory.parent.parent.parent / f"localk8s-{name}"
        try:
            with source.open("rb") as file, partial.open("wb") as target:
                at, end = blob.offset, blob.offset + blob.size
                while at < end and (sent := os.sendfile(target.fileno(), file.fileno(), at, end - at)):
                    at += sent
            if at != end:
                return False
            partial.replace(directory / name)
        except OSError:  # another layout, or no room: containerd will take it, or say why not
            return False
        finally:
            partial.unlink(missing_ok=True)
        ingest = ["content", "ingest", "--expected-size", str(blob.size), "--expected-digest", blob.digest, f"localk8s-{name}"]
        script = f"exec {shlex.join([*self._ctr, *ingest])} <{_BLOBS}/{name}"
        return self.node.run(["sh", "-c", script], check=False, timeout=_TRANSFER).returncode == 0

    def check(self, name: str, digest: str, identity: str) -> None:
        """Make sure that ``name`` leads to ``digest``, and that the kubelet's side knows the image by its id.

        Raises:
            WaitTimeoutError: it is not so.
        """
        misses = 0

        def there() -> bool:
            nonlocal misses
            images = self.images()
            if next((image.digest for image in images if image.name == name), "") != digest:
                raise Pending(f"{name} is not there, or is another")
            if not any(image.name == identity for image in images):
                misses += 1
                if misses == 2:  # a name that moved still bears the mark of an image that needs no more attention
                    self._run("images", "label", name, f"{_MANAGED}=")
                raise Pending(f"the kubelet's runtime has not noticed {name}")
            return True

        wait_until(there, what=f"node {self.node.name} to have the image", timeout=_KNOWN)

    def tag(self, source: str, target: str) -> None:
        """Give the image ``source`` the name ``target``, which may be another image's so far.

        Raises:
            NotFoundError: there is no ``source``.
        """
        done = self._run("images", "tag", "--force", source, target, check=False)
        if done.returncode != 0:
            raise self._missing(source) if "not found" in done.stderr else self._failure(done, f"{source} was not tagged")

    def remove(self, names: Collection[str], architecture: str) -> tuple[str, ...]:
        """Remove names, and images that have no other name left; returns the names that were there."""
        images = self.images()
        there = tuple(image.name for image in images if image.name in names)
        known = self.identities(images, architecture)
        gone = {known[image.digest] for image in images if image.name in names}
        kept = {known[image.digest] for image in images if image.name not in names and not image.is_id}
        ids = [image.name for image in images if image.is_id and image.name in gone - kept]
        if there:
            done = self._run("images", "rm", "--sync", *there, *ids, check=False)
            left = {image.name for image in self.images()} & {*there}
            if left:
                raise self._failure(done, f"{', '.join(sorted(left))} was not removed")
        return there

    def pull(self, name: str, hosts: str, architecture: str) -> None:
        """Fetch ``name`` from its registry or the mirrors in the directory ``hosts`` of the node.

        Raises:
            CommandError: nobody gave it.
        """
        argv = ["images", "pull", "--hosts-dir", hosts, "--platform", f"linux/{architecture}", name]
        done = self._run(*argv, check=False, timeout=_TRANSFER)
        if done.returncode != 0:
            raise self._failure(done, f"{name} could not be pulled")

    def export(self, names: Sequence[str], target: str, architecture: str) -> None:
        """Write an archive of ``names`` to the absolute path ``target`` on the node.

        Raises:
            CommandError: it cannot be written.
        """
        argv = ["images", "export", "--platform", f"linux/{architecture}", target, *names]
        done = self._run(*argv, check=False, timeout=_TRANSFER)
        if done.returncode != 0:
            raise self._failure(done, f"{', '.join(names)} could not be saved")

    def _run(self, *arguments: str, check: bool = True, timeout: float = _QUESTION) -> Completed:
        return self.node.run([*self._ctr, *arguments], check=check, timeout=timeout)

    def _missing(self, name: str) -> NotFoundError:
        return NotFoundError(f"Node {self.node.name} has no image {name}.", hint=command("image ls", cluster=self._cluster))

    def _failure(self, done: Completed, what: str) -> Localk8sError:
        said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
        said = said.removeprefix("ctr: ").rstrip(".")[:300]
        return CommandError(
            done.argv,
            done.returncode,
            done.stdout,
            done.stderr,
            message=f"{what} on node {self.node.name}: {said}.",
            hint=command("status", cluster=self._cluster),
        )
