"""The narrator for a terminal: the running step moves, with its seconds, a bar and the time left.

Loaded only when standard error is a terminal: rich takes longer to import than most commands take.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from localk8s.cli.narrators import Narrator, RunningStep, step_line

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_BAR = 20
_COLOURS = {"✓": "green", "✗": "red", "!": "yellow"}


def bar(fraction: float) -> str:
    """A bar of ``_BAR`` cells, to half a cell."""
    halves = round(fraction * _BAR * 2)
    full, half = divmod(halves, 2)
    return ("━" * full + ("╸" if half else "")).ljust(_BAR, "─")


def time_left(fraction: float, seconds: float) -> str:
    """``2:10 left``, judged by how long it took so far; empty while that says little."""
    if fraction < 0.03 or seconds < 2 or fraction >= 1:
        return ""
    left = round(seconds * (1 - fraction) / fraction)
    return f"{left // 60}:{left % 60:02} left"


def moving_line(step: RunningStep, seconds: float, width: int) -> str:
    """The line of a running step, at most ``width`` characters."""
    frame = _FRAMES[int(seconds * 10) % len(_FRAMES)]
    left = time_left(step.fraction, seconds) if step.fraction is not None else ""
    tail = f"  {bar(step.fraction)}  {left or f'{seconds:.0f} s'}" if step.fraction is not None else f"{seconds:6.1f} s"
    room = max(10, width - len(tail) - 1)
    title = step.title
    if step.detail:  # what it is at right now says more than what all of it is called
        title = f"{_cut(title, max(8, room - len(step.detail) - 6))}  {step.detail}"
    head = _cut(f"  {frame} {title}", room)
    return f"{head:<{min(room, 46)}}{tail}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


class LiveNarrator(Narrator):
    """Draws on standard error.

    Args:
        verbose: also tell which commands run.
        console: where to draw; standard error when None.
        clock: seconds that never go backwards.
    """

    def __init__(
        self, *, verbose: bool = False, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(clock)
        self._verbose = verbose
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._live: Live | None = None

    def say(self, text: str) -> None:
        """Write the line above what moves."""
        self._print(Text(text))

    def command(self, line: str) -> None:
        """Write the command, if asked to."""
        if self._verbose:
            self._print(Text(f"    $ {line}", style="dim"))

    def began(self, step: RunningStep) -> None:
        """Begin to move."""
        if self._live is None:
            self._live = Live(
                get_renderable=self._frame,
                console=self._console,
                transient=True,
                refresh_per_second=10,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def ended(self, step: RunningStep, seconds: float) -> None:
        """Write the line that stays."""
        self._stay("✓", step.title, seconds)

    def failed(self, step: RunningStep, seconds: float, cause: BaseException) -> None:
        """Write the line that stays."""
        self._stay("✗", step.title, seconds)

    def interrupted(self, step: RunningStep) -> None:
        """Stop moving."""
        self.still()

    def warned(self, message: str) -> None:
        """Write the line."""
        self._print(self._marked("!", f"  ! {message}"))

    def still(self) -> None:
        """Stop moving, and leave the terminal as it was."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _stay(self, mark: str, title: str, seconds: float) -> None:
        if not self.stack:
            self.still()
        if title:
            self._print(self._marked(mark, step_line(mark, title, seconds, self._console.width)))

    def _marked(self, mark: str, line: str) -> Text:
        text = Text(line)
        text.stylize(_COLOURS[mark], 2, 3)
        return text

    def _frame(self) -> Text:
        stack = list(self.stack)
        if not stack:
            return Text("")
        line = moving_line(stack[-1], self.clock() - stack[-1].started, self._console.width)
        return Text(line, no_wrap=True, overflow="ellipsis")

    def _print(self, text: Text) -> None:
        with self._lock:
            self._console.print(text)
