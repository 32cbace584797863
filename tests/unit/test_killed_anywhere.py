"""kill -9 at every step that is reported, over the fake driver: start finishes, delete clears, status is true."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_door import Door
from killing import Killer


@pytest.fixture
def killer(door: Door, tmp_path: Path) -> Killer:
    environment = {**door.environment, "PYTHONPATH": str(door.home / "plugins"), "PYTHONDONTWRITEBYTECODE": "1"}
    return Killer("default", environment, tmp_path)


def state(door: Door) -> str:
    return str(door("status", "-o", "json").json["state"])


def keeps_its_promise(door: Door) -> None:
    """Whatever ``status`` says brings it back, does."""
    found = door("status", "-o", "json")
    said = json.dumps(found.json["reasons"])
    if found.json["state"] != "running":
        assert "localk8s start" in said or "localk8s delete" in said or found.json["state"] == "stopped", said
    assert door("start").code == 0
    assert state(door) == "running"


def test_start_goes_on_from_every_step(door: Door, killer: Killer) -> None:
    def between(point: str) -> None:
        if point != "check":  # nothing is recorded before that
            assert state(door) == "incomplete"

    assert killer.kill_everywhere("start", "nodes=2", between=between) == ["check", "boot", "init", "ready"]
    assert state(door) == "running"


@pytest.mark.parametrize(("verb", "more"), [("stop", ()), ("node add", ()), ("node delete", ("default-2",))])
def test_what_was_killed_is_finished_by_start(door: Door, killer: Killer, verb: str, more: tuple[str, ...]) -> None:
    assert door("start", "--nodes", "3").code == 0
    for _ in range(20):
        if not killer.kill(verb, *more):
            return
        keeps_its_promise(door)
        if verb == "node delete" and "default-2" not in {node["name"] for node in door("status", "-o", "json").json["nodes"]}:
            return  # start has finished that
    raise AssertionError(f"{verb} never came to its end")


def test_a_killed_delete_is_known_as_such_and_finished_by_delete(door: Door, killer: Killer) -> None:
    assert door("start").code == 0

    def between(point: str) -> None:
        found = door("status", "-o", "json").json
        assert found["state"] == "incomplete" and "Deleting it was interrupted" in found["reasons"][0], found
        assert "localk8s delete" in found["reasons"][0] and "localk8s start" not in found["reasons"][0]
        assert door("node", "add").code == 4

    killer.kill_everywhere("delete", between=between)
    assert not list((door.home / "l8s").rglob("*.json"))


def test_start_after_a_killed_delete_makes_a_whole_new_cluster(door: Door, killer: Killer) -> None:
    assert door("start", "--nodes", "3").code == 0
    assert killer.kill("delete")
    assert door("start", "--dry-run").out.split()[:2] == ["would", "create"]
    assert door("start", "--nodes", "1").code == 0
    assert state(door) == "running" and len(door("status", "-o", "json").json["nodes"]) == 1


def test_the_killer_kills(tmp_path: Path) -> None:
    """The instrument: a process that meets a new point is dead, and the point is noted."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from killing import Deadly\n"
        "report = Deadly(Path(sys.argv[2]), frozenset({2}))\n"
        "with report.step('a', 'A'):\n    report.command('x'); report.command('y'); report.command('z')\n"
    )
    argv = [sys.executable, "-c", script, str(Path(__file__).parents[1] / "e2e"), str(tmp_path / "met")]
    codes = [subprocess.run(argv, check=False).returncode for _ in range(3)]
    assert codes == [-9, -9, 0]
    assert (tmp_path / "met").read_text().split() == ["a", "a+2"]
