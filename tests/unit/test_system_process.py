"""The door to processes, with real ones: limits, what is kept for the error, secrets, what ends with what."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localk8s.model.errors import CommandError, PrerequisiteError
from localk8s.system.process import HostRunner, Mask


def is_there(process: int) -> bool:
    """Whether a process runs; one that nobody has fetched yet does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_for_end(process: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while is_there(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_there(process)


def test_out_of_time_ends_the_whole_group_and_keeps_what_was_said(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! >{tmp_path}/id; echo half; wait"
    with pytest.raises(CommandError) as caught:
        HostRunner().run(["sh", "-c", script], timeout=0.5)
    assert caught.value.returncode is None and caught.value.stdout == "half\n"
    assert wait_for_end(int((tmp_path / "id").read_text()))


def test_no_secret_is_in_the_error_or_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    runner = HostRunner(log=log, mask=Mask(["hidden"]))
    with pytest.raises(CommandError) as caught:
        runner.run(["sh", "-c", "echo hidden; echo also hidden >&2; exit 3"])
    assert caught.value.returncode == 3
    assert "hidden" not in f"{caught.value} {caught.value.stdout} {caught.value.stderr} {log.read_text()}"
    assert "also ***" in log.read_text() and "-> 3" in log.read_text()


def test_an_input_that_fails_ends_the_command() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one"
        raise OSError("the disk is gone")

    begin = time.monotonic()
    with pytest.raises(OSError, match="the disk is gone"):
        HostRunner().run(["sh", "-c", "cat >/dev/null; sleep 60"], input=pieces(), timeout=60)
    assert time.monotonic() - begin < 30


def test_a_program_that_is_not_there_is_a_prerequisite() -> None:
    with pytest.raises(PrerequisiteError, match="no-such-program is not installed"):
        HostRunner().run(["no-such-program"])


def test_what_ends_by_a_signal_says_so() -> None:
    assert HostRunner().foreground(["sh", "-c", "kill -TERM $$"]) == 128 + signal.SIGTERM
    assert HostRunner().foreground(["sh", "-c", "exit 5"]) == 5


def test_what_runs_in_the_foreground_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "id"
    shell = f"['sh', '-c', 'echo $$ >{told}; exec sleep 60']"
    program = f"from localk8s.system.process import HostRunner; HostRunner().foreground({shell})"
    parent = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 20
    while not (told.exists() and told.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child = int(told.read_text())
    assert is_there(child)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait(10)
    assert wait_for_end(child)
