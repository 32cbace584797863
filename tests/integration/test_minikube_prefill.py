"""A directory or bundle fills minikube's cache, so that a start needs no network; the demo's image reaches the nodes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from minikube_world import SIZE, NoArtifacts, Told, World

from localk8s.artifacts.kinds import Image, ImageRole, KubernetesBinaries
from localk8s.drivers.minikube.images import list_images
from localk8s.model.errors import ArtifactError
from localk8s.model.progress import Step
from localk8s.model.spec import ClusterSpec
from localk8s.model.versions import KubernetesVersion

V1_20 = KubernetesVersion(1, 20, 2)


def archive(path: Path, tag: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        content = json.dumps([{"RepoTags": [tag], "Layers": [], "Config": "x"}]).encode()
        info = tarfile.TarInfo("manifest.json")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return path


class Some(NoArtifacts):
    """A library that has one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def newest_version(self, named: str | None) -> KubernetesVersion:
        """Of the directory."""
        return V1_20

    def kubernetes(self, version: KubernetesVersion, named: str | None, step: Step) -> KubernetesBinaries:
        """The directory's."""
        assert named == str(self.root)
        return KubernetesBinaries(version, self.root / "bin", str(self.root), self.root / "images")

    def images(self, binaries: KubernetesBinaries, roles: Sequence[ImageRole], step: Step) -> Any:
        """Made here."""
        made = []
        for role in roles:
            reference = "localk8s.dev/echo:1" if role is ImageRole.ECHO else f"k8s.gcr.io/{role.value}:v1.20.2"
            made.append(Image(role, reference, archive(self.root / "made" / f"{role.value}.tar", reference)))
        return tuple(made)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def bundle(world: World, tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    (root / "bin").mkdir(parents=True)
    for name in ("kubeadm", "kubelet", "kubectl", "kube-apiserver"):
        (root / "bin" / name).write_text(f"{name} itself")
    archive(root / "images" / "coredns.tar", "k8s.gcr.io/coredns:1.7.0")
    kic = root / "minikube" / "cache" / "kic" / "amd64" / "kicbase_v0.0.50@sha256_ad91.tar"
    kic.parent.mkdir(parents=True)
    kic.write_text("the node's image")
    (kic.parent / "x.lock").write_text("")
    world.artifacts = Some(root)
    return root


def complete(world: World, bundle: Path, vm: str, **options: str) -> ClusterSpec:
    wish = ClusterSpec("default", "minikube", size=SIZE, artifacts=str(bundle), options={"vm-driver": vm, **options})
    return world.driver().complete(wish)


def test_trap_6_6_the_cache_is_filled_in_minikubes_own_layout(world: World, bundle: Path) -> None:
    spec = complete(world, bundle, "docker", **{"minikube-arg": "--force"})
    assert spec.kubernetes_version == V1_20, "the directory's version counts"
    told = Told()
    world.driver().create(spec, told)
    arch = world.driver()._context.host.facts().architecture
    files = sorted(str(path.relative_to(world.home / "cache")) for path in (world.home / "cache").rglob("*") if path.is_file())
    roles = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "pause")
    assert files == sorted(
        [
            f"images/{arch}/k8s.gcr.io/coredns_1.7.0",
            *(f"images/{arch}/k8s.gcr.io/{role}_v1.20.2" for role in roles),
            "kic/amd64/kicbase_v0.0.50@sha256_ad91.tar",
            *(f"linux/{arch}/v1.20.2/{name}" for name in ("kubeadm", "kubectl", "kubelet")),
        ]
    )
    kubelet = world.home / "cache" / "linux" / arch / "v1.20.2" / "kubelet"
    assert kubelet.read_text() == "kubelet itself" and kubelet.stat().st_mode & 0o777 == 0o755
    assert "filled minikube's cache: 11 files" in told.finished
    start = world.calls("start")[0]
    assert "--install-addons=false" in start, "addons' images are in nobody's cache"

    kubelet.write_text("minikube's own")
    world.driver().stop(spec, Told())
    again = Told()
    world.driver().start(spec, again)
    assert "minikube's cache has it all" in again.finished and kubelet.read_text() == "minikube's own"


def test_this_hosts_own_runtime_gets_the_images_where_it_is_the_node(world: World, bundle: Path, tmp_path: Path) -> None:
    said = tmp_path / "ctr.log"
    ctr = tmp_path / "bin" / "ctr"
    ctr.write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
    ctr.chmod(0o755)
    spec = complete(world, bundle, "none", **{"container-runtime": "containerd", "minikube-arg": "--force"})
    world.driver().create(spec, Told())
    lines = said.read_text().splitlines()
    assert len(lines) == 7 and all(line.startswith("--namespace k8s.io images import ") for line in lines)
    assert not (world.home / "cache" / "images").exists()
    ctr.write_text("#!/bin/sh\necho 'ctr: cannot connect' >&2; exit 1\n")
    world.driver().stop(spec, Told())
    told = Told()
    world.driver().start(spec, told)
    assert [text for text in told.warnings if "could not be given to this host's containerd" in text]


def test_the_demos_image_is_on_the_nodes(world: World, bundle: Path) -> None:
    spec = complete(world, bundle, "docker", **{"minikube-arg": "--force"})
    told = Told()
    world.driver().create(spec, told)
    session = world.driver()._session(spec)
    assert ("localk8s.dev/echo:1",) in [image.names for image in list_images(session.tool, session.profile, "default")]
    assert told.finished[-1] == "the nodes have the demo's image"
    world.forget_calls()
    world.driver().start(spec, Told())
    assert world.calls("image load") == []
    world.scenario(image="lies")
    (world.root / "images" / "localk8s-default.json").unlink()
    lied = Told()
    world.driver().start(spec, lied)
    assert lied.finished[-1].startswith("no image for localk8s demo: minikube did not load localk8s.dev/echo:1")


def test_a_directory_without_the_version_stops_the_start_before_minikube(world: World, bundle: Path) -> None:
    spec = complete(world, bundle, "kvm2")
    world.artifacts = NoArtifacts()
    with pytest.raises(ArtifactError):
        world.driver().create(spec, Told())
    assert world.calls("start") == []


def test_a_full_disk_leaves_no_half_written_file(world: World, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    def full(source: object, target: Path) -> None:
        Path(target).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        world.driver().create(complete(world, bundle, "docker"), Told())
    assert [path for path in (world.home / "cache").rglob("*") if path.is_file()] == []
