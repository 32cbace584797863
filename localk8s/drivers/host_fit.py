"""What every driver asks of its host alike: programs that are new enough, a disk on which the nodes' disks fit.

Looks, changes nothing. Which programs and sizes are asked for is the driver's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from localk8s.drivers.base import Tool
from localk8s.model.errors import CommandError, Localk8sError
from localk8s.model.hints import command, host_command
from localk8s.model.quantities import GIB, format_size
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import Finding, Severity
from localk8s.system.host import HostFacts
from localk8s.system.process import HostRunner

_LOOK = 10.0
"""Seconds that a program may take to say its version; Vagrant takes one or two."""


def old_tools(tools: Sequence[Tool], runner: HostRunner, driver: str) -> tuple[Finding, ...]:
    """An error for each tool with a minimum that is installed and older. What does not say its version is passed over.

    Args:
        tools: from the driver's info.
        runner: runs ``TOOL --version``.
        driver: its name, for the hint.
    """
    found = []
    for tool in tools:
        version = _version(tool.name, runner) if tool.minimum else None
        if version is not None and _numbers(version) < _numbers(tool.minimum):
            message = f"{tool.name} {version} is too old: version {tool.minimum} or later is needed."
            found.append(Finding(Severity.ERROR, "tools", message, host_command("doctor", "--driver", driver)))
    return tuple(found)


def _version(program: str, runner: HostRunner) -> str | None:
    try:
        done = runner.run([program, "--version"], timeout=_LOOK, check=False)
    except (CommandError, Localk8sError):
        return None
    match = re.search(r"\d+(\.\d+)+", done.stdout)
    return match[0] if match else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def disk_findings(spec: ClusterSpec, facts: HostFacts) -> tuple[Finding, ...]:
    """Findings about a typed ``--disk-size``: an error beyond the whole file system, a warning beyond what is free.

    Nodes' disks are sparse files: they take what is written to them, and may be promised more than is free.
    """
    asked = spec.size.disk
    if asked is None or "disk-size" not in spec.typed:
        return ()
    if facts.disk_total and asked > facts.disk_total:
        message = (
            f"--disk-size {format_size(asked)} is more than the size of the file system that keeps clusters "
            f"({format_size(facts.disk_total)})."
        )
        fits = f"{max(1, facts.disk_free // spec.nodes // GIB)}g"
        fix = command("start", "--driver", spec.driver, "--disk-size", fits, cluster=spec.name)
        return (Finding(Severity.ERROR, "disk", message, fix),)
    if asked * spec.nodes > facts.disk_free:
        message = (
            f"{spec.nodes} x {format_size(asked)} of disk are more than is free where clusters are kept "
            f"({format_size(facts.disk_free)}); nothing is reserved."
        )
        return (Finding(Severity.WARNING, "disk", message),)
    return ()
