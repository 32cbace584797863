"""Directories and bundles that a user names, with small fake programs in the layouts that exist."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from localk8s.artifacts.archive import Contents, RunConfig, read_tags, write_image
from localk8s.artifacts.bundle import Member, check_sums, listed_versions, write_bundle
from localk8s.artifacts.kinds import KUBERNETES_PROGRAMS, Image, ImageRole, KubernetesBinaries
from localk8s.artifacts.library import Library
from localk8s.artifacts.settings import ArtifactSettings
from localk8s.artifacts.sums import render_sums
from localk8s.model.errors import ArtifactError, NotFoundError, UsageError
from localk8s.model.progress import SilentReporter
from localk8s.model.versions import KubernetesVersion
from localk8s.system.process import HostRunner

VERSION = KubernetesVersion(1, 36, 3)


def programs(directory: Path, version: str = "v1.36.3", mode: int = 0o755) -> Path:
    """Seven scripts; kubeadm tells a version, and counts how often it is asked."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in KUBERNETES_PROGRAMS:
        (directory / name).write_text(
            f"#!/bin/sh\n# {name}\n[ $0 = {directory}/kubeadm ] && echo x >>{directory}/asked\necho {version}\n"
        )
        (directory / name).chmod(mode)
    return directory


def library(tmp_path: Path) -> Library:
    settings = ArtifactSettings(offline=True)
    return Library(tmp_path / "cache", HostRunner(), settings, machine="x86_64", codename="")


def take(tmp_path: Path, named: Path, version: KubernetesVersion = VERSION) -> KubernetesBinaries:
    with SilentReporter().step("x", "") as step:
        return library(tmp_path).kubernetes(version, str(named), step)


LAYOUTS = [
    "",
    "bin",
    "bin/linux/amd64",
    "v1.36.3/bin/linux/amd64",
    "release/v1.36.3/bin/linux/amd64",
    "v1.36.3",
    "kubernetes/server/bin",
    "server/bin",
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_used_where_it_is(tmp_path: Path, layout: str) -> None:
    place = programs(tmp_path / "named" / layout)
    found = take(tmp_path, tmp_path / "named")
    assert (found.directory, found.version, found.images) == (place, VERSION, None)
    assert found.source == str(tmp_path / "named")
    assert found.digests["kubelet"] == hashlib.sha256((place / "kubelet").read_bytes()).hexdigest()
    assert library(tmp_path).newest_version(str(tmp_path / "named")) == VERSION


def test_it_is_read_once_until_it_changes(tmp_path: Path) -> None:
    place = programs(tmp_path / "named")
    for _ in range(3):
        take(tmp_path, place)
    assert (place / "asked").read_text() == "x\n"
    (place / "kubelet").write_text("#!/bin/sh\n# another\n")
    before = take(tmp_path, place)
    assert (place / "asked").read_text() == "x\nx\n"
    assert before.digests["kubelet"] == hashlib.sha256(b"#!/bin/sh\n# another\n").hexdigest()


def test_of_several_versions_the_asked_one_is_taken_and_the_newest_is_the_default(tmp_path: Path) -> None:
    old = programs(tmp_path / "named/release/v1.9.0/bin/linux/amd64", "v1.30.2")
    programs(tmp_path / "named/release/v1.36.3/bin/linux/amd64")
    assert library(tmp_path).newest_version(str(tmp_path / "named")) == VERSION
    assert take(tmp_path, tmp_path / "named", KubernetesVersion(1, 30, 2)).directory == old


def test_another_version_than_asked_is_refused_with_the_command_that_works(tmp_path: Path) -> None:
    place = programs(tmp_path / "a b", "v1.30.2")
    with pytest.raises(UsageError, match=r"holds Kubernetes v1\.30\.2, not v1\.36\.3") as caught:
        take(tmp_path, place)
    assert caught.value.hint == "--kubernetes-version 1.30.2"


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no directory or bundle"):
        take(tmp_path, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="holds no Kubernetes programs for linux/amd64"):
        take(tmp_path, tmp_path / "empty")
    (programs(tmp_path / "named") / "kubelet").unlink()
    with pytest.raises(ArtifactError, match="is not whole: kubelet is missing"):
        take(tmp_path, tmp_path / "named")


@pytest.mark.parametrize("style", ["beside", "list here", "list on top"])
def test_stated_digests_are_checked(tmp_path: Path, style: str) -> None:
    root = tmp_path / "named"
    place = programs(root / "release/v1.36.3/bin/linux/amd64")
    digests = {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in KUBERNETES_PROGRAMS}
    if style == "beside":
        for name, digest in digests.items():
            (place / f"{name}.sha256").write_text(digest)
    elif style == "list here":
        (place / "SHA256SUMS").write_text(render_sums(digests))
    else:
        below = str(place.relative_to(root))
        (root / "SHA256SUMS").write_text(render_sums({f"{below}/{name}": digest for name, digest in digests.items()}))
    assert take(tmp_path, root).directory == place
    with (place / "kube-proxy").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(ArtifactError, match=f"{place}/kube-proxy is not what its digest says"):
        take(tmp_path, root)


def test_a_digest_file_that_changes_is_read_again(tmp_path: Path) -> None:
    place = programs(tmp_path / "named")
    take(tmp_path, place)
    (place / "kubectl.sha256").write_text("0" * 64)
    with pytest.raises(ArtifactError, match="kubectl is not what"):
        take(tmp_path, place)
    (place / "kubectl.sha256").write_text("junk")
    with pytest.raises(ArtifactError, match=r"kubectl\.sha256 holds no SHA-256"):
        take(tmp_path, place)


def test_programs_without_the_executable_bit_are_copied_and_left_alone(tmp_path: Path) -> None:
    place = programs(tmp_path / "named", mode=0o644)
    found = take(tmp_path, place)
    assert found.directory.is_relative_to(tmp_path / "cache")
    assert os.access(found.directory / "kubelet", os.X_OK)
    assert (place / "kubelet").stat().st_mode & 0o777 == 0o644
    assert take(tmp_path, place).directory == found.directory
    shutil.rmtree(tmp_path / "cache/copies")
    assert take(tmp_path, place).directory.is_dir()


def test_a_program_for_another_machine_is_refused_and_named(tmp_path: Path) -> None:
    place = programs(tmp_path / "named")
    header = bytearray(64)
    header[:6], header[18] = b"\x7fELF\x02\x01", 183
    (place / "kube-scheduler").write_bytes(header)
    with pytest.raises(ArtifactError, match="kube-scheduler is a program for another machine type"):
        take(tmp_path, place)
    (place / "kube-scheduler").write_bytes(b"\x7fELF\x01")
    with pytest.raises(ArtifactError, match="kube-scheduler is a damaged program"):
        take(tmp_path, place)


@pytest.mark.parametrize("script", ["exit 3", "echo not-a-version", "echo v1.99.0"])
def test_a_kubeadm_that_tells_no_usable_version(tmp_path: Path, script: str) -> None:
    place = programs(tmp_path / "named")
    (place / "kubeadm").write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises((ArtifactError, UsageError)) as caught:
        take(tmp_path, place)
    assert "\n" not in caught.value.message


def test_images_that_came_with_the_programs_are_preferred_by_the_names_that_kubeadm_says(tmp_path: Path) -> None:
    place = programs(tmp_path / "named", "v1.30.2")
    listed = "registry.example/pause:9.9\nregistry.example/etcd:1-0\n"
    (place / "kubeadm").write_text(f"#!/bin/sh\n[ $1 = version ] && echo v1.30.2 || printf '{listed}'\n")
    (place / "images").mkdir()
    archive = place / "images/some name.tar"
    write_image(archive, "registry.example/pause:9.9", "amd64", Contents(), RunConfig(("/pause",)))
    binaries = take(tmp_path, place, KubernetesVersion(1, 30, 2))
    with SilentReporter().step("x", "") as step:
        assert library(tmp_path).images(binaries, [ImageRole.PAUSE], step) == (
            Image(ImageRole.PAUSE, "registry.example/pause:9.9", archive),
        )
        with pytest.raises(ArtifactError, match=r"root file system .* is not in the cache and cannot be made"):
            library(tmp_path).images(binaries, [ImageRole.PAUSE, ImageRole.ETCD], step)
    (place / "SHA256SUMS").write_text(render_sums({"images/some name.tar": "0" * 64}))
    with pytest.raises(ArtifactError, match=r"some name\.tar is not what its digest says"):
        take(tmp_path, place, KubernetesVersion(1, 30, 2))


def packed(tmp_path: Path, name: str, place: str = "release/v1.36.3/bin/linux/amd64") -> Path:
    source = programs(tmp_path / "source")
    members = [Member(f"{place}/{program}", source / program, "") for program in KUBERNETES_PROGRAMS]
    with SilentReporter().step("x", "") as step:
        write_bundle(tmp_path / name, members, HostRunner(), step)
    return tmp_path / name


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "tar.xz", "tar.zst"])
def test_a_bundle_is_unpacked_once_and_used(tmp_path: Path, suffix: str) -> None:
    if suffix == "tar.zst" and not shutil.which("zstd"):
        pytest.skip("there is no zstd on this machine")
    bundle = packed(tmp_path, f"b.{suffix}")
    assert not list(tmp_path.glob(".b*"))
    found = take(tmp_path, bundle)
    assert found.directory.is_relative_to(tmp_path / "cache/bundles")
    assert take(tmp_path, bundle).directory == found.directory
    assert len(list((tmp_path / "cache/bundles").iterdir())) == 1
    assert library(tmp_path).newest_version(str(bundle)) == VERSION


def test_just_the_seven_in_a_tar(tmp_path: Path) -> None:
    assert take(tmp_path, packed(tmp_path, "b.tar", ".")).version == VERSION


def test_a_bundle_with_a_wrong_file_is_refused_and_the_file_named(tmp_path: Path) -> None:
    bundle = packed(tmp_path, "b.tar")
    data = bundle.read_bytes()
    assert data.count(b"# kubelet\n") == 1
    bundle.write_bytes(data.replace(b"# kubelet\n", b"# kubelex\n"))
    with pytest.raises(ArtifactError, match=r"bin/linux/amd64/kubelet in .*b\.tar is not what its digest says"):
        take(tmp_path, bundle)
    assert not list((tmp_path / "cache").rglob("kubelet"))


def test_a_list_that_names_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text(render_sums({"../outside": "0" * 64}))
    with pytest.raises(ArtifactError, match="outside is missing"):
        check_sums(tmp_path, tmp_path)


def test_a_bundle_with_a_file_that_its_list_does_not_name_is_refused(tmp_path: Path) -> None:
    bundle = packed(tmp_path, "b.tar")
    with tarfile.open(bundle, "a") as archive:
        archive.addfile(tarfile.TarInfo("images/added.tar"))
    with pytest.raises(ArtifactError, match=r"b\.tar holds 'images/added\.tar', which its SHA256SUMS does not list"):
        take(tmp_path, bundle)
    assert not list((tmp_path / "cache").rglob("kubelet"))


HOSTILE: dict[str, list[tuple[str, bytes, str]]] = {
    "a hard link to itself": [("release", tarfile.LNKTYPE, "release")],
    "a chain of hard links to itself": [("a", tarfile.LNKTYPE, "b"), ("b", tarfile.LNKTYPE, "c"), ("c", tarfile.LNKTYPE, "a")],
    "a link to itself as list": [("SHA256SUMS", tarfile.SYMTYPE, "SHA256SUMS")],
    "a hard link to itself as list": [("SHA256SUMS", tarfile.LNKTYPE, "SHA256SUMS")],
    "a link through a link to the outside": [("d", tarfile.SYMTYPE, "."), ("e", tarfile.SYMTYPE, "d/../../..")],
    "a pipe": [("kubelet", tarfile.FIFOTYPE, "")],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bundles_end_in_one_sentence(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for member, kind, target in HOSTILE[name]:
            info = tarfile.TarInfo(member)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    with pytest.raises(ArtifactError) as caught:
        take(tmp_path, tmp_path / "x.tar")
    assert "\n" not in caught.value.message
    with pytest.raises(ArtifactError):
        library(tmp_path).newest_version(str(tmp_path / "x.tar"))
    assert not list((tmp_path / "cache/bundles").glob("*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_an_image_archive_whose_listing_leads_to_itself_has_no_images(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("manifest.json")
        info.type, info.linkname = kind, "manifest.json"
        archive.addfile(info)
    assert read_tags(tmp_path / "x.tar") == ()
    (tmp_path / "x.tar").write_bytes(b"junk" * 1000)
    assert read_tags(tmp_path / "x.tar") == ()


def test_a_list_of_digests_without_end_is_not_read_whole(tmp_path: Path) -> None:
    place = programs(tmp_path / "named")
    for name in ("SHA256SUMS", "kubelet.sha256"):
        with (place / name).open("wb") as file:
            file.truncate(1 << 42)
        with pytest.raises(ArtifactError, match=rf"{name} has more than 16 MiB"):
            take(tmp_path, place)
        (place / name).unlink()
    huge = tarfile.TarInfo("SHA256SUMS")
    huge.size = 1 << 30
    with (tmp_path / "x.tar").open("wb") as file:
        file.write(huge.tobuf())
        file.truncate(512 + (1 << 30) + 1024)
    with pytest.raises(ArtifactError, match="SHA256SUMS has more than 16 MiB"):
        check_sums_of(tmp_path)


def check_sums_of(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (tmp_path / "out/SHA256SUMS").open("wb") as file:
        file.truncate(1 << 42)
    assert listed_versions(tmp_path / "x.tar", "amd64") == ()
    check_sums(tmp_path / "out", tmp_path)


def test_a_pipe_is_not_taken_for_a_bundle(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.tar")
    with pytest.raises(ArtifactError, match="neither a directory nor a file"):
        take(tmp_path, tmp_path / "x.tar")
    with pytest.raises(ArtifactError, match="neither a directory nor a file"):
        library(tmp_path).newest_version(str(tmp_path / "x.tar"))


@pytest.mark.parametrize("percent", [0, 10, 30, 60])
@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_truncated_bundle_is_refused(tmp_path: Path, percent: int, suffix: str) -> None:
    bundle = packed(tmp_path, f"b.{suffix}")
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[: len(whole) * percent // 100 // 512 * 512])
    with pytest.raises(ArtifactError) as caught:
        take(tmp_path, bundle)
    assert str(bundle) in caught.value.message or "holds no Kubernetes" in caught.value.message


def test_a_file_that_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ArtifactError, match="is no bundle"):
        take(tmp_path, tmp_path / "notes.txt")
    (tmp_path / "x.tar").write_text("x" * 2000)
    with pytest.raises(ArtifactError, match="not a tar archive, or damaged"):
        take(tmp_path, tmp_path / "x.tar")


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/localk8s-escaped"])
def test_a_hostile_bundle_cannot_write_outside(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo(name)
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
    with pytest.raises(ArtifactError):
        take(tmp_path, tmp_path / "x.tar")
    assert not list(tmp_path.rglob("escaped"))
    assert not Path("/tmp/localk8s-escaped").exists()


def test_a_bundle_that_cannot_be_written(tmp_path: Path) -> None:
    with SilentReporter().step("x", "") as step:
        with pytest.raises(UsageError, match="cannot be written"):
            write_bundle(tmp_path / "b.zip", [], HostRunner(), step)
        with pytest.raises(ArtifactError, match="cannot be written: No such file") as caught:
            write_bundle(tmp_path / "no/b.tar", [], HostRunner(), step)
    assert caught.value.hint == f"df -h {tmp_path}/no"
