"""Whatever listens is found among the sockets, and asked from another address of this host, from a pod, by a stranger.

A real native cluster with everything running that serves something. What is not on the lists fails the test: whoever adds a
listener says here who may reach it.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from localk8s_door import RealDoor
from web_workload import deploy_web, running

pytestmark = pytest.mark.real
OTHER = "198.51.100.7"
"""Another address of this host, of a range that is nobody's (RFC 5737)."""
IDENTIFIED = {
    ("kube-apiserver", 6443): "/api/v1/secrets",
    ("kubelet", 10250): "/pods",
    ("dockerd", 2376): "/info",
    ("python", 2378): "/",
}
"""What listens on a node for other machines, to those with a certificate or a token alone; and what a stranger may not read."""
OPEN = {("kube-proxy", 10256), ("named", 53), ("docker-registry", 5000)}
"""What answers everybody who reaches the node: kube-proxy's health, names, the registry (plain, by KEP-1755)."""


@dataclass(frozen=True)
class Listener:
    """A socket that takes connections or datagrams."""

    protocol: str
    program: str
    address: str
    port: int

    @property
    def loopback(self) -> bool:
        return self.address not in ("*", "0.0.0.0", "[::]") and ipaddress.ip_address(self.address.strip("[]")).is_loopback


def listeners(process: int | None = None) -> list[Listener]:
    """All of this network namespace, or of the one of a process."""
    enter = ["nsenter", f"--net=/proc/{process}/ns/net"] if process else []
    done = subprocess.run([*enter, "ss", "-H", "-l", "-t", "-u", "-n", "-p"], capture_output=True, text=True, check=True)
    found = []
    for line in done.stdout.splitlines():
        protocol, _, _, _, local, _, *rest = line.split(maxsplit=6)
        address, _, port = local.rpartition(":")
        program = re.search(r'\(\("(python|[^"]+)', rest[0] if rest else "")
        found.append(Listener(protocol, program[1] if program else "", address.partition("%")[0], int(port)))
    return found


def process_in(namespace: str) -> int:
    """A process in a network namespace (``net:[4026531840]``)."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and os.readlink(entry / "ns/net") == namespace:
                return int(entry.name)
    raise AssertionError(f"no process is in {namespace}")


@dataclass(frozen=True)
class Served:
    """A cluster with everything that serves something."""

    door: RealDoor
    node: int
    """A process of the node's network."""
    pod: int
    node_address: str
    gateway: str
    """This host, as the node sees it."""


@pytest.fixture(scope="module")
def served(door: RealDoor) -> Iterator[Served]:
    subprocess.run(["ip", "address", "add", f"{OTHER}/32", "dev", "lo"], check=True)
    try:
        door.do("start")
        deploy_web(door)
        door.do("registry", "start")
        door.do("docker-env")
        with (
            running(door, "dashboard", "--url"),
            running(door, "proxy", "--port", "0"),
            running(door, "port-forward", "svc/web", "0:80"),
        ):
            pods = door.objects("pods", "-l", "app=web")
            name = pods[0]["metadata"]["name"]
            address = door.do("ip").strip()
            route = door.node("default", "cat", "/proc/net/route").splitlines()[1:]
            assert route
            yield Served(
                door,
                process_in(door.node("default", "readlink", "/proc/self/ns/net").strip()),
                process_in(door.kubectl("exec", name, "--", "readlink", "/proc/self/ns/net").strip()),
                address,
                str(ipaddress.ip_interface(f"{address}/24").network.network_address + 1),
            )
        door.do("delete", "--yes")
    finally:
        subprocess.run(["ip", "address", "del", f"{OTHER}/32", "dev", "lo"], check=True)


def answers(address: str, port: int, *, process: int | None = None) -> bool:
    """Whether a TCP connection is taken, from here or from a process's network."""
    script = f"import socket; socket.create_connection(({address!r}, {port}), 2).close()"
    enter = ["nsenter", f"--net=/proc/{process}/ns/net"] if process else []
    return subprocess.run([*enter, sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


def is_refused(address: str, port: int, path: str) -> bool:
    """Whether one without a certificate and a token learns nothing by HTTPS: by the status, or the handshake is broken off."""
    assert answers(address, port)
    anonymous = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection(address, port, timeout=10, context=anonymous)
    try:
        connection.request("GET", path)
        return connection.getresponse().status in (401, 403)
    except (ssl.SSLError, ConnectionError):
        return True
    finally:
        connection.close()


def test_this_host_listens_on_its_loopback_alone(served: Served) -> None:
    found = listeners()
    assert len([each for each in found if each.program == "localk8s"]) >= 3
    assert [each for each in found if not each.loopback] == []


def test_nothing_of_this_host_answers_on_its_other_addresses_or_to_pods(served: Served) -> None:
    ports = {each.port for each in listeners() if each.protocol == "tcp"}
    for port in ports:
        assert answers("127.0.0.1", port)
        assert not answers(OTHER, port)
        assert not answers(served.gateway, port)
        assert not answers(served.gateway, port, process=served.pod)
        assert not answers(OTHER, port, process=served.pod)


def test_a_node_listens_where_it_should(served: Served) -> None:
    outward = {(each.program, each.port) for each in listeners(served.node) if not each.loopback}
    assert outward - set(IDENTIFIED) - OPEN == set()
    assert set(IDENTIFIED) <= outward


@pytest.mark.parametrize(("program", "port"), IDENTIFIED)
def test_a_stranger_is_refused(served: Served, program: str, port: int) -> None:
    assert is_refused(served.node_address, port, IDENTIFIED[program, port])


def test_what_a_node_keeps_to_itself_answers_nowhere_else(served: Served) -> None:
    """etcd, the controller manager, the scheduler, metrics, debugging."""
    found = listeners(served.node)
    outward = {each.port for each in found if not each.loopback}
    inward = {each.port for each in found if each.loopback and each.protocol == "tcp"} - outward
    assert 2379 in inward
    for port in inward:
        assert not answers(served.node_address, port)
        assert not answers(served.node_address, port, process=served.pod)


def test_an_empty_address_serves_nobody(served: Served) -> None:
    before = set(listeners())
    for command in (("proxy", "--port", "0"), ("port-forward", "svc/web", "0:80")):
        served.door.fail(*command, "--address", "", code=2)
        served.door.fail(*command, "--address", "127.0.0.1,127.0.0.1", code=2)
    assert set(listeners()) == before
