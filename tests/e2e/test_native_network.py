"""The host's network around native clusters: its packet filter and forwarding, what others do to them, a reboot."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from localk8s_door import RealDoor, ask
from test_native_life import kill_all, own_processes
from test_native_traces import _Uplink

from localk8s.drivers.bridge_rules import BridgeRules, remove_rules
from localk8s.drivers.host_routes import kernel_routes
from localk8s.system.process import HostRunner

pytestmark = pytest.mark.real
RUNNER = HostRunner()
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def rules() -> set[str]:
    """Every rule and chain of this network."""
    return {f"{table} {line}" for table in ("filter", "nat") for line in run("iptables", "-t", table, "-S").splitlines()}


@pytest.fixture
def bridges() -> Iterator[list[BridgeRules]]:
    """Two bridges that are there, and gone afterwards with their rules."""
    made = [BridgeRules(f"lk8s-test0{number}", IPv4Network("10.99.0.0/24")) for number in (1, 2)]
    for each in made:
        run("ip", "link", "add", each.bridge, "type", "bridge")
    yield made
    for each in made:
        subprocess.run(["ip", "link", "delete", each.bridge], check=False, capture_output=True)
        remove_rules(RUNNER, each.bridge)


def take_away(each: BridgeRules) -> None:
    run("ip", "link", "delete", each.bridge)
    remove_rules(RUNNER, each.bridge)


def test_rules_are_laid_once_laid_again_and_removed(bridges: list[BridgeRules]) -> None:
    before = rules()
    one, two = bridges
    one.lay(RUNNER, uplink=True)
    laid = rules()
    assert laid > before and any("MASQUERADE" in rule for rule in laid - before)
    one.lay(RUNNER, uplink=True)
    assert run("iptables-save").count(f"-j {one.chain}") == 2, "one jump in each table"
    one.lay(RUNNER, uplink=False)
    assert not any("MASQUERADE" in rule for rule in rules() - before)
    run("iptables", "-F", "FORWARD")  # as a firewall does that loads its rules anew
    one.lay(RUNNER, uplink=True)
    assert rules() == laid
    run("iptables", "-A", "FORWARD", "-i", one.bridge, "-m", "comment", "--comment", "older", "-j", "ACCEPT")
    two.lay(RUNNER, uplink=False)
    theirs = {rule for rule in rules() if two.bridge in rule}
    take_away(one)
    assert rules() == before | theirs
    take_away(two)
    assert rules() == before


@pytest.mark.parametrize("before", ["0", "1"])
def test_forwarding_is_afterwards_as_it_was_before_the_first(bridges: list[BridgeRules], before: str) -> None:
    found = FORWARDING.read_text()
    FORWARDING.write_text(before)
    try:
        for each in bridges:
            each.lay(RUNNER, uplink=True)
        assert FORWARDING.read_text().strip() == "1"
        take_away(bridges[0])
        assert FORWARDING.read_text().strip() == "1", "another cluster needs it"
        take_away(bridges[1])
        assert FORWARDING.read_text().strip() == before
        assert not Path("/run/localk8s").exists()
    finally:
        FORWARDING.write_text(found)


def test_forwarding_stays_for_who_came_to_rely_on_it(bridges: list[BridgeRules]) -> None:
    found = FORWARDING.read_text()
    FORWARDING.write_text("0")
    try:
        bridges[0].lay(RUNNER, uplink=True)
        run("ip", "link", "delete", bridges[1].bridge)
        run("iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "172.17.0.0/16", "-j", "MASQUERADE")  # docker was started
        take_away(bridges[0])
        assert FORWARDING.read_text().strip() == "1"
    finally:
        run("iptables", "-t", "nat", "-D", "POSTROUTING", "-s", "172.17.0.0/16", "-j", "MASQUERADE")
        FORWARDING.write_text(found)


@pytest.fixture(scope="module")
def cluster(door: RealDoor) -> Iterator[RealDoor]:
    """Two nodes on a host with an uplink, Docker's policy, and every port in use that a control plane likes."""
    uplink = _Uplink()
    taken = [socket.create_server(("0.0.0.0", port)) for port in (53, 2379, 2380, 6443, 10250, 10257, 10259)]
    run("iptables", "-P", "FORWARD", "DROP")
    door.uplink = uplink  # type: ignore[attr-defined]
    try:
        door.do("start", "--nodes", "2")
        door.do("demo", "--replicas", "4")
        yield door
        door.do("delete", "--yes")
        assert not rules() - {"filter -P FORWARD DROP"} - {rule for rule in rules() if "-P" in rule}
    finally:
        run("iptables", "-P", "FORWARD", "ACCEPT")
        for each in taken:
            each.close()
        uplink.close()


def strays(cluster: RealDoor) -> list[str]:
    """Addresses of the cluster to which something left by the uplink."""
    seen = cluster.uplink.destinations()  # type: ignore[attr-defined]
    assert "198.51.100.77" in seen, "the watch on the uplink does not see"
    return [address for address in seen if address.startswith(("10.83.", "10.100.", "10.101."))]


def nodes_reach_each_other(cluster: RealDoor) -> bool:
    """Whether a pod of each node reaches the pods of the other, by their own addresses."""
    pods = cluster.objects("pods", "-l", "app=demo")
    assert {pod["spec"]["nodeName"] for pod in pods} == {"default", "default-2"}
    for one in pods[:1]:
        for other in pods:
            argv = ("exec", one["metadata"]["name"], "--", "timeout", "4", "wget", "-q", "-O", "-")
            if cluster.run("kubectl", "--", *argv, f"http://{other['status']['podIP']}:8080/").returncode != 0:
                return False
    return True


def test_nodes_reach_each_other_whatever_the_hosts_policy_is(cluster: RealDoor) -> None:
    assert nodes_reach_each_other(cluster)
    assert cluster.status()["state"] == "running"


@pytest.mark.parametrize("loss", ["rules", "routes"])
def test_start_gives_back_what_other_programs_took(cluster: RealDoor, loss: str) -> None:
    if loss == "rules":
        run("iptables", "-F", "FORWARD")
        assert not nodes_reach_each_other(cluster), "this host does not filter what passes its bridges"
    else:
        for route in own_routes():
            run("ip", "route", "delete", *route.split())
    status = cluster.status()
    assert status["state"] == "broken" and loss in status["reasons"][0] and "localk8s start" in status["reasons"][0]
    cluster.do("start")
    assert cluster.status()["state"] == "running"
    assert nodes_reach_each_other(cluster)


def own_routes() -> list[str]:
    """Routes of the cluster on this host that are not the kernel's own for the bridge."""
    lines = run("ip", "-4", "route").splitlines()
    return [line.strip() for line in lines if "10.10" in line.split(" via ")[0] or "unreachable 10.83" in line]


def test_a_restart_of_networkd_would_take_nothing(cluster: RealDoor) -> None:
    """It deletes every route that it did not lay and that is not the kernel's (tried with systemd 252)."""
    assert own_routes() and all("proto kernel" in route for route in own_routes())


def test_a_node_whose_process_1_is_killed_comes_back(cluster: RealDoor) -> None:
    depth = len(namespace_ids(os.getpid())) + 1  # process 1 of the node, not of a pod in it
    numbers = {process: namespace_ids(process) for process in own_processes(cluster, "default-2")}
    (first,) = (process for process, ids in numbers.items() if len(ids) == depth and ids[-1] == 1)
    os.kill(first, signal.SIGKILL)
    assert cluster.status()["state"] == "broken"
    cluster.do("start")
    assert cluster.status()["state"] == "running"
    assert nodes_reach_each_other(cluster)


def namespace_ids(process: int) -> list[int]:
    """The numbers of a process, the host's first."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next([int(number) for number in line.split()[1:]] for line in lines if line.startswith("NSpid:"))


def test_a_reboot_of_the_host(cluster: RealDoor) -> None:
    """All processes, links, routes and rules are gone: nothing leaves by the uplink, and start brings all of it back."""
    url = f"http://{cluster.status()['nodes'][0]['address']}:"
    url += str(json.loads(cluster.kubectl("get", "service", "demo", "-o", "json"))["spec"]["ports"][0]["nodePort"])
    kill_all(own_processes(cluster))
    for link in json.loads(run("ip", "-json", "link", "show")):
        if link["ifname"].startswith("lk8s"):
            subprocess.run(["ip", "link", "delete", link["ifname"]], check=False, capture_output=True)
    for route in own_routes():
        subprocess.run(["ip", "route", "delete", *route.split()], check=False, capture_output=True)
    for table in ("filter", "nat"):
        run("iptables", "-t", table, "-F")
        run("iptables", "-t", table, "-X")
    assert not any(str(network).startswith(("10.83.", "10.10")) for network, _ in kernel_routes())
    assert cluster.status()["state"] == "stopped"
    for refused in (
        ["kubectl", "get", "nodes"],
        ["service"],
        ["port-forward", "svc/demo", "8080"],
        ["dashboard", "--url"],
    ):
        said = cluster.fail(*refused, code=4)
        assert "not running" in said and "localk8s start" in said
    assert "==> kubelet <==" in cluster.do("logs", "default-2")
    cluster.run("kubectl", "--", "config", "current-context")
    assert not strays(cluster)
    cluster.do("start")
    assert cluster.status()["state"] == "running"
    assert ask(url, timeout=30)["pod"].startswith("demo-")
    assert not strays(cluster)
