"""The Vagrant driver keeps the contract on LXC: two machines with systemd each, whole, made from a box built here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from driver_contract import DriverContract, Outcome, Run

pytestmark = pytest.mark.real


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
        pytest.skip("vagrant-lxc and its box are not here: localk8s setup --driver vagrant")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LOCALK8S_")},
        "LOCALK8S_HOME": str(path.parent / "l8s"),
        "LOCALK8S_CACHE": str(cache),
        "LOCALK8S_OFFLINE": "1",
        "KUBECONFIG": str(path),
    }

    def run(*words: str) -> Outcome:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "localk8s"), *words],
            env=environment,
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
    """On containers with systemd; in a network without an uplink (``make real``)."""

    driver = "vagrant"
    start_options = ("--driver-option", "provider=lxc", "--memory", "1500m")
