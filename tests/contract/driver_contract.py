"""What every driver keeps, written once: the same story for namespaces, machines, minikube and the fake.

Subclass ``DriverContract``, name the driver, and give a fixture ``run`` (and ``path``, the user's kubeconfig file):

    class TestNative(DriverContract):
        driver = "native"

    @pytest.fixture(scope="module")
    def run() -> Run: ...

The tests of a class are one story: they run in the order in which they stand here, on one cluster.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml


@dataclass(frozen=True)
class Outcome:
    """A command line that ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]
"""Called with the words of a command line."""


class DriverContract:
    """The story."""

    driver: ClassVar[str]
    start_options: ClassVar[tuple[str, ...]] = ()
    """What a start needs beside the driver's name, such as smaller sizes."""
    nodes: ClassVar[int] = 2
    name: ClassVar[str] = "contract"

    def do(self, run: Run, *words: str) -> str:
        """Run what must succeed; returns standard output."""
        found = run(words[0], "-c", self.name, *words[1:])
        assert found.code == 0, found
        assert "Traceback" not in found.err
        return found.out

    def refused(self, run: Run, code: int, *words: str) -> str:
        """Run what must fail with ``code`` and one sentence; returns standard error."""
        found = run(words[0], "-c", self.name, *words[1:])
        assert found.code == code, found
        assert sum(line.startswith("error: ") for line in found.err.splitlines()) == 1, found
        assert "Traceback" not in found.err
        return found.err

    def status(self, run: Run, code: int = 0) -> dict[str, Any]:
        """What ``status`` says, ending with ``code``."""
        found = run("status", "-c", self.name, "-o", "json")
        assert found.code == code, found
        return dict(json.loads(found.out))

    def start(self, run: Run, *more: str) -> str:
        """Start as the class says."""
        return self.do(run, "start", "--driver", self.driver, "--nodes", str(self.nodes), *self.start_options, *more)

    def test_01_nothing_is_there_yet(self, run: Run) -> None:
        for words in (("status",), ("ip",), ("stop",), ("kubeconfig",), ("ssh", "--", "true"), ("kubectl", "version")):
            self.refused(run, 3, *words)
        assert "nothing to delete" in self.do(run, "delete", "--yes")

    def test_02_a_dry_run_makes_nothing(self, run: Run) -> None:
        assert self.start(run, "--dry-run").split()[:2] == ["would", "create"]
        self.refused(run, 3, "status")

    def before_create(self, path: Path) -> None:
        """Nothing; for what a driver's own test does to the cluster first."""

    def test_03_create(self, run: Run, path: Path) -> None:
        self.before_create(path)
        out = self.start(run)
        assert f"context localk8s-{self.name} is current" in out
        assert yaml.safe_load(path.read_text())["current-context"] == f"localk8s-{self.name}"

    def test_04_status(self, run: Run) -> None:
        found = self.status(run)
        assert (found["state"], found["driver"], found["driverSource"]) == ("running", self.driver, "--driver")
        assert found["kubernetesVersion"].startswith("v1.")
        assert len(found["nodes"]) == self.nodes
        assert [node["role"] for node in found["nodes"]] == ["control-plane", *["worker"] * (self.nodes - 1)]
        assert {node["state"] for node in found["nodes"]} == {"ready"}
        assert len({node["address"] for node in found["nodes"]}) == self.nodes
        assert self.name in run("list", "-o", "name").out.split()

    def test_05_create_again_changes_nothing(self, run: Run) -> None:
        before = self.status(run)
        assert self.start(run) == f'Cluster "{self.name}" is already running.\n'
        assert self.status(run) == before

    def test_06_addresses(self, run: Run) -> None:
        nodes = self.status(run)["nodes"]
        assert self.do(run, "ip").strip() == nodes[0]["address"]
        assert self.do(run, "ip", nodes[-1]["name"]).strip() == nodes[-1]["address"]
        self.refused(run, 3, "ip", "no-such-node")

    def test_07_a_command_on_every_node_with_its_exit_code(self, run: Run) -> None:
        for node in self.status(run)["nodes"]:
            assert self.do(run, "ssh", node["name"], "--", "hostname").strip() == node["name"]
        self.refused(run, 3, "ssh", "no-such-node", "--", "true")

    def test_08_the_kubeconfig_is_the_clusters_own(self, run: Run) -> None:
        found = yaml.safe_load(self.do(run, "kubeconfig"))
        name = f"localk8s-{self.name}"
        assert [entry["name"] for entry in found["contexts"]] == [name]
        assert found["current-context"] == name
        assert found["clusters"][0]["cluster"]["server"].startswith("https://")

    def test_09_what_cannot_be_had_is_refused(self, run: Run) -> None:
        other = "minikube" if self.driver != "minikube" else "native"
        assert "localk8s delete" in self.refused(run, 4, "start", "--driver", other)
        assert "localk8s delete" in self.refused(run, 4, "start", "--kubernetes-version", "1.22.17")
        self.refused(run, 2, "start", "--driver-option", "no-such-option=1")
        assert self.status(run)["state"] == "running"

    def test_10_stop_keeps_everything(self, run: Run) -> None:
        before = self.status(run)
        self.do(run, "stop")
        stopped = self.status(run, code=4)
        assert stopped["state"] == "stopped"
        self.do(run, "stop")
        assert [node["name"] for node in stopped["nodes"]] == [node["name"] for node in before["nodes"]]

    def test_11_start_brings_the_same_cluster_back(self, run: Run) -> None:
        stopped = self.status(run, code=4)
        assert "is running" in self.do(run, "start")
        again = self.status(run)
        assert [node["address"] for node in again["nodes"]] == [node["address"] for node in stopped["nodes"]]
        assert again["kubernetesVersion"] == stopped["kubernetesVersion"]

    def test_12_delete_takes_all_of_it(self, run: Run, path: Path) -> None:
        self.refused(run, 2, "delete")
        self.do(run, "delete", "--yes")
        assert not (yaml.safe_load(path.read_text())["contexts"] or [])
        self.refused(run, 3, "status")
        assert "nothing to delete" in self.do(run, "delete", "--yes")
        assert self.name not in run("doctor", "--driver", self.driver).out
