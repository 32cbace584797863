"""What containerd and its network plugins read on every node that localk8s itself makes. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network


def hosts_file(nodes: Iterable[tuple[str, IPv4Address]]) -> str:
    """/etc/hosts: every node by name."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    return "\n".join(lines + [f"{address} {name}" for name, address in nodes]) + "\n"


def cni_configuration(pods: IPv4Network, link: Mapping[str, object]) -> str:
    """How pods get their cables and addresses.

    The leases live in /run: they go with the namespaces they were for.

    Args:
        pods: the node's range.
        link: the plugin that lays the cables, and its settings.
    """
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni/networks",
        "ranges": [[{"subnet": str(pods)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins: list[Mapping[str, object]] = [
        {**link, "ipMasq": False, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    ]
    return json.dumps({"cniVersion": "0.4.0", "name": "localk8s", "plugins": plugins}, indent=2) + "\n"


def containerd_configuration(pause: str, *, plugins: str, may_raise_priority: bool, systemd_groups: bool) -> str:
    """Containerd's configuration (1.6 and 1.7, format 2).

    Args:
        pause: reference of the sandbox image.
        plugins: the directory of the CNI plugins.
        may_raise_priority: whether containers may get a negative oom_score_adj: runc fails on it without CAP_SYS_RESOURCE.
        systemd_groups: whether systemd makes the control groups.
    """
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp"]
[{cri}]
  sandbox_image = {json.dumps(pause)}
  restrict_oom_score_adj = {_word(not may_raise_priority)}
  [{cri}.cni]
    bin_dir = {json.dumps(plugins)}
    conf_dir = "/etc/cni/net.d"
  [{cri}.registry]
    config_path = "/etc/containerd/certs.d"
  [{cri}.containerd]
    default_runtime_name = "runc"
    [{cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [{cri}.containerd.runtimes.runc.options]
        SystemdCgroup = {_word(systemd_groups)}
"""


def _word(value: bool) -> str:
    return "true" if value else "false"
