"""Programs that set up this host's network for a cluster: the host's own, or those of the nodes' root where it has none.

What a root brings runs by its own loader in the host's namespaces, so it does not matter which C library the host has.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from localk8s.artifacts.kinds import NodeRoot
from localk8s.model.node import Completed, Input
from localk8s.system.process import HostRunner

_PROGRAMS = {
    "iptables": ("usr/sbin/xtables-nft-multi", "iptables"),
    "iptables-restore": ("usr/sbin/xtables-nft-multi", "iptables-restore"),
    "sysctl": ("usr/sbin/sysctl",),
}
"""Where they are in the root; more words are how a program of several names is told which it is."""


class HostPrograms:
    """Runs programs on this host (a ``Runner``).

    Args:
        runner: runs them.
        root: whose programs stand in.
    """

    def __init__(self, runner: HostRunner, root: NodeRoot) -> None:
        self._runner = runner
        self._root = root

    def run(
        self,
        argv: Sequence[str],
        *,
        input: Input | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        """Run a command; see ``Runner.run``."""
        return self._runner.run(self._found(argv), input=input, env=env, timeout=timeout, check=check)

    def _found(self, argv: Sequence[str]) -> Sequence[str]:
        place, *name = _PROGRAMS.get(argv[0], ("",))
        if not place or shutil.which(argv[0]) or not (self._root.directory / place).exists():
            return argv
        return (*self._root.command(place), *name, *argv[1:])
