"""Writes docker archives: manifest.json, one config, one layer, the same bytes for the same input, and no daemon.

Knows nothing of what the images are for. ``ctr -n k8s.io images import`` and ``docker load`` take the result.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from localk8s.system.tar_reader import read_member

_LONGEST_LISTING = 4 << 20
"""Bytes of a manifest.json."""
_MAKER = "localk8s"
"""What the history of an image that was written here says of its maker."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in an image's one layer, by absolute path."""

    files: Mapping[str, Path] = field(default_factory=dict)
    """Copied with their executable bits; a directory is copied whole."""
    texts: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Content and permission bits."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Symbolic links and what they lead to."""
    directories: Mapping[str, int] = field(default_factory=dict)
    """Empty directories and their permission bits."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """How a container of the image starts."""

    entrypoint: tuple[str, ...]
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    user: str = ""
    workdir: str = "/"
    ports: tuple[int, ...] = ()


def write_image(target: Path, reference: str, architecture: str, contents: Contents, run: RunConfig) -> None:
    """Write the archive ``target``.

    Args:
        reference: name and tag.
        architecture: ``amd64`` or ``arm64``.
    """
    layer = target.with_name(f".{target.name}.layer")
    try:
        with layer.open("wb") as file:
            digest = _write_layer(file, contents)
        config = json.dumps(_config(architecture, digest, run), sort_keys=True).encode()
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        listing = [{"Config": name, "RepoTags": [reference], "Layers": [f"{digest}/layer.tar"]}]
        with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
            with layer.open("rb") as file:
                archive.addfile(_member(f"{digest}/layer.tar", layer.stat().st_size, 0o644), file)
            for member, data in ((name, config), ("manifest.json", json.dumps(listing).encode())):
                archive.addfile(_member(member, len(data), 0o644), io.BytesIO(data))
    finally:
        layer.unlink(missing_ok=True)


def read_tags(archive: Path) -> tuple[str, ...]:
    """The references in a docker archive; none when it is not one."""
    try:
        listing = json.loads(read_member(archive, "manifest.json", _LONGEST_LISTING) or b"[]")
        return tuple(str(tag) for image in listing for tag in image.get("RepoTags") or ())
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ()


def is_made_here(archive: Path) -> bool:
    """Whether ``write_image`` wrote this docker archive: it then is a stand-in for the image whose name it bears."""
    try:
        listing = json.loads(read_member(archive, "manifest.json", _LONGEST_LISTING) or b"[]")
        config = json.loads(read_member(archive, str(listing[0]["Config"]), _LONGEST_LISTING) or b"{}")
        return any(entry.get("created_by") == _MAKER for entry in config.get("history") or ())
    except (ValueError, KeyError, IndexError, AttributeError, TypeError, RecursionError):
        return False


def _config(architecture: str, layer: str, run: RunConfig) -> dict[str, object]:
    started: dict[str, object] = {"Entrypoint": list(run.entrypoint), "WorkingDir": run.workdir, "User": run.user}
    started["Env"] = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *run.environment]
    if run.command:
        started["Cmd"] = list(run.command)
    if run.ports:
        started["ExposedPorts"] = {f"{port}/tcp": {} for port in run.ports}
    return {
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": started,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": _MAKER}],
    }


class _Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def _write_layer(file: IO[bytes], contents: Contents) -> str:
    hashing = _Hashing(file)
    with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.USTAR_FORMAT) as layer:  # type: ignore[call-overload]
        for path, (info, source) in sorted(_members(contents).items()):
            info.name = path
            if isinstance(source, Path):
                with source.open("rb") as opened:
                    layer.addfile(info, opened)
            else:
                layer.addfile(info, io.BytesIO(source) if source is not None else None)
    return hashing.digest.hexdigest()


_Members = dict[str, tuple[tarfile.TarInfo, Path | bytes | None]]


def _members(contents: Contents) -> _Members:
    """Everything in the layer, directories included, by path without the leading slash."""
    members: _Members = {}
    for path, source in contents.files.items():
        for name, file in _walk(path.strip("/"), source):
            found = os.stat(file)
            members[name] = (_member("", found.st_size, 0o755 if found.st_mode & stat.S_IXUSR else 0o644), file)
    for path, (text, mode) in contents.texts.items():
        data = text.encode()
        members[path.strip("/")] = (_member("", len(data), mode), data)
    for path, leads_to in contents.links.items():
        info = _member("", 0, 0o777)
        info.type, info.linkname = tarfile.SYMTYPE, leads_to
        members[path.strip("/")] = (info, None)
    modes = {path.strip("/"): mode for path, mode in contents.directories.items()}
    parents = {str(parent) for name in (*members, *modes) for parent in Path(name).parents} - {"."}
    for name in parents | set(modes):
        info = _member("", 0, modes.get(name, 0o755))
        info.type = tarfile.DIRTYPE
        members[name] = (info, None)
    return members


def _walk(path: str, source: Path) -> Sequence[tuple[str, Path]]:
    if not source.is_dir():
        return [(path, source)]
    files = sorted(file for file in source.rglob("*") if file.is_file())
    return [(f"{path}/{file.relative_to(source).as_posix()}", file) for file in files]


def _member(name: str, size: int, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, mode, 0
    info.uid = info.gid = 0
    return info
