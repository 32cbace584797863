"""The host's side of the machines' network where Vagrant's provider lays none (LXC): a bridge, fences, the way out.

Also looks which ranges the host already uses. Must not know machines or Kubernetes.
"""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from localk8s.drivers.vagrant.plan import PREFIX, ClusterPlan
from localk8s.model.errors import PrerequisiteError
from localk8s.model.node import Runner


def lay(runner: Runner, plan: ClusterPlan) -> None:
    """Make the bridge and give it the host's address. Idempotent."""
    if not _exists(runner, plan.bridge):
        runner.run(["ip", "link", "add", plan.bridge, "type", "bridge", "forward_delay", "0"])
    batch = f"address replace {plan.gateway}/{plan.network.nodes.prefixlen} dev {plan.bridge}\nlink set {plan.bridge} up\n"
    runner.run(["ip", "-batch", "-"], input=batch)
    if has_uplink(runner):
        _allow_egress(runner, plan)


def remove(runner: Runner, plan: ClusterPlan) -> None:
    """Take the bridge and its rules away; they need not be there."""
    for table, chain, *rule in egress_rules(plan):
        while runner.run(["iptables", "-w", "-t", table, "-D", chain, *rule], check=False).returncode == 0:
            pass
    if _exists(runner, plan.bridge):
        runner.run(["ip", "link", "delete", plan.bridge], check=False)


def egress_rules(plan: ClusterPlan) -> tuple[tuple[str, ...], ...]:
    """Rules of iptables (table, chain, specification …) that let machines out, and packets between them pass."""
    mark = ("-m", "comment", "--comment", plan.bridge)
    return (
        ("nat", "POSTROUTING", "-s", str(plan.network.nodes), "!", "-o", plan.bridge, *mark, "-j", "MASQUERADE"),
        ("filter", "FORWARD", "-i", plan.bridge, *mark, "-j", "ACCEPT"),
        ("filter", "FORWARD", "-o", plan.bridge, *mark, "-j", "ACCEPT"),
    )


def has_uplink(runner: Runner) -> bool:
    """Whether this host has a default route."""
    return any(route.get("dst") == "default" for route in _routes(runner, "main"))


def taken_ranges(runner: Runner) -> tuple[IPv4Network, ...]:
    """The IPv4 ranges that this host already knows a way to.

    On a host without ``ip`` (not Linux), those of its own addresses.
    """
    try:
        routes = _routes(runner, "all")
    except PrerequisiteError:
        return _own_ranges()
    found = [route.get("dst", "default") for route in routes]
    return tuple(IPv4Network(destination, strict=False) for destination in found if destination != "default")


def own_sysfs(runner: Runner, plan: ClusterPlan) -> tuple[str, ...]:
    """What has to stand before a command that looks for the bridge in /sys; nothing where /sys shows this network.

    Whoever runs in a network namespace of their own still sees the /sys of the one it was made from.
    """
    if Path("/sys/class/net", plan.bridge).exists() or not _exists(runner, plan.bridge):
        return ()
    return ("unshare", "--mount", "--propagation", "slave", "sh", "-c", _OWN_SYSFS, "sh")


_OWN_SYSFS = """set -e
kept=$(mktemp -d)
mount --rbind /sys/fs/cgroup "$kept"
mount -t sysfs sysfs /sys
mount --rbind "$kept" /sys/fs/cgroup
umount -l "$kept"
rmdir "$kept"
exec "$@"
"""


def own_bridges(runner: Runner) -> tuple[str, ...]:
    """Every link on this host that bears this driver's prefix."""
    try:
        done = runner.run(["ip", "-json", "link", "show"], check=False)
    except PrerequisiteError:
        return ()
    entries: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return tuple(entry["ifname"] for entry in entries if entry.get("ifname", "").startswith(f"{PREFIX}-"))


def _allow_egress(runner: Runner, plan: ClusterPlan) -> None:
    runner.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
    for table, chain, *rule in egress_rules(plan):
        if runner.run(["iptables", "-w", "-t", table, "-C", chain, *rule], check=False).returncode != 0:
            runner.run(["iptables", "-w", "-t", table, "-I", chain, *rule])


def _exists(runner: Runner, link: str) -> bool:
    return runner.run(["ip", "link", "show", "dev", link], check=False).returncode == 0


def _routes(runner: Runner, table: str) -> list[dict[str, Any]]:
    done = runner.run(["ip", "-json", "-4", "route", "show", "table", table], check=False)
    routes: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return routes


def _own_ranges() -> tuple[IPv4Network, ...]:
    import socket

    import psutil

    found = []
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family == socket.AF_INET and address.netmask:
                found.append(IPv4Network(f"{address.address}/{address.netmask}", strict=False))  # noqa: PERF401
    return tuple(found)
