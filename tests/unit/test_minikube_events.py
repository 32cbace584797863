"""minikube's events: every recorded line is understood, the bar never goes back, only the exit code decides."""

from __future__ import annotations

import json

import minikube_recordings
import pytest
from hypothesis import given
from hypothesis import strategies as st
from minikube_recordings import recording

from localk8s.drivers.minikube.events import Advanced, Event, EventKind, Follower, StepBegun, Warned, parse_event, parse_events

WITH_EVENTS = [
    name
    for name in minikube_recordings.names()
    if "-o json" in " ".join(recording(name).argv) and '"specversion"' in recording(name).stdout
]


def follow(output: str, *, succeeded: bool = True) -> tuple[list[StepBegun], list[Advanced], list[str], Follower]:
    follower = Follower()
    actions = [action for event in parse_events(output) for action in follower.feed(event)]
    if succeeded:
        actions += list(follower.flush())
    return (
        [action for action in actions if isinstance(action, StepBegun)],
        [action for action in actions if isinstance(action, Advanced)],
        [action.message for action in actions if isinstance(action, Warned)],
        follower,
    )


def event(kind: str, **data: str) -> str:
    return json.dumps({"specversion": "1.0", "type": f"io.k8s.sigs.minikube.{kind}", "data": data})


@pytest.mark.parametrize("name", WITH_EVENTS)
def test_every_recorded_line_is_an_event(name: str) -> None:
    lines = [line for line in recording(name).stdout.splitlines() if line.strip()]
    assert all(parse_event(line) is not None for line in lines)


@pytest.mark.parametrize("name", WITH_EVENTS)
def test_the_bar_never_goes_backwards_and_no_warning_comes_twice(name: str) -> None:
    steps, moves, warnings, _ = follow(recording(name).stdout)
    assert [move.done for move in moves] == sorted(move.done for move in moves)
    assert all(0 <= move.done <= move.total for move in moves)
    assert [step.index for step in steps] == sorted({step.index for step in steps})
    assert len(warnings) == len(set(warnings))
    assert all(len(text) <= 300 and "╭" not in text and "\n" not in text for text in warnings)


def test_trap_2_1_a_successful_start_holds_error_events_with_exit_codes() -> None:
    done = recording("none-driver/clean/start-json")
    steps, moves, warnings, follower = follow(done.stdout)
    assert done.returncode == 0
    assert follower.failure is not None and follower.failure.exit_code == 106, "it is remembered, and does not decide"
    assert [step.index for step in steps] == [0, 1, 3, 6, 7, 11, 12, 13, 14, 15, 16, 17, 19]
    assert steps[-1].name == "Done" and moves[-1].done == moves[-1].total == 19
    assert warnings == [
        "Specified Kubernetes version 1.20.2 is less than the oldest supported version: v1.28.0. Use `minikube config defaults"
        " kubernetes-version` for details. Kubernetes 1.20.2 is not supported by this release of minikube",
        "Using the 'containerd' runtime with the 'none' driver is an untested configuration!",
        "Failing to connect to https://registry.k8s.io/ from inside the minikube bare metal machine. To pull new external"
        " images, you may need to configure a proxy: https://minikube.sigs.k8s.io/docs/reference/networking/proxy/",
    ]


def test_trap_2_1_messages_of_a_failed_start_are_its_error_and_not_warnings_too() -> None:
    done = recording("none-driver/start-json-kubeadm-failed")
    steps, _, warnings, follower = follow(done.stdout, succeeded=False)
    assert steps[-1].name == follower.step == "Preparing Kubernetes"
    assert follower.failure is not None and follower.failure.name == "GUEST_START"
    assert not any("kubeadm" in text for text in warnings)


def test_trap_2_1_empty_and_unknown_step_numbers_are_detours() -> None:
    output = "\n".join(
        event("step", currentstep=number, totalsteps="19", name=name, message=name)
        for number, name in (
            ("3", "Starting Node"),
            ("", "Detour"),
            ("unknown", "Detour"),
            ("3", "Starting Node"),
            ("8", "Creating VM"),
        )
    )
    steps, moves, _, follower = follow(output)
    assert [step.index for step in steps] == [3, 8]
    assert [move.done for move in moves] == [3, 3, 3, 3, 8]
    assert follower.step == "Creating VM"


def test_trap_2_1_steps_of_several_nodes_and_of_goroutines_come_out_of_order() -> None:
    output = "\n".join(
        event("step", currentstep=number, totalsteps="19", name=f"s{number}", message="")
        for number in ("3", "8", "11", "18", "17", "3", "5", "8", "19")
    )
    steps, moves, _, _ = follow(output)
    assert [step.index for step in steps] == [3, 8, 11, 18, 19]
    assert [move.done for move in moves] == [3, 8, 11, 18, 18, 18, 18, 18, 19]


@pytest.mark.parametrize("progress", ["+Inf", "-Inf", "NaN", "-0.5", "1.7", "", "abc"])
def test_trap_2_1_a_download_of_unknown_size_has_no_fraction(progress: str) -> None:
    line = event("download.progress", currentstep="2", totalsteps="19", artifact="preload", progress=progress)
    parsed = parse_event(line)
    assert parsed is not None and parsed.progress is None
    _, moves, _, _ = follow(line)
    assert 0 <= moves[-1].done < 1


def test_downloads_move_the_one_bar_and_never_beyond_their_step() -> None:
    lines = [event("step", currentstep="2", totalsteps="19", name="Downloading Artifacts", message="")]
    for artifact in ("kubectl", "kubelet", "preload"):
        lines.append(event("download", currentstep="2", totalsteps="19", artifact=artifact))
        lines += [
            event("download.progress", currentstep="2", totalsteps="19", artifact=artifact, progress=part)
            for part in ("0", "0.5", "0.2", "1")
        ]
    _, moves, _, _ = follow("\n".join(lines))
    done = [move.done for move in moves]
    assert done == sorted(done) and done[0] == 2 and 2.5 < done[-1] < 3
    assert moves[-1].detail == "preload  100%"


def test_the_first_half_of_a_download_moves_the_bar() -> None:
    before = event("step", currentstep="2", totalsteps="19", name="Downloading Artifacts", message="")
    half = event("download.progress", currentstep="2", totalsteps="19", artifact="preload", progress="0.5")
    _, moves, _, _ = follow(f"{before}\n{half}")
    assert moves[1].done > moves[0].done


def test_trap_2_12_a_host_that_could_not_be_deleted_is_a_warning_of_a_delete_that_succeeds() -> None:
    output = "\n".join(
        [
            event("step", currentstep="0", totalsteps="3", name="Deleting", message='Deleting "x" in kvm2 ...'),
            event("error", message="Failed to delete cluster: domain is locked"),
        ]
    )
    _, _, warnings, _ = follow(output)
    assert warnings == ["Failed to delete cluster: domain is locked"]


def test_an_advertisement_is_neither_step_nor_warning() -> None:
    done = recording("none-driver/soft-start-json")
    steps, _, warnings, _ = follow(done.stdout)
    assert "is now available" in done.stdout
    assert not any("available" in text for text in warnings)
    assert steps[-1].name == "Done"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "E0928 12:00:00.000000   123 status.go:304] boom",
        "{",
        "[]",
        "null",
        '{"type":"io.k8s.sigs.minikube.step"}',
        '{"type":"io.k8s.sigs.minikube.step","data":[]}',
        '{"type":"io.k8s.sigs.minikube.nonsense","data":{}}',
        '{"type":"step","data":{}}',
        '{"type":7,"data":{}}',
        " > gcr.io/k8s-minikube/kicbase: 12 B / 30 B 40.00%",
    ],
)
def test_trap_2_0_lines_that_are_no_events_are_passed_over(line: str) -> None:
    assert parse_event(line) is None


@given(st.text())
def test_no_text_makes_the_parser_fail(text: str) -> None:
    parse_events(text)


@given(
    st.lists(
        st.builds(
            Event,
            kind=st.sampled_from(list(EventKind)),
            message=st.text(max_size=20),
            name=st.text(max_size=5),
            step=st.none() | st.integers(0, 30),
            total=st.none() | st.integers(0, 30),
            artifact=st.sampled_from(["a", "b", ""]),
            progress=st.none() | st.floats(0, 1),
            exit_code=st.none() | st.integers(0, 130),
        ),
        max_size=40,
    )
)
def test_whatever_comes_the_bar_never_goes_backwards(events: list[Event]) -> None:
    follower = Follower()
    moves = [action for item in events for action in follower.feed(item) if isinstance(action, Advanced)]
    fixed = [move for move in moves if move.total == moves[-1].total]
    assert [move.done for move in fixed] == sorted(move.done for move in fixed)
    assert all(move.done <= move.total for move in moves)
