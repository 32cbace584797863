"""Hosts, cp, top, logs: what they render, parse and refuse."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from cli_door import Door, assert_one_sentence
from hypothesis import given
from hypothesis import strategies as st

from localk8s.cli.forwarding import until_interrupted
from localk8s.cli.observing import _sorted, _table, bar
from localk8s.cli.pod_logs import last_run
from localk8s.cli.session import Session
from localk8s.helpers.copy import Place, copy, parse_place
from localk8s.helpers.hosts import HostEntry, ingress_entries, with_block, write_hosts
from localk8s.helpers.top import NodeUsage, PodUsage, Usage, answers, parse_summary, quantity
from localk8s.model.errors import NotFoundError, PrerequisiteError, UsageError
from localk8s.system.environment import Environment
from localk8s.system.process import HostRunner

ENTRIES = (HostEntry("10.1.0.2", ("a.localk8s.test",)),)
_LINES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=20),
    max_size=5,
)


@given(_LINES, _LINES)
def test_a_block_comes_and_goes_and_the_rest_stays(before: list[str], after: list[str]) -> None:
    head, tail = "".join(f"{line}\n" for line in before), "".join(f"{line}\n" for line in after)
    with_one = with_block(head, "one", ENTRIES) + tail
    both = with_block(with_one, "one-more", ENTRIES)
    assert with_block(both, "one", ENTRIES) == both
    assert with_block(with_block(both, "one-more", ()), "one", ()) == head + tail


def test_a_block_that_was_cut_open_takes_nothing_with_it() -> None:
    text = "# BEGIN localk8s a\n1.1.1.1 x\n# BEGIN localk8s b\n2.2.2.2 y\n# END localk8s b\n127.0.0.1 localhost\n"
    assert "127.0.0.1 localhost\n" in with_block(text, "a", ())
    assert "2.2.2.2 y" in with_block(text, "a", ())
    assert "2.2.2.2 y" not in with_block(text, "b", ())


def test_ingress_hosts_that_can_stand_in_a_table() -> None:
    rules = [{"host": "shop.test"}, {"host": "*.test"}, {}, {"host": "a b\n1.2.3.4 evil"}]
    own = {"spec": {"rules": [{"host": "own.test"}]}, "status": {"loadBalancer": {"ingress": [{"ip": "10.5.5.5"}]}}}
    found = ingress_entries([{"spec": {"rules": rules}}, own], "10.1.0.2")
    assert found == (HostEntry("10.1.0.2", ("shop.test",)), HostEntry("10.5.5.5", ("own.test",)))


def test_hosts_are_written_whole_for_everybody_to_read(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("old\n")
    write_hosts(path, "new\n", HostRunner(), can_ask=False, hint="localk8s hosts --apply")
    assert path.read_text() == "new\n"
    assert path.stat().st_mode & 0o777 == 0o644


def test_hosts_of_root_are_not_touched_without_a_way_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("localk8s.helpers.hosts.write_atomic", refuse)
    with pytest.raises(PrerequisiteError, match="root") as caught:
        write_hosts(tmp_path / "hosts", "new\n", HostRunner(), can_ask=False, hint="localk8s hosts --apply")
    assert caught.value.hint.startswith("sudo localk8s hosts")


def test_places() -> None:
    assert parse_place("default-2:/etc/x") == Place("/etc/x", "default-2")
    assert parse_place("./a:b") == Place("./a:b")
    assert parse_place("C:/x") == Place("C:/x")
    for text in ("", "node:x", "node:"):
        with pytest.raises(UsageError):
            parse_place(text)
    with pytest.raises(UsageError, match="Neither"):
        copy(Place("a"), Place("b"), lambda name: pytest.fail(name), pytest.fail)


@pytest.mark.parametrize(("text", "number"), [("2", 2), ("500m", 0.5), ("2Ki", 2048), ("1G", 1e9), ("", 0), ("x", 0)])
def test_quantities(text: str, number: float) -> None:
    assert quantity(text) == number


def test_a_summary_is_read_and_gaps_stay_gaps() -> None:
    pods = [
        {"podRef": {"namespace": "a", "name": "whole"}, "cpu": {"usageNanoCores": 5e8}, "memory": {"workingSetBytes": 7}},
        {
            "podRef": {"namespace": "a", "name": "parts"},
            "containers": [{"cpu": {"usageNanoCores": 1e9}, "memory": {"workingSetBytes": 1}}, {}],
        },
        {"podRef": {"namespace": "a", "name": "new"}},
    ]
    cpu, memory, found = parse_summary({"node": {"memory": {"workingSetBytes": 9}}, "pods": pods}, "n")
    assert (cpu, memory) == (None, 9)
    assert [(pod.name, pod.cpu, pod.memory) for pod in found] == [("whole", 0.5, 7), ("parts", 1.0, 1), ("new", None, None)]


def test_bars_are_as_long_as_the_others() -> None:
    assert [bar(share).count("█") for share in (-1, 0, 0.5, 1, 7)] == [0, 0, 10, 20, 20]
    assert len({len(bar(share)) for share in (0, 0.33, 9)}) == 1


def _usage() -> Usage:
    pods = [
        PodUsage("kube-system", f"kube-controller-manager-{name}-7d9f8b6c5-x2x4z", f"default-{name}", cpu, memory)
        for name, cpu, memory in (("a", 0.25, 900), ("b", None, 2**31), ("c", 1.5, None))
    ]
    nodes = [NodeUsage(f"default-{name}", 0.5, 2, 2**30, 2**31) for name in "abc"]
    return Usage(tuple(nodes), tuple(pods))


@pytest.mark.parametrize("pods", [True, False])
@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_tables_of_usage_keep_to_the_terminal(pods: bool, width: int) -> None:
    text = _table(_usage(), pods=pods, width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert all(f"default-{name}" in text or f"manager-{name}" in text for name in "abc")
    assert text.splitlines()[0].split() == [
        *(["NAMESPACE", "POD"] if pods else []),
        *(["NODE"] if "NODE" in text else []),
        "CPU",
        "MEMORY",
    ]


def test_no_terminal_bounds_no_table() -> None:
    assert "█" * 5 + "░" * 15 in _table(_usage(), pods=False, width=0)


def test_usage_is_sorted() -> None:
    def order(by: str) -> list[str]:
        return [pod.node[-1] for pod in _sorted(_usage(), by).pods]

    assert (order("cpu"), order("memory"), order("name")) == (["c", "a", "b"], ["b", "a", "c"], ["a", "b", "c"])


def test_a_node_that_is_not_heard_of_is_not_asked() -> None:
    def node(*statuses: str) -> dict[str, Any]:
        return {"status": {"conditions": [{"type": "Ready", "status": status} for status in statuses]}}

    assert answers(node()) and answers(node("True")) and answers(node("False"))
    assert not answers(node("Unknown"))


def test_the_last_run_is_the_last() -> None:
    assert last_run("=== one\na\n=== two\nb\n") == "=== two\nb\n"


def test_bad_words_are_told_in_a_sentence(door: Door) -> None:
    door("start")
    assert_one_sentence(door("hosts", "--apply", "--remove"), {2})
    assert_one_sentence(door("proxy", "--port", "70000"), {2})
    assert_one_sentence(door("cp", "a", "b"), {2})
    assert_one_sentence(door("cp", "/no/such/file", "default:/x"), {3})
    assert_one_sentence(door("top", "everything"), {2})
    assert_one_sentence(door("logs", "-f", "default"), {2})
    assert_one_sentence(door("top", "pods", "--sort", "age"), {2})
    assert_one_sentence(door("top", "nodes", "-n", "default"), {2})
    assert_one_sentence(door("top", "pods", "-A", "-n", "default"), {2})
    assert_one_sentence(door("service", "-A", "-n", "default"), {2})
    assert_one_sentence(door("service", "web", "-A"), {2})
    assert_one_sentence(door("logs", "default", "--previous"), {2})
    assert_one_sentence(door("logs", "--container", "x"), {2})
    assert_one_sentence(door("logs", "pod/x", "--previous", "-f"), {2})
    assert_one_sentence(door("logs", "-l", "app=x", "pod/x"), {2})
    assert_one_sentence(door("logs", "node/x"), {2})


@pytest.mark.parametrize(
    "words", [("dashboard", "--url"), ("tunnel",), ("proxy", "-p", "0"), ("top",), ("logs", "-f", "pod/x")]
)
def test_a_stopped_cluster_is_said_to_be_stopped(door: Door, words: tuple[str, ...]) -> None:
    door("start")
    door("stop")
    ran = door(*words)
    assert_one_sentence(ran, {4})
    assert 'Cluster "default" is stopped.' in ran.err
    assert "hint: localk8s start" in ran.err


def test_what_runs_until_ctrl_c_ends_when_its_cluster_is_deleted(door: Door) -> None:
    door("start")
    session = Session(Environment(door.environment))
    deleting = threading.Timer(0.5, lambda: session.cluster.delete())
    deleting.start()
    with pytest.raises(NotFoundError, match='Cluster "default" was deleted'):
        until_interrupted(session)
    deleting.join()
    assert session.endless
