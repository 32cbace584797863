"""What machines do besides Kubernetes: programs under systemd, such as a docker or a registry, and directories of this host.

Owns the units and the mounts; must not know what the programs are. Part of the driver (``SupportsServices``,
``SupportsMount``).
"""

from __future__ import annotations

from pathlib import Path

from localk8s.artifacts.kinds import NodeTools
from localk8s.drivers.base import DriverContext, NodeService
from localk8s.drivers.service_script import service_script
from localk8s.drivers.vagrant import members
from localk8s.drivers.vagrant.cluster import VagrantCluster, load
from localk8s.drivers.vagrant.node import SshNode, unpack
from localk8s.drivers.vagrant.node_files import File
from localk8s.drivers.vagrant.python_library import LIBRARY, PYTHON, ensure_library
from localk8s.model.errors import CommandError, NotSupportedError, WrongStateError
from localk8s.model.hints import command, host_command
from localk8s.model.node import Node
from localk8s.model.progress import Step
from localk8s.model.spec import ClusterSpec
from localk8s.system import namespaces

_UNITS = "/etc/systemd/system"
_SCRIPTS = "/usr/local/lib/localk8s"
_START = """set -eu
unit=$1 stage=$2 script=$3 log=$4
mkdir -p "$(dirname "$log")"
if cmp -s "$stage" "$script" && systemctl -q is-active "$unit"; then rm -f "$stage"; exit 0; fi
mv -f "$stage" "$script"
systemctl daemon-reload
systemctl -q enable "$unit"
systemctl restart "$unit"
"""
_STOP = """set -u
unit=$1 script=$2
[ -e "/etc/systemd/system/$unit" ] || exit 0
systemctl -q disable --now "$unit" || true
rm -f "/etc/systemd/system/$unit" "$script"
systemctl daemon-reload
systemctl -q reset-failed "$unit" 2>/dev/null || true
"""


def unit_file(service: NodeService) -> str:
    """The systemd unit of a service: it comes back with the machine, and after each end.

    It owns the control groups below it, because a docker makes some; what it prints last is in ``service.log``.
    """
    return f"""[Unit]
Description=localk8s {service.name}
After=network-online.target containerd.service
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sh {script_path(service.name)}
StandardOutput=append:{service.log}
Restart=always
RestartSec=1
Delegate=yes
KillMode=mixed
TimeoutStopSec=20
LimitNOFILE=infinity
LimitNPROC=infinity
TasksMax=infinity
[Install]
WantedBy=multi-user.target
"""


def script_path(name: str) -> str:
    """Where a service's script is."""
    return f"{_SCRIPTS}/{name}"


def unit_name(name: str) -> str:
    """What systemd calls a service."""
    return f"localk8s-{name}.service"


def _bound(log: str) -> str:
    """A shell line that empties a log of more than a megabyte."""
    return f'[ "$(stat -c %s {log})" -lt 1000000 ] || : >{log}'


class Services:
    """Part of ``VagrantDriver``; see there."""

    _context: DriverContext

    @property
    def node_python(self) -> str:
        """See ``SupportsServices``: Debian 12's own; see ``python_library``."""
        return PYTHON

    def start_service(self, spec: ClusterSpec, node: str, service: NodeService) -> None:
        """See ``SupportsServices``."""
        machine = self._machine_node(spec, node)
        script, environment = script_path(service.name), dict(service.environment)
        if service.argv[0] == PYTHON:
            ensure_library(machine)
            environment["PYTHONPATH"] = LIBRARY
        files = {
            f"{script}.new": File(
                service_script(service.argv, environment, service.prepare, before=(_bound(service.log),)), 0o755
            ),
            f"{_UNITS}/{unit_name(service.name)}": File(unit_file(service)),
        }
        unpack(machine, files)
        machine.run(["sh", "-c", _START, "start", unit_name(service.name), f"{script}.new", script, service.log])

    def stop_service(self, spec: ClusterSpec, node: str, name: str) -> None:
        """See ``SupportsServices``."""
        self._machine_node(spec, node).run(["sh", "-c", _STOP, "stop", unit_name(name), script_path(name)])

    def docker_tools(self, step: Step) -> NodeTools:
        """See ``SupportsServices``."""
        return self._context.artifacts.docker_tools(step)

    def mount(self, spec: ClusterSpec, node: str, source: Path, target: str) -> None:
        """See ``SupportsMount``: into the container's own mounts; a virtual machine has another kernel, and no way.

        Raises:
            NotSupportedError: the machine is a virtual one.
        """
        cluster = load(self._context, spec)
        machine = members.find(cluster, node)
        self._insist_shared_kernel(cluster, node)
        container = machine.identifier
        done = self._context.runner.run(["lxc-info", "--name", container, "--pid", "--no-humanize"], check=False)
        process, back = done.stdout.strip(), command("start", cluster=spec.name)
        if done.returncode != 0 or not process.isdecimal() or int(process) <= 0:
            raise WrongStateError(f"Node {node} is not running.", hint=back)
        if self._is_mounted(cluster.node(machine), target):
            raise CommandError(
                ("mount",),
                None,
                message=f"Something is mounted at {target} on node {node} already.",
                hint=command("mount", "--remove", target, cluster=spec.name),
            )
        namespaces.bind(self._context.runner, int(process), source, target, node=node, hint=back)

    def unmount(self, spec: ClusterSpec, node: str, target: str) -> None:
        """See ``SupportsMount``."""
        self._insist_shared_kernel(load(self._context, spec), node)
        self._machine_node(spec, node).run(["umount", "--recursive", target])

    def _machine_node(self, spec: ClusterSpec, name: str) -> SshNode:
        cluster = load(self._context, spec)
        return cluster.node(members.find(cluster, name))

    @staticmethod
    def _is_mounted(node: Node, target: str) -> bool:
        return node.run(["mountpoint", "-q", target], check=False).returncode == 0

    @staticmethod
    def _insist_shared_kernel(cluster: VagrantCluster, node: str) -> None:
        if cluster.provider.virtual_machines:
            raise NotSupportedError(
                f"{node} is a virtual machine: directories of this host cannot be mounted in it while it runs.",
                hint=host_command("cp", "--help"),
            )
