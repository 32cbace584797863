"""Limits on hosts whose processors are slow, such as emulated ones: measured when a limit runs out, and stretched by that."""

from __future__ import annotations

import itertools
import time

import pytest

from localk8s.model.errors import CommandError, WaitTimeoutError
from localk8s.system import process, slowness, wait
from localk8s.system.process import HostRunner
from localk8s.system.slowness import measure_slowness
from localk8s.system.wait import wait_until


@pytest.mark.parametrize(("seconds", "factor"), [(0.0004, 1.0), (0.0015, 1.0), (0.002, 2.0), (0.009, 9.0), (3.0, 16.0)])
def test_the_factor_is_what_a_loop_takes_against_the_usual(
    seconds: float, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slowness, "_time_loop", lambda: seconds)
    assert measure_slowness() == pytest.approx(factor)


def test_one_moment_without_the_processor_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([0.5, 0.0008, 0.4])
    monkeypatch.setattr(slowness, "_time_loop", lambda: next(looks))
    assert measure_slowness() == 1.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(wait.time, "monotonic", lambda: float(next(ticks)))
    monkeypatch.setattr(wait.time, "sleep", lambda seconds: None)


@pytest.mark.usefixtures("clock")
def test_a_wait_on_a_slow_host_lasts_longer_and_says_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(wait, "measure_slowness", lambda: asked.append(1) or 10.0)
    looks = itertools.count()
    assert wait_until(lambda: next(looks) > 50, what="it", timeout=20)
    with pytest.raises(WaitTimeoutError, match="Waited 200 s for it"):
        wait_until(lambda: False, what="it", timeout=20)
    assert len(asked) == 2  # once a wait


@pytest.mark.usefixtures("clock")
def test_a_wait_on_a_usual_host_is_as_long_as_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "measure_slowness", lambda: 1.0)
    looks = itertools.count()
    with pytest.raises(WaitTimeoutError, match="Waited 20 s"):
        wait_until(lambda: next(looks) > 50, what="it", timeout=20)


def test_a_command_gets_more_time_on_a_slow_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = HostRunner()
    monkeypatch.setattr(process, "measure_slowness", lambda: 1.0)
    begin = time.monotonic()
    with pytest.raises(CommandError, match="did not end"):
        runner.run(["sleep", "60"], timeout=0.05)
    assert time.monotonic() - begin < 30
    monkeypatch.setattr(process, "measure_slowness", lambda: 1000.0)
    assert runner.run(["sleep", "0.2"], timeout=0.05).returncode == 0
