"""kill -9 anywhere on a real native cluster that lives on: start finishes it, or delete clears it, and status is true.

Every step that a verb reports is met once, and a place inside it; see ``killing``.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from killing import Killer
from localk8s_door import RealDoor, Traces, ask, traces
from small_images import busybox_layer, write_image

pytestmark = pytest.mark.real
NAME = "killed"


class Story:
    """The cluster, and who kills what works on it.

    Args:
        door: the command line.
        directory: for the killer's notes.
    """

    def __init__(self, door: RealDoor, directory: Path) -> None:
        self.door = door
        self.before: Traces = traces(door)
        self.killer = Killer(NAME, door.environment, directory)

    def heal(self, point: str) -> None:
        """What status promises, start does; afterwards the cluster is whole."""
        status = self.door.status(NAME)
        promises = status["state"] in ("running", "stopped", "starting") or "localk8s start" in json.dumps(status)
        assert promises, (point, status)
        self.door.do("start", "-c", NAME)
        assert self.door.status(NAME)["state"] == "running", point

    def nodes(self) -> list[str]:
        return [node["name"] for node in self.door.status(NAME)["nodes"]]

    def answers(self) -> bool:
        """Whether the demo answers on the first node."""
        service = json.loads(self.door.kubectl("get", "service", "demo", "-o", "json", cluster=NAME))
        address = self.door.status(NAME)["nodes"][0]["address"]
        return bool(ask(f"http://{address}:{service['spec']['ports'][0]['nodePort']}", timeout=20)["pod"])


@pytest.fixture(scope="module")
def story(door: RealDoor, tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(door, tmp_path_factory.mktemp("killed"))


def test_01_start_goes_on_from_every_step(story: Story) -> None:
    def between(point: str) -> None:
        status = story.door.status(NAME)
        assert not status or status["state"] == "incomplete", (point, status)

    points = story.killer.kill_everywhere("start", "nodes=2", between=between)
    assert {"check", "fetch", "boot", "init", "join", "ready"} <= set(points)
    assert any("+" in point for point in points)
    assert story.door.status(NAME)["state"] == "running"
    story.door.do("demo", "-c", NAME)
    assert story.answers()


def test_02_a_stop_that_was_killed_is_undone_by_start(story: Story) -> None:
    story.killer.kill_everywhere("stop", between=story.heal)
    assert story.door.status(NAME)["state"] == "stopped"
    story.heal("")
    assert story.answers()


def test_03_a_node_that_was_being_added_is_there_after_start(story: Story, tmp_path: Path) -> None:
    assert story.killer.kill("node add")
    rest = Killer(NAME, story.door.environment, tmp_path).kill_everywhere("start")  # who finishes it is killed, too
    assert {"boot", "join"} <= set(rest), rest
    assert story.nodes() == [NAME, f"{NAME}-2", f"{NAME}-3"]
    assert story.door.status(NAME)["state"] == "running"


def test_04_a_node_that_was_leaving_is_gone_after_start(story: Story) -> None:
    gone = f"{NAME}-3"
    points = story.killer.kill_everywhere("node delete", gone)
    assert {"drain", "remove"} <= set(points), points
    story.heal("node delete")
    assert story.nodes() == [NAME, f"{NAME}-2"]
    assert not (story.door.home / "data/native" / NAME / "nodes" / gone).exists()


@pytest.mark.parametrize("verb", ["image load", "docker-env", "registry start"])
def test_05_the_same_command_again_finishes_what_was_killed(story: Story, verb: str, tmp_path: Path) -> None:
    more = []
    if verb == "image load":
        more = [str(tmp_path / "image.tar")]
        write_image(Path(more[0]), "killed.local/small:1", busybox_layer())

    def between(point: str) -> None:
        assert story.door.status(NAME)["state"] == "running", point

    story.killer.kill_everywhere(verb, *more, between=between)
    assert story.answers()


def test_06_ctrl_c_ends_soon_and_loses_nothing(story: Story) -> None:
    story.door.do("stop", "-c", NAME)
    process = story.door.spawn("start", "-c", NAME, "-o", "json")
    assert process.stdout
    for line in process.stdout:
        if json.loads(line).get("step") == "init":
            break
    time.sleep(0.3)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=20)
    assert time.monotonic() - asked < 2.5
    assert process.returncode == 130
    assert "Traceback" not in complaint and f"localk8s start -c {NAME}" in complaint
    story.heal("Ctrl-C")


def test_07_delete_clears_from_every_step(story: Story) -> None:
    def between(point: str) -> None:
        status = story.door.status(NAME)
        assert status["state"] == "incomplete" and "Deleting it was interrupted" in status["reasons"][0], (point, status)

    story.killer.kill_everywhere("delete", between=between)
    assert not traces(story.door).more_than(story.before)


@pytest.mark.parametrize("step", ["boot", "init"])
def test_08_delete_clears_what_a_killed_start_left(story: Story, step: str, tmp_path: Path) -> None:
    killer = Killer(NAME, story.door.environment, tmp_path)
    while killer.kill("start", "nodes=1") != step:
        pass
    story.door.do("delete", "-c", NAME, "--yes")
    assert not traces(story.door).more_than(story.before)
