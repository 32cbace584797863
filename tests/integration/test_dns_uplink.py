"""Cluster DNS keeps to itself: whatever it is asked, no packet leaves by the uplink. In a network namespace of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from control_plane import free_port
from test_dns_feed import Dns

from localk8s.kube.dns_query import RecordType, ResponseCode, query
from localk8s.system.process import HostRunner

UPLINK = """
ip link set lo up
ip link add up0 type veth peer name up1
ip addr add 198.51.100.2/24 dev up0
ip link set up0 address 02:00:00:00:00:01
ip link set up0 up
ip link set up1 up
ip route add default via 198.51.100.1
ip neigh add 198.51.100.1 lladdr 02:00:00:00:00:02 dev up0
"""
ASKED = [
    ("kubernetes.default.svc.cluster.local", RecordType.A),
    ("example.com", RecordType.A),
    ("example.com", RecordType.ANY),
    (".", RecordType.NS),
    ("8.8.8.8.in-addr.arpa", RecordType.PTR),
    ("localhost", RecordType.A),
]


def inside(directory: Path) -> dict[str, object]:
    """What is asked and counted, inside of the namespace."""
    run = HostRunner().run
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    for line in UPLINK.strip().splitlines():
        run(line.split())

    def packets() -> int:
        return int(Path("/sys/class/net/up1/statistics/rx_packets").read_text())

    codes = {}
    for forwarders in ((), ("--forward", f"127.0.0.1 port {free_port()}")):
        dns = Dns(directory / str(len(forwarders)), directory / "no-kubeconfig", *forwarders)
        dns.start()
        try:
            dns.until(lambda dns=dns: dns.ask("cluster.local").code == ResponseCode.NOERROR, 20)  # type: ignore[misc]
            codes[len(forwarders)] = [query("127.0.0.1", *one, port=dns.port, timeout=10).code for one in ASKED]
        finally:
            dns.end(signal.SIGTERM)
    silent = packets()
    run(["bash", "-c", "echo x > /dev/udp/203.0.113.1/53"])  # the counter does count
    return {"silent": silent, "after": packets(), "codes": codes}


@pytest.mark.real
def test_no_packet_leaves_whatever_is_asked(tmp_path: Path) -> None:
    argv = ["unshare", "--net", "--mount", "sh", "-c", 'mount -t sysfs none /sys && exec "$@"', "sh"]
    done = HostRunner().run(
        [*argv, sys.executable, __file__, str(tmp_path)], timeout=120, env={"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    seen = json.loads(done.stdout)
    assert seen["silent"] == 0 and seen["after"] == 1
    denied, failed, fine = ResponseCode.NXDOMAIN, ResponseCode.SERVFAIL, ResponseCode.NOERROR
    assert seen["codes"]["0"] == [denied, denied, denied, fine, denied, denied]
    assert seen["codes"]["2"] == [denied, failed, failed, failed, failed, failed]


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(inside(Path(sys.argv[1]))))
    except subprocess.SubprocessError as exc:
        sys.exit(str(exc))
