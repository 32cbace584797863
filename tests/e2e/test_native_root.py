"""A native node has a root of its own: what happens on it stays on it, and of the host it sees nothing."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from localk8s_door import RealDoor, traces

from localk8s.artifacts.kinds import NodeRoot
from localk8s.drivers.native.host_programs import HostPrograms
from localk8s.system.process import HostRunner

pytestmark = pytest.mark.real

NODES = ("default", "default-2")
FILE_SYSTEMS = {"cgroup", "cgroup2", "devpts", "ext4", "mqueue", "overlay", "proc", "securityfs", "sysfs", "tmpfs"}


def digest_of_host() -> str:
    """Over names, sizes, times and links of what a node that shared the host's root would change."""
    lines = []
    for top in ("/usr/bin", "/usr/sbin", "/etc", "/home", "/mnt", "/opt", "/srv"):
        for directory, names, files in os.walk(top):
            for name in (*names, *files):
                found = os.lstat(os.path.join(directory, name))
                lines.append(f"{directory}/{name} {found.st_mode} {found.st_size} {found.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


@pytest.fixture(scope="module")
def host_before() -> str:
    return digest_of_host()


@pytest.fixture(scope="module")
def cluster(door: RealDoor, host_before: str) -> Iterator[RealDoor]:
    before = traces(door)
    door.do("start", "--nodes", "2", "--disk-size", "1500m")
    yield door
    door.do("delete", "--yes")
    assert not traces(door).more_than(before)
    assert digest_of_host() == host_before


@pytest.mark.parametrize("node", NODES)
def test_a_node_sees_nothing_of_the_hosts_file_systems(cluster: RealDoor, node: str) -> None:
    mounts = [line.split() for line in cluster.node(node, "cat", "/proc/1/mountinfo").splitlines()]
    kinds = {fields[fields.index("-") + 1] for fields in mounts}
    assert kinds <= FILE_SYSTEMS
    assert {fields[4] for fields in mounts if fields[fields.index("-") + 1] == "ext4"} <= {"/var", "/var/lib/kubelet"}
    assert not [fields for fields in mounts if str(cluster.home) in " ".join(fields)]
    for place in (cluster.home, Path(sys.prefix), Path(__file__), Path.home() / ".cache"):
        assert cluster.run("ssh", node, "--", "test", "-e", str(place)).returncode == 1
    assert cluster.node(node, "ls", "-A", "/home", "/mnt", "/srv").split() == ["/home:", "/mnt:", "/srv:"]
    assert not [name for name in cluster.node(node, "ls", "/dev").split() if name.startswith(("loop", "sd", "vd", "nvme"))]


def test_nodes_are_debian_13_whatever_the_host_is(cluster: RealDoor) -> None:
    for node in cluster.objects("nodes"):
        assert node["status"]["nodeInfo"]["osImage"].startswith("Debian GNU/Linux 13")
        assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://1.7.")
    identities = {node["status"]["nodeInfo"]["machineID"] for node in cluster.objects("nodes")}
    assert len(identities) == 2
    shared = {cluster.node(node, "stat", "-c", "%i", "/usr/bin/containerd").strip() for node in NODES}
    assert len(shared) == 1, "nodes share the pages of what they run"
    assert cluster.node("default-2", "bash", "-lc", "cd; pwd; which kubectl iptables vi").split() == [
        "/root", "/usr/local/bin/kubectl", "/usr/sbin/iptables", "/usr/bin/vi"]  # fmt: skip


def test_the_roots_programs_serve_a_host_that_has_none(cluster: RealDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    programs = HostPrograms(HostRunner(), NodeRoot(cluster.home / "data/native/default/root"))
    rule = ["FORWARD", "-i", "nowhere0", "-m", "comment", "--comment", "localk8s-test", "-j", "ACCEPT"]
    programs.run(["iptables", "-w", "-A", *rule])
    try:
        assert "localk8s-test" in programs.run(["iptables", "-w", "-S", "FORWARD"]).stdout
    finally:
        programs.run(["iptables", "-w", "-D", *rule])
    assert programs.run(["sysctl", "-n", "net.ipv4.ip_forward"]).stdout.strip() in ("0", "1")


def test_a_link_on_a_node_does_not_lead_to_a_file_of_the_host(cluster: RealDoor, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    cluster.node("default-2", "ln", "-s", str(tmp_path / "secret"), "/root/link")
    cluster.node("default-2", "ln", "-s", "/etc/hostname", "/root/name")
    cluster.fail("cp", "default-2:/root/link", str(tmp_path / "copied"), code=3)
    assert not (tmp_path / "copied").exists()
    cluster.do("cp", "default-2:/root/name", str(tmp_path / "name"))
    assert (tmp_path / "name").read_text() == "default-2\n"


def writer(name: str, command: str) -> str:
    """A pod on the second node that runs ``command`` with the node's /mnt/data."""
    container = {
        "name": "writer", "image": "localk8s.dev/echo:1", "imagePullPolicy": "Never", "command": ["sh", "-c", command],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }  # fmt: skip
    volumes = [{"name": "data", "hostPath": {"path": "/mnt/data", "type": "DirectoryOrCreate"}}]
    spec = {"nodeName": "default-2", "restartPolicy": "Never", "containers": [container], "volumes": volumes}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


def said(cluster: RealDoor, name: str) -> str:
    """What the pod printed, when it has ended."""
    deadline = time.monotonic() + 60
    while cluster.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}") not in ("Succeeded", "Failed"):
        assert time.monotonic() < deadline, f"{name} does not end"
        time.sleep(0.2)
    return cluster.kubectl("logs", name)


def test_data_of_a_host_path_is_the_nodes_and_counts_against_its_disk(cluster: RealDoor) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=writer("writes", "echo kept >/data/file && echo written"))
    assert said(cluster, "writes") == "written\n"
    assert cluster.node("default-2", "cat", "/mnt/data/file") == "kept\n"
    assert cluster.node("default", "ls", "-A", "/mnt") == ""
    assert not Path("/mnt/data").exists()
    fill = "dd if=/dev/zero of=/data/fill bs=1M count=2000 2>&1; rm -f /data/fill"
    cluster.kubectl("apply", "-f", "-", stdin=writer("fills", fill))
    assert "No space left" in said(cluster, "fills")
    cluster.do("stop")
    cluster.do("start")
    assert cluster.node("default-2", "cat", "/mnt/data/file") == "kept\n"


def test_a_wrecked_node_harms_itself_alone_and_delete_and_start_give_a_whole_one(cluster: RealDoor, host_before: str) -> None:
    cluster.node("default-2", "touch", "/usr/bin/x")
    assert cluster.run("ssh", "default", "--", "test", "-e", "/usr/bin/x").returncode == 1
    assert not Path("/usr/bin/x").exists()
    cluster.run("ssh", "default-2", "--", "sh", "-c", "rm -rf /usr /etc /opt /root /home /mnt")
    assert digest_of_host() == host_before
    assert cluster.node("default", "ls", "/usr/bin/containerd") == "/usr/bin/containerd\n"
    assert cluster.run("ssh", "default-2", "--", "true").returncode != 0
    assert "Traceback" not in cluster.run("status").stderr
    cluster.do("stop")
    assert "Node default-2 did not boot: its root file system was removed" in cluster.fail("start", code=6)
    cluster.do("delete", "--yes")
    cluster.do("start", "--nodes", "2", "--disk-size", "1500m")
    assert cluster.status()["state"] == "running"
    assert cluster.run("ssh", "default-2", "--", "test", "-e", "/mnt/data").returncode == 1
    assert cluster.node("default-2", "ls", "/usr/bin/containerd") == "/usr/bin/containerd\n"
