"""A bundle, carried to a machine that has nothing: another home, an empty cache, no network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from localk8s_door import RealDoor, traces

pytestmark = pytest.mark.real


def test_a_bundle_is_all_that_another_machine_needs(door: RealDoor, tmp_path: Path) -> None:
    bundle = tmp_path / "cluster.tar"
    made = door.run("bundle", str(bundle))
    assert made.returncode == 0 and f"localk8s start --artifacts {bundle}" in made.stderr, made
    other = RealDoor(tmp_path / "other")
    del other.environment["LOCALK8S_CACHE"]  # its own, and empty
    assert "The cache is empty." in other.do("cache", "list")
    other.fail("start", code=11)
    before = traces(other)
    try:
        other.do("start", "--artifacts", str(bundle))
        assert json.loads(other.do("demo", "-o", "json"))["status"] == 200
        assert "export DOCKER_HOST=" in other.do("docker-env", "--shell", "bash")
        other.do("stop")
        bundle.unlink()
        other.do("cache", "delete", "--all", "--yes")
        other.do("start")  # a cluster keeps what it runs on
        assert other.status()["state"] == "running"
    finally:
        other.do("delete", "--yes")
    assert not {kind: more for kind, more in traces(other).more_than(before).items() if kind != "files"}
