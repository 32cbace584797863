"""The machines as an Ansible inventory with kubespray's group names. Pure; YAML."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from localk8s.drivers.vagrant.machine_readable import HostEntry
from localk8s.drivers.vagrant.plan import ClusterPlan, Machine
from localk8s.model.status import NodeRole

_SSH = (
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "IdentitiesOnly=yes",
    "-o",
    "LogLevel=ERROR",
)


def render_inventory(plan: ClusterPlan, entries: Mapping[str, HostEntry]) -> str:
    """The inventory (YAML).

    Args:
        plan: the cluster.
        entries: machine -> how it is reached; machines that were never booted are left out.
    """
    import yaml

    machines = [machine for machine in plan.machines if machine.name in entries]
    planes: dict[str, dict[str, Any]] = {machine.name: {} for machine in machines if machine.role is NodeRole.CONTROL_PLANE}
    nodes: dict[str, dict[str, Any]] = {machine.name: {} for machine in machines}
    groups = {
        "kube_control_plane": {"hosts": planes},
        "etcd": {"hosts": {name: {} for name in planes}},
        "kube_node": {"hosts": nodes},
        "k8s_cluster": {"children": {"kube_control_plane": {}, "kube_node": {}}},
    }
    hosts = {machine.name: _variables(machine, entries[machine.name]) for machine in machines}
    return yaml.safe_dump({"all": {"hosts": hosts, "children": groups}}, sort_keys=False, width=4096)


def _variables(machine: Machine, entry: HostEntry) -> dict[str, Any]:
    return {
        "ansible_host": entry.get("HostName"),
        "ansible_port": int(entry.get("Port") or 22),
        "ansible_user": entry.get("User") or "vagrant",
        "ansible_become": True,
        "ansible_ssh_private_key_file": entry.get("IdentityFile"),
        "ansible_ssh_common_args": shlex.join(_SSH),
        "ansible_python_interpreter": "/usr/bin/python3",
        "ip": str(machine.address),
        "access_ip": str(machine.address),
    }
