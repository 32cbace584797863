"""``node add|delete|list|stop|start`` on clusters of the fake driver: what they do, print, record, and leave when killed."""

from __future__ import annotations

import dataclasses

import pytest
import yaml
from cli_door import Door, assert_one_sentence

from localk8s.testing import FakeDriver


def names(door: Door) -> list[str]:
    """The nodes that there are."""
    return door("node", "list", "-o", "name").out.split()


def recorded(door: Door) -> dict[str, object]:
    """The cluster's record."""
    content = yaml.safe_load((door.home / "l8s/state/clusters/default/cluster.json").read_text())
    return {"nodes": content["spec"]["nodes"], "leaving": content.get("leaving", "")}


def test_list_has_every_format(door: Door) -> None:
    door("start", "--nodes", "2")
    table = door("node", "list").out.splitlines()
    assert table[0].split() == ["NODE", "ROLE", "STATE", "ADDRESS", "CPUS", "MEMORY"]
    assert [line.split()[:3] for line in table[1:]] == [["default", "control-plane", "ready"], ["default-2", "worker", "ready"]]
    found = door("node", "list", "-o", "json").json
    assert found["kind"] == "NodeList" and [item["name"] for item in found["items"]] == ["default", "default-2"]
    assert yaml.safe_load(door("node", "list", "-o", "yaml").out) == found
    assert names(door) == ["default", "default-2"]
    door("stop")
    assert [item["state"] for item in door("node", "list", "-o", "json").json["items"]] == ["stopped", "stopped"]


def test_add_takes_one_more_and_records_it(door: Door) -> None:
    door("start")
    ran = door("node", "add")
    assert (ran.code, ran.out) == (0, "default-2 is ready at 192.0.2.11.\n")
    assert recorded(door)["nodes"] == 2
    assert door("node", "add", "-o", "name").out == "default-3\n"
    assert door("start").out == 'Cluster "default" is already running.\n'


def test_an_add_that_failed_is_finished_by_the_next_start(door: Door) -> None:
    door("start")
    assert_one_sentence(door("node", "add", LOCALK8S_FAKE_FAIL="node"), {1})
    assert recorded(door)["nodes"] == 2 and names(door) == ["default"]
    assert_one_sentence(door("node", "add"), {4})
    assert "is running: 2 nodes" in door("start").out
    assert names(door) == ["default", "default-2"]


def test_an_add_that_was_refused_leaves_nothing(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    door("start", "--nodes", "50")
    assert_one_sentence(door("node", "add"), {2})
    assert recorded(door)["nodes"] == 50
    door("stop")
    assert "localk8s start" in door("node", "add").err


def test_delete_drains_and_records(door: Door) -> None:
    door("start", "--nodes", "3")
    ran = door("node", "delete", "default-2", "--yes")
    assert (ran.code, ran.out) == (0, "default-2 is deleted.\n"), ran
    assert names(door) == ["default", "default-3"]
    assert recorded(door) == {"nodes": 2, "leaving": ""}
    assert door("start").out == 'Cluster "default" is already running.\n'
    assert_one_sentence(door("node", "delete", "default-2", "--yes"), {3})


@pytest.mark.parametrize("step", ["drain", "forget"])
def test_a_delete_that_broke_off_is_finished_by_the_next_start(door: Door, step: str) -> None:
    door("start", "--nodes", "3")
    assert_one_sentence(door("node", "delete", "default-2", "--yes", LOCALK8S_FAKE_FAIL=step), {1})
    assert recorded(door) == {"nodes": 3, "leaving": "default-2"}
    assert door("start").code == 0
    assert recorded(door) == {"nodes": 2, "leaving": ""}
    assert names(door) == ["default", "default-3"]


def test_a_delete_owed_by_a_stopped_cluster_is_paid_when_it_runs(door: Door) -> None:
    door("start", "--nodes", "2")
    door("node", "delete", "default-2", "--yes", LOCALK8S_FAKE_FAIL="drain")
    door("stop")
    assert door("start").code == 0
    assert names(door) == ["default"] and recorded(door) == {"nodes": 1, "leaving": ""}


def test_what_cannot_be_deleted(door: Door) -> None:
    door("start", "--nodes", "2")
    ran = door("node", "delete", "default", "--yes")
    assert_one_sentence(ran, {2})
    assert ran.err.startswith("error: default is the only control plane: without it there is no cluster.\n")
    assert_one_sentence(door("node", "delete", "default-9", "--yes"), {3})
    assert_one_sentence(door("node", "delete", "default-2"), {2})
    door("stop")
    assert_one_sentence(door("node", "delete", "default-2", "--yes"), {4})
    assert recorded(door) == {"nodes": 2, "leaving": ""}


def test_stop_and_start_one_node(door: Door) -> None:
    door("start", "--nodes", "2")
    assert door("node", "stop", "default-2").out == "default-2 is stopped.\n"
    assert door("status").code == 4
    states = [item["state"] for item in door("node", "list", "-o", "json").json["items"]]
    assert states == ["ready", "stopped"]
    assert door("node", "delete", "default-2", "--yes").code == 0, "one that is off goes too"
    assert door("node", "stop", "default").code == 0
    assert door("node", "start", "default").out == "default is ready.\n"
    assert door("status").code == 0
    for verb in ("stop", "start"):
        assert_one_sentence(door("node", verb, "default-9"), {3})
    door("stop")
    assert "localk8s start" in door("node", "start", "default").err


@pytest.mark.parametrize("words", [("add",), ("delete", "default-2", "--yes"), ("stop", "default-2"), ("start", "default-2")])
def test_a_driver_that_cannot_is_exit_8_with_what_to_do(
    door: Door, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    door("start", "--nodes", "2")
    monkeypatch.setattr(FakeDriver, "info", dataclasses.replace(FakeDriver.info, features=frozenset()))
    ran = door("node", *words)
    assert_one_sentence(ran, {8})
    assert "hint: localk8s " in ran.err
    assert names(door) == ["default", "default-2"], "the list works everywhere"


def test_no_such_cluster(door: Door) -> None:
    for words in (("list",), ("add",), ("delete", "x", "--yes"), ("stop", "x"), ("start", "x")):
        assert_one_sentence(door("node", *words), {3})


def test_growing_by_start_is_recorded_before_it_is_done(door: Door) -> None:
    door("start")
    assert_one_sentence(door("start", "--nodes", "3", LOCALK8S_FAKE_FAIL="boot"), {1})
    assert recorded(door)["nodes"] == 3
    assert "3 nodes" in door("start").out
    assert len(names(door)) == 3
