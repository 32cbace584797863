"""What an ordinary user can see of a native cluster that root runs, and what is refused before half of it is done."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from localk8s.cluster import recipe
from localk8s.drivers.base import DriverContext
from localk8s.drivers.native import inspection, network
from localk8s.drivers.native.driver import NativeDriver
from localk8s.drivers.native.machine import NativeNode
from localk8s.drivers.native.plan import ClusterPlan, choose_network
from localk8s.drivers.native.storage import ClusterDirectory
from localk8s.model.errors import PrerequisiteError, WrongStateError
from localk8s.model.progress import SilentReporter
from localk8s.model.spec import ClusterSpec
from localk8s.store.records import Record
from localk8s.system.environment import Environment
from localk8s.wiring import Installation

SPEC = ClusterSpec(name="demo", driver="native", nodes=1)
PLAN = ClusterPlan("demo", "abcdef", choose_network(()))


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """A home with a cluster of the native driver on record."""
    it = Installation(Environment({"LOCALK8S_HOME": str(tmp_path)}))
    it.records.save(Record(SPEC, created=True))
    ClusterDirectory(it.layout.driver_data("native") / "demo").save_plan(PLAN)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return it


@pytest.fixture
def driver(installation: Installation) -> NativeDriver:
    """The driver of an ordinary user."""
    context = DriverContext(
        directory=installation.layout.driver_data("native"),
        runner=installation.runner(),
        artifacts=cast("Any", None),
        host=installation.host,
        layout=installation.layout,
        environment={},
        settings={},
        wait=True,
    )
    return NativeDriver(context)


@pytest.mark.parametrize("verb", ["stop", "delete"])
def test_a_change_is_refused_before_it_is_recorded(installation: Installation, verb: str) -> None:
    before = installation.layout.record("demo").read_text()
    with pytest.raises(PrerequisiteError, match="can only be changed by root") as caught:
        getattr(recipe, verb)(installation, "demo", SilentReporter())
    assert str(caught.value.hint).startswith("sudo localk8s ")
    assert installation.layout.record("demo").read_text() == before
    assert not installation.layout.lock("demo").exists()


def test_root_may_change_it(driver: NativeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    driver.check_privileges("demo")


def test_what_is_without_a_record_is_not_half_deleted_either(driver: NativeDriver, installation: Installation) -> None:
    kept = installation.layout.driver_data("native") / "demo"
    with pytest.raises(PrerequisiteError):
        driver.delete("demo", SilentReporter())
    assert (kept / "plan.json").is_file()


def test_the_kubeconfig_is_the_one_that_was_kept(driver: NativeDriver, installation: Installation) -> None:
    with pytest.raises(WrongStateError, match="no kubeconfig yet"):
        driver.kubeconfig(SPEC)
    installation.layout.kubeconfig("demo").write_text("kept")
    assert driver.kubeconfig(SPEC) == "kept"


def test_a_node_is_not_entered(driver: NativeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NativeNode, "process", lambda self: 42)
    (node,) = driver.nodes(SPEC)
    for use in (lambda: node.run(["true"]), lambda: node.read("/etc/hosts"), lambda: node.shell()):
        with pytest.raises(PrerequisiteError, match="Node demo can only be entered by root"):
            use()


def test_rules_that_only_root_can_see_are_not_reported_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = PLAN.nodes(1)
    fences = [(each, True) for each in (PLAN.network.nodes, PLAN.network.pods, PLAN.network.services)]
    monkeypatch.setattr(network, "kernel_routes", lambda: {*fences, (PLAN.network.services, False), (nodes[0].pods, False)})
    monkeypatch.setattr(network, "ranges", lambda plan: [each for each, _ in fences])

    class NothingThere:
        def are_there(self, runner: object) -> bool:
            return False

    monkeypatch.setattr(network, "rules", lambda plan: NothingThere())
    for user, said in ((1000, ""), (0, "firewall rules")):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        assert network.what_is_missing(cast("Any", None), PLAN, 1) == said


def test_a_program_that_is_down_or_paused_is_seen_by_its_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process ids of a node: runsv of four programs, each with a log; of them one runs, one is paused, one dead, one gone."""
    table = {
        1: (["runsvdir", "/run"], "sleeping", 0),
        **{10 * n: (["runsv", name], "sleeping", 1) for n, name in enumerate(("etcd", "kubelet", "proxy", "dns"), 1)},
        **{10 * n + 1: (["svlogd", "/log"], "sleeping", 10 * n) for n in range(1, 5)},
        12: (["/usr/bin/etcd"], "sleeping", 10),
        22: (["kubelet"], psutil.STATUS_STOPPED, 20),
        32: ([], psutil.STATUS_ZOMBIE, 30),
    }

    class Process:
        def __init__(self, number: int) -> None:
            if number not in table:
                raise psutil.NoSuchProcess(number)
            self._row = table[number]

        def cmdline(self) -> list[str]:
            return self._row[0]

        def status(self) -> str:
            return self._row[1]

        def ppid(self) -> int:
            return self._row[2]

    monkeypatch.setattr(psutil, "Process", Process)
    assert inspection.without_program([*table, 99]) == ("dns", "kubelet", "proxy")
    table[42] = (["dns"], "running", 40)
    assert inspection.without_program(table) == ("kubelet", "proxy")
