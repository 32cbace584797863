"""What a delete may leave behind, as far as it can be seen: folders, containers, volumes, networks of one profile.

Looks by exact name and label of the profile only: other people's things on a shared daemon are not touched.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localk8s.drivers.minikube.profile import Home
from localk8s.model.errors import CommandError, PrerequisiteError
from localk8s.system.process import HostRunner

_LABEL = "name.minikube.sigs.k8s.io"
_LIMIT = 20.0
"""Seconds one question to a container engine may take."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that is still there."""

    kind: str
    """``folder``, ``profile``, ``container``, ``volume`` or ``network``."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def folders(home: Home, profile: str, machines: Sequence[str]) -> tuple[Leftover, ...]:
    """The folders of ``profile`` and its machines that exist."""
    places = (home.profile(profile), *(home.machine(machine) for machine in dict.fromkeys((profile, *machines))))
    return tuple(Leftover("folder", str(place)) for place in places if place.exists())


def engine_things(runner: HostRunner, engine: str, profile: str) -> tuple[Leftover, ...]:
    """Containers, volumes and the network of ``profile`` in a container engine; none when the engine cannot be asked.

    Args:
        engine: ``docker`` or ``podman``.
    """
    label = f"label={_LABEL}={profile}"
    questions = (
        ("container", [engine, "ps", "--all", "--filter", label, "--format", "{{.Names}}"]),
        ("volume", [engine, "volume", "ls", "--filter", label, "--format", "{{.Name}}"]),
        ("network", [engine, "network", "ls", "--filter", f"name=^{profile}$", "--format", "{{.Name}}"]),
    )
    found: list[Leftover] = []
    for kind, argv in questions:
        try:
            done = runner.run(argv, timeout=_LIMIT, check=False)
        except (CommandError, PrerequisiteError):
            return tuple(found)
        if done.returncode == 0:
            found += [Leftover(kind, line.strip()) for line in done.stdout.splitlines() if line.strip()]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class HostPlaces:
    """Where minikube's none driver leaves something on this host."""

    hosts: Path = Path("/etc/hosts")
    cni: Path = Path("/etc/cni/net.d")
    links: Path = Path("/sys/class/net")


HOST = HostPlaces()


def host_traces(runner: HostRunner, places: HostPlaces) -> tuple[str, ...]:
    """What a delete on the none driver leaves on this host, for people. Looks only: some may be older than the cluster."""
    found = []
    if (places.links / "bridge").exists():
        found.append("the link bridge")
    names = sorted([*places.cni.glob("1-k8s.conflist"), *places.cni.glob("*.mk_disabled")]) if places.cni.is_dir() else []
    found += [str(path) for path in names]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if "minikube.internal" in places.hosts.read_text(encoding="utf-8"):
            found.append(f"lines in {places.hosts} (minikube.internal)")
    with contextlib.suppress(CommandError, PrerequisiteError):
        rules = runner.run(["iptables-save"], timeout=_LIMIT, check=False).stdout
        if re.search(r"^:(KUBE|CNI)-", rules, re.MULTILINE):
            found.append("rules in iptables (chains KUBE-…, CNI-…)")
    return tuple(found)


def remove(runner: HostRunner, engine: str, things: Sequence[Leftover]) -> None:
    """Remove ``things``; what cannot be removed stays, and is found by the next look."""
    commands = {
        "container": ["rm", "--force", "--volumes"],
        "volume": ["volume", "rm", "--force"],
        "network": ["network", "rm"],
    }
    for thing in things:
        if thing.kind == "folder":
            shutil.rmtree(Path(thing.name), ignore_errors=True)
        else:
            with contextlib.suppress(CommandError, PrerequisiteError):
                runner.run([engine, *commands[thing.kind], thing.name], timeout=60.0, check=False)
