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

from localk8s.artifacts.archive import Contents, RunConfig, write_image
from localk8s.artifacts.kinds import Image, ImageRole, KubernetesBinaries
from localk8s.drivers.minikube.images import list_images
from localk8s.model.errors import ArtifactError
from localk8s.model.progress import Step
from localk8s.model.spec import ClusterSpec
from localk8s.model.versions import KubernetesVersion

V1_20 = KubernetesVersion(1, 20, 2)
ECHO = "localk8s.dev/echo:1"


NEEDED = (
    "kube-apiserver:v1.20.2",
    "kube-controller-manager:v1.20.2",
    "kube-scheduler:v1.20.2",
    "kube-proxy:v1.20.2",
    "pause:3.2",
    "etcd:3.4.13-0",
    "coredns:1.7.0",
)
"""What kubeadm 1.20.2 names; below its own registry, where minikube asks for them below today's."""


def archive(path: Path, tag: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        content = json.dumps([{"RepoTags": [tag], "Layers": [], "Config": "x"}]).encode()
        info = tarfile.TarInfo("manifest.json")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return path


def stand_in(path: Path, tag: str) -> Path:
    """An image that localk8s makes from the programs, under the real one's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, tag, "amd64", Contents(texts={"/x": ("x", 0o644)}), RunConfig(("/x",)))
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
        images = self.root / "images"
        return KubernetesBinaries(version, self.root / "bin", str(self.root), images if images.is_dir() else None)

    def images(self, binaries: KubernetesBinaries, roles: Sequence[ImageRole], step: Step) -> Any:
        """Made here; only the demo's is ever asked for."""
        assert tuple(roles) == (ImageRole.ECHO,)
        return (Image(ImageRole.ECHO, ECHO, archive(self.root / "made" / "echo.tar", ECHO)),)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def programs(world: World, tmp_path: Path) -> Path:
    """The seven programs, and nothing else."""
    root = tmp_path / "bundle"
    (root / "bin").mkdir(parents=True)
    for name in ("kubelet", "kubectl", "kube-apiserver"):
        (root / "bin" / name).write_text(f"{name} itself")
    listed = "\n".join(f"k8s.gcr.io/{name}" for name in NEEDED)
    (root / "bin" / "kubeadm").write_text(f'#!/bin/sh\necho "$@" >> {root}/asked\ncat <<END\n{listed}\nEND\n')
    (root / "bin" / "kubeadm").chmod(0o755)
    world.artifacts = Some(root)
    return root


@pytest.fixture
def bundle(programs: Path) -> Path:
    """All that minikube needs for its docker driver."""
    for name in NEEDED:
        archive(programs / "images" / f"{name.partition(':')[0]}.tar", f"registry.k8s.io/{name}")
    kicbase(programs)
    return programs


def kicbase(root: Path) -> None:
    kic = root / "minikube" / "cache" / "kic" / "amd64" / "kicbase_v0.0.50@sha256_ad91.tar"
    kic.parent.mkdir(parents=True)
    kic.write_text("the node's image")
    (kic.parent / "x.lock").write_text("")


def complete(world: World, bundle: Path, vm: str, **options: str) -> ClusterSpec:
    wish = ClusterSpec("default", "minikube", size=SIZE, artifacts=str(bundle), options={"vm-driver": vm, **options})
    return world.driver().complete(wish)


def cached(world: World) -> list[str]:
    cache = world.home / "cache"
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())


def test_trap_6_6_the_cache_is_filled_in_minikubes_own_layout(world: World, bundle: Path) -> None:
    world.scenario(network="none")
    spec = complete(world, bundle, "docker", **{"minikube-arg": "--force"})
    assert spec.kubernetes_version == V1_20, "the directory's version counts"
    told = Told()
    world.driver().create(spec, told)
    arch = world.driver()._context.host.facts().architecture
    assert cached(world) == sorted(
        [
            *(f"images/{arch}/registry.k8s.io/{name.replace(':', '_')}" for name in NEEDED),
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


@pytest.mark.parametrize("vm", ["docker", "kvm2", "none"])
def test_the_programs_alone_are_refused_with_all_that_is_missing(world: World, programs: Path, tmp_path: Path, vm: str) -> None:
    no_images(tmp_path)
    with pytest.raises(ArtifactError) as caught:
        complete(world, programs, vm, **{"container-runtime": "containerd", "minikube-arg": "--force"})
    for name in NEEDED:
        assert f"registry.k8s.io/{name}" in caught.value.message
    assert ("kicbase" in caught.value.message) is (vm == "docker") and ("ISO" in caught.value.message) is (vm == "kvm2")
    assert caught.value.hint == f"localk8s start --driver native --artifacts {programs}"
    assert "config images list --kubernetes-version=v1.20.2" in (programs / "asked").read_text()
    assert world.calls("start") == [] and cached(world) == [] and not (world.home / "profiles").exists()


def test_images_that_localk8s_made_never_reach_minikubes_cache(world: World, bundle: Path) -> None:
    """They bear real names: every later cluster of the user would take them for the real ones."""
    stand_in(bundle / "images" / "etcd.tar", "registry.k8s.io/etcd:3.4.13-0")
    with pytest.raises(ArtifactError, match=r"missing: registry.k8s.io/etcd:3\.4\.13-0\. Archives of images go to"):
        complete(world, bundle, "docker")
    archive(bundle / "images" / "real.tar", "registry.k8s.io/etcd:3.4.13-0")
    spec = complete(world, bundle, "docker", **{"minikube-arg": "--force"})
    world.driver().create(spec, Told())
    arch = world.driver()._context.host.facts().architecture
    placed = world.home / "cache" / "images" / arch / "registry.k8s.io" / "etcd_3.4.13-0"
    assert placed.read_bytes() == (bundle / "images" / "real.tar").read_bytes()
    assert [name for name in cached(world) if "localk8s" in name] == []


def test_names_of_kubeadms_own_registry_do_not_help_minikube(world: World, bundle: Path) -> None:
    archive(bundle / "images" / "coredns.tar", "k8s.gcr.io/coredns:1.7.0")
    with pytest.raises(ArtifactError, match=r"missing: registry\.k8s\.io/coredns:1\.7\.0\."):
        complete(world, bundle, "docker")


def test_what_is_there_already_need_not_be_brought(world: World, programs: Path, tmp_path: Path) -> None:
    kicbase(programs)
    arch = world.driver()._context.host.facts().architecture
    tarball = world.home / "cache" / "preloaded-tarball" / f"preloaded-images-k8s-v18-v1.20.2-docker-overlay2-{arch}.tar.lz4"
    tarball.parent.mkdir(parents=True)
    tarball.write_text("all of them")
    complete(world, programs, "docker")
    tarball.unlink()
    for name in NEEDED:
        archive(world.home / "cache" / "images" / arch / "registry.k8s.io" / name.replace(":", "_"), "x")
    complete(world, programs, "docker")
    complete(world, programs, "docker", **{"image-repository": "registry.example/k8s"})
    no_images(tmp_path, "\n".join(f"registry.k8s.io/{name}" for name in NEEDED))
    complete(world, programs, "none", **{"container-runtime": "containerd", "minikube-arg": "--force"})


def no_images(tmp_path: Path, listed: str = "") -> None:
    """This host's containerd, with the images ``listed``."""
    ctr = tmp_path / "bin" / "ctr"
    ctr.write_text(f"#!/bin/sh\ncat <<END\n{listed}\nEND\n")
    ctr.chmod(0o755)


def test_a_kubeadm_that_does_not_run_here_leaves_the_names_of_the_catalogue(world: World, programs: Path) -> None:
    (programs / "bin" / "kubeadm").write_text("for another system")
    with pytest.raises(ArtifactError, match=r"registry\.k8s\.io/kube-apiserver:v1\.20\.2.*registry\.k8s\.io/pause:3\.2"):
        complete(world, programs, "docker")


def test_this_hosts_own_runtime_gets_the_images_where_it_is_the_node(world: World, bundle: Path, tmp_path: Path) -> None:
    said = tmp_path / "ctr.log"
    ctr = tmp_path / "bin" / "ctr"
    ctr.write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
    ctr.chmod(0o755)
    stand_in(bundle / "images" / "a-stand-in.tar", "registry.k8s.io/pause:3.2")
    spec = complete(world, bundle, "none", **{"container-runtime": "containerd", "minikube-arg": "--force"})
    world.driver().create(spec, Told())
    lines = said.read_text().splitlines()
    assert len(lines) == 7 and all(line.startswith("--namespace k8s.io images import ") for line in lines)
    assert not any("stand-in" in line for line in lines)
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
    spec = complete(world, bundle, "docker")
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
