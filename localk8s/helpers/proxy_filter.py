"""Which requests the API proxy hands on. Pure.

Refuses what a web page in a browser could make the proxy do (other host names, requests from other sites) and, unless it
is allowed, running commands in pods, however the path is spelled.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

_COMMANDS = frozenset({"exec", "attach"})
_KUBELET_COMMANDS = frozenset({"run", "exec", "attach", "portforward", "cri"})
"""What a kubelet runs commands by, behind ``nodes/NODE/proxy``."""
_DECODINGS = 4
"""How often a path may be percent-encoded: each server on the way decodes it once."""


@dataclass(frozen=True, slots=True)
class Request:
    """The head of an HTTP request."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case."""

    def header(self, name: str) -> str:
        """The first header of that name (lower case); empty when there is none."""
        return next((value for key, value in self.headers if key == name), "")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not handed on."""

    status: int
    reason: str


def is_local_host(host: str) -> bool:
    """Whether a Host header names this machine by an address or as ``localhost``, which no rebinding can do."""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.lower() in ("localhost", "localhost.")
    return True


def judge(request: Request, *, commands: bool) -> Refusal | None:
    """Why a request is not handed on; None when it is.

    Args:
        request: its head.
        commands: whether commands may be run in pods.
    """
    if not request.target.startswith("/"):
        return Refusal(400, "The request target must be a path.")
    if not is_local_host(request.header("host")):
        return Refusal(403, "This Host is not served.")
    if request.header("sec-fetch-site") in ("cross-site", "same-site"):
        return Refusal(403, "Requests of other sites are not served.")
    origin = request.header("origin")
    if origin and origin.partition("://")[2] != request.header("host"):
        return Refusal(403, "Requests of other sites are not served.")
    if not commands and runs_commands(request.target):
        return Refusal(403, "Running commands in pods is not allowed; start the proxy with --commands to allow it.")
    return None


def runs_commands(target: str) -> bool:
    """Whether a request target could run a command in a pod: by the API, or by a kubelet behind it.

    Errs on the refusing side, as ``kubectl proxy`` does: whatever follows a pod's name counts.
    """
    segments = _segments(target)
    if segments is None:
        return True
    return _follows(segments, "pods", 2, _COMMANDS) or any(
        _follows(segments[index:], "proxy", 1, _KUBELET_COMMANDS)
        for index, segment in enumerate(segments)
        if segment == "nodes"
    )


def _follows(segments: Sequence[str], first: str, gap: int, words: frozenset[str]) -> bool:
    """Whether one of ``words`` comes ``gap`` or more segments after ``first``."""
    return first in segments and not words.isdisjoint(segments[segments.index(first) + gap :])


def _segments(target: str) -> list[str] | None:
    """The parts of a path as the most lenient server could read them, in lower case; None when it is encoded too often."""
    path = target.partition("?")[0]
    for _ in range(_DECODINGS):
        decoded = unquote(path, encoding="latin-1")
        if decoded == path:
            break
        path = decoded
    else:
        return None
    parts = path.replace("\\", "/").lower().split("/")
    return [plain for part in parts if (plain := part.partition(";")[0].strip()) not in ("", ".", "..")]
