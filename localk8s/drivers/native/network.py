"""The host's side of a native cluster's network: bridge, cables, routes, and what keeps packets at home.

Unreachable routes for all ranges of the cluster are laid before anything else and stay while it is stopped, so
that no packet for it ever leaves by the host's uplink. ``batch`` functions are pure; the rest is thin.
"""

from __future__ import annotations

from collections.abc import Sequence

from localk8s.drivers.bridge_rules import BridgeRules
from localk8s.drivers.cluster_ranges import ranges
from localk8s.drivers.host_routes import has_uplink, kernel_routes, links_called
from localk8s.drivers.native.kernel_modules import load_modules
from localk8s.drivers.native.plan import LINK_PREFIX, ClusterPlan, NodePlan
from localk8s.model.node import Runner
from localk8s.system.host import is_root

_LAST_RESORT = 4_000_000_000
"""Metric of the unreachable routes: any other route is better."""

_KEPT = "proto kernel"
"""What a route is said to be by. systemd-networkd deletes every route of others when it restarts, but not the kernel's."""


def host_batch(plan: ClusterPlan) -> str:
    """Lines for ``ip -batch``: the fences and the bridge (idempotent: replace; the bridge is added separately)."""
    lines = [f"route replace unreachable {network} metric {_LAST_RESORT} {_KEPT}" for network in ranges(plan.network)]
    return "\n".join(lines) + "\n"


def bridge_batch(plan: ClusterPlan) -> str:
    """Lines for ``ip -batch`` that give the bridge its address and bring it up."""
    prefix = plan.network.nodes.prefixlen
    return f"address replace {plan.gateway}/{prefix} dev {plan.bridge}\nlink set {plan.bridge} up\n"


def route_batch(plan: ClusterPlan, nodes: Sequence[NodePlan]) -> str:
    """Lines for ``ip -batch``: how the host reaches pods (by their node) and services (by the control plane)."""
    lines = [f"route replace {node.pods} via {node.address} dev {plan.bridge} {_KEPT}" for node in nodes]
    lines.append(f"route replace {plan.network.services} via {nodes[0].address} dev {plan.bridge} {_KEPT}")
    return "\n".join(lines) + "\n"


def node_batch(plan: ClusterPlan, node: NodePlan, nodes: Sequence[NodePlan], *, uplink: bool) -> str:
    """Lines for ``ip -batch`` inside a node's network namespace.

    Args:
        plan: the cluster.
        node: the node whose namespace it is.
        nodes: all nodes, for the routes to their pods.
        uplink: whether the host leads anywhere. A default route that leads nowhere would cost a kubelet 11 s.
    """
    lines = [
        "link set lo up",
        f"address replace {node.address}/{plan.network.nodes.prefixlen} dev eth0",
        "link set eth0 up",
        "route replace unreachable 169.254.0.0/16",
        f"route replace unreachable {plan.network.pods}",
        # kube-proxy rewrites service addresses, but only of packets that had a way to begin with. Without a gateway,
        # so that an address that no service has does not wander between node and host.
        f"route replace {plan.network.services} dev eth0",
    ]
    lines += [f"route replace {other.pods} via {other.address} dev eth0" for other in nodes if other != node]
    if uplink:
        lines.append(f"route replace default via {plan.gateway} dev eth0")
    return "\n".join(lines) + "\n"


def run_batch(runner: Runner, batch: str, *, force: bool = False) -> None:
    """Run lines of ``ip`` in one process; with ``force`` go on after a line that fails."""
    argv = ["ip", "-force", "-batch", "-"] if force else ["ip", "-batch", "-"]
    runner.run(argv, input=batch, check=not force)


def link_exists(runner: Runner, link: str) -> bool:
    """Whether the host has a link of that name."""
    return runner.run(["ip", "link", "show", "dev", link], check=False).returncode == 0


def fence(runner: Runner, plan: ClusterPlan) -> None:
    """Let no packet for the cluster's ranges leave this host, from now until it is deleted. Idempotent."""
    run_batch(runner, host_batch(plan))


def lay_host_network(runner: Runner, plan: ClusterPlan) -> None:
    """Unreachable routes first, then the bridge, with the kernel modules that it takes, and its rules. Idempotent."""
    fence(runner, plan)
    load_modules(runner)
    if not link_exists(runner, plan.bridge):
        runner.run(["ip", "link", "add", plan.bridge, "type", "bridge", "forward_delay", "0"])
    run_batch(runner, bridge_batch(plan))
    rules(plan).lay(runner, uplink=has_uplink(runner))


def what_is_missing(runner: Runner, plan: ClusterPlan, count: int) -> str:
    """Which part of a running cluster's network another program took away from this host; empty when nothing is missing."""
    nodes = plan.nodes(count)
    wanted = {(network, True) for network in ranges(plan.network)}
    wanted |= {(network, False) for network in (plan.network.services, *(node.pods for node in nodes))}
    if not wanted <= set(kernel_routes()):
        return "routes"
    return "" if not is_root() or rules(plan).are_there(runner) else "firewall rules"  # who may not look sees none


def connect_node(runner: Runner, plan: ClusterPlan, node: NodePlan, process: int) -> None:
    """Lay the cable between the bridge and the network namespace of ``process``."""
    if link_exists(runner, node.link):
        runner.run(["ip", "link", "delete", node.link], check=False)
    runner.run(
        ["ip", "link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", str(process)],
    )
    run_batch(runner, f"link set {node.link} master {plan.bridge}\nlink set {node.link} up\n")


def remove_cables(runner: Runner, nodes: Sequence[NodePlan]) -> None:
    """Remove the host's ends of the nodes' cables. By itself one goes only with the last socket of a node that is off."""
    run_batch(runner, "".join(f"link delete {node.link}\n" for node in nodes), force=True)


def remove_host_network(runner: Runner, plan: ClusterPlan) -> None:
    """Take away everything of the cluster from the host's network; what is not there does not matter."""
    remove_links(runner, plan.identity)
    fences = "".join(f"route delete unreachable {network} metric {_LAST_RESORT}\n" for network in ranges(plan.network))
    run_batch(runner, fences, force=True)


def remove_links(runner: Runner, identity: str) -> None:
    """Remove the bridge and the cables of the cluster with this identity."""
    prefixes = (f"{LINK_PREFIX}-{identity}", f"{LINK_PREFIX}{identity}-")
    links = [link for link in links_called(runner, LINK_PREFIX) if link.startswith(prefixes)]
    if links:
        run_batch(runner, "".join(f"link delete {link}\n" for link in links), force=True)


def rules(plan: ClusterPlan) -> BridgeRules:
    """What lets nodes reach each other through the host's packet filter, and out by its uplink."""
    return BridgeRules(plan.bridge, plan.network.nodes)
