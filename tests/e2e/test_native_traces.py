"""Nothing is left, two at once, and faults: the native driver on a host that is not kind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from localk8s_door import RealDoor, ask, traces

pytestmark = pytest.mark.real


def test_nothing_is_left_after_delete(door: RealDoor) -> None:
    before = traces(door)
    kubeconfig = door.home / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: mine\ncontexts:\n- {name: mine, context: {cluster: c}}\n"
    )
    door.do("start", "--nodes", "2", "--disk-size", "2g")
    door.do("demo")
    during = traces(door)
    assert during.more_than(before).keys() >= {"processes", "links", "routes", "loops", "groups", "files"}
    door.do("delete", "--yes")
    assert not traces(door).more_than(before)
    assert "localk8s" not in kubeconfig.read_text() and "mine" in kubeconfig.read_text()
    assert "nothing to delete" in door.do("delete", "--yes") + door.run("delete", "--yes").stderr


def test_delete_works_with_half_of_it_gone(door: RealDoor) -> None:
    before = traces(door)
    door.do("start")
    link = next(iter(traces(door).links - before.links))
    subprocess.run(["ip", "link", "delete", link], check=True)
    shutil.rmtree(door.home / "data" / "native" / "default" / "kubernetes")
    (door.home / "data" / "native" / "default" / "plan.json").unlink()
    (door.home / "state" / "clusters" / "default" / "cluster.json").write_text("{broken")
    assert door.status()["state"] == "broken"
    assert "default" in door.do("list")
    door.do("delete", "--yes")
    assert not {kind: found for kind, found in traces(door).more_than(before).items() if kind != "routes"}


def test_two_clusters_do_not_touch_and_two_starts_of_one_do_not_collide(door: RealDoor, tmp_path: Path) -> None:
    before = traces(door)
    other = RealDoor(tmp_path / "other")  # somebody else's, with a cluster of the same name
    starting = [
        place.spawn("start", "-c", name) for place, name in ((door, "one"), (door, "one"), (door, "two"), (other, "one"))
    ]
    try:
        for process in starting:
            out, err = process.communicate(timeout=240)
            assert process.returncode == 0, out + err
        assert other.status("one")["state"] == "running"
        theirs = other.status("one")["nodes"][0]["address"]
    finally:
        other.do("delete", "-c", "one", "--yes")
    answers = {name: ask(_demo(door, name)) for name in ("one", "two")}
    assert {name: answer["node"] for name, answer in answers.items()} == {"one": "one", "two": "two"}
    addresses = {theirs, *(door.status(name)["nodes"][0]["address"] for name in ("one", "two"))}
    assert len(addresses) == 3
    door.do("delete", "-c", "one", "--yes")
    assert ask(_url(door, "two"))["node"] == "two"
    door.do("delete", "-c", "two", "--yes")
    assert not traces(door).more_than(before)


def _demo(door: RealDoor, cluster: str) -> str:
    door.do("demo", "-c", cluster)
    return _url(door, cluster)


def _url(door: RealDoor, cluster: str) -> str:
    service = json.loads(door.kubectl("get", "service", "demo", "-o", "json", cluster=cluster))
    return f"http://{door.status(cluster)['nodes'][0]['address']}:{service['spec']['ports'][0]['nodePort']}"


def test_a_nodes_disk_is_its_own_bound(door: RealDoor) -> None:
    door.do("start", "-c", "small", "--disk-size", "512m")
    filled = door.run("ssh", "-c", "small", "--", "sh", "-c", "dd if=/dev/zero of=/var/fill bs=1M count=600; rm /var/fill")
    assert "No space left" in filled.stderr
    assert door.status("small")["state"] == "running"
    door.do("delete", "-c", "small", "--yes")


def test_a_range_that_the_host_uses_is_left_alone(door: RealDoor) -> None:
    subprocess.run(["ip", "link", "add", "taken0", "type", "bridge"], check=True)
    subprocess.run(["ip", "address", "add", "10.83.0.1/24", "dev", "taken0"], check=True)
    try:
        door.do("start")
        assert not door.status()["nodes"][0]["address"].startswith("10.83.0.")
        door.do("delete", "--yes")
    finally:
        subprocess.run(["ip", "link", "delete", "taken0"], check=True)


def test_a_read_only_home_is_one_clear_error(door: RealDoor, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(tmp_path)], check=True)
    try:
        it = RealDoor(tmp_path)
        for command in (("start",), ("delete", "--yes")):
            done = it.run(*command)
            assert "Traceback" not in done.stderr and done.returncode not in (70, -signal.SIGKILL)
        assert "read-only" in it.run("start").stderr.lower()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_an_own_kubernetes_that_lies_about_its_version_is_refused(door: RealDoor, tmp_path: Path) -> None:
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubeadm", "kubectl"):
        (tmp_path / name).write_text("#!/bin/sh\necho v9.9.9\n")
        (tmp_path / name).chmod(0o755)
    done = door.run("start", "-c", "liar", "--artifacts", str(tmp_path))
    assert done.returncode in (2, 11) and "Traceback" not in done.stderr and done.stderr.count("error: ") == 1


def test_no_packet_for_the_cluster_leaves_by_the_uplink(door: RealDoor) -> None:
    """With an uplink: before the cluster is up, while it runs, while it is stopped, and after."""
    uplink = _Uplink()
    try:
        threads = []
        door_is_open = threading.Event()

        def knock() -> None:
            while not door_is_open.is_set():
                for address in ("10.83.0.10", "10.100.0.2", "10.101.0.1"):
                    _send(address)
                time.sleep(0.02)

        door.do("start", "--nodes", "2")
        threads.append(threading.Thread(target=knock))
        threads[0].start()
        try:
            door.do("demo")
            door.do("stop")
            door.do("start")
            name = door.objects("pods", "-l", "app=demo")[0]["metadata"]["name"]
            door.run("kubectl", "--", "exec", name, "--", "timeout", "2", "wget", "-q", "-O", "-", "http://10.101.99.99/")
            door.run("kubectl", "--", "exec", name, "--", "timeout", "2", "wget", "-q", "-O", "-", "http://10.100.99.99/")
        finally:
            door_is_open.set()
            threads[0].join()
        door.do("delete", "--yes")
        seen = uplink.destinations()
        assert "198.51.100.77" in seen, "the watch on the uplink does not see"
        assert not [address for address in seen if address.startswith(("10.83.", "10.100.", "10.101.", "169.254."))], seen
    finally:
        uplink.close()


def _send(address: str) -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(b"x", (address, 9))
        except OSError:
            return


class _Uplink:
    """A default route into a namespace of our own where everything that leaves is written down."""

    def __init__(self) -> None:
        import socket

        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "600"], start_new_session=True)
        deadline = time.monotonic() + 5
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        pid = str(self.holder.pid)
        for argv in (
            ["ip", "link", "add", "up0", "type", "veth", "peer", "name", "out0", "netns", pid],
            ["ip", "address", "add", "198.51.100.1/24", "dev", "up0"],
            ["ip", "link", "set", "up0", "up"],
            ["nsenter", "--net=/proc/" + pid + "/ns/net", "ip", "link", "set", "out0", "up"],
            ["ip", "neighbour", "add", "198.51.100.2", "lladdr", "02:00:00:00:00:02", "dev", "up0", "nud", "permanent"],
            ["ip", "neighbour", "add", "198.51.100.77", "lladdr", "02:00:00:00:00:02", "dev", "up0", "nud", "permanent"],
            ["ip", "route", "add", "default", "via", "198.51.100.2", "dev", "up0"],
        ):
            subprocess.run(argv, check=True)
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        self.sock.bind(("up0", 0))
        self.sock.settimeout(0.2)
        self.found: set[str] = set()
        self.open = True
        self.watcher = threading.Thread(target=self._watch)
        self.watcher.start()

    def _watch(self) -> None:
        while self.open:
            try:
                frame = self.sock.recv(2048)
            except TimeoutError:
                continue
            if frame[12:14] == b"\x08\x00":
                self.found.add(".".join(str(part) for part in frame[30:34]))
            elif frame[12:14] == b"\x08\x06":
                self.found.add(".".join(str(part) for part in frame[38:42]))

    def destinations(self) -> set[str]:
        """Every IPv4 address that something was sent to, or asked for."""
        _send("198.51.100.77")
        time.sleep(0.5)
        return set(self.found)

    def close(self) -> None:
        self.open = False
        self.watcher.join()
        self.sock.close()
        subprocess.run(["ip", "link", "delete", "up0"], check=False)
        os.killpg(self.holder.pid, signal.SIGKILL)
        self.holder.wait()
