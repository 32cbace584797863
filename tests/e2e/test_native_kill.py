"""Kill it anywhere: a start that dies at any step is finished by the next start, or cleared by delete."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest
from localk8s_door import RealDoor, traces

pytestmark = pytest.mark.real
STEPS = ("fetch", "boot", "init", "join", "ready")


def begin(door: RealDoor, cluster: str) -> subprocess.Popen[str]:
    return door.spawn("start", "-c", cluster, "--nodes", "2", "-o", "json")


def wait_for_step(process: subprocess.Popen[str], key: str) -> None:
    """Read events until the step begins."""
    assert process.stdout
    for line in process.stdout:
        event = json.loads(line)
        if event.get("step") == key or event.get("key") == key:
            return
    raise AssertionError(f"no step {key}: {process.stderr.read() if process.stderr else ''}")


def end(process: subprocess.Popen[str], number: int) -> str:
    process.send_signal(number)
    _, complaint = process.communicate(timeout=20)
    return complaint


@pytest.mark.parametrize("step", STEPS)
def test_a_start_killed_at_any_step_is_finished_by_the_next(door: RealDoor, step: str) -> None:
    before = traces(door)
    for delay in (0.0, 0.4):
        process = begin(door, "killed")
        wait_for_step(process, step)
        time.sleep(delay)
        end(process, signal.SIGKILL)
    door.do("start", "-c", "killed", "--nodes", "2")
    assert door.status("killed")["state"] == "running"
    door.do("delete", "-c", "killed", "--yes")
    assert not traces(door).more_than(before)


@pytest.mark.parametrize("step", STEPS)
def test_a_start_killed_at_any_step_is_cleared_by_delete(door: RealDoor, step: str) -> None:
    before = traces(door)
    process = begin(door, "cleared")
    wait_for_step(process, step)
    time.sleep(0.15)
    end(process, signal.SIGKILL)
    door.do("delete", "-c", "cleared", "--yes")
    assert not traces(door).more_than(before)


def test_ctrl_c_ends_within_a_second_and_loses_nothing(door: RealDoor) -> None:
    process = begin(door, "interrupted")
    wait_for_step(process, "init")
    time.sleep(0.3)
    asked = time.monotonic()
    complaint = end(process, signal.SIGINT)
    assert time.monotonic() - asked < 2.5
    assert process.returncode == 130
    assert "Traceback" not in complaint and "localk8s start -c interrupted" in complaint
    door.do("start", "-c", "interrupted", "--nodes", "2")
    door.do("delete", "-c", "interrupted", "--yes")
