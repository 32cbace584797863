"""The host's side of the machines' network where Vagrant's provider lays none (LXC): a bridge, fences, the way out.

Must not know machines or Kubernetes.
"""

from __future__ import annotations

from pathlib import Path

from localk8s.drivers.bridge_rules import BridgeRules, remove_rules
from localk8s.drivers.host_routes import has_uplink
from localk8s.drivers.vagrant.plan import ClusterPlan
from localk8s.model.node import Runner


def lay(runner: Runner, plan: ClusterPlan) -> None:
    """Make the bridge and give it the host's address. Idempotent."""
    if not _exists(runner, plan.bridge):
        runner.run(["ip", "link", "add", plan.bridge, "type", "bridge", "forward_delay", "0"])
    batch = f"address replace {plan.gateway}/{plan.network.nodes.prefixlen} dev {plan.bridge}\nlink set {plan.bridge} up\n"
    runner.run(["ip", "-batch", "-"], input=batch)
    rules(plan).lay(runner, uplink=has_uplink(runner))


def remove(runner: Runner, plan: ClusterPlan) -> None:
    """Take the bridge and its rules away; they need not be there."""
    if _exists(runner, plan.bridge):
        runner.run(["ip", "link", "delete", plan.bridge], check=False)
    remove_rules(runner, plan.bridge)


def rules(plan: ClusterPlan) -> BridgeRules:
    """What lets machines reach each other through the host's packet filter, and out by its uplink."""
    return BridgeRules(plan.bridge, plan.network.nodes)


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


def _exists(runner: Runner, link: str) -> bool:
    return runner.run(["ip", "link", "show", "dev", link], check=False).returncode == 0
