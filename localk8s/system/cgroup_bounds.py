"""Bounds of one control group, written and read back from the kernel, on both versions of control groups.

A write that the kernel accepts is no proof: what it holds afterwards is. Knows nothing of clusters. The files are
described in the kernel's admin-guide/cgroup-v1/memory.rst, scheduler/sched-bwc.rst and admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from localk8s.model.errors import PrerequisiteError
from localk8s.model.hints import host_command
from localk8s.model.quantities import format_size

PERIOD = 100_000
"""Microseconds over which processor time is counted."""
_UNBOUNDED = 2**62
"""Version 1 shows "no bound" as the largest multiple of a page: nothing beyond this is a bound."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """One bound in one directory: what is written, and what the kernel says it holds."""

    writes: tuple[tuple[str, str], ...]
    """Files and their new content, in order; the last one is the bound itself."""
    read: Callable[[Path], Decimal | None]
    """The bound that the directory has; None for none."""


def bound_cpus(directories: Sequence[Path], cpus: Decimal | None, *, of: str) -> None:
    """Bound the processors (such as 1.5) of the group that has ``directories``, one in each hierarchy; None lifts it.

    Args:
        directories: the group's directory in each hierarchy.
        cpus: processors, to a hundred-thousandth.
        of: whose bound it is, for the message: ``node default``.

    Raises:
        PrerequisiteError: the kernel does not hold it.
    """
    quota = None if cpus is None else int(cpus * PERIOD)
    second = f"{'max' if quota is None else quota} {PERIOD}"
    first = (("cpu.cfs_period_us", str(PERIOD)), ("cpu.cfs_quota_us", "-1" if quota is None else str(quota)))
    ways = (_Bound(first, _first_cpus), _Bound((("cpu.max", second),), _second_cpus))
    wanted = None if quota is None else Decimal(quota) / PERIOD
    _enforce(directories, ways, wanted, controller="cpu", what=f"The bound on the CPUs of {of}", shown=f"{cpus}")


def bound_memory(directories: Sequence[Path], memory: int | None, *, of: str) -> None:
    """Bound the memory (bytes; the kernel counts whole pages) of the group that has ``directories``; None lifts it.

    Args:
        directories: the group's directory in each hierarchy.
        memory: bytes.
        of: whose bound it is, for the message.

    Raises:
        PrerequisiteError: the kernel does not hold it, or more is used now.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    ways = (
        _Bound((("memory.limit_in_bytes", "-1" if memory is None else str(memory)),), _memory("memory.limit_in_bytes")),
        _Bound((("memory.max", "max" if memory is None else str(memory)),), _memory("memory.max")),
    )
    wanted = None if memory is None else Decimal(memory // page * page)
    shown = "" if memory is None else format_size(memory)
    _enforce(directories, ways, wanted, controller="memory", what=f"The bound on the memory of {of}", shown=shown)


def _enforce(
    directories: Sequence[Path], ways: Sequence[_Bound], wanted: Decimal | None, *, controller: str, what: str, shown: str
) -> None:
    goal = f"{what} cannot be {'lifted' if wanted is None else f'set to {shown}'}"
    there = [(directory, way) for directory in directories for way in ways if (directory / way.writes[-1][0]).exists()]
    if not there and wanted is not None:
        raise PrerequisiteError(f"{goal}: {_why_missing(directories, controller)}.", hint=host_command("doctor"))
    for directory, way in there:
        try:
            for name, content in way.writes:
                (directory / name).write_text(content)
            held = way.read(directory)
        except (OSError, ValueError, ArithmeticError) as exc:
            raise PrerequisiteError(
                f"{goal} ({directory / way.writes[-1][0]}: {_why(exc)}).", hint=host_command("doctor")
            ) from exc
        if held != wanted:
            has = "no bound" if held is None else f"{held.normalize():f}"
            raise PrerequisiteError(
                f"{goal}: the kernel holds {has} ({directory / way.writes[-1][0]}).", hint=host_command("doctor")
            )


def _why(exc: Exception) -> str:
    if isinstance(exc, OSError):
        return "more is in use now" if exc.errno == errno.EBUSY else exc.strerror or str(exc)
    return f"it holds something else, {exc}"


def _why_missing(directories: Sequence[Path], controller: str) -> str:
    """Version 2 hands a controller down from group to group; the first that did not is named."""
    for directory in directories:
        for parent in (directory, *directory.parents):
            with contextlib.suppress(OSError):
                if controller in (parent / "cgroup.controllers").read_text().split():
                    return f"{parent} does not delegate its {controller} controller"
    return f"control groups here have no {controller} controller"


def _first_cpus(directory: Path) -> Decimal | None:
    quota = int((directory / "cpu.cfs_quota_us").read_text())
    return None if quota < 0 else Decimal(quota) / int((directory / "cpu.cfs_period_us").read_text())


def _second_cpus(directory: Path) -> Decimal | None:
    quota, period = (directory / "cpu.max").read_text().split()
    return None if quota == "max" else Decimal(quota) / int(period)


def _memory(name: str) -> Callable[[Path], Decimal | None]:
    def read(directory: Path) -> Decimal | None:
        text = (directory / name).read_text().strip()
        return None if text == "max" or int(text) > _UNBOUNDED else Decimal(text)

    return read
