"""The native driver keeps the contract, with real clusters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from driver_contract import DriverContract, Outcome, Run

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("native") / "kubeconfig"


@pytest.fixture(scope="module")
def run(path: Path) -> Iterator[Run]:
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    assert os.geteuid() == 0, "real clusters need root: make real"
    assert not any(line.split()[1] == "00000000" for line in routes), (
        "real clusters need a network without an uplink: make real"
    )
    cache = os.environ.get("LOCALK8S_CACHE") or str(Path("~/.cache/localk8s").expanduser())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LOCALK8S_")},
        "LOCALK8S_HOME": str(path.parent / "l8s"),
        "LOCALK8S_CACHE": cache,
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
            timeout=400,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    yield run
    run("delete", "-c", TestNative.name, "--yes")


class TestNative(DriverContract):
    """On namespaces of this host; in a network without an uplink (``make real``)."""

    driver = "native"
    start_options = ("--memory", "1500m", "--disk-size", "4g")
