"""The driver without machines: options, findings about a host, changes, what it judges from what it sees."""

from __future__ import annotations

import socket
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest

from localk8s.artifacts.base import Artifacts
from localk8s.drivers.base import DriverContext
from localk8s.drivers.vagrant import build, checks, options
from localk8s.drivers.vagrant.cluster import reservation
from localk8s.drivers.vagrant.inspection import judge
from localk8s.drivers.vagrant.plan import ClusterPlan, choose_network, encode_plan
from localk8s.drivers.vagrant.providers import PROVIDERS, Provider, machine_state
from localk8s.drivers.vagrant.recipe import listens
from localk8s.model.errors import ConfigError, Localk8sError, NotFoundError, PrerequisiteError, UsageError, WrongStateError
from localk8s.model.progress import SilentReporter
from localk8s.model.quantities import GIB
from localk8s.model.spec import ClusterSpec, NodeSize
from localk8s.model.status import ClusterState, NodeRole, NodeState, NodeStatus, Severity
from localk8s.model.versions import KubernetesVersion
from localk8s.store.layout import Layout
from localk8s.system.host import Host, HostFacts
from localk8s.system.paths import Roots
from localk8s.system.process import HostRunner

SPEC = ClusterSpec("t", "vagrant", nodes=3, options={"provider": "lxc"})


class FixedHost(Host):
    """A host of a known size."""

    def __init__(self, **changes: object) -> None:
        base = HostFacts("linux", "amd64", 4, 16 * GIB, 12 * GIB, 100 * GIB, root=True)
        self._facts = replace(base, **changes)  # type: ignore[arg-type]

    def facts(self) -> HostFacts:
        return self._facts


class NoArtifacts:
    """Knows one version and gives nothing."""

    def newest_version(self, named: str | None) -> KubernetesVersion:
        return KubernetesVersion(1, 20, 2)


def context(tmp_path: Path, **host: object) -> DriverContext:
    """A driver's context on a host that is as told."""
    roots = Roots(tmp_path / "config", tmp_path / "state", tmp_path / "data", tmp_path / "cache")
    artifacts = cast(Artifacts, NoArtifacts())
    return DriverContext(roots.data / "vagrant", HostRunner(), artifacts, FixedHost(**host), Layout(roots), {})


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host on which every program is."""
    monkeypatch.setattr(checks, "find_program", lambda name: f"/usr/bin/{name}")


def errors(tmp_path: Path, spec: ClusterSpec, **host: object) -> dict[str, str]:
    """Subject -> sentence of every error that the check finds."""
    found = build(context(tmp_path, **host)).check(spec)
    return {finding.subject: finding.message for finding in found if finding.severity is Severity.ERROR}


@pytest.mark.usefixtures("installed")
def test_a_host_that_is_large_enough_has_no_error(tmp_path: Path) -> None:
    assert errors(tmp_path, SPEC) == {}


@pytest.mark.usefixtures("installed")
def test_the_sum_of_memory_is_checked_before_anything_boots(tmp_path: Path) -> None:
    large = replace(SPEC, size=NodeSize(Decimal(2), 6 * GIB, 20 * GIB))
    assert errors(tmp_path, large)["memory"].startswith("3 x 6.0 GiB of memory are more than this host has (16.0 GiB")
    between = replace(SPEC, size=NodeSize(Decimal(2), 5 * GIB, 20 * GIB))
    assert errors(tmp_path, between) == {}, "containers only bound what they use"
    machines = replace(between, options={"provider": "libvirt"})
    assert "memory" in errors(tmp_path, machines)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("host", "subject"),
    [
        ({"root": False}, "privileges"),
        ({"platform": "darwin"}, "provider"),
        ({"disk_free": GIB}, "disk"),
        ({"cpus": 1}, "cpus"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, host: dict[str, object], subject: str) -> None:
    assert subject in errors(tmp_path, SPEC, **host)


def test_without_vagrant_there_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_program", lambda name: None)
    assert list(errors(tmp_path, SPEC)) == ["vagrant"]
    monkeypatch.setenv("PATH", "/nowhere")
    assert build(context(tmp_path)).setup_commands()[-1][:2] == ("apt-get", "install")


@pytest.mark.parametrize(
    "wrong", [{"provider": "kvm"}, {"colour": "red"}, {"cni": "x"}, {"emulate": "1"}, {"box-version": "1"}]
)
def test_wrong_options_are_usage_errors(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        options.read_options({"provider": "lxc", **wrong})


def test_the_provider_is_found_by_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options.shutil, "which", lambda name: name if name in ("lxc-create", "virsh") else None)
    monkeypatch.setattr(options, "has_service", lambda provider: True)
    assert options.detect_provider("linux") == "libvirt"
    monkeypatch.setattr(options, "has_service", lambda provider: provider.name != "libvirt")
    assert options.detect_provider("linux") == "lxc"
    monkeypatch.setattr(options, "has_service", lambda provider: False)
    assert options.detect_provider("linux") == "libvirt"  # and the check says what is missing
    with pytest.raises(PrerequisiteError):
        options.detect_provider("win32")


def test_a_provider_whose_service_does_not_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket_file = tmp_path / "libvirt-sock"
    monkeypatch.delenv("LIBVIRT_DEFAULT_URI", raising=False)
    monkeypatch.setitem(
        cast("dict[str, Provider]", PROVIDERS), "libvirt", replace(PROVIDERS["libvirt"], sockets=(str(socket_file),))
    )
    monkeypatch.setattr(checks, "find_program", lambda name: f"/usr/bin/{name}")
    wanted = replace(SPEC, options={"provider": "libvirt"})
    errors = [found for found in build(context(tmp_path)).check(wanted) if found.severity is Severity.ERROR]
    assert [found.fix for found in errors] == ["sudo service libvirtd start"] and "does not run" in errors[0].message
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_file))
        assert not [found for found in build(context(tmp_path)).check(wanted) if "does not run" in found.message]


def test_a_spec_is_completed(tmp_path: Path) -> None:
    full = build(context(tmp_path)).complete(replace(SPEC, size=NodeSize()))
    assert full.size.memory == 2 * GIB and full.kubernetes_version == KubernetesVersion(1, 20, 2)
    assert full.options["provider"] == "lxc"
    with pytest.raises(UsageError):
        build(context(tmp_path)).complete(replace(SPEC, control_planes=2))


def test_machines_can_be_added_live_and_nothing_else_changes_live(tmp_path: Path) -> None:
    driver = build(context(tmp_path))
    full = driver.complete(SPEC)
    assert driver.changes(full, full) == ()
    assert [(change.field, change.live) for change in driver.changes(full, replace(full, nodes=5))] == [("nodes", True)]
    wanted = replace(full, nodes=2, size=replace(full.size, memory=4 * GIB), options={"provider": "libvirt"})
    changes = driver.changes(full, wanted)
    assert {change.field for change in changes} == {"nodes", "memory", "provider"}
    assert not any(change.live for change in changes) and all(change.reason for change in changes)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    driver = build(context(tmp_path))
    with pytest.raises(NotFoundError):
        driver.inspect(SPEC)
    with pytest.raises(WrongStateError):
        driver.kubeconfig(SPEC)
    driver.delete("t", SilentReporter())
    driver.delete("t", SilentReporter())


def test_a_broken_plan_is_no_cluster_but_can_be_deleted(tmp_path: Path) -> None:
    here = context(tmp_path)
    directory = here.directory / "clusters/t"
    directory.mkdir(parents=True)
    (directory / "plan.json").write_text("{")
    with pytest.raises(Localk8sError):
        build(here).inspect(SPEC)
    assert [finding.subject for finding in build(here).leftovers(())] == ["leftovers"]
    build(here).delete("t", SilentReporter())
    assert not directory.exists()


def test_a_cluster_without_its_machines_is_incomplete(tmp_path: Path) -> None:
    here = context(tmp_path)
    plan = ClusterPlan("t", "abcdef", "lxc", choose_network((), "lxc"), (1,), (2, 3))
    directory = here.directory / "clusters/t"
    directory.mkdir(parents=True)
    (directory / "plan.json").write_text(encode_plan(plan))
    driver = build(here)
    status = driver.inspect(driver.complete(SPEC))
    assert status.state is ClusterState.INCOMPLETE
    assert [node.state for node in status.nodes] == [NodeState.BROKEN] * 3


def test_a_machine_is_only_asked_for_on_a_network_of_this_host() -> None:
    plan = ClusterPlan("t", "abcdef", "lxc", choose_network((), "lxc"), (1,), addresses=((1, "192.0.2.77"),))
    assert not listens(plan.machine(1), timeout=0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        local = replace(plan, addresses=((1, "127.0.0.1"),))
        assert listens(local.machine(1), port, timeout=5)


def test_render_shows_a_cluster_that_does_not_exist(tmp_path: Path) -> None:
    driver = build(context(tmp_path))
    text = driver.render(driver.complete(replace(SPEC, options={"provider": "virtualbox"})))
    assert text.count("config.vm.define") == 3 and not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("states", "reasons", "state"),
    [
        (("ready", "ready"), (), ClusterState.RUNNING),
        (("ready", "not-ready"), (), ClusterState.STARTING),
        (("ready", "stopped"), (), ClusterState.BROKEN),
        (("unknown", "unknown"), ("no answer",), ClusterState.STARTING),
        (("broken", "ready"), (), ClusterState.BROKEN),
    ],
)
def test_the_one_word_for_a_cluster(states: tuple[str, ...], reasons: tuple[str, ...], state: ClusterState) -> None:
    nodes = [NodeStatus("n", NodeRole.WORKER, NodeState(word), "", NodeSize()) for word in states]
    assert judge(nodes, reasons) is state


def test_vagrants_words_of_every_provider() -> None:
    assert machine_state("shutoff") is machine_state("poweroff") is machine_state("stopped") is NodeState.STOPPED
    assert machine_state("never heard of") is NodeState.UNKNOWN


def test_a_kubelet_in_a_container_leaves_the_rest_of_the_host_alone() -> None:
    plan = ClusterPlan("t", "abcdef", "lxc", choose_network((), "lxc"), (1,), host_memory=16 * GIB, host_cpus=8)
    kept = reservation(plan, replace(SPEC, size=NodeSize(Decimal("1.5"), 2 * GIB, None)))
    assert (kept.cpus, kept.memory) == ("6500m", f"{14 * 1024}Mi")
    own = reservation(replace(plan, host_memory=0, host_cpus=0), SPEC)
    assert (own.cpus, own.memory) == ("0", "0")


def test_the_configuration_fills_in_what_a_new_cluster_left_open(tmp_path: Path) -> None:
    driver = build(replace(context(tmp_path), settings={"provider": "virtualbox", "box": "bento/debian-12"}))
    spec = replace(SPEC, options={})
    assert driver.complete(spec).options == {"provider": "virtualbox", "box": "bento/debian-12"}
    assert driver.complete(SPEC).options["provider"] == "lxc"
    (tmp_path / "data/vagrant/clusters/t").mkdir(parents=True)
    assert driver.complete(SPEC).options == {"provider": "lxc"}


@pytest.mark.parametrize("settings", [{"provider": "parallel"}, {"colour": "red"}, {"cni": "weave"}])
def test_an_unusable_section_of_the_configuration_is_named(tmp_path: Path, settings: dict[str, str]) -> None:
    driver = build(replace(context(tmp_path), settings=settings))
    with pytest.raises(ConfigError, match="section vagrant of the configuration"):
        driver.complete(SPEC)
    assert driver.check(SPEC)[0].severity is Severity.ERROR
