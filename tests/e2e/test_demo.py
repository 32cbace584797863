"""The main job, for real: one command from nothing to an answered request, and the same by hand and from Python."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from localk8s_door import RealDoor, ask

pytestmark = pytest.mark.real

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_demo_starts_a_cluster_deploys_and_is_answered(door: RealDoor) -> None:
    found = json.loads(door.do("demo", "-o", "json"))
    assert door.status()["state"] == "running"
    assert found["status"] == 200
    answer = found["answer"]
    assert answer["pod"].startswith("demo-")
    assert (answer["node"], answer["method"], answer["path"]) == ("default", "GET", "/")
    assert answer["client"].count(".") == 3
    assert {name.lower() for name in answer["headers"]} >= {"host", "user-agent"}
    pods = door.objects("pods", "-l", "app=demo")
    assert len(pods) == 2
    assert ask(found["url"])["pod"] in {pod["metadata"]["name"] for pod in pods}


def test_demo_again_prints_the_answer_for_people(door: RealDoor) -> None:
    text = door.do("demo", "--replicas", "3")
    first, *rest = text.splitlines()
    assert first.startswith("http://") and " answered in " in first
    assert any(line.startswith("  pod demo-") for line in rest)
    assert any("GET / HTTP/1.1" in line for line in rest)
    assert len(door.objects("pods", "-l", "app=demo")) == 3


def test_an_image_that_is_not_there_is_said_and_the_demo_before_is_put_back(door: RealDoor) -> None:
    said = door.fail("demo", "--image", "nosuch:1", code=11, timeout=120)
    assert "The image nosuch:1 cannot be pulled: " in said
    assert "ErrImagePull" in said or "ImagePullBackOff" in said
    assert "hint: localk8s image load nosuch:1" in said
    (deployment,) = door.objects("deployments", "--field-selector=metadata.name=demo")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "localk8s.dev/echo:1"
    assert deployment["spec"]["replicas"] == 3


def test_the_two_commands_by_hand_do_the_same(door: RealDoor) -> None:
    by_hand = json.loads(door.do("demo", "-o", "json"))["byHand"]
    door.fail("demo", "--image", "", code=2)
    door.do("demo", "--delete")
    assert door.objects("pods", "-l", "app=demo") == []
    door.do("demo", "--delete")
    door.fail("demo", "--image", "nosuch:1", code=11, timeout=120)
    assert door.objects("deployments,services", "-l", "app=demo") == []
    for command in by_hand:
        words = shlex.split(command)
        assert words[0] == "kubectl"
        door.kubectl(*words[1:])
    door.kubectl("rollout", "status", "deployment/demo", "--timeout=60s")
    port = door.objects("services", "--field-selector=metadata.name=demo")[0]["spec"]["ports"][0]["nodePort"]
    assert ask(f"http://{door.do('ip').strip()}:{port}")["pod"].startswith("demo-")
    door.do("demo", "--delete")


def test_without_a_cluster_there_is_no_demo_to_delete(door: RealDoor) -> None:
    door.do("delete", "--yes")
    door.fail("demo", "--delete", code=3)


def test_the_example_does_it_as_a_library(door: RealDoor) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py")],
        env=door.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done
    assert " answered in " in done.stdout
    assert "pod demo-" in done.stdout
    assert "example" not in door.do("list", "-o", "name").split()
