"""Local addresses as they are typed. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from localk8s.model.errors import UsageError
from localk8s.model.hints import instead

LOOPBACK = "127.0.0.1"
_HINT = instead("--address", LOOPBACK)


def check_address(text: str) -> str:
    """``text`` as an IP address in its usual spelling; ``localhost`` is 127.0.0.1.

    Raises:
        UsageError: it is empty, or not an IP address. An empty one would be taken for all addresses of the host.
    """
    if text == "localhost":
        return LOOPBACK
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as exc:
        what = f"Invalid IP address {text!r}." if text else "The local address is empty."
        raise UsageError(what, hint=_HINT) from exc


def check_addresses(texts: Sequence[str]) -> tuple[str, ...]:
    """Each of ``texts`` as for ``check_address``.

    Raises:
        UsageError: there is none, one is not an IP address, or one is repeated.
    """
    found = tuple(check_address(text) for text in texts)
    if not found:
        raise UsageError("The local address is empty.", hint=_HINT)
    for address in found:
        if found.count(address) > 1:
            raise UsageError(f"The local address {address} is repeated.", hint=_HINT)
    return found


def parse_addresses(text: str) -> tuple[str, ...]:
    """``IP[,IP…]``; errors as for ``check_addresses``."""
    return check_addresses([part.strip() for part in text.split(",")])


def reaches_beyond_this_host(address: str) -> bool:
    """Whether what listens on ``address`` may be reached from other machines."""
    return not ipaddress.ip_address(address).is_loopback
