"""The client of Vagrant against a program that says what a real one said: reasons are kept, names reach it, Ctrl-C too."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from localk8s.drivers.vagrant.client import VagrantClient, VagrantError
from localk8s.model.errors import PrerequisiteError
from localk8s.system.process import HostRunner

FAKE = """#!/bin/sh
printf '%s\\n' "$*" >>"$FAKE_CALLS"
env >"$FAKE_CALLS.env"
if [ -e "$FAKE_CALLS.wait" ]; then
  trap 'echo tidied >>"$FAKE_CALLS"; exit 1' INT
  echo ready >"$FAKE_CALLS.ready"
  while :; do sleep 0.05; done
fi
[ ! -e "$FAKE_CALLS.stdout" ] || cat "$FAKE_CALLS.stdout"
[ ! -e "$FAKE_CALLS.stderr" ] || cat "$FAKE_CALLS.stderr" >&2
exit "$(cat "$FAKE_CALLS.code" 2>/dev/null || echo 0)"
"""


class World:
    """A directory with a fake vagrant on PATH."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls_file = directory / "calls"
        program = directory / "bin/vagrant"
        program.parent.mkdir()
        program.write_text(FAKE)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        monkeypatch.setenv("FAKE_CALLS", str(self.calls_file))
        (directory / "cluster").mkdir()
        self.directory = directory / "cluster"
        self.client = VagrantClient(self.directory, HostRunner(), {"VAGRANT_HOME": "/own"}, boot_limit=20)

    def says(self, *, stdout: str = "", stderr: str = "", code: int = 0) -> None:
        for name, content in (("stdout", stdout), ("stderr", stderr), ("code", str(code))):
            Path(f"{self.calls_file}.{name}").write_text(content)

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A fake vagrant."""
    return World(tmp_path, monkeypatch)


def test_verbs_reach_vagrant_with_the_provider_named(world: World) -> None:
    world.client.up(["t"], "lxc")
    world.client.up(["t-2", "t-3"], "lxc")
    world.client.halt("t", force=True)
    world.client.destroy("t")
    world.client.destroy()
    assert world.calls == [
        "up t --no-provision --provider=lxc",
        "up t-2 t-3 --no-provision --provider=lxc",
        "halt t --force",
        "destroy t --force",
        "destroy --force --parallel",
    ]


def test_vagrants_state_stays_in_the_clusters_folder(world: World) -> None:
    world.client.states()
    environment = dict(line.split("=", 1) for line in Path(f"{world.calls_file}.env").read_text().splitlines() if "=" in line)
    assert environment["VAGRANT_DOTFILE_PATH"] == str(world.directory / ".vagrant")
    assert environment["VAGRANT_CWD"] == str(world.directory)
    assert environment["VAGRANT_HOME"] == "/own" and environment["VAGRANT_CHECKPOINT_DISABLE"] == "1"


def test_the_reason_of_a_failure_is_kept(world: World) -> None:
    world.says(stderr="==> t: Importing\n\nThe box 'x' could not be\nfound.\n\nFor more information, see the log.\n", code=1)
    with pytest.raises(VagrantError) as caught:
        world.client.up(["t"], "lxc")
    assert "==> t: Importing" in caught.value.details
    assert caught.value.message == "vagrant up failed: The box 'x' could not be found."
    assert caught.value.returncode == 1


def test_which_machine_failed_is_kept(world: World) -> None:
    world.says(
        stderr="An error occurred while executing the action on the 't-2'\nmachine. Please handle it:\n\nNo room.\n", code=1
    )
    with pytest.raises(VagrantError) as caught:
        world.client.up(["t", "t-2"], "lxc")
    assert caught.value.machines == {"t-2": "No room."}
    assert caught.value.message == "vagrant up failed: t-2: No room."


def test_states_survive_a_banner_and_unknown_lines(world: World) -> None:
    world.says(stdout="hello from a plugin\n1,t,state,running\n1,,error,a,b,c,d,e\n")
    assert world.client.states() == {"t": "running"}


def test_ssh_is_asked_for_once_until_machines_change(world: World) -> None:
    world.says(stdout="Host t\n  HostName 192.0.2.1\n  Port 2222\n")
    assert world.client.hosts()["t"].get("Port") == world.client.hosts()["t"].get("Port") == "2222"
    assert world.calls == ["ssh-config"]
    world.client.halt("t")
    world.client.hosts()
    assert world.calls == ["ssh-config", "halt t", "ssh-config"]


def test_machines_that_are_off_do_not_hide_the_others(world: World) -> None:
    world.says(stdout="Host t\n  HostName 192.0.2.1\n", stderr="t-2 is not running\n", code=1)
    assert set(world.client.hosts()) == {"t"}


def test_lines_are_handed_on_while_vagrant_runs(world: World) -> None:
    world.says(stdout="==> t: booted\n")
    seen: list[str] = []
    world.client.up(["t"], "lxc", seen.append)
    assert seen == ["==> t: booted"]


def test_ctrl_c_lets_vagrant_tidy_up(world: World) -> None:
    Path(f"{world.calls_file}.wait").touch()
    ready = Path(f"{world.calls_file}.ready")

    def interrupt() -> None:
        for _ in range(3000):
            if ready.exists():
                break
            time.sleep(0.02)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        world.client.up(["t"], "lxc")
    thread.join()
    assert world.calls[-1] == "tidied"


def test_out_of_time_is_said_and_vagrant_tidies_up(world: World) -> None:
    Path(f"{world.calls_file}.wait").touch()
    client = VagrantClient(world.directory, HostRunner(), {}, boot_limit=1)
    with pytest.raises(VagrantError) as caught:
        client.up(["t"], "lxc")
    assert caught.value.returncode is None and "did not end within 1 s" in caught.value.message
    assert world.calls[-1] == "tidied"


def test_without_vagrant_the_way_to_it_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PrerequisiteError) as caught:
        world.client.states()
    assert caught.value.hint == "localk8s setup --driver vagrant"
