"""What drivers with networks of their own ask of this host's: which ranges it knows a way to, which links there are."""

from __future__ import annotations

import json
import sys
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from localk8s.model.errors import PrerequisiteError
from localk8s.model.node import Runner

_REJECTS = 0x0200
"""A flag of ``/proc/net/route`` (linux/route.h, RTF_REJECT)."""


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


def kernel_routes(text: str | None = None) -> tuple[tuple[IPv4Network, bool], ...]:
    """The destinations in the main table, each with whether it is made unreachable. Quick: asks no program. Linux only.

    Args:
        text: of ``/proc/net/route``; read when None.
    """
    found = []
    for line in (Path("/proc/net/route").read_text() if text is None else text).splitlines()[1:]:
        fields = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(fields[index]), sys.byteorder) for index in (1, 7))
        found.append((IPv4Network((address, mask.bit_count())), bool(int(fields[3], 16) & _REJECTS)))
    return tuple(found)


def links_called(runner: Runner, prefix: str) -> tuple[str, ...]:
    """Every link on this host whose name begins with ``prefix``; none on a host without ``ip``."""
    try:
        done = runner.run(["ip", "-json", "link", "show"], check=False)
    except PrerequisiteError:
        return ()
    entries: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return tuple(entry["ifname"] for entry in entries if entry.get("ifname", "").startswith(prefix))


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
