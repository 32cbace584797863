"""What long work tells about itself. Pure: who shows it decides how.

A driver's ``start`` is a recipe of named steps. Each step is a ``with report.step(...)`` block, so its begin,
end and failure are told without the recipe saying so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Step(Protocol):
    """A running step."""

    def progress(self, done: float, total: float | None, detail: str = "") -> None:
        """Say how far it is.

        Args:
            done: units done, such as bytes or files; never falls within one step.
            total: units in all; None while it is not known.
            detail: what it is at right now, such as ``kube-apiserver  4 of 7``.
        """

    def finish_as(self, title: str) -> None:
        """Replace the title shown once the step has ended, such as ``booted 3 nodes``; nothing is shown of an empty one."""


class Reporter(Protocol):
    """Whoever watches long work: a terminal, a log, a stream of events, a test."""

    def step(self, key: str, title: str) -> AbstractContextManager[Step]:
        """A block that is one step.

        Args:
            key: its stable name for events and tests, such as ``boot``.
            title: for people while it runs, such as ``booting 3 nodes``.
        """

    def warn(self, message: str) -> None:
        """Something the user should know that is no failure. Never called twice with the same message."""

    def command(self, line: str) -> None:
        """A command line that is about to run, shell-quoted, secrets masked (shown with ``-v``)."""


class _SilentStep:
    def progress(self, done: float, total: float | None, detail: str = "") -> None:
        """Nobody watches."""

    def finish_as(self, title: str) -> None:
        """Nobody watches."""


class SilentReporter:
    """A reporter for those who do not want to know; the library's default."""

    @contextmanager
    def step(self, key: str, title: str) -> Iterator[Step]:
        """Run the block and say nothing."""
        yield _SilentStep()

    def warn(self, message: str) -> None:
        """Say nothing."""

    def command(self, line: str) -> None:
        """Say nothing."""
