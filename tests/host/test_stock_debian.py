"""localk8s on the hosts that people have: stock Debian 12 and 13 in virtual machines, offline, as an ordinary user with sudo.

One story a machine, in order, since it boots on an emulated processor. ``make test-host`` makes the machines' disks.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from virtual_host import VirtualHost, wanted_cache

from localk8s.model.quantities import MIB

pytestmark = [pytest.mark.host, pytest.mark.timeout(1800)]

LOCALK8S = "cd localk8s && sudo LOCALK8S_CACHE=$HOME/.cache/localk8s .venv/bin/localk8s"
# What delete has to leave as it was. Logs, caches and what the machine itself keeps of its own life do not count.
DIGEST = (
    "find /usr /etc -xdev -type f ! -name '*.pyc' ! -path '/etc/ld.so.cache' -print0 | sort -z | xargs -0 sha256sum | sha256sum"
)
TRACES = """
ip -o link | cut -d: -f2 | sort; ip route show table all | grep -v ' dev eth0\\| dev lo' | sort
nft list ruleset 2>/dev/null | grep -v '^#' || true
findmnt -rn -o TARGET | grep -v -e /run/user -e /run/credentials -e binfmt_misc | sort
losetup -a; ls /run/netns 2>/dev/null || true
find /sys/fs/cgroup -name 'localk8s*'; cat /proc/sys/net/ipv4/ip_forward
ps -eo comm= | grep -e containerd -e kube -e etcd -e runsv -e named | sort | uniq -c || true
"""


@pytest.fixture(scope="class", params=["bookworm", "trixie"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualHost]:
    """A booted machine with that release."""
    missing = [program for program in ("qemu-system-x86_64", "qemu-img", "mkfs.ext4", "ssh") if not shutil.which(program)]
    images = sorted(
        Path(os.environ["LOCALK8S_TEST_HOSTS"]).glob(f"{request.param}-*/disk.raw"), key=lambda path: path.stat().st_mtime
    )
    if missing or not images:
        pytest.fail(f"needs {', '.join(missing) or 'a disk of ' + request.param}: make test-host", pytrace=False)
    machine = VirtualHost(images[-1].parent, tmp_path_factory.mktemp(request.param), wanted_cache())
    try:
        machine.boot()
        machine.root("chown -R dev:dev /home/dev").ok()
        yield machine
    finally:
        machine.close()


def localk8s(host: VirtualHost, words: str) -> str:
    return host.user(f"{LOCALK8S} {words}").ok()


def status(host: VirtualHost) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(localk8s(host, "status -o json"))
    return found


class TestStockDebian:
    """The life of a cluster on one machine."""

    before = ""
    digest = ""

    def test_01_the_first_command_of_the_readme_ends_with_an_answer(self, host: VirtualHost) -> None:
        type(self).digest, type(self).before = host.root(DIGEST).ok(), host.root(TRACES).ok()
        done = host.user("cd localk8s && make demo", timeout=900)
        assert "answered" in done.ok(), done
        assert host.user("sudo -n true && stat -c %U ~/.kube/config").ok().strip() == "dev"

    def test_02_bounds_are_the_kernels_own(self, host: VirtualHost) -> None:
        localk8s(host, "start --memory 1500m --cpus 1")
        group = host.root("find /sys/fs/cgroup -path '*localk8s*' -name memory.max -exec grep -H . {} + | grep -v :max").ok()
        assert str(1500 * MIB) in group, group
        assert "100000 100000" in host.root("find /sys/fs/cgroup -path '*localk8s*' -name cpu.max -exec cat {} +").ok()

    def test_03_two_nodes_reach_each_other_where_a_firewall_forwards_nothing(self, host: VirtualHost) -> None:
        """As Docker leaves a host: policy DROP, chains of its own, and no uplink."""
        rules = (
            "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }; "
            "add chain ip filter DOCKER-USER; add rule ip filter FORWARD jump DOCKER-USER; "
            "add rule ip filter DOCKER-USER return"
        )
        host.root(f"modprobe br_netfilter; nft '{rules}'").ok()
        localk8s(host, "start --nodes 2")
        answer = localk8s(host, "demo --replicas 2 -o json")
        assert json.loads(answer)["status"] == 200
        pods = localk8s(host, "kubectl get pods -o jsonpath='{.items[*].status.podIP}'").split()
        assert len(pods) == 2, pods
        for node in ("default", "default-2"):
            for pod in pods:
                localk8s(host, f"ssh {node} -- timeout 20 bash -c 'echo >/dev/tcp/{pod}/8080'")

    def test_04_a_restart_of_networkd_leaves_links_and_routes_alone(self, host: VirtualHost) -> None:
        before = host.root("ip route show type unreachable; ip -o link | cut -d: -f2").ok()
        host.root("systemctl restart systemd-networkd && networkctl reload && sleep 2").ok()
        assert host.root("ip route show type unreachable; ip -o link | cut -d: -f2").ok() == before
        assert status(host)["state"] == "running"

    def test_05_containers_run_under_apparmor(self, host: VirtualHost) -> None:
        assert host.root("cat /sys/module/apparmor/parameters/enabled").ok().strip() == "Y"
        annotations = {"container.apparmor.security.beta.kubernetes.io/confined": "runtime/default"}
        overrides = json.dumps({"metadata": {"annotations": annotations}})
        echo = next(line.split()[0] for line in localk8s(host, "image ls").splitlines() if "echo" in line)
        localk8s(host, f"kubectl run confined --image {echo} --overrides '{overrides}'")
        localk8s(host, "kubectl wait --for=condition=Ready pod/confined --timeout=300s")
        confined = host.root("cat /proc/[0-9]*/attr/current 2>/dev/null | sort -u").ok()
        assert "cri-containerd.apparmor.d" in confined, confined

    def test_06_a_node_can_be_wrecked_without_a_scratch_on_the_host(self, host: VirtualHost) -> None:
        host.user(f"{LOCALK8S} ssh default-2 -- rm -rf /usr /etc /mnt /home /srv")
        assert host.root(DIGEST).ok() == self.digest
        localk8s(host, "ssh default -- sh -c 'mkdir -p /mnt/data && echo mine >/mnt/data/file'")
        assert host.root("ls -A /mnt").ok() == ""
        localk8s(host, "node delete default-2 --yes")
        localk8s(host, "node add")
        assert {node["state"] for node in status(host)["nodes"]} == {"ready"}
        assert "mine" in localk8s(host, "ssh default -- cat /mnt/data/file")

    def test_07_a_cluster_survives_a_reboot_of_the_host(self, host: VirtualHost) -> None:
        host.reboot()
        assert host.user(f"{LOCALK8S} status").code != 0
        localk8s(host, "start")
        assert json.loads(localk8s(host, "demo -o json"))["status"] == 200

    def test_08_delete_leaves_the_host_as_it_was(self, host: VirtualHost) -> None:
        localk8s(host, "delete --yes")
        assert host.root(TRACES).ok() == self.before
        assert host.root(DIGEST).ok() == self.digest
