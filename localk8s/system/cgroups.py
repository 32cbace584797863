"""Control groups, version 1 and 2: found, made, bounded, emptied, removed. Linux only; knows nothing of clusters."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from localk8s.model.errors import Localk8sError, PrerequisiteError
from localk8s.model.hints import host_command
from localk8s.system.cgroup_bounds import bound_cpus, bound_memory
from localk8s.system.cgroup_usage import cpu_seconds, working_set
from localk8s.system.wait import wait_until


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted hierarchy."""

    mount: Path
    version: int
    controllers: frozenset[str]
    """Version 1: what it was mounted with (``cpu``, ``name=systemd``); version 2: what it offers."""

    @property
    def mount_options(self) -> str:
        """What ``mount -o`` needs to mount the same hierarchy again."""
        named = sorted(name for name in self.controllers if name.startswith("name="))
        plain = sorted(self.controllers.difference(named))
        return ",".join((["none", *named] if named else []) + plain) if self.version == 1 else ""


def parse_hierarchies(mountinfo: str) -> tuple[Hierarchy, ...]:
    """The hierarchies in the text of ``/proc/self/mountinfo`` (proc(5)); each one once, at its first mount point."""
    found: dict[tuple[int, frozenset[str]], Hierarchy] = {}
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = after.split()
        if not separator or len(fields) < 3 or fields[0] not in ("cgroup", "cgroup2"):
            continue
        mount = Path(before.split()[4].encode().decode("unicode_escape"))
        version = 1 if fields[0] == "cgroup" else 2
        plain = {"rw", "ro", "xattr", "clone_children", "noprefix", "none"}
        controllers = {
            option
            for option in fields[2].split(",")
            if version == 1 and option not in plain and not option.startswith("release_agent")
        }
        key = (version, frozenset(controllers))
        found.setdefault(key, Hierarchy(mount, version, frozenset(controllers)))
    return tuple(found.values())


class ControlGroup:
    """One group of the same path in every hierarchy.

    Args:
        hierarchies: from ``parse_hierarchies``.
        path: below the hierarchies' roots, such as ``localk8s-1a2b3c-default/default``.
    """

    def __init__(self, hierarchies: tuple[Hierarchy, ...], path: str) -> None:
        self.hierarchies = hierarchies
        self.path = path

    @property
    def directories(self) -> tuple[Path, ...]:
        """Its directory in each hierarchy."""
        return tuple(hierarchy.mount / self.path for hierarchy in self.hierarchies)

    def make(self) -> None:
        """Make it, parents first, ready to take processes. Idempotent.

        Raises:
            PrerequisiteError: this process may not.
        """
        try:
            for hierarchy in self.hierarchies:
                current = hierarchy.mount
                for part in Path(self.path).parts:
                    _delegate(current, hierarchy)
                    current = current / part
                    current.mkdir(exist_ok=True)
                    _inherit_cpuset(current)
        except OSError as exc:
            raise PrerequisiteError(
                f"Control groups cannot be made here ({exc.strerror}: {exc.filename}).", hint=host_command("doctor")
            ) from exc

    def bound(self, *, cpus: Decimal | None, memory: int | None, of: str = "") -> None:
        """Bound processors (such as 1.5) and memory (bytes) of all within, and read back what the kernel holds.

        Args:
            cpus: None lifts the bound.
            memory: None lifts the bound.
            of: whose group it is, for the message; its path when empty.

        Raises:
            PrerequisiteError: a bound cannot be set; the message names it.
        """
        bound_cpus(self.directories, cpus, of=of or self.path)
        bound_memory(self.directories, memory, of=of or self.path)

    def usage(self) -> tuple[float, int] | None:
        """Seconds of processor time used so far and bytes of memory in use; None where one is not counted."""
        seconds = next((used for each in self.directories if (used := cpu_seconds(each)) is not None), None)
        memory = next((used for each in self.directories if (used := working_set(each)) is not None), None)
        return None if seconds is None or memory is None else (seconds, memory)

    def exists(self) -> bool:
        """Whether it is there in any hierarchy."""
        return any(directory.is_dir() for directory in self.directories)

    def processes(self) -> frozenset[int]:
        """Ids of all processes in it and below, as this process sees them."""
        found: set[int] = set()
        for directory in self.directories:
            for child in _tree(directory):
                with contextlib.suppress(OSError):
                    found.update(int(line) for line in (child / "cgroup.procs").read_text().split())
        return frozenset(found - {0})

    def move_own_processes(self, child: str) -> None:
        """Move what is in the group itself, not below, into its existing child ``child``."""
        for directory in self.directories:
            with contextlib.suppress(OSError):
                for process in (directory / "cgroup.procs").read_text().split():
                    _set(directory / child / "cgroup.procs", process)

    def signal(self, number: int) -> None:
        """Send a signal to every process in it."""
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, number)

    def empty(self, *, timeout: float = 10.0) -> None:
        """Kill every process in it, until there is none.

        Raises:
            WaitTimeoutError: some would not die within ``timeout`` seconds.
        """

        def gone() -> bool:
            self.signal(signal.SIGKILL)
            return not self.processes()

        wait_until(gone, what=f"the processes of {self.path} to end", timeout=timeout, interval=0.02)

    def remove(self) -> None:
        """Remove the empty group and all groups below it. Removing what is not there succeeds.

        Raises:
            Localk8sError: a process is still in it.
        """

        def removed() -> bool:
            for directory in self.directories:
                for child in _tree(directory):
                    with contextlib.suppress(OSError):
                        child.rmdir()
            return not self.exists()

        try:
            wait_until(removed, what=f"control group {self.path} to go", timeout=5.0, interval=0.05)
        except Localk8sError as exc:
            raise Localk8sError(f"Control group {self.path} is still in use.", hint=host_command("doctor")) from exc


def _tree(directory: Path) -> Iterator[Path]:
    """``directory`` and all below, the deepest first."""
    for current, _, _ in os.walk(directory, topdown=False):
        yield Path(current)


def _delegate(directory: Path, hierarchy: Hierarchy) -> None:
    """Version 2: let the children of ``directory`` have its controllers, one by one, as far as it can."""
    if hierarchy.version != 2:
        return
    with contextlib.suppress(OSError):
        for controller in (directory / "cgroup.controllers").read_text().split():
            _set(directory / "cgroup.subtree_control", f"+{controller}")


def _inherit_cpuset(directory: Path) -> None:
    """Version 1: a cpuset without processors and memory nodes takes no process."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = directory / name
        if file.exists() and not file.read_text().strip() and not (directory / "cgroup.controllers").exists():
            file.write_text((directory.parent / name).read_text().strip())


def _set(file: Path, value: str) -> None:
    with contextlib.suppress(OSError):
        if file.exists():
            file.write_text(value)
