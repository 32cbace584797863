"""Image archives as docker, podman, ctr and skopeo write them: what is in them, and a smaller one made of them.

Owns the formats (docker's and OCI's layout in a tar file). Reads headers and small members only; layers stay in the
file until they are sent. Must not know nodes.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from localk8s.helpers.images_names import full_name
from localk8s.model.errors import Localk8sError, NotFoundError, UsageError
from localk8s.system.tar_reader import ArchiveError, Kind, Member, list_members

_DOCKER = "application/vnd.docker"
_MANIFEST_TYPE = f"{_DOCKER}.distribution.manifest.v2+json"
_CONFIG_TYPE = f"{_DOCKER}.container.image.v1+json"
_LAYER_TYPE = f"{_DOCKER}.image.rootfs.diff.tar"
_INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", f"{_DOCKER}.distribution.manifest.list.v2+json")
_NAME, _REF_NAME = "io.containerd.image.name", "org.opencontainers.image.ref.name"
_GZIP = b"\x1f\x8b"
_SMALL = 32 << 20
"""No manifest and no config is larger; bytes."""
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """A piece of an image, named by its digest."""

    digest: str
    """``sha256:`` and 64 hexadecimal digits."""
    size: int
    """Bytes."""
    offset: int = 0
    """Where it begins in the archive, when ``data`` is None."""
    data: bytes | None = None
    """Its content, of small ones."""


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """One image of an archive."""

    names: tuple[str, ...]
    """Full names with tags; none when the archive does not say."""
    manifest: Blob
    manifest_type: str
    config: Blob
    layers: tuple[Blob, ...]

    @property
    def id(self) -> str:
        """What docker and Kubernetes call it: the digest of its configuration."""
        return self.config.digest

    @property
    def size(self) -> int:
        """Bytes of its layers."""
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True, slots=True)
class ImageArchive:
    """A file with images in it."""

    path: Path
    images: tuple[ArchivedImage, ...]

    def named(self, name: str) -> ImageArchive:
        """The same with ``name`` as the only name.

        Raises:
            UsageError: it holds several images.
        """
        if len(self.images) != 1:
            raise UsageError(f"{self.path.name} holds {len(self.images)} images: one name cannot be given to all of them.")
        return replace(self, images=(replace(self.images[0], names=(full_name(name),)),))


def open_archive(path: Path, machine: str) -> ImageArchive:
    """Read what is in the (uncompressed) archive ``path``.

    Args:
        machine: ``amd64`` or ``arm64``: which of an image for several machines is meant.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is no image archive, or one that is cut off.
    """
    try:
        members = list_members(path)
        with path.open("rb") as file:
            return ImageArchive(path, _Reader(members, file, path, machine).images())
    except FileNotFoundError:
        raise NotFoundError(f"There is no image archive {path}.") from None
    except ArchiveError as exc:
        raise _no_archive(path, str(exc)) from exc
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, RecursionError) as exc:
        raise _no_archive(path, f"its listing is unusable ({str(exc)[:80]})") from exc
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}.") from exc


class _Reader:
    """The members of one opened archive."""

    def __init__(self, members: Sequence[Member], file: BinaryIO, path: Path, machine: str) -> None:
        self._file, self._path, self._machine = file, path, machine
        self._members = {_plain(member.name): member for member in members}

    def images(self) -> tuple[ArchivedImage, ...]:
        if "index.json" in self._members and "oci-layout" in self._members:
            found = self._oci()
        elif "manifest.json" in self._members:
            found = [self._docker(item) for item in self._json("manifest.json")]
        else:
            raise _no_archive(self._path, "it holds neither manifest.json nor index.json")
        if not found:
            raise _no_archive(self._path, f"no image in it is for {self._machine}")
        return tuple(found)

    def _docker(self, item: Mapping[str, Any]) -> ArchivedImage:
        data = self._bytes(str(item["Config"]))
        config = Blob(_digest(data), len(data), data=data)
        claimed = json.loads(data)["rootfs"]["diff_ids"]
        files = [str(name) for name in item["Layers"]]
        if len(claimed) != len(files):
            raise ValueError("layers and their digests differ in number")
        pairs = [self._layer(name, str(digest)) for name, digest in zip(files, claimed, strict=True)]
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST_TYPE,
                "config": {"mediaType": _CONFIG_TYPE, "digest": config.digest, "size": config.size},
                "layers": [{"mediaType": kind, "digest": blob.digest, "size": blob.size} for blob, kind in pairs],
            }
        ).encode()
        return ArchivedImage(
            names=tuple(full_name(str(tag)) for tag in item.get("RepoTags") or ()),
            manifest=Blob(_digest(manifest), len(manifest), data=manifest),
            manifest_type=_MANIFEST_TYPE,
            config=config,
            layers=tuple(blob for blob, _ in pairs),
        )

    def _layer(self, name: str, claimed: str) -> tuple[Blob, str]:
        """A layer of docker's archive: named by the digest in the configuration, unless it is compressed."""
        member = self._regular(name)
        if self._read(member, 2) != _GZIP:
            return Blob(_checked(claimed), member.size, member.offset), _LAYER_TYPE
        return Blob(self._hash(member), member.size, member.offset), f"{_LAYER_TYPE}.gzip"

    def _oci(self) -> list[ArchivedImage]:
        tags: dict[str, list[str]] = {}
        if "manifest.json" in self._members:
            for item in self._json("manifest.json"):
                tags[_digest(self._bytes(str(item["Config"])))] = [str(tag) for tag in item.get("RepoTags") or ()]
        found: dict[str, ArchivedImage] = {}
        for descriptor in self._json("index.json")["manifests"]:
            image = self._manifest(descriptor)
            if image is None:
                continue
            names = _names(descriptor.get("annotations") or {}) or tags.get(image.id, [])
            known = found.get(image.manifest.digest, image)
            found[image.manifest.digest] = replace(
                known, names=tuple(dict.fromkeys((*known.names, *(full_name(name) for name in names))))
            )
        return list(found.values())

    def _manifest(self, descriptor: Mapping[str, Any], depth: int = 0) -> ArchivedImage | None:
        """The image for this machine that ``descriptor`` leads to."""
        data = self._small_blob(descriptor)
        content = json.loads(data)
        kind = str(descriptor.get("mediaType") or content.get("mediaType") or _MANIFEST_TYPE)
        if kind in _INDEX_TYPES or "manifests" in content:
            fitting = [each for each in content["manifests"] if self._fits(each.get("platform"))]
            nested = (self._manifest(each, depth + 1) for each in fitting if depth < 4)
            return next((image for image in nested if image is not None), None)
        inside = content["config"]
        config = self._small_blob(inside)
        return ArchivedImage(
            names=(),
            manifest=Blob(_checked(str(descriptor["digest"])), len(data), data=data),
            manifest_type=kind,
            config=Blob(_checked(str(inside["digest"])), len(config), data=config),
            layers=tuple(self._stored(str(layer["digest"])) for layer in content["layers"]),
        )

    def _small_blob(self, descriptor: Mapping[str, Any]) -> bytes:
        data = self._bytes(_blob_path(str(descriptor["digest"])))
        if _digest(data) != descriptor["digest"]:
            raise ValueError(f"{str(descriptor['digest'])[:19]} is damaged")
        return data

    def _fits(self, platform: Mapping[str, Any] | None) -> bool:
        return platform is None or (platform.get("os") == "linux" and platform.get("architecture") == self._machine)

    def _stored(self, digest: str) -> Blob:
        member = self._regular(_blob_path(digest))
        return Blob(digest, member.size, member.offset)

    def _regular(self, name: str) -> Member:
        """The file that ``name`` means; docker writes a layer that occurs twice as a link."""
        member = self._members[_plain(name)]
        for _ in range(8):
            if member.kind not in (Kind.LINK, Kind.HARD_LINK):
                break
            base = _plain(member.name).rpartition("/")[0]
            leads_to = member.target if member.kind is Kind.HARD_LINK else f"{base}/{member.target}"
            member = self._members[_plain(leads_to)]
        if member.kind is not Kind.FILE:
            raise KeyError(f"{name} is no file")
        return member

    def _json(self, name: str) -> Any:
        return json.loads(self._bytes(name))

    def _bytes(self, name: str) -> bytes:
        member = self._regular(name)
        if member.size > _SMALL:
            raise ValueError(f"{name} is too large")
        return self._read(member, member.size)

    def _read(self, member: Member, count: int) -> bytes:
        self._file.seek(member.offset)
        return self._file.read(min(count, member.size))

    def _hash(self, member: Member) -> str:
        digest = hashlib.sha256()
        for data in _slice(self._file, Blob("", member.size, member.offset)):
            digest.update(data)
        return f"sha256:{digest.hexdigest()}"


def partial_archive(archive: ImageArchive, there: Collection[str]) -> Iterator[bytes]:
    """An OCI archive of the same images without the layers whose digests are in ``there``, as it is written.

    The receiver has to check the layers against their digests (containerd does).
    """
    blobs: dict[str, Blob] = {}
    listed: list[dict[str, Any]] = []
    for image in archive.images:
        for blob in (image.config, image.manifest, *(layer for layer in image.layers if layer.digest not in there)):
            blobs.setdefault(blob.digest, blob)
        listed += [
            {
                "mediaType": image.manifest_type,
                "digest": image.manifest.digest,
                "size": image.manifest.size,
                "annotations": {_NAME: name, _REF_NAME: name.rpartition(":")[2]},
            }
            for name in image.names
        ]
    yield from _member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    with archive.path.open("rb") as file:
        for blob in blobs.values():
            if blob.data is not None:
                yield from _member(_blob_path(blob.digest), blob.data)
            else:
                yield _header(_blob_path(blob.digest), blob.size)
                yield from _slice(file, blob)
                yield _padding(blob.size)
    yield from _member("index.json", json.dumps({"schemaVersion": 2, "manifests": listed}).encode())
    yield bytes(2 * tarfile.BLOCKSIZE)


def whole_archive(archive: ImageArchive) -> Iterator[bytes]:
    """An archive of the same images under their names, whole, which docker of any age takes too, as it is written."""
    listed = [
        {
            "Config": _blob_path(image.config.digest),
            "RepoTags": list(image.names),
            "Layers": [_blob_path(layer.digest) for layer in image.layers],
        }
        for image in archive.images
    ]
    yield from _member("manifest.json", json.dumps(listed).encode())
    yield from partial_archive(archive, ())


def bytes_to_send(archive: ImageArchive, there: Collection[str]) -> int:
    """How many bytes of layers ``partial_archive`` holds."""
    return sum(layer.size for layer in missing_layers(archive, there))


def missing_layers(archive: ImageArchive, there: Collection[str]) -> tuple[Blob, ...]:
    """The layers whose digests are not in ``there``, each once."""
    layers = {layer.digest: layer for image in archive.images for layer in image.layers}
    return tuple(layer for digest, layer in layers.items() if digest not in there)


def digest_of(path: Path, blob: Blob) -> str:
    """The digest of what really is where ``blob`` should be."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in _slice(file, blob):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def _slice(file: BinaryIO, blob: Blob) -> Iterator[bytes]:
    file.seek(blob.offset)
    left = blob.size
    while left:
        data = file.read(min(left, _CHUNK))
        if not data:
            raise Localk8sError("The image archive changed while it was read.")
        left -= len(data)
        yield data


def _member(name: str, data: bytes) -> Sequence[bytes]:
    return (_header(name, len(data)), data, _padding(len(data)))


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _names(annotations: Mapping[str, str]) -> list[str]:
    name = annotations.get(_NAME) or annotations.get(_REF_NAME) or ""
    return [name] if "/" in name or ":" in name else []


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _checked(digest: str) -> str:
    scheme, _, value = digest.partition(":")
    if scheme != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError(f"{digest[:80]!r} is no digest")
    return digest


def _blob_path(digest: str) -> str:
    return f"blobs/sha256/{_checked(digest).removeprefix('sha256:')}"


def _plain(name: str) -> str:
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _no_archive(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} is no image archive: {why}.", hint="docker save IMAGE -o image.tar")
