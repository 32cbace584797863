"""Image archives taken apart and made smaller; names; what ctr prints."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localk8s.helpers.images import Images
from localk8s.helpers.images_archive import bytes_to_send, open_archive, partial_archive
from localk8s.helpers.images_names import full_name, short_name
from localk8s.helpers.images_source import archive_file, archive_stream
from localk8s.helpers.images_store import StoredImage, parse_images
from localk8s.model.errors import Localk8sError, NotFoundError, UsageError
from localk8s.model.node import Completed
from localk8s.testing import RecordingReporter


def layer(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("file")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def docker_archive(path: Path, layers: list[bytes], tags: list[str] | None, *, packed: bool = False) -> Path:
    diffs = [f"sha256:{digest(each)}" for each in layers]
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diffs}}).encode()
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    listing = [{"Config": "config.json", "RepoTags": tags, "Layers": names}]
    files = {name: gzip.compress(each) if packed else each for name, each in zip(names, layers, strict=True)}
    write_tar(path, {**files, "config.json": config, "manifest.json": json.dumps(listing).encode()})
    return path


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_a_docker_archive_becomes_an_oci_archive_of_the_same_layers_and_id(tmp_path: Path) -> None:
    layers = [layer(b"one"), layer(b"two" * 5000)]
    archive = open_archive(docker_archive(tmp_path / "a.tar", layers, ["app:1", "reg.example:5000/app"]), "amd64")
    (image,) = archive.images
    assert image.names == ("docker.io/library/app:1", "reg.example:5000/app:latest")

    whole = tmp_path / "whole.tar"
    whole.write_bytes(b"".join(partial_archive(archive, ())))
    with tarfile.open(whole) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    for name, data in members.items():
        if name.startswith("blobs/"):
            assert digest(data) == name.rpartition("/")[2]
    assert members["blobs/sha256/" + digest(layers[1])] == layers[1]
    index = json.loads(members["index.json"])
    assert [each["annotations"]["io.containerd.image.name"] for each in index["manifests"]] == list(image.names)

    again = open_archive(whole, "amd64")
    assert again.images[0].id == image.id
    assert again.images[0].layers[1].digest == image.layers[1].digest
    assert set(again.images[0].names) == set(image.names)


def test_layers_that_are_there_are_not_sent(tmp_path: Path) -> None:
    layers = [layer(b"x" * 100_000), layer(b"small")]
    archive = open_archive(docker_archive(tmp_path / "a.tar", layers, ["app"]), "amd64")
    there = {archive.images[0].layers[0].digest}
    assert bytes_to_send(archive, there) == len(layers[1])
    sent = b"".join(partial_archive(archive, there))
    assert len(sent) < 50_000
    with tarfile.open(fileobj=io.BytesIO(sent)) as tar:
        names = tar.getnames()
    assert f"blobs/sha256/{digest(layers[0])}" not in names
    assert f"blobs/sha256/{digest(layers[1])}" in names


def test_packed_layers_are_named_by_what_is_in_the_file(tmp_path: Path) -> None:
    archive = open_archive(docker_archive(tmp_path / "a.tar", [layer(b"one")], ["app"], packed=True), "amd64")
    with tarfile.open(archive.path) as tar:
        stored = tar.extractfile("0/layer.tar").read()  # type: ignore[union-attr]
    assert archive.images[0].layers[0].digest == f"sha256:{digest(stored)}"


def test_links_between_layers_are_followed(tmp_path: Path) -> None:
    path, one = tmp_path / "a.tar", layer(b"one")
    diffs = [f"sha256:{digest(one)}"] * 2
    config = json.dumps({"rootfs": {"diff_ids": diffs}}).encode()
    listing = json.dumps([{"Config": "c", "RepoTags": ["a:1"], "Layers": ["x/layer.tar", "y/layer.tar"]}]).encode()
    write_tar(path, {"x/layer.tar": one, "c": config, "manifest.json": listing})
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo("y/layer.tar")
        info.type, info.linkname = tarfile.SYMTYPE, "../x/layer.tar"
        tar.addfile(info)
    assert {each.digest for each in open_archive(path, "amd64").images[0].layers} == set(diffs)


def test_of_an_index_this_machine_s_image_is_taken(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}

    def put(data: bytes) -> str:
        files[f"blobs/sha256/{digest(data)}"] = data
        return f"sha256:{digest(data)}"

    manifests = []
    for machine in ("arm64", "amd64"):
        config, one = put(json.dumps({"architecture": machine}).encode()), put(layer(machine.encode()))
        manifest = json.dumps({"config": {"digest": config}, "layers": [{"digest": one}]}).encode()
        manifests.append({"digest": put(manifest), "platform": {"os": "linux", "architecture": machine}})
    kind = "application/vnd.oci.image.index.v1+json"
    listed = {"digest": put(json.dumps({"manifests": manifests}).encode()), "mediaType": kind}
    listed["annotations"] = {"org.opencontainers.image.ref.name": "app:2"}  # type: ignore[assignment]
    files |= {"oci-layout": b"{}", "index.json": json.dumps({"manifests": [listed]}).encode()}
    write_tar(tmp_path / "a.tar", files)
    for machine in ("arm64", "amd64"):
        (image,) = open_archive(tmp_path / "a.tar", machine).images
        assert image.names == ("docker.io/library/app:2",)
        assert image.layers[0].digest == f"sha256:{digest(layer(machine.encode()))}"
    with pytest.raises(UsageError, match="riscv64"):
        open_archive(tmp_path / "a.tar", "riscv64")


@pytest.mark.parametrize(
    "files",
    [
        {"readme": b"nothing"},
        {"manifest.json": b"[]"},
        {"manifest.json": b"not json"},
        {"manifest.json": b'[{"Config": "../../etc/passwd", "Layers": []}]'},
        {"manifest.json": b'[{"Config": "c", "Layers": []}]', "c": b'{"rootfs": {"diff_ids": ["sha256:x"]}}'},
        {"oci-layout": b"", "index.json": b'{"manifests": [{"digest": "sha256:../../x"}]}'},
        {"oci-layout": b"", "index.json": b"{}"},
    ],
)
def test_hostile_archives_are_refused_in_a_sentence(tmp_path: Path, files: dict[str, bytes]) -> None:
    write_tar(tmp_path / "a.tar", files)
    with pytest.raises(UsageError, match="no image archive") as caught:
        open_archive(tmp_path / "a.tar", "amd64")
    assert caught.value.hint


def test_cut_off_archives_are_refused(tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "a.tar", [layer(b"x" * 60_000)], ["app"])
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(UsageError):
        open_archive(path, "amd64")
    with pytest.raises(NotFoundError):
        open_archive(tmp_path / "none.tar", "amd64")


@given(st.binary(max_size=2000))
def test_no_bytes_make_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.tar"
    path.write_bytes(data)
    with pytest.raises(UsageError):
        open_archive(path, "amd64")


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["gzip", "plain"])
def test_files_and_streams_are_unpacked(tmp_path: Path, pack: object) -> None:
    path = docker_archive(tmp_path / "a.tar", [layer(b"one")], ["app"])
    packed = tmp_path / "packed"
    packed.write_bytes(pack(path.read_bytes()))  # type: ignore[operator]
    with archive_file(packed) as found:
        assert open_archive(found, "amd64").images[0].names == ("docker.io/library/app:latest",)
    with archive_stream(io.BytesIO(packed.read_bytes())) as found:
        assert open_archive(found, "amd64").images[0].names == ("docker.io/library/app:latest",)
    assert not found.exists()


def test_what_cannot_be_unpacked_is_said(tmp_path: Path) -> None:
    (tmp_path / "bad.gz").write_bytes(b"\x1f\x8bnothing")
    (tmp_path / "a.zst").write_bytes(b"\x28\xb5\x2f\xfd....")
    for name, message in (("bad.gz", "unpacked"), ("a.zst", "zstd"), ("", "directory")):
        with pytest.raises(UsageError, match=message), archive_file(tmp_path / name):
            pass
    with pytest.raises(NotFoundError), archive_file(tmp_path / "none"):
        pass


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("app", "docker.io/library/app:latest"),
        ("me/app:1", "docker.io/me/app:1"),
        ("docker.io/app", "docker.io/library/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("reg:5000/a/b:c", "reg:5000/a/b:c"),
        ("k8s.gcr.io/pause:3.2", "k8s.gcr.io/pause:3.2"),
        ("app@sha256:" + "a" * 64, "docker.io/library/app@sha256:" + "a" * 64),
    ],
)
def test_names(short: str, full: str) -> None:
    assert full_name(short) == full
    assert full_name(full) == full
    assert full_name(short_name(full)) == full


@given(st.text(max_size=80))
def test_a_name_is_full_or_refused(name: str) -> None:
    try:
        full = full_name(name)
    except UsageError:
        return
    assert full_name(full) == full
    assert not set(full) & set(" \n'\"$;|")


@pytest.mark.parametrize("name", ["", "App", "a b", "a:b:c", "-x", "--all", "a" * 300, "../x", "f" * 64])
def test_no_names(name: str) -> None:
    with pytest.raises(Localk8sError):
        full_name(name)


def test_rows_of_ctr_are_read() -> None:
    one = "sha256:" + "1" * 64
    printed = (
        "REF                     TYPE                           DIGEST    SIZE      PLATFORMS   LABELS\n"
        f"docker.io/library/a:1   application/vnd.x.v2+json      {one} 302.1 MiB linux/amd64 io.cri-containerd.image=managed\n"
        f"{one}   application/vnd.x.v2+json      {one} 5.0 MiB linux/amd64 -\n"
    )
    assert parse_images(printed) == (StoredImage("docker.io/library/a:1", one, "302.1 MiB"), StoredImage(one, one, "5.0 MiB"))


class Containerd:
    """A node with one image."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, argv: list[str], **more: object) -> Completed:
        known = "sha256:" + "a" * 64
        return Completed(
            tuple(argv), 0, f"REF TYPE DIGEST SIZE PLATFORMS LABELS\nlocalhost/a:1 x {known} 1.0 MiB linux/amd64 -\n", ""
        )


def test_a_node_that_is_off_is_left_out_of_the_list_with_a_warning() -> None:
    report = RecordingReporter()
    nodes: list[Any] = [Containerd("one")]
    (image,) = Images(nodes, ("ctr",), "amd64", report, off=("two",)).all()
    assert image.nodes == ("one",)
    assert report.warnings == ["two is off and was left out."]
