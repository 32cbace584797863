"""What is known without asking: names, references, and how far a build is."""

from __future__ import annotations

import pytest

from localk8s.artifacts.catalog import NEWEST, RECORDED, SOURCE_VERSION, architecture, image_reference
from localk8s.artifacts.gobuild import BuildProgress, linker_flags
from localk8s.artifacts.images import parse_image_list
from localk8s.artifacts.kinds import ImageRole
from localk8s.artifacts.progress import Phase
from localk8s.model.errors import NotSupportedError
from localk8s.model.versions import NEWEST_MINOR, OLDEST_MINOR, KubernetesVersion, parse_kubernetes_version

LISTED = {  # kubeadm config images list, of five versions
    "v1.20.2": ("k8s.gcr.io", "pause:3.2", "etcd:3.4.13-0"),
    "v1.24.17": ("registry.k8s.io", "pause:3.7", "etcd:3.5.6-0"),
    "v1.28.15": ("registry.k8s.io", "pause:3.9", "etcd:3.5.15-0"),
    "v1.34.10": ("registry.k8s.io", "pause:3.10.1", "etcd:3.6.5-0"),
    "v1.36.3": ("registry.k8s.io", "pause:3.10.2", "etcd:3.6.8-0"),
}


@pytest.mark.parametrize("text", LISTED)
def test_references_are_those_that_kubeadm_lists(text: str) -> None:
    version = parse_kubernetes_version(text)
    registry, pause, etcd = LISTED[text]
    assert version in RECORDED
    assert image_reference(ImageRole.PAUSE, version) == f"{registry}/{pause}"
    assert image_reference(ImageRole.ETCD, version) == f"{registry}/{etcd}"
    for role in (ImageRole.KUBE_APISERVER, ImageRole.KUBE_PROXY, ImageRole.KUBE_SCHEDULER):
        assert image_reference(role, version) == f"{registry}/{role.value}:{text}"


@pytest.mark.parametrize(("text", "registry"), [("v1.24.16", "k8s.gcr.io"), ("v1.25.0", "registry.k8s.io")])
def test_the_registry_moved_with_one_version(text: str, registry: str) -> None:
    assert image_reference(ImageRole.KUBE_PROXY, parse_kubernetes_version(text)).startswith(f"{registry}/")


@pytest.mark.parametrize("minor", range(OLDEST_MINOR, NEWEST_MINOR + 1))
def test_every_minor_has_every_reference(minor: int) -> None:
    references = {image_reference(role, KubernetesVersion(1, minor, 0)) for role in ImageRole}
    assert len(references) == len(ImageRole)
    assert all(":" in reference.rpartition("/")[2] for reference in references)


def test_own_images_do_not_depend_on_the_version() -> None:
    assert {image_reference(ImageRole.ECHO, version) for version in RECORDED} == {"localk8s.dev/echo:1"}
    assert {image_reference(ImageRole.DNS, version) for version in RECORDED} == {"localk8s.dev/dns:1"}


def test_kubeadms_list_is_read_by_role() -> None:
    lines = ["I1123 noise/on a line", "registry.k8s.io/kube-proxy:v1.30.4", "registry.k8s.io/coredns/coredns:v1.11.1"]
    listed = "\n".join((*lines, "mirror:5000/a/etcd:3.5.12-0", ""))
    assert parse_image_list(listed) == {
        ImageRole.KUBE_PROXY: "registry.k8s.io/kube-proxy:v1.30.4",
        ImageRole.ETCD: "mirror:5000/a/etcd:3.5.12-0",
    }


def test_machine_types() -> None:
    assert [architecture(name) for name in ("x86_64", "AARCH64", "arm64")] == ["amd64", "arm64", "arm64"]
    with pytest.raises(NotSupportedError, match="riscv64"):
        architecture("riscv64")


def test_debians_version_is_older_than_the_newest() -> None:
    assert SOURCE_VERSION < NEWEST


def test_the_version_is_stamped_into_both_packages() -> None:
    flags = linker_flags(KubernetesVersion(1, 20, 2)).split()
    prefix = "k8s.io/kubernetes/vendor/k8s.io"
    assert f"{prefix}/component-base/version.gitVersion=v1.20.2" in flags
    assert f"{prefix}/client-go/pkg/version.gitMinor=20" in flags


def test_build_progress_counts_each_package_once_and_never_falls() -> None:
    progress = BuildProgress({"a": frozenset({"x", "y"}), "b": frozenset({"y", "z"})})
    seen = [progress.done]
    for change in (
        ("compiled", "x"),
        ("compiled", "x"),
        ("compiled", "noise"),
        ("linked", "a"),
        ("compiled", "z"),
        ("linked", "b"),
    ):
        getattr(progress, change[0]).add(change[1])
        seen.append(progress.done)
    assert seen == sorted(seen)
    assert seen[1] == seen[2] == seen[3]  # a repeated and an unknown package count for nothing
    progress.generated = True
    assert progress.done == progress.total


class _Recorded:
    def __init__(self) -> None:
        self.seen: list[tuple[float, float | None, str]] = []

    def progress(self, done: float, total: float | None, detail: str = "") -> None:
        self.seen.append((done, total, detail))

    def finish_as(self, title: str) -> None:
        raise AssertionError(title)


def test_phases_move_one_bar_that_never_goes_back() -> None:
    step = _Recorded()
    first, second = Phase(step, 0, 0.25), Phase(step, 0.25, 0.75)
    first.progress(0, None, "asking")
    first.progress(50, 100, "half")
    first.progress(10, 100, "a second file")
    first.progress(300, 100, "more than all")
    second.progress(0, 8, "building")
    second.progress(8, 8, "done")
    assert [done for done, _, _ in step.seen] == [0, 0.125, 0.125, 0.25, 0.25, 1.0]
    assert {total for _, total, _ in step.seen} == {1.0}
