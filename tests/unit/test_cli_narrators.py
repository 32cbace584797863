"""What is told while something runs: lines, moving lines, events."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from localk8s.cli.live import LiveNarrator, bar, moving_line, time_left
from localk8s.cli.narrators import Narrator, PlainNarrator, RunningStep
from localk8s.testing import RecordingReporter


class Clock:
    """Seconds that a test turns on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_for_each_step_and_its_seconds() -> None:
    clock, stream = Clock(), io.StringIO()
    narrator = PlainNarrator(stream=stream, clock=clock)
    with narrator.step("boot", "booting 3 nodes") as step:
        clock.now += 1.25
        step.finish_as("booted 3 nodes")
    assert stream.getvalue() == "  ✓ booted 3 nodes                               1.2 s\n"
    assert narrator.current == ""


def test_a_failed_step_is_marked_and_an_empty_title_says_nothing() -> None:
    stream = io.StringIO()
    narrator = PlainNarrator(stream=stream, clock=Clock())
    with pytest.raises(ValueError, match="x"), narrator.step("a", "doing"):
        raise ValueError("x")
    with narrator.step("b", "checking") as step:
        step.finish_as("")
    assert stream.getvalue().splitlines() == ["  ✗ doing                                        0.0 s"]


def test_progress_without_a_terminal_is_told_seldom() -> None:
    clock, stream = Clock(), io.StringIO()
    narrator = PlainNarrator(stream=stream, clock=clock)
    with narrator.step("build", "building") as step:
        for done in range(40):
            step.progress(done, 40, f"part {done}")
            clock.now += 1
    assert [line.strip() for line in stream.getvalue().splitlines()[:-1]] == ["25%  part 10", "50%  part 20", "75%  part 30"]


def test_a_warning_is_told_once_and_commands_only_when_asked() -> None:
    stream = io.StringIO()
    narrator = PlainNarrator(stream=stream)
    narrator.warn("careful")
    narrator.warn("careful")
    narrator.command("ip link")
    assert stream.getvalue() == "  ! careful\n"
    PlainNarrator(stream=stream, verbose=True).command("ip link")
    assert stream.getvalue().endswith("    $ ip link\n")


def test_ctrl_c_keeps_the_step_for_the_sentence() -> None:
    narrator = Narrator()
    with pytest.raises(KeyboardInterrupt), narrator.step("join", "joining workers"):
        raise KeyboardInterrupt
    assert narrator.current == "joining workers"


@given(
    title=st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=90),
    detail=st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=90),
    done=st.floats(0, 10),
    total=st.one_of(st.none(), st.floats(1, 10)),
    seconds=st.floats(0, 9999),
    width=st.integers(60, 200),
)
def test_a_moving_line_never_wraps(
    title: str, detail: str, done: float, total: float | None, seconds: float, width: int
) -> None:
    step = RunningStep("k", title, 0.0, lambda step: None, done, total, detail)
    assert len(moving_line(step, seconds, width)) <= width


def test_bar_and_time_left() -> None:
    assert (bar(0), bar(1)) == ("─" * 20, "━" * 20)
    assert bar(0.525) == "━" * 10 + "╸" + "─" * 9
    assert time_left(0.5, 130) == "2:10 left"
    assert time_left(0.01, 130) == ""


def test_a_terminal_is_left_as_it_was() -> None:
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=True, width=80, highlight=False)
    narrator = LiveNarrator(console=console, clock=clock)
    with narrator.step("a", "outer") as step:
        step.progress(1, 2, "half")
        with narrator.step("b", "inner"):
            clock.now += 2
        narrator.warn("careful")
    text = stream.getvalue()
    assert "\x1b[?25l" in text
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")
    assert "inner" in text and "outer" in text and "careful" in text


def test_the_public_recorder_remembers() -> None:
    report = RecordingReporter()
    with pytest.raises(ValueError, match="no"), report.step("a", "A") as step:
        step.progress(1, 2, "half")
        raise ValueError("no")
    with report.step("b", "B") as step:
        step.finish_as("done B")
    report.warn("w")
    report.command("c")
    assert report.keys == ["a", "b"]
    assert [(step.title, step.ended) for step in report.steps] == [("A", False), ("done B", True)]
    assert (report.warnings, report.commands, report.steps[0].details) == (["w"], ["c"], ["half"])
