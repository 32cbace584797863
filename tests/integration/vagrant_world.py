"""A home for the Vagrant driver in tests: the real driver, the real artifacts from the cache, nothing from outside."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from localk8s.artifacts.library import Library
from localk8s.artifacts.settings import ArtifactSettings
from localk8s.drivers.base import DriverContext
from localk8s.drivers.vagrant import build
from localk8s.drivers.vagrant.driver import VagrantDriver
from localk8s.kube.rest import RestClient
from localk8s.model.progress import SilentReporter, Step
from localk8s.model.quantities import GIB, MIB
from localk8s.model.spec import ClusterSpec, NodeSize
from localk8s.store.layout import Layout
from localk8s.system.host import Host
from localk8s.system.paths import find_roots
from localk8s.system.process import HostRunner

SIZE = NodeSize(Decimal(2), 1500 * MIB, 8 * GIB)


class Told(SilentReporter):
    """Says each step's key on standard output as it begins."""

    @contextlib.contextmanager
    def step(self, key: str, title: str) -> Iterator[Step]:
        """Say it, and run the block."""
        print(key, flush=True)
        with super().step(key, title) as step:
            yield step


def make_driver(home: Path) -> VagrantDriver:
    """The driver with its own home below ``home`` and the machine's artifact cache."""
    cache = os.environ.get("LOCALK8S_CACHE") or str(Path("~/.cache/localk8s").expanduser())
    roots = find_roots({"LOCALK8S_HOME": str(home), "LOCALK8S_CACHE": cache})
    layout = Layout(roots)
    home.mkdir(parents=True, exist_ok=True)
    runner = HostRunner(log=home / "commands.log")
    library = Library(layout.artifacts, runner, ArtifactSettings(offline=True))
    context = DriverContext(layout.driver_data("vagrant"), runner, library, Host(roots.data), layout, {"HOME": str(home)})
    return build(context)


def need(provider: str, *programs: str) -> None:
    """Skip where the provider or its unpacked packages are not here; fail where the network leads anywhere."""
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    if os.geteuid() != 0 or any(line.split()[1] == "00000000" for line in routes):
        pytest.fail("real machines need root and a network without an uplink: make real", pytrace=False)
    cache = Path(os.environ.get("LOCALK8S_CACHE") or Path("~/.cache/localk8s").expanduser())
    missing = [program for program in ("vagrant", *programs) if not shutil.which(program)]
    if missing or not list((cache / "boxes").glob("base-*")):
        pytest.skip(f"{provider} and its box are not here ({missing}): localk8s setup --driver vagrant")


def client(driver: VagrantDriver, spec: ClusterSpec) -> RestClient:
    """The API."""
    return RestClient.from_kubeconfig(driver.kubeconfig(spec), timeout=20)


def main() -> None:
    """``vagrant_world.py HOME NAME NODES PROVIDER``: create or grow a cluster, saying each step (to be killed by a test)."""
    home, name, nodes, provider = sys.argv[1:]
    driver = make_driver(Path(home))
    spec = driver.complete(ClusterSpec(name, "vagrant", nodes=int(nodes), size=SIZE, options={"provider": provider}))
    driver.create(spec, Told())


if __name__ == "__main__":
    main()
