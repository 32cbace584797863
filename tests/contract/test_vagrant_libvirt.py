"""The Vagrant driver keeps the contract on libvirt: one control plane and one worker, real machines on emulated processors.

Run by ``make test-vm``, in a world with a libvirt of its own and no uplink. One cluster for the whole story, since a
machine takes minutes here: what other machines would be needed for (growing, shrinking, losses) is tried on LXC.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from driver_contract import DriverContract, Outcome, Run
from localk8s_door import ask

from localk8s.model.quantities import GIB, MIB, parse_kubernetes_quantity
from localk8s.system.wait import Pending, wait_until

START_LIMIT = 1200
pytestmark = [pytest.mark.vm, pytest.mark.timeout(START_LIMIT + 300)]

KNOWN_HOSTS = Path("~/.ssh/known_hosts").expanduser()


def virsh(*arguments: str) -> str:
    done = subprocess.run(
        ["virsh", "-q", "-c", "qemu:///system", *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("libvirt") / "kubeconfig"


@pytest.fixture(scope="module")
def run(path: Path) -> Iterator[Run]:
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    alone = not any(line.split()[1] == "00000000" for line in routes)
    missing = [program for program in ("vagrant", "virsh", "qemu-system-x86_64", "mmdebstrap") if not shutil.which(program)]
    if os.geteuid() != 0 or not alone or missing or virsh("list", "--all"):
        pytest.fail(f"virtual machines need root, their packages and a libvirt of their own ({missing}): make test-vm", False)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LOCALK8S_")},
        "LOCALK8S_HOME": str(path.parent / "l8s"),
        "LOCALK8S_CACHE": os.environ.get("LOCALK8S_CACHE") or str(Path("~/.cache/localk8s").expanduser()),
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
            timeout=START_LIMIT,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    yield run
    run("delete", "-c", TestVagrantLibvirt.name, "--yes")


class TestVagrantLibvirt(DriverContract):
    """On virtual machines with kernels of their own."""

    driver = "vagrant"
    start_options = (
        "--driver-option", "provider=libvirt", "--driver-option", "emulate=yes", "--memory", "2g", "--disk-size", "9g"
    )  # fmt: skip
    hosts_before = KNOWN_HOSTS.read_bytes() if KNOWN_HOSTS.exists() else b""

    def test_09b_each_machine_has_a_kernel_memory_and_disk_of_its_own(self, run: Run) -> None:
        for node in self.status(run)["nodes"]:
            boot, memory, disk = (
                self.do(run, "ssh", node["name"], "--", *words)
                for words in (
                    ("cat", "/proc/sys/kernel/random/boot_id"),
                    ("cat", "/proc/meminfo"),
                    ("df", "--output=size", "-B1", "/"),
                )
            )
            assert boot != Path("/proc/sys/kernel/random/boot_id").read_text()
            assert 2 * GIB - 150 * MIB < int(memory.split()[1]) * 1024 < 2 * GIB
            assert 8 * GIB < int(disk.split()[-1]) <= 9 * GIB
            seen = self.do(run, "kubectl", "--", "get", "node", node["name"], "-o", "json")
            capacity = parse_kubernetes_quantity(json.loads(seen)["status"]["capacity"]["memory"])
            assert capacity == int(memory.split()[1]) * 1024

    def test_09c_the_demo_answers(self, run: Run) -> None:
        found = json.loads(self.do(run, "demo", "-o", "json"))
        assert found["status"] == 200
        assert found["answer"]["node"] in {node["name"] for node in self.status(run)["nodes"]}

    def test_10_stop_keeps_everything(self, run: Run) -> None:
        super().test_10_stop_keeps_everything(run)
        assert virsh("list", "--name") == ""

    def test_11_start_brings_the_same_cluster_back(self, run: Run) -> None:
        super().test_11_start_brings_the_same_cluster_back(run)
        service = json.loads(self.do(run, "kubectl", "--", "get", "service", "demo", "-o", "json"))
        url = f"http://{self.do(run, 'ip').strip()}:{service['spec']['ports'][0]['nodePort']}"

        def answers() -> bool:
            try:
                return bool(ask(url)["pod"].startswith("demo-"))
            except OSError as exc:
                raise Pending(str(exc)) from exc

        wait_until(answers, what="the demo of before the stop to answer again", timeout=300, interval=1)

    def test_12_delete_takes_all_of_it(self, run: Run, path: Path) -> None:
        super().test_12_delete_takes_all_of_it(run, path)
        assert virsh("list", "--all", "--name") == ""
        assert virsh("net-list", "--all", "--name") == ""
        assert [virsh("vol-list", pool) for pool in virsh("pool-list", "--name").split()] in ([], [""])
        assert not list((path.parent / "l8s/data/vagrant/clusters").glob("*"))
        assert (KNOWN_HOSTS.read_bytes() if KNOWN_HOSTS.exists() else b"") == self.hosts_before
