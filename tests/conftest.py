"""What every test starts from: signals that do what they do for somebody at a terminal."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Heed SIGINT, which a shell lets its background jobs ignore; what the tests start would inherit that and not end by it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
