"""The fake driver keeps the contract, so what is tested with it holds for the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from driver_contract import DriverContract, Outcome, Run

ENTRY_POINTS = "[localk8s.drivers]\nfake = localk8s.testing:build\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("fake")
    distribution = home / "plugins/fake_driver-1.dist-info"
    distribution.mkdir(parents=True)
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-driver\nVersion: 1\n")
    (distribution / "entry_points.txt").write_text(ENTRY_POINTS)
    return home


@pytest.fixture(scope="module")
def path(home: Path) -> Path:
    return home / "kubeconfig"


@pytest.fixture(scope="module")
def run(home: Path, path: Path) -> Run:
    environment = {
        "LOCALK8S_HOME": str(home / "l8s"),
        "KUBECONFIG": str(path),
        "PYTHONPATH": str(home / "plugins"),
        "PATH": os.environ["PATH"],
    }

    def run(*words: str) -> Outcome:
        code = "import sys; from localk8s.cli.app import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


class TestFake(DriverContract):
    """On files."""

    driver = "fake"
    nodes = 3
