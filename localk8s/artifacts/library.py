"""The artifact library: the one object that finds, fetches, builds and keeps what clusters are made of.

Construct it with::

    Library(layout.artifacts, HostRunner(log=…), ArtifactSettings(mirror=None, official=None, offline=False))

It reads no environment and no configuration by itself: the composition root hands in the settings (``offline`` also
when LOCALK8S_OFFLINE is set). Implements ``artifacts.base.Artifacts``; must not know drivers, nodes or commands.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from localk8s.artifacts.cache import Cache, Entry
from localk8s.artifacts.catalog import architecture
from localk8s.artifacts.debian import make_tools, read_codename, tools_entry_name
from localk8s.artifacts.kinds import NodeTools
from localk8s.artifacts.settings import ArtifactSettings
from localk8s.artifacts.trouble import Unavailable
from localk8s.model.errors import ArtifactError
from localk8s.model.progress import Step
from localk8s.system.process import HostRunner


class Library:
    """Finds what a cluster is made of (an ``Artifacts``).

    Args:
        directory: the cache.
        runner: runs apt, go and kubeadm.
        settings: where else to look.
        machine: the machine type as the kernel names it.
        codename: this host's Debian release; read from the host when None.
    """

    def __init__(
        self,
        directory: Path,
        runner: HostRunner,
        settings: ArtifactSettings,
        *,
        machine: str | None = None,
        codename: str | None = None,
    ) -> None:
        self._cache = Cache(directory)
        self._runner = runner
        self._settings = settings
        self._arch = architecture(machine or platform.machine())
        self._codename = read_codename() if codename is None else codename

    def node_tools(self, step: Step, named: str | None = None) -> NodeTools:
        """containerd, runc, etcd, CNI plugins, runit, named and what they need; see ``Artifacts.node_tools``."""
        return NodeTools(self._tools(step).path / "node")

    def _tools(self, step: Step) -> Entry:
        def make(work: Path, shared: Step) -> Mapping[str, str]:
            try:
                return make_tools(work, self._codename, self._runner, shared)
            except Unavailable as exc:
                raise ArtifactError(
                    f"The node tools (containerd, etcd, …) cannot be had: {exc}, and they are not in the cache.",
                    hint="localk8s start --artifacts BUNDLE",
                ) from exc

        return self._cache.obtain(tools_entry_name(self._arch), "the node tools", step, make)
