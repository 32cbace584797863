"""A reporter that remembers what it was told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class RecordedStep:
    """One step, as it went (a ``Step``)."""

    key: str
    title: str
    ended: bool = False
    """It came to its end without an exception."""
    details: list[str] = field(default_factory=list)

    def progress(self, done: float, total: float | None, detail: str = "") -> None:
        """Remember the detail; progress that goes backwards is a mistake of the caller."""
        self.details.append(detail)

    def finish_as(self, title: str) -> None:
        """Replace the title."""
        self.title = title


@dataclass
class RecordingReporter:
    """Remembers steps, warnings and commands (a ``Reporter``)."""

    steps: list[RecordedStep] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        """Keys of the steps, in the order in which they began."""
        return [step.key for step in self.steps]

    @contextlib.contextmanager
    def step(self, key: str, title: str) -> Iterator[RecordedStep]:
        """Remember the step."""
        step = RecordedStep(key, title)
        self.steps.append(step)
        yield step
        step.ended = True

    def warn(self, message: str) -> None:
        """Remember the warning."""
        self.warnings.append(message)

    def command(self, line: str) -> None:
        """Remember the command line."""
        self.commands.append(line)
