"""Ctrl-C, and two at once: real processes, ended or waited for within bounds."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cli_door import Door

from localk8s.cli.interrupts import Interrupts

STUCK = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from localk8s.cli.app import main
from localk8s.testing import FakeDriver

def create(self, spec, report):
    with report.step("boot", "booting for ever"), ThreadPoolExecutor() as pool:
        command = ["sh", "-c", "trap '' INT TERM; sleep 60; touch " + sys.argv[1]]
        pool.submit(runners[-1].run, command, timeout=100)
        pool.submit(time.sleep, 60)

from localk8s import wiring
runners = []
original = wiring.Installation.runner
def remembered(self, log=None):
    runner = original(self, log)
    runners.append(runner)
    return runner
wiring.Installation.runner = remembered
FakeDriver.create = create
sys.argv = ["localk8s", "start"]
sys.exit(main())
"""


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition: object, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_with_a_sentence_and_nothing_is_lost(door: Door, number: signal.Signals) -> None:
    with ended(door.program("start", LOCALK8S_FAKE_SLOW="init:60")) as process:
        record = door.home / "l8s/data/fake/default.json"
        wait_for(record.exists, process)
        time.sleep(0.1)
        began = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - began < 5  # a second, on a machine that does nothing else
    assert process.returncode == 128 + number
    assert out == ""
    assert err.splitlines()[-1] == (
        'interrupted at "starting the control plane"; nothing is lost: localk8s start goes on, localk8s delete takes it away.'
    )
    assert "Traceback" not in err
    assert door("status", "-o", "json").json["state"] == "incomplete"
    assert door("start").code == 0


def test_ctrl_c_ends_also_what_waits_in_threads(door: Door) -> None:
    mark = door.home / "mark"
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, str(mark)],
        env=door.all_variables({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ended(process):
        wait_for((door.home / "l8s/state/clusters/default/cluster.json").exists, process)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith('interrupted at "booting for ever"; nothing is lost')
    asked = subprocess.run(["pgrep", "-f", f"touch {mark}"], capture_output=True, text=True, check=False)
    assert asked.stdout == ""


def test_killed_start_is_finished_by_the_next(door: Door) -> None:
    with ended(door.program("start", LOCALK8S_FAKE_SLOW="init:60")) as process:
        wait_for((door.home / "l8s/data/fake/default.json").exists, process)
    assert door("status", "-o", "json").json["state"] == "incomplete"
    assert door("start").code == 0
    assert door("status").code == 0


def test_two_starts_of_one_name(door: Door) -> None:
    with (
        ended(door.program("start", LOCALK8S_FAKE_SLOW="init:1.5")) as first,
        ended(door.program("start", LOCALK8S_FAKE_SLOW="init:1.5")) as second,
    ):
        results = [process.communicate(timeout=60) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), results
    assert sorted(out.splitlines()[0] for out, _ in results) == [
        'Cluster "default" is already running.',
        'Cluster "default" is running: 1 node, context localk8s-default is current.',
    ]
    assert sum("waited for another localk8s" in err for _, err in results) == 1


def test_delete_waits_for_the_start_that_runs(door: Door) -> None:
    with ended(door.program("start", LOCALK8S_FAKE_SLOW="init:1")) as first:
        wait_for((door.home / "l8s/data/fake/default.json").exists, first)
        assert door("delete", "--yes").code == 0
        first.communicate(timeout=30)
    assert first.returncode == 0
    assert door("list", "-o", "name").out == ""


def test_a_closed_pipe_is_no_failure(door: Door) -> None:
    door("start")
    with ended(door.program("status")) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (141, "")


def test_whoever_comes_second_waits_until_the_sentence_is_said() -> None:
    said: list[str] = []
    began = threading.Event()

    def tell() -> None:
        began.set()
        time.sleep(0.2)
        said.append("once")

    interrupts = Interrupts(tell, lambda: None)
    watchdog = threading.Thread(target=interrupts.tell_once)
    watchdog.start()
    began.wait(10)
    interrupts.tell_once()
    assert said == ["once"]
    watchdog.join()


def test_ctrl_c_where_nothing_is_lost_says_where_it_was(door: Door) -> None:
    code = (
        "import sys, time; from localk8s.cli.app import main\n"
        "def setup(session, *rest):\n"
        "    with session.narrator.step('x', 'having things ready'):\n"
        "        print('ready', flush=True); time.sleep(60)\n"
        "import localk8s.cluster.doctor as doctor\n"
        "doctor.run_setup = lambda installation, planned, report, run: setup(type('S', (), {'narrator': report}))\n"
        "sys.argv = ['localk8s', 'setup', '--driver', 'fake']; sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=door.all_variables({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ended(process):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, 'interrupted at "having things ready".\n')
