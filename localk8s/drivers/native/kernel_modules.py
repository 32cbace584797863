"""Kernel modules that a native cluster stands on: which this kernel has, and loading those that nothing has asked for yet.

On most distributions the overlay file system and the rest are modules that are loaded when first used. Loading is left to
modprobe(8); what a kernel has as a module or built in stands in the text files below ``/lib/modules`` (modules.dep(5)).
"""

from __future__ import annotations

import platform
import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from localk8s.model.errors import Localk8sError
from localk8s.model.node import Runner

WANTED = (
    "overlay",
    "loop",
    "veth",
    "bridge",
    "nf_conntrack",
    "nf_nat",
    "nf_tables",
    "nft_compat",
    "nft_chain_nat",
    "xt_comment",
    "xt_MASQUERADE",
)
"""What starting a cluster uses. The kernel loads further ones by itself (conditions of firewall rules, say)."""

_MODULE = re.compile(r"^\S*?([^/\s]+)\.ko\S*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class KernelModules:
    """What a kernel has, by the names that modprobe takes, with ``_`` for ``-``."""

    present: AbstractSet[str]
    """Loaded, or part of the kernel."""
    loadable: AbstractSet[str]
    """Files that are there for this kernel."""

    def missing(self, names: tuple[str, ...] = WANTED) -> tuple[str, ...]:
        """Those of ``names`` that have to be loaded and can be."""
        return tuple(name for name in names if name not in self.present and name in self.loadable)

    def offers(self, name: str) -> bool:
        """Whether that module is there or can be loaded."""
        return name in self.present or name in self.loadable


def parse_modules(proc_modules: str, builtin: str, dependencies: str) -> KernelModules:
    """What a kernel has.

    Args:
        proc_modules: the text of ``/proc/modules``.
        builtin: the text of ``modules.builtin``.
        dependencies: the text of ``modules.dep``.
    """
    loaded = {line.split()[0] for line in proc_modules.splitlines() if line.strip()}
    return KernelModules(frozenset(loaded | _names(builtin)), frozenset(_names(dependencies)))


def read_modules(root: Path = Path("/")) -> KernelModules:
    """What the running kernel has; empty where its files are not installed, as in a container."""
    directory = root / "lib/modules" / platform.release()
    return parse_modules(_read(root / "proc/modules"), _read(directory / "modules.builtin"), _read(directory / "modules.dep"))


def load_modules(runner: Runner) -> None:
    """Load what is missing. One that cannot be loaded shows when it is used, with an error of its own."""
    missing = read_modules().missing()
    if missing:
        try:
            runner.run(["modprobe", "-a", "-q", *missing], check=False)
        except Localk8sError:
            return  # no modprobe: the kernel loads them by its own helper, or says what it lacks


def _names(listed: str) -> set[str]:
    return {name.replace("-", "_") for name in _MODULE.findall(listed)}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
