"""Sizes: what was asked for is held, refused by name, or said; two that differ look different; old tools are found."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest
from cli_door import Door
from hypothesis import given
from hypothesis import strategies as st

from localk8s.artifacts.base import Artifacts
from localk8s.cluster.wish import amended, new_spec, parse_wish, with_unclaimed
from localk8s.drivers import native, vagrant
from localk8s.drivers.base import DriverContext
from localk8s.drivers.minikube.choice import node_size
from localk8s.drivers.minikube.vm_drivers import vm_driver
from localk8s.drivers.native import checks as native_checks
from localk8s.drivers.native import driver as native_driver
from localk8s.drivers.vagrant import checks as vagrant_checks
from localk8s.drivers.vagrant import driver as vagrant_driver
from localk8s.drivers.vagrant.providers import PROVIDERS
from localk8s.model.errors import NotSupportedError
from localk8s.model.quantities import GIB, KIB, MIB, format_change, parse_size
from localk8s.model.spec import ClusterSpec, NodeSize
from localk8s.model.status import Finding, Severity
from localk8s.model.versions import KubernetesVersion
from localk8s.store.layout import Layout, Roots
from localk8s.system.cgroups import Hierarchy
from localk8s.system.config import Defaults
from localk8s.system.host import Host, HostFacts
from localk8s.system.process import HostRunner

FACTS = HostFacts("linux", "amd64", 4, 16 * GIB, 12 * GIB, 70 * GIB, root=True, disk_total=75 * GIB)
UNBOUNDED = [name for name, provider in PROVIDERS.items() if not provider.bounds_disk]


MINIMA = [
    (build, tool)
    for build, info in ((native.build, native_driver.INFO), (vagrant.build, vagrant_driver.INFO))
    for tool in info.tools
    if tool.minimum
]


class FixedHost(Host):
    """A host of a known size."""

    def __init__(self) -> None:
        pass

    def facts(self) -> HostFacts:
        return FACTS


class OneVersion:
    """Artifacts that know one version."""

    def newest_version(self, named: str | None) -> KubernetesVersion:
        return KubernetesVersion(1, 20, 2)


@pytest.fixture
def context(tmp_path: Path) -> DriverContext:
    roots = Roots(tmp_path / "config", tmp_path / "state", tmp_path / "data", tmp_path / "cache")
    return DriverContext(roots.data / "driver", HostRunner(), cast(Artifacts, OneVersion()), FixedHost(), Layout(roots), {})


def spec_of(driver: str, *, options: dict[str, str] | None = None, **sizes: str) -> ClusterSpec:
    return new_spec("c", driver, parse_wish(options=options, **sizes), Defaults(), 4)  # type: ignore[arg-type]


def about(findings: tuple[Finding, ...], severity: Severity, subject: str) -> list[str]:
    return [finding.message for finding in findings if finding.severity is severity and finding.subject == subject]


class TestSizesThatDifferLookDifferent:
    @given(st.integers(512 * MIB, 64 * GIB), st.integers(-3 * GIB, 3 * GIB))
    def test_whatever_they_are(self, size: int, more: int) -> None:
        before, after = format_change(size, max(1, size + more))
        assert (before == after) == (size == max(1, size + more))

    @pytest.mark.parametrize(
        ("before", "after", "shown"),
        [
            (2 * GIB, 3 * GIB, ("2.0 GiB", "3.0 GiB")),
            (2 * GIB, 2050 * MIB, ("2048 MiB", "2050 MiB")),
            (20 * GIB, 20 * GIB + KIB, ("20971520 KiB", "20971521 KiB")),
            (GIB, GIB + 1, ("1073741824 B", "1073741825 B")),
            (None, GIB, ("unbounded", "1.0 GiB")),
        ],
    )
    def test_no_more_precise_than_it_takes(self, before: int | None, after: int | None, shown: tuple[str, str]) -> None:
        assert format_change(before, after) == shown

    def test_what_no_driver_can_hold_is_dropped_when_it_is_read(self) -> None:
        assert parse_size("2.0001g") == parse_size("2048.1") == 2 * GIB

    def test_a_change_of_two_mebibytes_is_told(self, door: Door) -> None:
        door("start", "--memory", "2g")
        assert "changed  memory from 2048 MiB to 2050 MiB" in door("start", "--memory", "2050m").out

    @pytest.mark.parametrize("field", ["memory", "disk"])
    def test_no_difference_is_passed_over(self, field: str) -> None:
        recorded = spec_of("native")
        wanted = replace(recorded, size=replace(recorded.size, **{field: getattr(recorded.size, field) + KIB}))
        assert len(with_unclaimed((), recorded, wanted)) == 1


class TestADiskThatCannotBeBounded:
    @pytest.fixture(autouse=True)
    def installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(vagrant_checks, "find_program", lambda name: f"/usr/bin/{name}")

    @pytest.mark.parametrize("provider", UNBOUNDED)
    @pytest.mark.parametrize("size", ["30g", "20g"], ids=["another size", "the default in so many words"])
    def test_a_typed_size_is_refused_by_name(self, context: DriverContext, provider: str, size: str) -> None:
        spec = spec_of("vagrant", disk_size=size, options={"provider": provider})
        (message,) = about(vagrant.build(context).check(spec), Severity.ERROR, "disk")
        assert message.startswith(PROVIDERS[provider].title) and f"--disk-size {size[:-1]}.0 GiB" in message
        with pytest.raises(NotSupportedError, match="cannot bound a machine's disk"):
            vagrant.build(context).complete(spec)

    @pytest.mark.parametrize("provider", UNBOUNDED)
    def test_nothing_is_promised_that_is_not_held(self, context: DriverContext, provider: str) -> None:
        driver, spec = vagrant.build(context), spec_of("vagrant", options={"provider": provider})
        assert driver.complete(spec).size.disk is None
        assert about(driver.check(spec), Severity.ERROR, "disk") == []

    def test_a_configured_size_is_warned_about(self, context: DriverContext) -> None:
        spec = new_spec("c", "vagrant", parse_wish(options={"provider": "lxc"}), Defaults(disk=9 * GIB), 4)
        (message,) = about(vagrant.build(context).check(spec), Severity.WARNING, "disk")
        assert "no effect" in message

    def test_on_a_cluster_that_is_there_it_is_refused_too(self, context: DriverContext) -> None:
        driver = vagrant.build(context)
        recorded = driver.complete(spec_of("vagrant", options={"provider": "lxc"}))
        with pytest.raises(NotSupportedError):
            driver.complete(amended(recorded, parse_wish(disk_size="20g")))

    def test_a_record_that_promised_a_disk_is_corrected_without_refusing(self, context: DriverContext) -> None:
        driver = vagrant.build(context)
        new = driver.complete(spec_of("vagrant", options={"provider": "lxc"}))
        old = replace(new, size=replace(new.size, disk=20 * GIB))
        assert [change.live for change in with_unclaimed(driver.changes(old, new), old, new)] == [True]

    def test_a_provider_that_bounds_disks_takes_the_size(self, context: DriverContext) -> None:
        spec = spec_of("vagrant", disk_size="30g", options={"provider": "virtualbox"})
        assert vagrant.build(context).complete(spec).size.disk == 30 * GIB


class TestADiskBeyondTheHost:
    @pytest.fixture(params=["native", "vagrant"])
    def findings(self, request: pytest.FixtureRequest, context: DriverContext, monkeypatch: pytest.MonkeyPatch) -> object:
        monkeypatch.setattr(vagrant_checks, "find_program", lambda name: f"/usr/bin/{name}")
        builds = {"native": native.build, "vagrant": vagrant.build}
        options = {"provider": "virtualbox"} if request.param == "vagrant" else {}
        driver = builds[request.param](context)
        return lambda **sizes: driver.check(replace(spec_of(request.param, options=options, **sizes), nodes=2))

    def test_more_than_the_file_system_is_an_error(self, findings: object) -> None:
        (message,) = about(findings(disk_size="900t"), Severity.ERROR, "disk")  # type: ignore[operator]
        assert "--disk-size 900.0 TiB" in message and "75.0 GiB" in message

    def test_more_than_is_free_is_a_warning(self, findings: object) -> None:
        found = findings(disk_size="40g")  # type: ignore[operator]
        assert about(found, Severity.ERROR, "disk") == []
        assert "2 x 40.0 GiB of disk are more than is free" in about(found, Severity.WARNING, "disk")[0]

    def test_what_fits_and_what_nobody_typed_is_not_spoken_of(self, findings: object) -> None:
        for sizes in ({"disk_size": "30g"}, {}):
            found = findings(**sizes)  # type: ignore[operator]
            assert about(found, Severity.ERROR, "disk") == about(found, Severity.WARNING, "disk") == []


class TestMinikubesMachinesThatAreTakenAsTheyAre:
    @pytest.mark.parametrize("driver", ["none", "ssh"])
    @pytest.mark.parametrize("typed", [{"memory": "2g"}, {"disk_size": "20g"}, {"cpus": "2"}, {"cpus": "1"}, {"memory": "4g"}])
    def test_a_typed_size_is_refused_be_it_the_default(self, driver: str, typed: dict[str, str]) -> None:
        option = f"--{next(iter(typed)).replace('_', '-')}"
        with pytest.raises(NotSupportedError, match=option) as caught:
            node_size(spec_of("minikube", **typed), vm_driver(driver))
        assert caught.value.message.count("--") == 1, "only what was typed is named"

    @pytest.mark.parametrize("driver", ["none", "ssh"])
    def test_defaults_are_no_wish(self, driver: str) -> None:
        assert node_size(spec_of("minikube"), vm_driver(driver)) == NodeSize()


class TestTools:
    @pytest.fixture
    def versions(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

        def install(name: str, said: str) -> None:
            program = tmp_path / "bin" / name
            program.write_text(f"#!/bin/sh\necho '{said}'\n")
            program.chmod(0o755)

        return install

    @pytest.mark.parametrize(("build", "tool"), MINIMA, ids=[tool.name for _, tool in MINIMA])
    @pytest.mark.parametrize("old", [True, False], ids=["old", "new enough"])
    def test_each_minimum_is_read(
        self, context: DriverContext, versions: object, build: object, tool: object, old: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(vagrant_checks, "find_program", lambda name: f"/usr/bin/{name}")
        name, minimum = tool.name, tool.minimum  # type: ignore[attr-defined]
        versions(name, f"{name} from somewhere {'0.9.99' if old else minimum}")  # type: ignore[operator]
        driver = build(context)  # type: ignore[operator]
        found = [text for text in about(driver.check(spec_of(driver.info.name)), Severity.ERROR, "tools") if "too old" in text]
        assert found == ([f"{name} 0.9.99 is too old: version {minimum} or later is needed."] if old else [])

    def test_there_are_minima(self) -> None:
        assert {tool.name for _, tool in MINIMA} >= {"vagrant", "unshare"}


@pytest.mark.parametrize(
    ("names", "lacking"),
    [
        (("cpu", "memory"), ""),
        (("memory",), "cpu"),
        (("cpu", "pids"), "memory"),
        (("pids",), "cpu or memory"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_host_without_a_controller_cannot_bound(
    names: tuple[str, ...],
    lacking: str,
    version: int,
    tmp_path: Path,
    context: DriverContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "cgroup.controllers").write_text(" ".join(names))
    found = tuple(Hierarchy(tmp_path, 1, frozenset([name])) for name in names)
    if version == 2:
        found = (Hierarchy(tmp_path, 2, frozenset()),)
    else:
        (tmp_path / "cgroup.controllers").unlink()
    monkeypatch.setattr(native_checks, "find_hierarchies", lambda: found)
    errors = about(native.build(context).check(spec_of("native")), Severity.ERROR, "cgroups")
    assert errors == (
        [f"No control group here has the controller {lacking}: a node's size cannot be bounded."] if lacking else []
    )
    free = replace(spec_of("native"), size=NodeSize(cpus=None, memory=None, disk=4 * GIB))
    assert about(native.build(context).check(free), Severity.ERROR, "cgroups") == []


def test_one_cpu_is_typed(context: DriverContext) -> None:
    assert spec_of("native", cpus="2").typed == {"cpus"} and spec_of("native").typed == frozenset()
    assert spec_of("native", cpus="2").size.cpus == Decimal(2)
