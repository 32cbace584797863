"""Fixtures of the tests with real clusters: a home of one's own, the real command line, and a machine left as it was found.

They run as root in a network namespace without an uplink (``make real`` makes one): nothing can be fetched, and
nothing can leave the machine.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from localk8s_door import RealDoor

from localk8s.store.layout import Layout
from localk8s.system.paths import find_roots


def pytest_configure() -> None:
    """Where this host has no docker client, the tests use the one that localk8s puts on nodes."""
    if shutil.which("docker") is None:
        clients = Layout(find_roots(os.environ)).artifacts.glob("debian/docker-*/usr/bin")
        os.environ["PATH"] = ":".join([os.environ["PATH"], *map(str, clients)])


def _refuse_reason() -> str:
    if os.geteuid() != 0:
        return "real clusters need root: make real"
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    if any(line.split()[1] == "00000000" for line in routes):
        return "real clusters are made in a network without an uplink: make real"
    return ""


@pytest.fixture(autouse=True, scope="session")
def _alone() -> None:
    if reason := _refuse_reason():
        pytest.fail(reason, pytrace=False)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealDoor]:
    """The real localk8s with a home of its own for a module; every cluster in it is deleted at the end."""
    it = RealDoor(tmp_path_factory.mktemp("home"))
    yield it
    names = json.loads(it.run("list", "-o", "json").stdout or "{}").get("items", [])
    for item in names:
        it.run("delete", "-c", item["name"], "--yes")
