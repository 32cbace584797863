"""Plain ssh to a machine of minikube's: where it is, and the command lines. Pure but for reading minikube's record.

minikube's own ``ssh`` loses the exit code of what it runs; this does not.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localk8s.drivers.minikube.profile import Home
from localk8s.model import hints
from localk8s.model.errors import WrongStateError

CONNECTION_FAILED = 255
"""ssh's own exit code when it did not get there."""


@dataclass(frozen=True, slots=True)
class SshTarget:
    """How to reach one machine."""

    host: str
    port: int
    user: str
    key: Path | None
    """None leaves it to the user's own keys and agent, as minikube does on its ssh driver."""
    known_hosts: Path | None = None
    """Where its host key is remembered; None for machines that minikube made, whose keys change with them."""


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """What minikube recorded about a machine. Empty where it says nothing."""

    address: str
    user: str
    port: int
    key: str


def load_machine(home: Home, machine: str, cluster: str) -> MachineRecord:
    """How minikube reaches ``machine`` of ``cluster``.

    Raises:
        WrongStateError: there is no such machine, or its record cannot be read.
    """
    path = home.machine(machine) / "config.json"
    try:
        driver = json.loads(path.read_text(encoding="utf-8")).get("Driver") or {}
        return MachineRecord(
            address=str(driver.get("IPAddress") or ""),
            user=str(driver.get("SSHUser") or ""),
            port=int(driver.get("SSHPort") or 0),
            key=str(driver.get("SSHKeyPath") or ""),
        )
    except (FileNotFoundError, NotADirectoryError):
        raise WrongStateError(
            f"minikube has no machine {machine!r} any more.", hint=hints.command("status", cluster=cluster)
        ) from None
    except (OSError, ValueError, TypeError, AttributeError) as exc:
        raise WrongStateError(
            f"minikube's record of machine {machine!r} cannot be read ({path}).",
            hint=hints.command("status", cluster=cluster),
            details=str(exc),
        ) from exc


def ssh_argv(target: SshTarget, *, terminal: bool = False) -> tuple[str, ...]:
    """The ssh command line up to, not including, what is to be run."""
    hosts = ("accept-new", str(target.known_hosts)) if target.known_hosts else ("no", os.devnull)
    options = [
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        f"StrictHostKeyChecking={hosts[0]}",
        "-o",
        f'UserKnownHostsFile="{hosts[1]}"',
        "-o",
        "LogLevel=ERROR",
        "-o",
        "ConnectTimeout=10",
        "-o",
        "ServerAliveInterval=15",
        "-o",
        "ControlMaster=no",
        "-o",
        "ControlPath=none",
    ]
    if target.key is not None:
        options += ["-o", "IdentitiesOnly=yes", "-i", str(target.key)]
    options += ["-p", str(target.port), "-t" if terminal else "-T"]
    return ("ssh", *options, f"{target.user}@{target.host}", "--")


def remote_command(argv: Sequence[str], user: str, env: Mapping[str, str] | None = None) -> str:
    """``argv`` as root, as the one word that the far side's shell takes apart again.

    Args:
        argv: a login shell when empty.
        user: who logs in; root needs no sudo.
        env: variables added to its environment.
    """
    words = list(argv) or ["bash", "-l"]
    if env:
        words = ["env", *(f"{name}={value}" for name, value in env.items()), *words]
    if user != "root":
        words = ["sudo", "-n", *(["-i"] if not argv and not env else ["--"]), *([] if not argv and not env else words)]
    return shlex.join(words)


def container_port_argv(engine: str, machine: str) -> tuple[str, ...]:
    """Asks the container engine at which of this host's ports the machine's ssh is.

    Args:
        engine: ``docker`` or ``podman``.
    """
    form = '{{with index .NetworkSettings.Ports "22/tcp"}}{{(index . 0).HostIp}} {{(index . 0).HostPort}}{{end}}'
    return (engine, "container", "inspect", "--format", form, machine)


def parse_container_port(stdout: str) -> tuple[str, int] | None:
    """Host and port in the answer to ``container_port_argv``; None while the container has none."""
    host, _, port = stdout.strip().partition(" ")
    if not port.isdecimal():
        return None
    return (host if host not in ("", "0.0.0.0", "::") else "127.0.0.1"), int(port)  # noqa: S104 - compared, not bound
