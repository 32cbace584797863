"""Port numbers as they are typed. Pure."""

from __future__ import annotations

from localk8s.model.errors import UsageError
from localk8s.model.hints import instead

MAX_PORT = 65535


def parse_port(text: str, option: str) -> int:
    """A local port, 0 for any that is free.

    Args:
        text: as it was typed: decimal digits, leading zeros are allowed.
        option: where, for the error: ``--port``.

    Raises:
        UsageError: it is not a number from 0 to 65535.
    """
    digits = text.lstrip("0") or text[-1:]
    if text.isascii() and text.isdecimal() and len(digits) <= len(str(MAX_PORT)) and int(digits) <= MAX_PORT:
        return int(digits)
    raise UsageError(f"Invalid {option} {text!r}: must be from 0 to {MAX_PORT}.", hint=instead(option, "0"))
