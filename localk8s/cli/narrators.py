"""Who tells the user about progress: plain lines, JSON events, or nobody. Results are not told here.

Owns the wording of a step's line; ``live`` draws moving ones. Safe to be called from several threads.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

from localk8s.cli.output import document, write_line
from localk8s.model.errors import InterruptedByUser

_TITLE_WIDTH = 42
_SELDOM = 10.0
"""Seconds between two lines about the progress of one step, where nothing can be redrawn."""


@dataclass
class RunningStep:
    """A step that runs (a ``Step``)."""

    key: str
    title: str
    started: float
    moved: Callable[[RunningStep], None]
    done: float = 0.0
    total: float | None = None
    detail: str = ""
    told: float = field(default=0.0)
    """When its progress was told last."""

    def progress(self, done: float, total: float | None, detail: str = "") -> None:
        """See ``Step.progress``."""
        self.done, self.total, self.detail = done, total, detail
        self.moved(self)

    def finish_as(self, title: str) -> None:
        """See ``Step.finish_as``."""
        self.title = title

    @property
    def fraction(self) -> float | None:
        """How much of it is done, from 0 to 1; None while that is not known."""
        return min(1.0, self.done / self.total) if self.total else None


def step_line(mark: str, title: str, seconds: float, width: int = 0) -> str:
    """The line of a step that ended, cut to ``width`` characters; 0: not cut."""
    most = width - len(f"  {mark} {seconds:6.1f} s")
    if width and len(title) > most:
        title = f"{title[: most - 1]}…"
    return f"  {mark} {title:<{_TITLE_WIDTH}}{seconds:6.1f} s"


class Narrator:
    """Keeps track of steps and says nothing (a ``Reporter``).

    Args:
        clock: seconds that never go backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.stack: list[RunningStep] = []
        self._warned: set[str] = set()
        self._lock = threading.RLock()

    @property
    def current(self) -> str:
        """Title of the step that is running; empty between steps."""
        return self.stack[-1].title if self.stack else ""

    @contextlib.contextmanager
    def step(self, key: str, title: str) -> Iterator[RunningStep]:
        """See ``Reporter.step``."""
        step = RunningStep(key, title, self.clock(), self._moved)
        with self._lock:
            self.stack.append(step)
            self.began(step)
        try:
            yield step
        except (KeyboardInterrupt, InterruptedByUser):
            self.interrupted(step)
            raise
        except BaseException as exc:
            with self._lock:
                self.stack.remove(step)
                self.failed(step, self.clock() - step.started, exc)
            raise
        with self._lock:
            self.stack.remove(step)
            self.ended(step, self.clock() - step.started)

    def warn(self, message: str) -> None:
        """See ``Reporter.warn``."""
        with self._lock:
            if message not in self._warned:
                self._warned.add(message)
                self.warned(message)

    def command(self, line: str) -> None:
        """See ``Reporter.command``."""

    def say(self, text: str) -> None:
        """Tell the user something between steps."""

    def began(self, step: RunningStep) -> None:
        """A step begins."""

    def moved(self, step: RunningStep) -> None:
        """A step has got further."""

    def ended(self, step: RunningStep, seconds: float) -> None:
        """A step came to its end."""

    def failed(self, step: RunningStep, seconds: float, cause: BaseException) -> None:
        """A step failed."""

    def interrupted(self, step: RunningStep) -> None:
        """Ctrl-C in a step."""

    def warned(self, message: str) -> None:
        """A warning, told once."""

    def _moved(self, step: RunningStep) -> None:
        with self._lock:
            self.moved(step)


class PlainNarrator(Narrator):
    """One line a finished step, nothing redrawn.

    Args:
        verbose: also tell which commands run.
        stream: where to; standard error when None.
    """

    def __init__(
        self, *, verbose: bool = False, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(clock)
        self._verbose = verbose
        self._stream = stream or sys.stderr
        self._last = ""

    def say(self, text: str) -> None:
        """Write the line."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def command(self, line: str) -> None:
        """Write the command, if asked to."""
        if self._verbose:
            self.say(f"    $ {line}")

    def moved(self, step: RunningStep) -> None:
        """Write a line now and then, if there is something new to say."""
        now = self.clock()
        share = "" if step.fraction is None else f"{step.fraction:4.0%}  "
        line = f"    {share}{step.detail or step.title}"
        if now - max(step.told, step.started) >= _SELDOM and line != self._last:
            step.told, self._last = now, line
            self.say(line)

    def ended(self, step: RunningStep, seconds: float) -> None:
        """Write the line."""
        if step.title:
            self.say(step_line("✓", step.title, seconds))

    def failed(self, step: RunningStep, seconds: float, cause: BaseException) -> None:
        """Write the line."""
        self.say(step_line("✗", step.title, seconds))

    def warned(self, message: str) -> None:
        """Write the line."""
        self.say(f"  ! {message}")


class EventNarrator(Narrator):
    """One JSON document a line on standard output, for programs that watch a start."""

    def event(self, kind: str, **content: Any) -> None:
        """Write one event."""
        with self._lock:
            write_line(document("Event", {"type": kind, **content}))

    def say(self, text: str) -> None:
        """Say nothing: events are told apart by their type."""

    def command(self, line: str) -> None:
        """Tell which command runs."""
        self.event("command", line=line)

    def began(self, step: RunningStep) -> None:
        """Tell that a step begins."""
        self.event("stepStarted", step=step.key, title=step.title)

    def moved(self, step: RunningStep) -> None:
        """Tell how far it is, at most once a second."""
        now = self.clock()
        if now - step.told >= 1.0:
            step.told = now
            self.event("stepProgress", step=step.key, done=step.done, total=step.total, detail=step.detail)

    def ended(self, step: RunningStep, seconds: float) -> None:
        """Tell that it ended."""
        self.event("stepFinished", step=step.key, title=step.title, seconds=round(seconds, 3))

    def failed(self, step: RunningStep, seconds: float, cause: BaseException) -> None:
        """Tell that it failed; why is told on standard error."""
        self.event("stepFailed", step=step.key, title=step.title, seconds=round(seconds, 3))

    def warned(self, message: str) -> None:
        """Tell the warning."""
        self.event("warning", message=message)
