"""What ``minikube status -o json`` prints, and the one word for the cluster that follows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minikube_recordings import recording

from localk8s.drivers.minikube.status import Answer, cluster_state, machine_state, parse_status
from localk8s.drivers.minikube.versions import MinikubeVersion
from localk8s.drivers.minikube.vm_drivers import Kind
from localk8s.model.status import ClusterState, NodeState

OLD, NEW = MinikubeVersion(1, 34, 0), MinikubeVersion(1, 38, 1)

RECORDED = {
    "none-driver/running/status-json": (Answer.NODES, ClusterState.RUNNING),
    "none-driver/running/status-after-drift": (Answer.NODES, ClusterState.RUNNING),
    "none-driver/running/status-after-unpause": (Answer.NODES, ClusterState.RUNNING),
    "none-driver/clean/status-after-restart": (Answer.NODES, ClusterState.RUNNING),
    "none-driver/stopped/status-json": (Answer.NODES, ClusterState.STOPPED),
    "none-driver/running-again/status-json": (Answer.NODES, ClusterState.STOPPED),
    "none-driver/paused/status-json": (Answer.NODES, ClusterState.PAUSED),
    "none-driver/apiserver-down/status-json": (Answer.NODES, ClusterState.BROKEN),
    "none-driver/after-failed-start/status-json": (Answer.NODES, ClusterState.STOPPED),
    "none-driver/after-node-add/status-json": (Answer.NODES, ClusterState.STOPPED),
    "none-driver/stale-kubeconfig/status-json": (Answer.NODES, ClusterState.RUNNING),
    "none-driver/stale-kubeconfig/status-after": (Answer.NODES, ClusterState.RUNNING),
    "none-driver/broken-kubeconfig/status-json": (Answer.NODES, ClusterState.RUNNING),
    "none-driver/deleted/status-json": (Answer.NOT_FOUND, ClusterState.UNKNOWN),
    "no-profile/status-json-missing": (Answer.NOT_FOUND, ClusterState.UNKNOWN),
    "ssh-driver/after-failed-start/status-json": (Answer.GONE, ClusterState.BROKEN),
    "ssh-driver/after-failed-start/status-l-json": (Answer.GONE, ClusterState.BROKEN),
}


def one(
    host: str = "Running", kubelet: str = "Running", api: str = "Running", kubeconfig: str = "Configured", worker: bool = False
) -> dict[str, object]:
    return {"Name": "m", "Host": host, "Kubelet": kubelet, "APIServer": api, "Kubeconfig": kubeconfig, "Worker": worker}


def state_of(content: object, code: int = 0, kind: Kind = Kind.CONTAINER) -> tuple[ClusterState, tuple[str, ...]]:
    return cluster_state(parse_status(json.dumps(content), "", code), kind)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_recorded_answers(name: str) -> None:
    done = recording(name)
    report = parse_status(done.stdout, done.stderr, done.returncode, NEW)
    answer, state = RECORDED[name]
    assert report.answer is answer
    assert cluster_state(report, Kind.NONE)[0] is state


def test_trap_2_2_null_status_is_broken_with_the_reason_of_klog() -> None:
    done = recording("ssh-driver/after-failed-start/status-json")
    assert (done.stdout, done.returncode) == ("null", 7)
    state, reasons = cluster_state(parse_status(done.stdout, done.stderr, done.returncode, NEW), Kind.SSH)
    assert state is ClusterState.BROKEN
    assert reasons[0].startswith("a machine of it is gone or cannot be reached: NewSession: new client")


def test_trap_2_2_null_without_a_reason_is_broken_since_1_35_and_unknown_before() -> None:
    assert cluster_state(parse_status("null", "", 7, NEW), Kind.VM)[0] is ClusterState.BROKEN
    assert cluster_state(parse_status("null", "", 7, OLD), Kind.VM)[0] is ClusterState.UNKNOWN
    assert parse_status("", "", 7).answer is Answer.GONE


def test_trap_2_2_a_panic_exits_2_like_a_stopped_kubelet_and_is_broken() -> None:
    done = recording("ssh-driver/after-failed-start/status-l-json")
    assert done.returncode == 2 and done.stdout == ""
    assert parse_status(done.stdout, done.stderr, done.returncode).answer is Answer.GONE
    assert state_of(one(kubelet="Stopped", api="Paused"), 2)[0] is ClusterState.PAUSED


def test_trap_2_2_events_instead_of_an_object_are_not_found_or_unknown() -> None:
    done = recording("no-profile/status-json-missing")
    assert parse_status(done.stdout, done.stderr, done.returncode).answer is Answer.NOT_FOUND
    odd = parse_status(done.stdout, "", 80)
    assert odd.answer is Answer.UNREADABLE and "To start a cluster" in odd.reason
    assert cluster_state(odd, None)[0] is ClusterState.UNKNOWN


def test_trap_2_2_several_nodes_are_an_array_and_irrelevant_is_no_fault() -> None:
    worker = {**one(api="Irrelevant", kubeconfig="Irrelevant", worker=True), "Name": "m-m02"}
    assert state_of([one(), worker]) == (ClusterState.RUNNING, ())
    state, reasons = state_of([one(), {**worker, "Host": "Stopped", "Kubelet": "Stopped"}], 7)
    assert (state, reasons) == (ClusterState.BROKEN, ("m-m02 is stopped",))


@pytest.mark.parametrize("code", range(8))
def test_trap_2_2_the_exit_code_is_a_bit_mask_and_does_not_decide(code: int) -> None:
    assert state_of(one(), code)[0] is ClusterState.RUNNING
    assert state_of(one("Stopped", "Stopped", "Stopped", "Stopped"), code)[0] is ClusterState.STOPPED


def test_trap_2_2_a_stale_kubeconfig_is_noticed_and_stops_nothing() -> None:
    done = recording("none-driver/stale-kubeconfig/status-json")
    report = parse_status(done.stdout, done.stderr, done.returncode)
    assert done.returncode == 4 and report.kubeconfig_stale
    assert "got: 10.55.0.10:9443, want: 10.55.0.10:8443" in report.reason
    assert not parse_status(*_parts("none-driver/stale-kubeconfig/status-after")).kubeconfig_stale
    assert parse_status(*_parts("none-driver/broken-kubeconfig/status-json")).kubeconfig_stale


def _parts(name: str) -> tuple[str, str, int]:
    done = recording(name)
    return done.stdout, done.stderr, done.returncode


@pytest.mark.parametrize(
    ("content", "word", "reason"),
    [
        (one("Nonexistent", "Nonexistent", "Nonexistent", "Nonexistent"), ClusterState.BROKEN, "the machine m is gone"),
        (one("InsufficientStorage"), ClusterState.BROKEN, "the disk of m is full"),
        (one("Error", "Error", "Error"), ClusterState.BROKEN, "the machine m is in state Error"),
        (one("", "", ""), ClusterState.BROKEN, "the machine m is in state unknown"),
        (one("Starting", "Starting", "Starting"), ClusterState.STARTING, "m is starting"),
        (one("Stopping", "Stopping", "Stopping"), ClusterState.STARTING, "m is stopping"),
        (one(kubelet="Stopped"), ClusterState.BROKEN, "the kubelet of m is stopped"),
        (one(api="Stopped"), ClusterState.BROKEN, "the API server of m is stopped"),
        (one(api="Error", kubelet="Error"), ClusterState.BROKEN, "the kubelet of m is error and the API server of m is error"),
    ],
)
def test_each_word_of_a_machine(content: dict[str, object], word: ClusterState, reason: str) -> None:
    assert state_of(content) == (word, (reason,))


def test_saved_machines_and_stopped_ones_are_both_stopped() -> None:
    assert state_of(one("Saved", "Saved", "Saved", "Saved"))[0] is ClusterState.STOPPED


def test_a_remote_machine_stays_up_when_its_cluster_is_stopped() -> None:
    content = one("Running", "Stopped", "Stopped")
    assert state_of(content, 2, Kind.SSH)[0] is ClusterState.STOPPED
    assert state_of(content, 2, Kind.CONTAINER)[0] is ClusterState.BROKEN


def test_node_words() -> None:
    words = {"none-driver/running/status-json": NodeState.READY, "none-driver/paused/status-json": NodeState.PAUSED}
    words |= {"none-driver/stopped/status-json": NodeState.STOPPED, "none-driver/apiserver-down/status-json": NodeState.BROKEN}
    for name, word in words.items():
        assert machine_state(parse_status(*_parts(name)).machines[0], Kind.NONE) is word


@pytest.mark.parametrize("text", ["[]", "[null]", "7", '"x"', "{}", '{"Name":"x"}', "{", "[1,2]", '{"error":{}}'])
def test_nonsense_is_unknown_and_never_running(text: str) -> None:
    assert cluster_state(parse_status(text, "", 0), Kind.VM)[0] is ClusterState.UNKNOWN


@given(st.text(), st.text(), st.integers(0, 255))
def test_no_output_makes_the_parser_fail_or_a_cluster_run(stdout: str, stderr: str, code: int) -> None:
    assert cluster_state(parse_status(stdout, stderr, code), Kind.VM)[0] is not ClusterState.RUNNING
