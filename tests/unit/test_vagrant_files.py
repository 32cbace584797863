"""The files of machines and boxes: what they hold for whom, and that the shells among them are shell."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest

from localk8s.drivers.vagrant import box_files, node_files
from localk8s.drivers.vagrant.dns_manifest import dns_manifests
from localk8s.drivers.vagrant.plan import ClusterPlan, choose_network
from localk8s.model.versions import KubernetesVersion

OLD, NEW = KubernetesVersion(1, 20, 2), KubernetesVersion(1, 36, 3)
PLAN = ClusterPlan("t", "abcdef", "lxc", choose_network((), "lxc"), (1,), (2, 3))
SHARED = replace(PLAN, control_planes=(1, 2, 3), workers=(4,), balanced=True)


@pytest.mark.parametrize(
    "script", [node_files.NETWORK_SCRIPT, node_files.NO_DOCKER, node_files.API_CHECK, box_files.LXC_TEMPLATE]
)
def test_scripts_are_shell(script: str) -> None:
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_every_machine_routes_to_the_pods_of_all_others() -> None:
    for machine in PLAN.machines:
        lines = node_files.network_batch(PLAN, machine).splitlines()
        assert lines[0] == str(machine.address)
        routes = {line for line in lines if " via " in line}
        others = [other for other in PLAN.machines if other != machine]
        assert routes == {f"route replace {other.pods} via {other.address} dev DEV" for other in others}
        assert f"route replace {PLAN.network.services} dev DEV" in lines


def test_each_machine_gives_pods_its_own_range() -> None:
    ranges = []
    for machine in PLAN.machines:
        configuration = json.loads(node_files.machine_files(PLAN, machine)[node_files.CNI_CONFIG].content)
        ranges.append(configuration["plugins"][0]["ipam"]["ranges"][0][0]["subnet"])
    assert ranges == [str(machine.pods) for machine in PLAN.machines]


def test_all_machines_are_known_by_name() -> None:
    text = node_files.hosts_file(PLAN)
    assert all(f"{machine.address} {machine.name}\n" in text for machine in PLAN.machines)


def test_only_control_planes_of_a_shared_api_hold_its_address() -> None:
    name = "/etc/keepalived/keepalived.conf"
    assert not any(name in node_files.machine_files(PLAN, machine) for machine in PLAN.machines)
    holders = [machine for machine in SHARED.machines if name in node_files.machine_files(SHARED, machine)]
    assert [machine.index for machine in holders] == [1, 2, 3]
    for machine in holders:
        text = node_files.machine_files(SHARED, machine)[name].content
        assert f"    {SHARED.endpoint}/24\n" in text and f"unicast_src_ip {machine.address}\n" in text
        assert all(f"    {other.address}\n" in text for other in holders if other != machine)
        assert text.count("{") == text.count("}")


def test_containers_and_virtual_machines_differ_where_they_must() -> None:
    container = node_files.static_files("pause:1", NEW, virtual_machine=False)
    machine = node_files.static_files("pause:1", NEW, virtual_machine=True)
    config = node_files.CONTAINERD_CONFIG
    assert "SystemdCgroup = false" in container[config].content and "restrict_oom_score_adj = true" in container[config].content
    assert "SystemdCgroup = true" in machine[config].content and "restrict_oom_score_adj = false" in machine[config].content
    assert "/etc/sysctl.d/99-localk8s.conf" in machine and "/etc/sysctl.d/99-localk8s.conf" not in container


def test_only_a_kubelet_that_asks_for_docker_is_answered() -> None:
    name = "/usr/local/sbin/localk8s-no-docker"
    assert name in node_files.static_files("p", OLD, virtual_machine=False)
    assert name not in node_files.static_files("p", NEW, virtual_machine=False)


def test_a_boxs_key_follows_everything_that_is_in_it() -> None:
    base = box_files.box_key("lxc", OLD, "pause:3.2", {"kubelet": "aa"})
    assert base == box_files.box_key("lxc", OLD, "pause:3.2", {"kubelet": "aa"})
    others = {
        box_files.box_key("libvirt", OLD, "pause:3.2", {"kubelet": "aa"}),
        box_files.box_key("lxc", NEW, "pause:3.2", {"kubelet": "aa"}),
        box_files.box_key("lxc", OLD, "pause:3.3", {"kubelet": "aa"}),
        box_files.box_key("lxc", OLD, "pause:3.2", {"kubelet": "bb"}),
    }
    assert len(others | {base}) == 5


def test_a_box_that_shares_the_hosts_kernel_leaves_the_host_alone() -> None:
    masked = set(box_files.masked_units("lxc"))
    assert {"systemd-sysctl.service", "systemd-modules-load.service", "systemd-udevd.service"} <= masked
    assert not {"systemd-sysctl.service", "systemd-modules-load.service"} & set(box_files.masked_units("libvirt"))


def test_cluster_dns_stands_at_the_tenth_address() -> None:
    items = json.loads(dns_manifests(PLAN.network))["items"]
    service = next(item for item in items if item["kind"] == "Service")
    deployment = next(item for item in items if item["kind"] == "Deployment")
    assert service["metadata"]["name"] == "kube-dns" and service["spec"]["clusterIP"] == str(PLAN.network.services[10])
    assert {(port["protocol"], port["port"]) for port in service["spec"]["ports"]} == {("UDP", 53), ("TCP", 53)}
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[arguments.index("--service-cidr") + 1] == str(PLAN.network.services)
