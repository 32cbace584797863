"""Directories of this host on a cluster's nodes: mounted once, listed, and taken away for sure.

Owns the list of them, which is believed only where the node's kernel agrees. The mounting is the driver's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from localk8s.drivers.base import SupportsMount
from localk8s.helpers.mount import Mount, decode, encode, mount_points
from localk8s.model.errors import CommandError, Localk8sError, NotFoundError, WrongStateError
from localk8s.model.hints import command
from localk8s.model.node import Node
from localk8s.model.progress import Reporter
from localk8s.model.spec import ClusterSpec
from localk8s.system.files import write_atomic

_STACKED = 16
"""How often something may be mounted at one place."""


class Mounts:
    """The mounts of one cluster.

    Args:
        driver: mounts.
        spec: the cluster.
        file: where they are written down.
        report: told about nodes that are left out.
    """

    def __init__(self, driver: SupportsMount, spec: ClusterSpec, file: Path, report: Reporter) -> None:
        self._driver = driver
        self._spec = spec
        self._file = file
        self._report = report

    def add(self, nodes: Sequence[Node], source: Path, target: str, *, off_too: bool) -> tuple[str, ...]:
        """Mount ``source`` at ``target`` on each of ``nodes``, or on none; where it is already, nothing is done.

        Args:
            nodes: the nodes.
            source: a directory of this host, absolute.
            target: an absolute path on the nodes.
            off_too: whether a node that is off is an error; otherwise it is left out.

        Returns:
            names of the nodes that have it now.

        Raises:
            WrongStateError: something else is mounted there; a node is off.
            CommandError: the driver cannot.
        """
        done: list[str] = []
        try:
            running = self._running(nodes, off_too=off_too)
            for node in running:
                wanted = Mount(node.name, str(source), target)
                there = target in self._points(node)
                if there and wanted not in self._noted():
                    raise WrongStateError(
                        f"Something is mounted at {target} on node {node.name} already.",
                        hint=command("mount", "--remove", target, cluster=self._spec.name),
                    )
                if not there:
                    done.append(node.name)
                    self._note([wanted], [])
                    self._driver.mount(self._spec, node.name, source, target)
        except BaseException:
            for name in done:
                with contextlib.suppress(Localk8sError):
                    self._driver.unmount(self._spec, name, target)
            self._note([], [Mount(name, str(source), target) for name in done])
            raise
        return tuple(node.name for node in running)

    def remove(self, nodes: Sequence[Node], target: str, *, off_too: bool) -> None:
        """Take away whatever is mounted at ``target`` on ``nodes``. Arguments as for ``add``.

        Raises:
            NotFoundError: nothing is mounted there, on none of them.
            CommandError: it is in use.
        """
        there = [node for node in self._running(nodes, off_too=off_too) if target in self._points(node)]
        if not there:
            where = nodes[0].name if len(nodes) == 1 else "any node"
            raise NotFoundError(
                f"Nothing is mounted at {target} on {where}.", hint=command("mount", "--list", cluster=self._spec.name)
            )
        for node in there:
            for _ in range(_STACKED):
                self._driver.unmount(self._spec, node.name, target)
                if target not in self._points(node):
                    break
            else:
                raise CommandError(("umount", target), None, message=f"{target} is still mounted on node {node.name}.")
            self._note([], [each for each in self._noted() if (each.node, each.target) == (node.name, target)])

    def mounted(self, nodes: Sequence[Node]) -> tuple[Mount, ...]:
        """What is mounted now: as it was written down, and only where the node has it."""
        points: dict[str, tuple[str, ...]] = {}
        for node in nodes:
            with contextlib.suppress(WrongStateError):
                points[node.name] = self._points(node)
        return tuple(each for each in self._noted() if each.target in points.get(each.node, ()))

    def _running(self, nodes: Sequence[Node], *, off_too: bool) -> list[Node]:
        found: list[Node] = []
        for node in nodes:
            try:
                self._points(node)
                found.append(node)
            except WrongStateError as exc:
                if off_too or len(nodes) == 1:
                    raise
                self._report.warn(f"Left out: {exc.message}")
        if not found:
            raise WrongStateError("No node is running.", hint=command("start", cluster=self._spec.name))
        return found

    @staticmethod
    def _points(node: Node) -> tuple[str, ...]:
        return mount_points(node.run(["cat", "/proc/self/mountinfo"]).stdout)

    def _noted(self) -> tuple[Mount, ...]:
        try:
            return decode(self._file.read_text(encoding="utf-8"))
        except OSError:
            return ()

    def _note(self, more: Sequence[Mount], less: Sequence[Mount]) -> None:
        before = self._noted()
        after = {each for each in before if (each.node, each.target) not in {(m.node, m.target) for m in (*more, *less)}}
        if (found := sorted(after | set(more))) != list(before):
            write_atomic(self._file, encode(found))
