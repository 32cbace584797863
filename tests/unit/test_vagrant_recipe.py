"""The order of steps without machines: what happens to the others when some machines do not boot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_vagrant_driver import context

from localk8s.drivers.vagrant import recipe
from localk8s.drivers.vagrant.client import PartialBootError, VagrantError
from localk8s.drivers.vagrant.cluster import VagrantCluster
from localk8s.drivers.vagrant.plan import ClusterPlan, choose_network
from localk8s.model.errors import CommandError
from localk8s.model.progress import SilentReporter
from localk8s.model.spec import ClusterSpec

PLAN = ClusterPlan("t", "abcdef", "lxc", choose_network((), "lxc"), (1,), (2, 3), box="0123")


class Client:
    """A Vagrant that cannot boot some machines.

    Args:
        directory: of the cluster.
        broken: names of those machines.
    """

    def __init__(self, directory: Path, *broken: str) -> None:
        self._machines = directory / ".vagrant/machines"
        self._broken = broken

    def up(self, machines: list[str], provider: str, on_line: object) -> None:
        for name in machines:
            if name not in self._broken:
                (self._machines / name / provider).mkdir(parents=True)
                (self._machines / name / provider / "id").write_text("1")
        if self._broken:
            why = dict.fromkeys(self._broken, "No room.")
            raise VagrantError(CommandError(["vagrant", "up"], 1), why, "vagrant up failed: No room.", "")


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The machines of each cluster that was made of machines that run."""
    seen: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        recipe, "raise_cluster", lambda cluster, booted, report: seen.append(tuple(m.name for m in cluster.plan.machines))
    )
    monkeypatch.setattr(recipe, "listens", lambda machine: True)
    monkeypatch.setattr(recipe.host_network, "lay", lambda runner, plan: None)
    monkeypatch.setattr(VagrantCluster, "write_vagrantfile", lambda cluster: None)
    return seen


def cluster(tmp_path: Path, *broken: str, plan: ClusterPlan = PLAN) -> VagrantCluster:
    """A cluster of three machines of which some cannot boot."""
    made = VagrantCluster(context(tmp_path), ClusterSpec("t", "vagrant", nodes=3, options={"provider": "lxc"}), plan)
    made.__dict__["client"] = Client(made.directory, *broken)
    return made


def test_all_boot(tmp_path: Path, raised: list[tuple[str, ...]]) -> None:
    recipe.bring_up(cluster(tmp_path), SilentReporter())
    assert raised == [("t", "t-2", "t-3")]


def test_a_worker_that_never_boots_is_one_error_and_the_rest_goes_on(tmp_path: Path, raised: list[tuple[str, ...]]) -> None:
    it = cluster(tmp_path, "t-3")
    with pytest.raises(PartialBootError) as caught:
        recipe.bring_up(it, SilentReporter())
    assert caught.value.message == "t-3 did not boot: No room. The others go on without."
    assert caught.value.resumable and caught.value.began is not None
    assert caught.value.hint == "localk8s start -c t"
    assert raised == [("t", "t-2")]
    assert it.plan == PLAN, "it stays planned, so that the next start makes it"


def test_without_a_control_plane_nothing_goes_on_but_what_runs_is_kept(tmp_path: Path, raised: list[tuple[str, ...]]) -> None:
    with pytest.raises(PartialBootError) as caught:
        recipe.bring_up(cluster(tmp_path, "t"), SilentReporter())
    assert caught.value.resumable and raised == []


def test_where_none_boots_nothing_is_worth_keeping(tmp_path: Path, raised: list[tuple[str, ...]]) -> None:
    with pytest.raises(VagrantError) as caught:
        recipe.bring_up(cluster(tmp_path, "t", "t-2", "t-3"), SilentReporter())
    assert not caught.value.resumable and raised == []
    assert caught.value.message == "t, t-2, t-3 did not boot: No room."


def test_watches_that_a_kill_left_are_renewed_one_group_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = cluster(tmp_path, plan=replace(PLAN, control_planes=(1, 2, 3), workers=()))
    seen: list[object] = []
    monkeypatch.setattr(recipe.kubeadm, "is_control_plane", lambda node: True)
    monkeypatch.setattr(recipe.kubeadm, "watches_due", lambda first: True)
    monkeypatch.setattr(recipe.kubeadm, "renew_watches", lambda nodes: seen.append([node.name for node in nodes]))
    monkeypatch.setattr(recipe.kubeadm, "note_watches", lambda first, due: seen.append((first.name, due)))
    monkeypatch.setattr(recipe.kubeadm, "release_leases", lambda first: None)
    monkeypatch.setattr(recipe, "wait_for_api", lambda cluster: seen.append("API"))
    recipe.join(it, it.node(it.plan.machine(1)), SilentReporter())
    assert seen == [["t-2", "t-3"], "API", ["t"], "API", ("t", False)]
