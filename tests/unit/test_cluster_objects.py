"""The library as its users hold it, over the fake driver: choice, order of things, what is left when something breaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from localk8s import Cluster, Clusters
from localk8s.cluster.choosing import choose_driver
from localk8s.cluster.plan import Action
from localk8s.cluster.wish import Wish
from localk8s.drivers.registry import BUILT_IN, Registry
from localk8s.model.errors import (
    ConfigError,
    Localk8sError,
    NotFoundError,
    NotSupportedError,
    PrerequisiteError,
    UsageError,
    WrongStateError,
)
from localk8s.model.progress import Reporter
from localk8s.model.status import ClusterState
from localk8s.system.environment import Environment
from localk8s.testing import FakeDriver, RecordingReporter
from localk8s.wiring import Installation

FAKES = {"fake": "localk8s.testing:build", "broken": "no.such.module:build"}
Make = Callable[..., Installation]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def installation(registry: Registry | None = None, **variables: str) -> Installation:
        home = {"LOCALK8S_HOME": str(tmp_path / "l8s"), "KUBECONFIG": str(tmp_path / "kubeconfig"), "PATH": ""}
        return Installation(Environment({**home, **variables}), registry=registry or Registry(FAKES, plugins=list))

    return installation


def test_ten_lines_of_a_user(make: Make) -> None:
    report = RecordingReporter()
    cluster = Cluster("hello", installation=make(), report=report)
    plan = cluster.start(nodes=2, memory="3g", cpus=1)
    assert plan.action is Action.CREATE
    assert report.keys == ["check", "boot", "init", "ready"]
    assert cluster.status().state is ClusterState.RUNNING
    assert [node.name for node in cluster.nodes()] == ["hello", "hello-2"]
    assert cluster.node("hello-2").run(["hostname"]).stdout == "hello-2\n"
    assert cluster.start().action is Action.NOTHING
    cluster.stop()
    assert cluster.status().state is ClusterState.STOPPED
    assert cluster.start().action is Action.START
    assert cluster.delete() is True
    assert cluster.delete() is False
    assert cluster.exists() is False


def test_what_is_not_there(make: Make) -> None:
    cluster = Cluster("nothing", installation=make())
    for ask in (cluster.status, cluster.stop, cluster.nodes, cluster.kubeconfig, cluster.choice, lambda: cluster.spec):
        with pytest.raises(NotFoundError):
            ask()
    assert Clusters(make()).list() == ()
    with pytest.raises(UsageError):
        Cluster("No Name")


class TestChoice:
    """recorded > flag > variable > configuration > what this host can run."""

    def test_flag_beats_variable_beats_configuration(self, make: Make, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("driver: from-file\n")
        config = str(tmp_path / "c.yaml")
        named = {f"from-{each}": FAKES["fake"] for each in ("flag", "variable", "file")}
        registry = Registry(named, plugins=list)
        both = make(registry, LOCALK8S_DRIVER="from-variable", LOCALK8S_CONFIG=config)
        assert choose_driver(both, "x", Wish(driver="from-flag")).value == "from-flag"
        assert choose_driver(both, "x", Wish()).value == "from-variable"
        found = choose_driver(make(registry, LOCALK8S_CONFIG=config), "x", Wish())
        assert (found.value, found.source) == ("from-file", f"driver in {config}")

    def test_what_this_host_can_run(self, make: Make) -> None:
        found = choose_driver(make(Registry({"broken": "no.such:x", **FAKES}, plugins=list)), "x", Wish())
        assert (found.value, found.source) == ("fake", "this host can run it; --driver to choose")

    def test_nothing_can_be_run(self, make: Make) -> None:
        """In the words of the driver that would be taken, not of every one."""
        with pytest.raises(PrerequisiteError, match=r"^There is not enough air for 1 nodes\.$"):
            choose_driver(make(LOCALK8S_FAKE_LACKS="air"), "x", Wish())

    def test_an_option_of_one_driver_chooses_it(self, make: Make) -> None:
        registry = Registry({**BUILT_IN, **FAKES}, plugins=list)
        for options, driver, source in (
            ({"vm-driver": "virtualbox"}, "minikube", "--vm-driver"),
            ({"provider": "virtualbox"}, "vagrant", "--provider"),
            ({"addons": "x", "minikube-arg": "--y"}, "minikube", "--driver-option addons, --minikube-arg"),
            ({"colour": "red"}, "fake", "LOCALK8S_DRIVER"),
        ):
            found = choose_driver(make(registry, LOCALK8S_DRIVER="fake"), "x", Wish(options=options))
            assert (found.value, found.source) == (driver, source)
        assert choose_driver(make(registry), "x", Wish(driver="native", options={"provider": "x"})).value == "native"

    def test_what_sets_a_driver_that_is_not_there_is_named(self, make: Make, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"LOCALK8S_DRIVER: .*'bogus'"):
            choose_driver(make(LOCALK8S_DRIVER="bogus"), "x", Wish())
        (tmp_path / "c.yaml").write_text("driver: bogus\n")
        with pytest.raises(ConfigError, match=r"c.yaml: .*'bogus'"):
            choose_driver(make(LOCALK8S_CONFIG=str(tmp_path / "c.yaml")), "x", Wish())

    def test_recorded_beats_everything(self, make: Make) -> None:
        Cluster(installation=make()).start(driver="fake")
        cluster = Cluster(installation=make(LOCALK8S_DRIVER="broken"))
        assert cluster.start().action is Action.NOTHING
        assert (cluster.choice().value, cluster.choice().source) == ("fake", "--driver")
        with pytest.raises(WrongStateError, match="created with the fake driver; asked for broken"):
            cluster.start(driver="broken")


class TestOrder:
    """What is on disk while a driver works, and after it failed."""

    def test_the_record_is_there_before_the_driver_begins(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        installation = make()
        seen: list[bool] = []
        create = FakeDriver.create

        def watched(self: FakeDriver, *arguments: object) -> None:
            seen.append(installation.records.load("default").created)
            create(self, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(FakeDriver, "create", watched)
        Cluster(installation=installation).start()
        assert seen == [False]
        assert installation.records.load("default").created is True

    @pytest.mark.parametrize("step", ["boot", "init", "ready"])
    def test_a_failure_is_taken_back(self, make: Make, tmp_path: Path, step: str) -> None:
        report = RecordingReporter()
        with pytest.raises(Localk8sError, match=f"failed at {step}"):
            Cluster(installation=make(LOCALK8S_FAKE_FAIL=step), report=report).start()
        assert report.keys[-1] == "take-back"
        assert Clusters(make()).names() == ()
        assert not (tmp_path / "kubeconfig").exists()
        assert [path.name for path in (tmp_path / "l8s").rglob("*") if path.is_file()] == ["localk8s.log"]

    def test_components_are_heard_before_they_are_taken_back(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[str] = []
        forget = FakeDriver.delete

        def speak(self: FakeDriver, spec: object, node: str, lines: int) -> str:
            calls.append(node)
            if node == "default":
                raise Localk8sError("it is off")
            return ""

        def delete(self: FakeDriver, name: str, report: Reporter) -> None:
            calls.append("delete")
            forget(self, name, report)

        monkeypatch.setattr(FakeDriver, "logs", speak)
        monkeypatch.setattr(FakeDriver, "delete", delete)
        with pytest.raises(Localk8sError, match="failed at ready"):
            Cluster(installation=make(LOCALK8S_FAKE_FAIL="ready")).start(nodes=2)
        assert calls == ["default", "default-2", "delete"]

    def test_what_can_go_on_is_not_taken_back(self, make: Make) -> None:
        report = RecordingReporter()
        with pytest.raises(Localk8sError, match="came as far as ready") as caught:
            Cluster(installation=make(LOCALK8S_FAKE_PARTIAL="ready"), report=report).start(nodes=3)
        assert caught.value.hint == "localk8s start" and "take-back" not in report.keys
        cluster = Cluster(installation=make())
        assert cluster.status().state is ClusterState.INCOMPLETE and len(cluster.nodes()) == 3
        assert cluster.start().action is Action.FINISH
        assert cluster.status().state is ClusterState.RUNNING

    def test_an_interruption_is_not_taken_back(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(self: FakeDriver, key: str) -> None:
            if key == "init":
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(FakeDriver, "_misbehave", interrupted)
            with pytest.raises(Localk8sError, match='interrupted at "starting the control plane"; nothing is lost'):
                Cluster(installation=make()).start()
        cluster = Cluster(installation=make())
        assert cluster.status().state is ClusterState.INCOMPLETE
        assert cluster.start().action is Action.FINISH
        assert cluster.status().state is ClusterState.RUNNING

    def test_machines_that_are_gone(self, make: Make, tmp_path: Path) -> None:
        Cluster(installation=make()).start()
        (tmp_path / "l8s/data/fake/default.json").unlink()
        cluster = Cluster(installation=make())
        assert cluster.status().state is ClusterState.BROKEN
        assert cluster.start().action is Action.START
        assert cluster.status().state is ClusterState.RUNNING

    def test_an_unusable_user_kubeconfig_loses_no_cluster(self, make: Make, tmp_path: Path) -> None:
        (tmp_path / "kubeconfig").write_text("{damaged")
        with pytest.raises(Localk8sError, match="kubeconfig"):
            Cluster(installation=make()).start()
        assert (tmp_path / "kubeconfig").read_text() == "{damaged"
        assert Cluster(installation=make()).status().state is ClusterState.RUNNING

    @pytest.mark.parametrize(
        "text", ["localk8s-default: [", "clusters: [{name: localk8s-default, cluster: {extensions: 3}}]", "localk8s-default"]
    )
    def test_an_unusable_user_kubeconfig_does_not_keep_a_cluster_from_going(
        self, make: Make, tmp_path: Path, text: str
    ) -> None:
        report = RecordingReporter()
        cluster = Cluster(installation=make(), report=report)
        cluster.start(merge=False)
        (tmp_path / "kubeconfig").write_text(text)
        assert cluster.delete() is True
        assert Clusters(make()).names() == ()
        assert cluster.delete() is False
        assert (tmp_path / "kubeconfig").read_text() == text
        told = [warning for warning in report.warnings if "remain in your kubeconfig" in warning]
        assert bool(told) is ("extensions" not in text)
        assert all("localk8s kubeconfig --remove" in warning for warning in told)

    def test_past_support_is_said_once(self, make: Make) -> None:
        report = RecordingReporter()
        cluster = Cluster(installation=make(), report=report)
        cluster.start(kubernetes_version="1.20.2")
        assert [warning for warning in report.warnings if "past its support" in warning] == [
            "Kubernetes v1.20.2 is past its support: nobody mends it any more."
        ]

    def test_no_wait_is_refused_where_a_driver_cannot(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        import dataclasses

        from localk8s.cluster.recipe import StartOptions

        monkeypatch.setattr(FakeDriver, "info", dataclasses.replace(FakeDriver.info, features=frozenset()))
        with pytest.raises(NotSupportedError):
            Cluster(installation=make()).start_as(Wish(), StartOptions(wait=False))
        assert Clusters(make()).names() == ()


def test_a_name_is_a_cluster_only_with_a_record(make: Make) -> None:
    installation = make()
    for name in ("b", "a"):
        Cluster(name, installation=installation).start()
    clusters = Clusters(installation)
    assert clusters.names() == ("a", "b")
    assert [status.state for status in clusters.list()] == [ClusterState.RUNNING] * 2
    assert clusters.get("a").delete() is True
    assert clusters.names() == ("b",)
