"""The events that ``minikube start -o json`` and its like print, one a line, and what they mean for progress. Pure.

Two rules come from experience: only the exit code decides about success, and an error event is fatal only when the
process then ends. ``Follower`` turns the events into steps, one bar that never goes backwards, and warnings.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

_PREFIX = "io.k8s.sigs.minikube."
_LONGEST_WARNING = 300


class EventKind(StrEnum):
    """What an event tells."""

    STEP = "step"
    INFO = "info"
    WARNING = "warning"
    DOWNLOAD = "download"
    PROGRESS = "download.progress"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    kind: EventKind
    message: str = ""
    name: str = ""
    """Of a step, its name; of a fatal error, minikube's reason (``GUEST_START``)."""
    step: int | None = None
    """Index of the step from 0; None for one outside of the sequence."""
    total: int | None = None
    """Index of the last step."""
    artifact: str = ""
    progress: float | None = None
    """0 to 1; None when it is not known."""
    exit_code: int | None = None
    """What minikube would end with; with ``--force`` it goes on all the same."""
    advice: str = ""
    url: str = ""
    issues: str = ""


def parse_event(line: str) -> Event | None:
    """The event in ``line``; None when it holds none (log lines, blank lines, whatever else is printed)."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        envelope = json.loads(line)
        kind = EventKind(str(envelope["type"]).removeprefix(_PREFIX))
        data = envelope["data"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(data, Mapping) or not str(envelope["type"]).startswith(_PREFIX):
        return None
    return Event(
        kind=kind,
        message=_text(data, "message"),
        name=_text(data, "name"),
        step=_integer(data, "currentstep"),
        total=_integer(data, "totalsteps"),
        artifact=_text(data, "artifact"),
        progress=_fraction(_text(data, "progress")),
        exit_code=_integer(data, "exitcode"),
        advice=_text(data, "advice"),
        url=_text(data, "url"),
        issues=_text(data, "issues"),
    )


def parse_events(output: str) -> tuple[Event, ...]:
    """All events in ``output``."""
    return tuple(event for line in output.splitlines() if (event := parse_event(line)) is not None)


@dataclass(frozen=True, slots=True)
class StepBegun:
    """A new step of the recipe."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class Advanced:
    """The bar has moved, or what is being done has changed."""

    done: float
    """Steps done, with the part of the running one; never less than before."""
    total: float
    detail: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the user should know, said once."""

    message: str


Action = StepBegun | Advanced | Warned


@dataclass(slots=True)
class Follower:
    """Follows one minikube command by its events."""

    step: str = ""
    """Name of the newest step: where it hangs, when it hangs."""
    failure: Event | None = None
    """The last error event that said with which exit code minikube would end."""
    _index: int = -1
    _done: float = 0.0
    _total: float = 19.0
    _finished: set[str] = field(default_factory=set)
    _artifact: str = ""
    _part: float = 0.0
    _pending: list[str] = field(default_factory=list)
    _warned: set[str] = field(default_factory=set)

    def feed(self, event: Event) -> Iterator[Action]:
        """What ``event`` means; call in the order in which events come."""
        if event.kind is EventKind.STEP:
            yield from self.flush()
            yield from self._step(event)
        elif event.kind is EventKind.WARNING:
            yield from self.flush()
            self._pending.append(event.message)
        elif event.kind is EventKind.ERROR:
            self._error(event)
        elif event.kind in (EventKind.DOWNLOAD, EventKind.PROGRESS):
            yield from self._download(event)

    def flush(self) -> Iterator[Warned]:
        """The warning that waited for more lines of it; call it at the end of a command that succeeded."""
        text = _sentence(self._pending)
        self._pending.clear()
        if text and text not in self._warned and not _NOISE.match(text):
            self._warned.add(text)
            yield Warned(text)

    def _step(self, event: Event) -> Iterator[Action]:
        if event.total:
            self._total = float(event.total)
        if event.step is not None and event.step > self._index:
            self._index, self.step, self._part = event.step, event.name, 0.0
            self._done = max(self._done, float(event.step))
            yield StepBegun(event.step, event.name)
        yield Advanced(min(self._done, self._total), self._total, event.message)

    def _error(self, event: Event) -> None:
        """An error is a line of the warning before it, until it turns out to be the end."""
        if event.exit_code is not None:
            self.failure = event
        if event.message.strip():
            self._pending.append(event.message)

    def _download(self, event: Event) -> Iterator[Action]:
        """Artifacts come one after the other, how many is not known: the bar nears the step's end and never reaches it."""
        if event.artifact != self._artifact:
            if self._artifact:
                self._finished.add(self._artifact)
            self._artifact, self._part = event.artifact, 0.0
        if event.progress is not None:
            self._part = max(self._part, event.progress)
        amount = len(self._finished - {self._artifact}) + self._part
        self._done = max(self._done, max(self._index, 0) + 0.99 * amount / (amount + 1.0))
        percent = "" if event.progress is None else f"  {self._part:.0%}"
        yield Advanced(min(self._done, self._total), self._total, f"{event.artifact}{percent}")


_NOISE = re.compile(
    r"The 'none' driver is designed for experts"
    r"|kubectl and minikube configuration will be stored in"
    r"|To use kubectl or minikube commands as your own user"
    r"|Most users should use the newer"
    r"|minikube skips various validations when --force"
    r"|You can force an unsupported Kubernetes version"
    r"|\W*$"
)
"""Notices that mean nothing to whom localk8s stands between: they tell of minikube's own commands and files."""


def _sentence(lines: list[str]) -> str:
    """``lines`` as one text of bearable length."""
    parts = [" ".join(line.split()) for line in lines if line.strip() and not line.lstrip().startswith("╭")]
    text = " ".join(part if part.endswith((".", "!", ":", "?")) else f"{part}." for part in parts[:-1])
    text = " ".join(filter(None, [text, *parts[-1:]]))
    return text if len(text) <= _LONGEST_WARNING else text[: _LONGEST_WARNING - 1].rstrip() + "…"


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return "" if value is None else str(value)


def _integer(data: Mapping[str, Any], key: str) -> int | None:
    text = _text(data, key)
    return int(text) if re.fullmatch(r"\d{1,4}", text, re.ASCII) else None


def _fraction(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0.0 <= value <= 1.0 else None
