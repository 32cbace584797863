"""The fake minikube says what the real one said: its answers beside the recordings of the same command in the same state."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from minikube_world import World

RECORDINGS = Path(__file__).parent.parent / "recordings" / "minikube"
START = ("start", "--driver=none", "--kubernetes-version=v1.20.2", "--container-runtime=containerd", "--force")
MISSING = sorted(path.stem for path in (RECORDINGS / "no-profile").glob("*-missing.json"))
UNKNOWN = (
    "cp-missing",
    "dashboard-missing",
    "kubectl-missing",
    "mount-missing",
    "service-list-missing",
    "ssh-missing",
    "tunnel-missing",
)
"""Of commands that localk8s gives in another way, or never."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, monkeypatch)
    monkeypatch.setenv("FAKE_MINIKUBE_SLOW", "0")
    yield made
    made.close()


def fake(*argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KUBECONFIG": f"{os.environ['HOME']}/kubeconfig"}
    return subprocess.run(["minikube", *argv], env=environment, capture_output=True, text=True, timeout=60, check=False)


def recorded(name: str) -> dict[str, Any]:
    return dict(json.loads((RECORDINGS / f"{name}.json").read_text()))


def shape(stdout: str) -> list[Any]:
    """What counts in an answer: kinds, names and exit codes of events; of other text the lines."""
    lines: list[Any] = []
    for line in stdout.splitlines():
        try:
            event = json.loads(line)
            data = event["data"]
            lines.append((event["type"], data.get("name"), data.get("exitcode"), sorted(data)))
        except (ValueError, KeyError, TypeError):
            lines.append(line)
    return lines


@pytest.mark.parametrize("name", [name for name in MISSING if name not in UNKNOWN])
def test_of_a_profile_that_does_not_exist(world: World, name: str) -> None:
    real = recorded(f"no-profile/{name}")
    said = fake(*real["argv"][1:])
    assert (said.returncode, shape(said.stdout)) == (real["exit"], shape(real["stdout"]))


@pytest.mark.parametrize(
    "name",
    [
        "start-json-bad-version",
        "start-json-old-version",
        "start-json-driver-unknown",
        "start-json-bad-profile-name",
        "start-json-dryrun-lowmem",
        "profile-list-json-empty",
        "version-json",
        "version-short",
        "unknown-command",
    ],
)
def test_of_what_is_refused_and_told_without_a_profile(world: World, name: str) -> None:
    real = recorded(f"no-profile/{name}")
    world.scenario(docker="absent")
    said = fake(*real["argv"][1:])
    assert said.returncode == real["exit"]
    real_errors = [line for line in shape(real["stdout"]) if line[0] == "io.k8s.sigs.minikube.error" and line[2]]
    assert [line for line in shape(said.stdout) if line[0] == "io.k8s.sigs.minikube.error" and line[2]] == real_errors


@pytest.fixture
def running(world: World) -> World:
    assert fake(*START).returncode == 0
    config = world.home / "profiles" / "minikube" / "config.json"
    assert json.loads(config.read_text())["Nodes"][0]["IP"] == "10.55.0.10", "as recorded"
    return world


@pytest.mark.parametrize("name", ["ip", "node-list", "update-context", "status-json"])
def test_of_a_running_cluster(running: World, name: str) -> None:
    real = recorded(f"none-driver/running/{name}")
    said = fake(*real["argv"][1:])
    assert (said.returncode, said.stdout) == (real["exit"], real["stdout"])


def test_of_a_stale_kubeconfig(running: World) -> None:
    real = recorded("none-driver/stale-kubeconfig/update-context")
    file = Path(os.environ["HOME"]) / "kubeconfig"
    port = fake("update-context")  # nothing to do yet
    assert "No changes required" in port.stdout
    file.write_text(file.read_text().replace("127.0.0.1", "127.0.0.9"))
    assert fake("status", "--output=json").returncode == recorded("none-driver/stale-kubeconfig/status-json")["exit"] == 4
    said = fake("update-context")
    assert said.returncode == real["exit"]
    address = json.loads((running.root / "servers" / "minikube.json").read_text())["api"]
    assert said.stdout == real["stdout"].replace("10.55.0.10:8443", f"127.0.0.1:{address}")


def test_of_a_server_that_is_down(running: World) -> None:
    running.set_machine("minikube", apiserver="Stopped")
    real = recorded("none-driver/apiserver-down/ip")
    said = fake("ip")
    assert (said.returncode, said.stdout) == (real["exit"], real["stdout"])


def test_of_a_stopped_cluster(running: World) -> None:
    assert fake("stop").returncode == 0
    for name in ("node-list", "image-ls", "ip"):
        real = recorded(f"none-driver/stopped/{name}")
        said = fake(*real["argv"][1:])
        assert (said.returncode, said.stdout.strip()) == (real["exit"], real["stdout"].strip()), name


def test_of_a_start_and_a_delete(world: World) -> None:
    """The events of the clean life, in their order; repeats of one step count once."""
    real = recorded("none-driver/clean/start-json")
    said = fake(*START, "--output=json")

    def steps(stdout: str) -> list[str]:
        found = [line[1] for line in shape(stdout) if line[0] == "io.k8s.sigs.minikube.step"]
        return list(dict.fromkeys(found))

    assert said.returncode == real["exit"] == 0
    assert set(steps(real["stdout"])) <= set(steps(said.stdout))
    order = [name for name in steps(said.stdout) if name in steps(real["stdout"])]
    assert order == steps(real["stdout"])


def test_after_a_failed_provisioning_and_a_failed_start(world: World) -> None:
    world.scenario(start="provision")
    assert fake("start", "-p", "mk", "--driver=ssh", "--ssh-ip-address=10.55.0.20", "--force").returncode == 80
    for name in ("node-list", "status-json", "delete-json"):
        real = recorded(f"ssh-driver/after-failed-start/{name}")
        said = fake(*real["argv"][1:])
        assert (said.returncode, said.stdout.splitlines()[:1]) == (real["exit"], real["stdout"].splitlines()[:1]) or (
            name == "delete-json" and said.returncode == real["exit"]
        ), name
    world.scenario(start="kubeadm")
    assert fake(*START).returncode == 80
    real = recorded("none-driver/after-failed-start/node-list")
    assert fake("node", "list").stdout == real["stdout"]
    real = recorded("none-driver/after-failed-start/status-json")
    assert fake("status", "--output=json").returncode == real["exit"]


def test_after_a_node_add_that_destroyed_the_cluster(running: World) -> None:
    assert fake("node", "add").returncode == recorded("none-driver/running/node-add")["exit"]
    assert fake("node", "list").stdout == recorded("none-driver/after-node-add/node-list")["stdout"]
