"""The real command line over the fake minikube: what a user types, sees, and gets as exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from minikube_world import World

MAIN = "import sys; from localk8s.cli.app import main; sys.exit(main())"
FIELD_GUIDE = ("start", "--driver", "minikube", "--vm-driver", "virtualbox", "--memory", "8096", "--disk-size", "30g")


@dataclass
class Done:
    code: int
    out: str
    err: str


class Shell:
    """A user's shell in one world."""

    def __init__(self, world: World, root: Path) -> None:
        self.world = world
        self.kubeconfig = root / "kubeconfig"
        self.config = root / "l8s" / "config" / "config.yaml"
        self.config.parent.mkdir(parents=True)
        self.configure("")
        self.environment = {
            **os.environ,
            "LOCALK8S_HOME": str(root / "l8s"),
            "KUBECONFIG": str(self.kubeconfig),
            "NO_COLOR": "1",
        }

    def configure(self, text: str) -> None:
        """Write the configuration: nothing is ever fetched for a test."""
        self.config.write_text(f"sources: {{offline: true}}\n{text}")

    def __call__(self, *words: str, code: int = 0) -> Done:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=180,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    world = World(tmp_path, monkeypatch)
    # the fake VBoxManage only has to be there
    program = tmp_path / "bin" / "VBoxManage"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    yield Shell(world, tmp_path)
    world.close()


def test_the_line_of_the_field_guides_works(shell: Shell) -> None:
    done = shell(*FIELD_GUIDE)
    assert "localk8s-default" in done.out
    argv = shell.world.calls("start")[0]
    assert {"--driver=virtualbox", "--memory=8096mb", "--disk-size=30720mb", "--kubernetes-version=v1.36.2"} <= set(argv)
    assert "warning" not in done.err.lower() and "  ! " not in done.err
    assert yaml.safe_load(shell.kubeconfig.read_text())["current-context"] == "localk8s-default"
    assert shell("ip").out == "192.168.59.2\n"
    assert shell("ssh", "--", "sh", "-c", "exit 3", code=3)
    again = shell(*FIELD_GUIDE)
    assert again.out == 'Cluster "default" is already running.\n'

    refused = shell("start", "--memory", "4g", code=4)
    assert "7.9 GiB" in refused.err and "4.0 GiB" in refused.err and "localk8s delete" in refused.err
    shell("stop")
    assert "not live" in shell("ip", code=4).err
    assert json.loads(shell("status", "-o", "json", code=4).out)["state"] == "stopped"
    shell("start")
    shell("delete", "--yes")
    assert not yaml.safe_load(shell.kubeconfig.read_text())["contexts"]
    assert "localk8s-default" not in shell("doctor", "--driver", "minikube").out


def test_doctor_looks_at_the_driver_that_is_named(shell: Shell) -> None:
    assert "docker answers" in shell("doctor", "--vm-driver", "docker").out
    shell.world.scenario(docker="absent")
    refused = shell("doctor", "--vm-driver", "docker", code=5).out
    assert "The docker service does not answer" in refused and "native" not in refused
    assert "is no driver of minikube" in shell("doctor", "--vm-driver", "../../etc").out


def test_json_output_every_line_is_an_event_and_progress_never_goes_back(shell: Shell) -> None:
    """TestJSONOutput: start and its steps as events of ours."""
    done = shell("start", "--driver", "minikube", "--vm-driver", "docker", "-o", "json")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert {event["kind"] for event in events} == {"Event"}
    started = [event["step"] for event in events if event["type"] == "stepStarted" and event["step"].startswith("minikube-")]
    assert len(started) == len(set(started)), "distinct steps"
    assert started[0] == "minikube-setup" and started[-1] == "minikube-addons"
    bar = [event["done"] for event in events if event["type"] == "stepProgress" and event["step"].startswith("minikube-")]
    assert bar == sorted(bar)


def test_error_json_output_has_code_and_hint(shell: Shell) -> None:
    """TestErrorJSONOutput: an unknown driver is a structured error."""
    done = shell("start", "--driver", "minikube", "--vm-driver", "fail", "-o", "json", code=8)
    error = json.loads(done.err.splitlines()[-1])
    assert (error["kind"], error["code"], error["exitCode"]) == ("Error", "not_supported", 8)
    assert "The driver 'fail' is not supported" in error["message"] and error["hint"]
    assert shell.world.profile("localk8s-default") is None
    shell("status", code=3)


def test_a_failed_start_says_what_to_paste_and_leaves_nothing(shell: Shell) -> None:
    shell.world.scenario(start="provision")
    words = ("--minikube-arg", "--force", "--minikube-arg", "--ssh-ip-address=127.0.0.1")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = shell(
            "start", "--driver", "minikube", "--vm-driver", "ssh", *words, "--minikube-arg", f"--ssh-port={port}", code=6
        )
    assert 'minikube could not start the cluster at step "Starting Node" (exit 80, GUEST_PROVISION)' in done.err
    assert shell.world.profile("localk8s-default") is None, "taken back, although minikube's own delete fails"
    assert list((shell.world.home / "machines").glob("*")) == []
    shell("status", code=3)
    shell("delete", "--yes")


def test_this_host_as_the_node_from_the_command_line(shell: Shell) -> None:
    options = ("--driver", "minikube", "--vm-driver", "none", "--kubernetes-version", "1.20.2", "--minikube-arg", "--force")
    shell("start", *options)
    assert "no ssh: its node is this host itself" in shell("ssh", code=8).err
    assert "has one node, this host; asked for 2 nodes" in shell("start", "-c", "two", *options, "--nodes", "2", code=8).err
    assert 'cluster "default" has it' in shell("start", "-c", "two", *options, code=4).err
    assert shell("start", *options).out == 'Cluster "default" is already running.\n'
    assert "has one node" in shell("start", "--nodes", "2", code=8).err
    assert shell.world.calls("node") == []
    shell("delete", "--yes")
    assert shell.world.profile("minikube") is None


@pytest.mark.parametrize(
    "words",
    [
        ("--vm-driver", "../../etc"),
        ("--vm-driver", ""),
        ("--minikube-arg", "--driver=docker"),
        ("--minikube-arg", "rm"),
        ("--minikube-arg", "--profile=other"),
        ("--driver-option", "colour=red"),
        ("--driver-option", "container-runtime=rkt"),
    ],
)
def test_hostile_options_are_exit_2_and_one_sentence(shell: Shell, words: tuple[str, ...]) -> None:
    done = shell("start", "--driver", "minikube", *words, code=0 if words == ("--vm-driver", "") else 2)
    if done.code:
        assert sum(line.startswith("error: ") for line in done.err.splitlines()) == 1
        assert shell.world.calls("start") == []


def test_a_minikube_section_of_the_configuration_holds_what_only_minikube_has(shell: Shell, tmp_path: Path) -> None:
    shell.configure("driver: minikube\nminikube:\n  vm-driver: kvm2\n  cni: calico\n  minikube-arg: --force --v=3\n")
    program = tmp_path / "bin" / "virsh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    shell("start")
    argv = shell.world.calls("start")[0]
    assert {"--driver=kvm2", "--cni=calico"} <= set(argv) and argv[-2:] == ["--force", "--v=3"]
    shell.configure("driver: minikube\nminikube:\n  colour: red\n")
    assert "colour" in shell("start", "-c", "other", code=9).err
    shell("delete", "--yes")


def test_ctrl_c_ends_at_once_and_nothing_goes_on(shell: Shell) -> None:
    shell.world.scenario(start="hang at 8")
    child = subprocess.Popen(
        [sys.executable, "-c", MAIN, "start", "--driver", "minikube", "--vm-driver", "vmware"],
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (shell.world.root / "hangs").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130 and "nothing is lost" in err and "Traceback" not in err
    shell.world.scenario()
    shell("start")
    assert json.loads(shell("status", "-o", "json").out)["state"] == "running"
    shell("delete", "--yes")
