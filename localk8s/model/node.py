"""The node as everything above the drivers sees it: a machine that runs commands. Pure: protocols only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from localk8s.model.status import NodeRole

Input = str | bytes | Iterable[bytes]
"""What a command reads on standard input: text, bytes, or pieces that are made while it reads."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended."""

    argv: tuple[str, ...]
    returncode: int
    """Its exit code; negative when a signal ended it."""
    stdout: str
    stderr: str


class Runner(Protocol):
    """Something that runs commands: this host, or a node."""

    def run(
        self,
        argv: Sequence[str],
        *,
        input: Input | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        """Run ``argv`` to its end as root (on a node) or as this user (on the host).

        Args:
            argv: the program and its arguments; never a shell line.
            input: what it reads on standard input; nothing when None. An exception while pieces are made ends the command
                and is raised.
            env: variables added to its environment.
            timeout: seconds it may take.
            check: whether an exit code other than 0 is an error.

        Raises:
            CommandError: it failed and ``check`` is set, cannot be run, or took longer than ``timeout``
                (its whole process group is then ended).
        """


class Node(Runner, Protocol):
    """One machine of a cluster."""

    @property
    def name(self) -> str:
        """Its name in Kubernetes and as host name."""

    @property
    def role(self) -> NodeRole:
        """Control plane or worker."""

    @property
    def address(self) -> str:
        """The IPv4 address by which the other nodes reach it."""

    def copy_in(self, source: Path, target: str, *, mode: int = 0o644) -> None:
        """Copy a host file to the absolute path ``target`` on the node; parents are made, the file is replaced whole.

        Raises:
            CommandError: it cannot be written.
            NotFoundError: ``source`` is not there.
        """

    def copy_out(self, source: str, target: Path) -> None:
        """Copy the node's file ``source`` to the host file ``target``, replaced whole, mode 0600.

        Raises:
            NotFoundError: ``source`` is not on the node.
        """

    def write(self, target: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """Write ``content`` to the absolute path ``target`` on the node; parents are made, the file is replaced whole."""

    def shell(self, argv: Sequence[str] = ()) -> int:
        """Run ``argv`` (a login shell when empty) on this process's own terminal and return its exit code."""


@runtime_checkable
class SharesFiles(Protocol):
    """A node whose files this host reaches by a path of its own, so that large ones need no pipe."""

    def outside(self, path: str) -> Path:
        """Where this host finds the node's absolute ``path``; good as long as the node runs.

        Raises:
            WrongStateError: the node is off.
            NotFoundError: it is not there.
        """


@runtime_checkable
class KnowsRoom(Protocol):
    """A node whose disk is a file on this host: what the host's disk has no room for is lost without an error at once."""

    def place(self) -> Path:
        """A path of this host on the disk that keeps the node's."""
