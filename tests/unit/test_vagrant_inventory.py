"""The inventory names every machine in kubespray's groups, and how it is reached."""

from __future__ import annotations

import yaml

from localk8s.drivers.vagrant.inventory import render_inventory
from localk8s.drivers.vagrant.machine_readable import HostEntry
from localk8s.drivers.vagrant.plan import ClusterPlan, choose_network

PLAN = ClusterPlan("t", "abcdef", "lxc", choose_network((), "lxc"), (1,), (2, 3))


def entry(name: str) -> HostEntry:
    """How a machine is reached."""
    return HostEntry(name, (("HostName", "192.0.2.1"), ("Port", "2222"), ("User", "vagrant"), ("IdentityFile", "/a b/key")))


def test_groups_and_variables() -> None:
    found = yaml.safe_load(render_inventory(PLAN, {name: entry(name) for name in ("t", "t-2", "t-3")}))["all"]
    groups = found["children"]
    assert list(groups["kube_control_plane"]["hosts"]) == list(groups["etcd"]["hosts"]) == ["t"]
    assert list(groups["kube_node"]["hosts"]) == ["t", "t-2", "t-3"]
    assert set(groups["k8s_cluster"]["children"]) == {"kube_control_plane", "kube_node"}
    assert found["hosts"]["t-2"]["ansible_host"] == "192.0.2.1" and found["hosts"]["t-2"]["ansible_port"] == 2222
    assert found["hosts"]["t-2"]["ip"] == str(PLAN.machine(2).address)


def test_a_machine_that_was_never_booted_is_left_out() -> None:
    found = yaml.safe_load(render_inventory(PLAN, {"t": entry("t")}))["all"]
    assert list(found["hosts"]) == ["t"]
