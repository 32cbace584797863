"""The one waiting loop. Everything that waits for something to become true waits here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from localk8s.model.errors import Localk8sError, WaitTimeoutError
from localk8s.system.slowness import measure_slowness

T = TypeVar("T")


class Pending(Exception):  # noqa: N818 - a state, not an error
    """Raised by a predicate to say what is still missing (shown if the time runs out)."""


_vain: ContextVar[Callable[[], None] | None] = ContextVar("vain", default=None)


@contextlib.contextmanager
def unless(vain: Callable[[], None]) -> Iterator[None]:
    """Let every wait of this thread in the block end when waiting is vain.

    Args:
        vain: called after each look that was not the last; raises what the wait shall end with.
    """
    token = _vain.set(vain)
    try:
        yield
    finally:
        _vain.reset(token)


def wait_until(
    ready: Callable[[], T | None],
    *,
    what: str,
    timeout: float,
    interval: float = 0.1,
    hint: str = "",
) -> T:
    """Call ``ready`` until it returns something true, and return that.

    Args:
        ready: returns a true value when done; returns a false one, or raises ``Pending``, while not. An error that
            is only the lack of an answer (``Localk8sError.unanswered``) means not yet: the time limit of one look is
            not that of the wait. Any other exception ends it.
        what: what is waited for, as it reads after "waited for": ``the API server``.
        timeout: seconds on a usual processor; stretched on one that is measured to be slower.
        interval: seconds between calls.
        hint: for the error.

    Raises:
        WaitTimeoutError: it did not become true in time; the message holds what was missing last.
    """
    begin, limit, stretched = time.monotonic(), timeout, False
    last, vain = "", _vain.get()
    while True:
        try:
            if result := ready():
                return result
        except Pending as pending:
            last = str(pending)
        except Localk8sError as exc:
            if not exc.unanswered:
                raise
            last = exc.message.rstrip(".")
        if vain is not None:
            vain()
        waited = time.monotonic() - begin
        if waited >= limit and not stretched:
            limit, stretched = timeout * measure_slowness(), True
        if waited >= limit:
            seen = f": {last}" if last else ""
            raise WaitTimeoutError(f"Waited {limit:.0f} s for {what}{seen}.", hint=hint)
        time.sleep(interval)
