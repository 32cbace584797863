"""Parts of long work on one scale: a fetch and a build that follow each other move one bar, and it never goes back. Pure."""

from __future__ import annotations

from localk8s.model.progress import Step


class Phase:
    """A ``Step`` that is one part of another; that one runs from 0 to 1.

    Args:
        step: the whole.
        start: where on the whole this part begins, 0 to 1.
        share: how much of the whole it is.
    """

    def __init__(self, step: Step, start: float, share: float) -> None:
        self._step = step
        self._start = start
        self._share = share
        self._furthest = 0.0

    def progress(self, done: float, total: float | None, detail: str = "") -> None:
        """See ``Step.progress``; an unknown total leaves the bar where it is."""
        if total:
            self._furthest = max(self._furthest, min(done / total, 1.0))
        self._step.progress(self._start + self._share * self._furthest, 1.0, detail)

    def finish_as(self, title: str) -> None:
        """See ``Step.finish_as``."""
        self._step.finish_as(title)
