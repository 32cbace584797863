"""From a profile to its nodes: names, roles, addresses, and how each machine is reached."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from localk8s.drivers.minikube.node import HostNode, SshNode
from localk8s.drivers.minikube.profile import Home, ProfileConfig, ProfileNode
from localk8s.drivers.minikube.ssh import SshTarget, container_port_argv, load_machine, parse_container_port
from localk8s.drivers.minikube.vm_drivers import Kind, VmDriver, vm_driver
from localk8s.model import hints
from localk8s.model.errors import WrongStateError
from localk8s.model.node import Node
from localk8s.model.status import NodeRole
from localk8s.system.process import HostRunner

_MADE_BY_MINIKUBE = "docker"
"""The user on machines that minikube made."""


def role_of(node: ProfileNode) -> NodeRole:
    """What the node does."""
    return NodeRole.CONTROL_PLANE if node.control_plane else NodeRole.WORKER


def kubernetes_name(profile: ProfileConfig, node: ProfileNode, driver: VmDriver) -> str:
    """The node's name in Kubernetes: the machine's, or the host's own where the host is the machine."""
    return socket.gethostname().lower() if driver.kind is Kind.NONE else profile.machine_name(node)


def ordered_nodes(profile: ProfileConfig) -> tuple[ProfileNode, ...]:
    """The nodes, control planes first, in the order in which minikube numbers them."""
    return tuple(sorted(profile.nodes, key=lambda node: (not node.control_plane, len(node.name), node.name)))


def make_nodes(
    runner: HostRunner, home: Home, cluster: str, profile: ProfileConfig, known_hosts: Path, live: Callable[[str], str]
) -> tuple[Node, ...]:
    """The machines of ``profile``.

    Args:
        runner: runs commands on this host.
        home: where minikube keeps its things.
        cluster: localk8s's name, for hints.
        profile: as recorded.
        known_hosts: where host keys of machines that minikube did not make are remembered.
        live: the address that the node of that name has now.
    """
    driver = vm_driver(profile.driver)
    made: list[Node] = []
    for node in ordered_nodes(profile):
        name, role = kubernetes_name(profile, node, driver), role_of(node)
        if driver.kind is Kind.NONE:
            made.append(HostNode(runner, name, role, partial(live, name)))
        else:
            machine = profile.machine_name(node)
            find = _Finder(runner, home, cluster, driver, machine, node.address, known_hosts)
            made.append(SshNode(runner, name, role, partial(live, name), find))
    return tuple(made)


class _Finder:
    """Finds out how one machine is reached, when somebody wants to know."""

    def __init__(
        self, runner: HostRunner, home: Home, cluster: str, driver: VmDriver, machine: str, address: str, known_hosts: Path
    ) -> None:
        self._runner = runner
        self._home = home
        self._cluster = cluster
        self._driver = driver
        self._machine = machine
        self._address = address
        self._known_hosts = known_hosts

    def __call__(self) -> SshTarget:
        """The way to it now.

        Raises:
            WrongStateError: it is gone, or has no ssh port.
        """
        record = load_machine(self._home, self._machine, self._cluster)
        if self._driver.kind is Kind.CONTAINER:
            host, port = self._published_port()
            return SshTarget(host, port, record.user or _MADE_BY_MINIKUBE, self._key(record.key))
        host = record.address or self._address
        if not host:
            raise WrongStateError(f"The machine {self._machine} has no address.", hint=self._start())
        if self._driver.kind is Kind.SSH:
            key = self._key(record.key) if record.key else None
            return SshTarget(host, record.port or 22, record.user or "root", key, self._known_hosts)
        return SshTarget(host, record.port or 22, record.user or _MADE_BY_MINIKUBE, self._key(record.key))

    def _start(self) -> str:
        return hints.command("start", cluster=self._cluster)

    def _key(self, recorded: str) -> Path:
        key = Path(recorded) if recorded else self._home.machine(self._machine) / "id_rsa"
        if not key.is_file():
            raise WrongStateError(
                f"minikube's key for {self._machine} is gone ({key}).",
                hint=hints.command("delete", cluster=self._cluster),
            )
        return key

    def _published_port(self) -> tuple[str, int]:
        done = self._runner.run(container_port_argv(self._driver.name, self._machine), timeout=10.0, check=False)
        found = parse_container_port(done.stdout) if done.returncode == 0 else None
        if found is None:
            raise WrongStateError(f"The container {self._machine} is gone or stopped.", hint=self._start())
        return found
