"""The Vagrant driver keeps the contract on LXC: two machines with systemd each, whole, made from a box built here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from driver_contract import DriverContract, Outcome, Run
from killing import TURN, Killer

pytestmark = pytest.mark.real


def environment(path: Path) -> dict[str, str]:
    """Of every command: a home beside the kubeconfig ``path``, the machine's artifact cache, nothing from outside."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("LOCALK8S_")},
        "LOCALK8S_HOME": str(path.parent / "l8s"),
        "LOCALK8S_CACHE": os.environ.get("LOCALK8S_CACHE") or str(Path("~/.cache/localk8s").expanduser()),
        "LOCALK8S_OFFLINE": "1",
        "KUBECONFIG": str(path),
    }


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vagrant") / "kubeconfig"


@pytest.fixture(scope="module")
def run(path: Path) -> Iterator[Run]:
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    assert os.geteuid() == 0, "real clusters need root: make real"
    assert not any(line.split()[1] == "00000000" for line in routes), (
        "real clusters need a network without an uplink: make real"
    )
    cache = Path(os.environ.get("LOCALK8S_CACHE") or Path("~/.cache/localk8s").expanduser())
    if not shutil.which("vagrant") or not shutil.which("lxc-create") or not list((cache / "boxes").glob("*/")):
        pytest.fail("vagrant-lxc and its box are not here: localk8s setup --driver vagrant")

    def run(*words: str) -> Outcome:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "localk8s"), *words],
            env=environment(path),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=600,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    yield run
    run("delete", "-c", TestVagrantLxc.name, "--yes")


class TestVagrantLxc(DriverContract):
    """On containers with systemd; in a network without an uplink (``make real``).

    Each verb is killed once on the way, at a point that LOCALK8S_TEST_TURN chooses: nothing of the story may notice.
    """

    driver = "vagrant"
    start_options = ("--driver-option", "provider=lxc", "--memory", "1500m")

    def before_create(self, path: Path) -> None:
        """A start that is killed on the way; not test_03 itself: pytest would run what a subclass overrides last."""
        request = ("nodes=2", "driver=vagrant", "memory=1500m", "option.provider=lxc")
        print(self.killer(path).kill("start", *request, skip=TURN % 7))

    def test_10_stop_keeps_everything(self, run: Run, path: Path) -> None:  # type: ignore[override]
        print(self.killer(path).kill("stop", skip=TURN % 2))
        self.do(run, "start")
        super().test_10_stop_keeps_everything(run)

    def test_11_start_brings_the_same_cluster_back(self, run: Run, path: Path) -> None:  # type: ignore[override]
        stopped = self.status(run, code=4)
        print(self.killer(path).kill("start", skip=TURN % 5))
        assert "is running" in self.do(run, "start") or self.status(run)["state"] == "running"
        assert [node["address"] for node in self.status(run)["nodes"]] == [node["address"] for node in stopped["nodes"]]

    def test_12_delete_takes_all_of_it(self, run: Run, path: Path) -> None:
        print(self.killer(path).kill("delete", skip=TURN % 2))
        super().test_12_delete_takes_all_of_it(run, path)

    def killer(self, path: Path) -> Killer:
        """Who kills what works on this cluster; all points are new to each."""
        return Killer(self.name, environment(path), Path(tempfile.mkdtemp(dir=path.parent)))
