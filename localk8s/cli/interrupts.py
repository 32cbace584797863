"""Ctrl-C and SIGTERM: the work ends within a second, whatever threads and commands are under way.

The first signal raises KeyboardInterrupt where the main thread is. Should that not end the process in time (a thread
pool waits for its threads), a watchdog says the sentence, kills the commands that run, and ends it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

PATIENCE = 0.8
"""Seconds between the signal and the watchdog's end of the process."""
TIDYING = 8.0
"""The same for a command that the user ends by Ctrl-C, and that may have something to take back from the cluster."""
_WORDS = 1.0
"""Seconds that saying the sentence may take."""


class Interrupts:
    """Installs the handlers, and knows whether the user has been told.

    Args:
        tell: says the sentence; called at most once, by whoever comes first.
        kill: ends the commands that run.
        endless: whether the command that runs is one that only Ctrl-C ends: then that is its good end, with exit code 0.
    """

    def __init__(self, tell: Callable[[], None], kill: Callable[[], None], endless: Callable[[], bool] = lambda: False) -> None:
        self._tell = tell
        self._kill = kill
        self._endless = endless
        self._telling = threading.Lock()
        self._told = threading.Event()
        self.code = 128 + signal.SIGINT
        self.raised = False

    def install(self) -> None:
        """Handle SIGINT and SIGTERM from now on; only the main thread can."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def tell_once(self) -> None:
        """Say the sentence, or wait until the other thread that says it is done."""
        if self._telling.acquire(blocking=False):
            try:
                self._tell()
            finally:
                self._told.set()
        self._told.wait(_WORDS)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        endless = self._endless()
        self.code = 0 if endless else 128 + number
        if self.raised:
            return  # it is ending already
        self.raised = True
        watchdog = threading.Timer(TIDYING if endless else PATIENCE, self._end)
        watchdog.daemon = True
        watchdog.start()
        raise KeyboardInterrupt

    def _end(self) -> None:
        self._kill()
        words = threading.Thread(target=self.tell_once, daemon=True)  # the terminal may be locked by who never returns
        words.start()
        words.join(_WORDS)
        os._exit(self.code)
