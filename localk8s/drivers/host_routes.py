"""What drivers with networks of their own ask of this host's: which ranges it knows a way to, and a way out for a bridge.

Must not know clusters: bridges, ranges and marks are given.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from localk8s.model.errors import PrerequisiteError
from localk8s.model.node import Runner


def has_uplink(runner: Runner) -> bool:
    """Whether this host has a default route."""
    return any(route.get("dst") == "default" for route in _routes(runner, "main"))


def taken_ranges(runner: Runner) -> tuple[IPv4Network, ...]:
    """The IPv4 ranges that this host already knows a way to, by addresses and routes.

    On a host without ``ip`` (not Linux), those of its own addresses.
    """
    try:
        routes = _routes(runner, "all")
    except PrerequisiteError:
        return _own_ranges()
    found = [route.get("dst", "default") for route in routes]
    return tuple(IPv4Network(destination, strict=False) for destination in found if destination != "default")


def links_called(runner: Runner, prefix: str) -> tuple[str, ...]:
    """Every link on this host whose name begins with ``prefix``; none on a host without ``ip``."""
    try:
        done = runner.run(["ip", "-json", "link", "show"], check=False)
    except PrerequisiteError:
        return ()
    entries: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return tuple(entry["ifname"] for entry in entries if entry.get("ifname", "").startswith(prefix))


@dataclass(frozen=True, slots=True)
class WayOut:
    """What lets machines behind a bridge out by this host's uplink, and packets between them pass."""

    bridge: str
    addresses: IPv4Network
    """Of the machines."""
    mark: str
    """The comment by which the rules are known."""

    @property
    def rules(self) -> tuple[tuple[str, ...], ...]:
        """Rules of iptables, each: table, chain, specification."""
        mark = ("-m", "comment", "--comment", self.mark)
        return (
            ("nat", "POSTROUTING", "-s", str(self.addresses), "!", "-o", self.bridge, *mark, "-j", "MASQUERADE"),
            ("filter", "FORWARD", "-i", self.bridge, *mark, "-j", "ACCEPT"),
            ("filter", "FORWARD", "-o", self.bridge, *mark, "-j", "ACCEPT"),
        )

    def open(self, runner: Runner) -> None:
        """Insert the rules that are missing and let the host forward."""
        runner.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        for table, chain, *specification in self.rules:
            if runner.run(["iptables", "-w", "-t", table, "-C", chain, *specification], check=False).returncode != 0:
                runner.run(["iptables", "-w", "-t", table, "-I", chain, *specification])

    def close(self, runner: Runner) -> None:
        """Remove the rules, if they are there."""
        for table, chain, *specification in self.rules:
            while runner.run(["iptables", "-w", "-t", table, "-D", chain, *specification], check=False).returncode == 0:
                pass


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
