"""The native driver's pure half: plans, addresses, routes, files, control group parsing, reservations."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from decimal import Decimal
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localk8s.drivers.cluster_ranges import ranges
from localk8s.drivers.native.cluster import may_raise_priority, reservation
from localk8s.drivers.native.network import host_batch, node_batch, route_batch
from localk8s.drivers.native.node_files import (
    cni_configuration,
    containerd_configuration,
    find_upstream,
    no_docker_script,
    run_script,
    services,
    upstream_servers,
)
from localk8s.drivers.native.plan import ClusterPlan, choose_network, decode_plan, encode_plan, identify
from localk8s.kubeadm.parameters import KubeadmParameters
from localk8s.kubeadm.phases import CREDENTIALS_READY
from localk8s.model.errors import PrerequisiteError
from localk8s.model.quantities import GIB
from localk8s.model.spec import ClusterSpec, NodeSize
from localk8s.model.versions import parse_kubernetes_version
from localk8s.system.cgroups import parse_hierarchies
from localk8s.system.host import HostFacts

PLAN = ClusterPlan("demo", "0a1b2c", choose_network([]))
FACTS = HostFacts("linux", "amd64", 4, 16 * GIB, 12 * GIB, 100 * GIB, True)


def test_links_fit_the_kernels_fifteen_characters() -> None:
    assert len(PLAN.bridge) <= 15
    assert len(PLAN.node(50).link) <= 15


def test_nodes_have_distinct_addresses_and_pod_ranges_inside_the_clusters() -> None:
    nodes = PLAN.nodes(50)
    assert len({node.address for node in nodes}) == len({node.pods for node in nodes}) == 50
    assert all(node.address in PLAN.network.nodes and node.pods.subnet_of(PLAN.network.pods) for node in nodes)


@given(st.lists(st.sampled_from([f"10.{second}.0.0/16" for second in range(80, 130)] + ["10.83.7.0/24", "192.168.0.0/16"])))
def test_chosen_ranges_overlap_nothing_that_is_taken(taken: list[str]) -> None:
    occupied = [IPv4Network(text) for text in taken]
    try:
        network = choose_network(occupied)
    except PrerequisiteError:
        assert IPv4Network("10.83.0.0/16") in occupied
        return
    assert not any(mine.overlaps(other) for mine in ranges(network) for other in occupied)


def test_a_default_route_takes_no_range() -> None:
    assert choose_network([IPv4Network("0.0.0.0/0")]) == choose_network([])


def test_two_clusters_share_nothing() -> None:
    other = choose_network(ranges(PLAN.network))
    assert not any(one.overlaps(two) for one in ranges(other) for two in ranges(PLAN.network))


def test_identity_differs_by_user_and_name() -> None:
    assert len({identify("/root/a", "x"), identify("/root/b", "x"), identify("/root/a", "y")}) == 3


def test_plan_survives_the_disk() -> None:
    assert decode_plan(encode_plan(PLAN)) == PLAN


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": 1}', '{"nodes": "x"}'])
def test_a_broken_plan_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode_plan(text)


def test_every_range_is_fenced() -> None:
    fences = host_batch(PLAN)
    assert all(f"unreachable {network} metric" in fences for network in ranges(PLAN.network))


def test_node_routes_lead_to_the_others_pods_and_nowhere_without_an_uplink() -> None:
    first, second = PLAN.nodes(2)
    batch = node_batch(PLAN, first, (first, second), uplink=False)
    assert f"route replace {second.pods} via {second.address} dev eth0" in batch
    assert f"{first.pods} via" not in batch
    assert "default" not in batch
    assert "unreachable 169.254.0.0/16" in batch
    assert f"default via {PLAN.gateway}" in node_batch(PLAN, first, (first, second), uplink=True)


def test_host_reaches_services_by_the_control_plane() -> None:
    assert f"{PLAN.network.services} via {PLAN.node(1).address}" in route_batch(PLAN, PLAN.nodes(3))


def parameters(version: str) -> KubeadmParameters:
    return KubeadmParameters("demo", parse_kubernetes_version(version), PLAN.network, "10.83.0.10:6443")


def test_only_the_first_node_carries_the_control_plane() -> None:
    names = [{service.name for service in services(parameters("v1.36.3"), PLAN, node, upstream=())} for node in PLAN.nodes(2)]
    assert names[1] == {"containerd", "kubelet", "kube-proxy"}
    assert names[0] - names[1] == {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "dns"}


@pytest.mark.parametrize(("version", "told"), [("v1.20.2", True), ("v1.23.9", True), ("v1.24.0", False), ("v1.36.3", False)])
def test_old_kubelets_are_told_there_is_no_docker(version: str, told: bool) -> None:
    kubelet = next(s for s in services(parameters(version), PLAN, PLAN.node(1), upstream=()) if s.name == "kubelet")
    assert ("docker.sock" in run_script(kubelet)) is told


@pytest.mark.parametrize("version", ["v1.20.2", "v1.36.3"])
def test_empty_certificates_are_dropped_before_the_kubelet_starts(version: str, tmp_path: Path) -> None:
    kubelet = next(s for s in services(parameters(version), PLAN, PLAN.node(1), upstream=()) if s.name == "kubelet")
    line = next(line for line in run_script(kubelet).splitlines() if "-size 0" in line)
    pki = tmp_path / "pki"
    subprocess.run(["sh", "-ec", line.replace("/var/lib/kubelet/pki", str(pki))], check=True)  # the first start has none
    pki.mkdir()
    (pki / "old.pem").write_text("a certificate")
    (pki / "new.pem").write_text("")
    (pki / "current.pem").symlink_to(pki / "new.pem")
    subprocess.run(["sh", "-ec", line.replace("/var/lib/kubelet/pki", str(pki))], check=True)
    assert [path.name for path in pki.iterdir()] == ["old.pem"]


def test_the_no_docker_answer_has_the_length_it_claims() -> None:
    import subprocess

    done = subprocess.run(["sh", "-c", no_docker_script()], input=b"GET /info HTTP/1.1\r\n", capture_output=True, check=True)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body) == {"DockerRootDir": "/var/lib/docker"}


def test_cni_gives_each_node_its_own_range() -> None:
    configuration = json.loads(cni_configuration(PLAN.node(2)))
    assert configuration["plugins"][0]["ipam"]["ranges"] == [[{"subnet": str(PLAN.node(2).pods)}]]


@pytest.mark.parametrize(("may", "word"), [(True, "false"), (False, "true")])
def test_containerd_leaves_priorities_alone_without_the_capability(may: bool, word: str) -> None:
    assert f"restrict_oom_score_adj = {word}" in containerd_configuration("registry/pause:1", may_raise_priority=may)


def test_the_capability_is_read_from_the_status() -> None:
    assert may_raise_priority("CapEff:\t000001ffffffffff\n")
    assert not may_raise_priority("CapEff:\t000001fffeffffff\n")
    assert not may_raise_priority("")


def test_upstream_name_servers_only_with_an_uplink_and_never_loopback() -> None:
    text = "search x\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nnameserver fd00::1\nnameserver\n"
    assert upstream_servers(text, uplink=True) == ("9.9.9.9",)
    assert upstream_servers(text, uplink=False) == ()


def test_behind_a_resolver_on_loopback_its_own_servers_are_asked() -> None:
    texts = ["nameserver 127.0.0.53\n", "", "nameserver 198.51.100.7\n", "nameserver 198.51.100.8\n"]
    assert find_upstream(texts, uplink=True) == ("198.51.100.7",)
    assert find_upstream(texts, uplink=False) == ()
    assert find_upstream(["nameserver 127.0.0.53\n"], uplink=True) == ()


def test_reservation_leaves_what_was_asked_for() -> None:
    spec = ClusterSpec("demo", "native", size=NodeSize(cpus=Decimal("1.5"), memory=2 * GIB))
    asked = reservation(spec, FACTS)
    assert (asked.cpus, asked.memory) == ("2500m", f"{14 * 1024 * 1024}Ki")
    unbounded = reservation(replace(spec, size=NodeSize()), FACTS)
    assert (unbounded.cpus, unbounded.memory) == ("0m", "0Ki")


MOUNTS = """\
25 30 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
27 25 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
28 25 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
29 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
31 25 0:25 / /mnt/again rw - cgroup cgroup rw,memory
"""


def test_hierarchies_are_read_once_each_with_what_mounts_them_again() -> None:
    found = parse_hierarchies(MOUNTS)
    assert [(h.version, h.mount, h.mount_options) for h in found] == [
        (1, Path("/sys/fs/cgroup/cpu,cpuacct"), "cpu,cpuacct"),
        (1, Path("/sys/fs/cgroup/memory"), "memory"),
        (1, Path("/sys/fs/cgroup/systemd"), "none,name=systemd"),
        (2, Path("/sys/fs/cgroup/unified"), ""),
    ]


@given(st.text(max_size=300))
def test_no_text_breaks_the_mount_parser(text: str) -> None:
    parse_hierarchies(text)


@pytest.mark.parametrize("flag", ["experimental-watch-progress-notify-interval", "watch-progress-notify-interval", ""])
def test_etcd_is_given_what_it_knows(tmp_path: Path, flag: str) -> None:
    """An API server from 1.34 on ends watches whose etcd does not say how far they are; an old etcd exits at a new flag."""
    program, credentials = tmp_path / "usr/bin/etcd", tmp_path / "credentials"
    program.parent.mkdir(parents=True)
    line = f"  --{flag} '10m'" if flag else ""
    program.write_text(f'#!/bin/sh\n[ "$1" = --help ] && echo "  --name \'x\'\n{line}" && exit\necho "$@"\n')
    program.chmod(0o755)
    credentials.touch()
    etcd = next(s for s in services(parameters("v1.36.3"), PLAN, PLAN.node(1), upstream=()) if s.name == "etcd")
    script = f"PATH={tmp_path}/usr/bin:$PATH\n" + run_script(etcd).replace(CREDENTIALS_READY, str(credentials))
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert [word for word in said if "progress" in word] == ([f"--{flag}=1s"] if flag else [])
    assert "--name=demo" in said
