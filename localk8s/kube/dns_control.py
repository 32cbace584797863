"""The control channel of a named on this machine, as far as it takes to have single zones read again.

A SIGHUP has named read everything again, and some megabytes more stay in use each time; this reads one zone and costs
nothing. Speaks the protocol of ``rndc``: length, version, then tables of named values, signed with a shared secret.
The standard library alone: it is part of the DNS image.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_VERSION = 1
_BINARY, _TABLE = 1, 2
_SHA256 = 163
"""The protocol's number for HMAC-SHA256."""
_VALID = 60
"""Seconds for which a command is valid."""
_LARGEST = 1 << 20
"""Bytes of an answer that are read at most."""


class Control(NamedTuple):
    """Where the channel is, and its secret."""

    port: int
    secret: bytes

    @classmethod
    def new(cls) -> Control:
        """A channel on a port of loopback that is free now, with a secret of its own."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return cls(sock.getsockname()[1], os.urandom(32))

    def clauses(self) -> str:
        """What named.conf says about it."""
        secret = base64.b64encode(self.secret).decode()
        return (
            f'key "control" {{ algorithm hmac-sha256; secret "{secret}"; }};\n'
            f'controls {{ inet 127.0.0.1 port {self.port} allow {{ 127.0.0.1; }} keys {{ "control"; }}; }};'
        )


def reload_zones(control: Control, zones: Sequence[str], *, timeout: float) -> None:
    """Have named read those zones' files; it answers before it has done so.

    Args:
        timeout: seconds for each step.

    Raises:
        OSError: named is not there, does not answer, or refuses.
    """
    with socket.create_connection(("127.0.0.1", control.port), timeout=timeout) as sock:
        nonce = _ask(sock, control.secret, "null", b"")  # what commands have to bear, so that none can be sent again
        for zone in zones:
            _ask(sock, control.secret, f"reload {zone}", nonce)


def encode(message: Mapping[str, Any]) -> bytes:
    """A table as it goes over the wire."""
    parts = []
    for name, value in message.items():
        kind, content = (_BINARY, value) if isinstance(value, bytes) else (_TABLE, encode(value))
        parts.append(struct.pack("!B", len(name)) + name.encode() + struct.pack("!BI", kind, len(content)) + content)
    return b"".join(parts)


def decode(content: bytes, *, depth: int = 4) -> dict[str, Any]:
    """The table in ``content``, in which no more than ``depth`` tables are nested.

    Raises:
        OSError: it is none.
    """
    message: dict[str, Any] = {}
    at = 0
    while at < len(content):
        try:
            end = at + 1 + content[at]
            name = content[at + 1 : end].decode("ascii", "replace")
            kind, length = struct.unpack_from("!BI", content, end)
        except (IndexError, struct.error) as exc:
            raise OSError("the control channel's answer cannot be understood") from exc
        value, at = content[end + 5 : end + 5 + length], end + 5 + length
        message[name] = decode(value, depth=depth - 1) if kind == _TABLE and depth else value
    return message


def _ask(sock: socket.socket, secret: bytes, command: str, nonce: bytes) -> bytes:
    """Send one command; returns the nonce of the answer."""
    now = int(time.time())
    serial = int.from_bytes(os.urandom(4), "big")  # two commands of one second must differ in it
    control = {"_ser": str(serial).encode(), "_tim": str(now).encode(), "_exp": str(now + _VALID).encode()}
    body = encode({"_ctrl": {**control, **({"_nonce": nonce} if nonce else {})}, "_data": {"type": command.encode()}})
    message = encode({"_auth": {"hsha": _signature(secret, body)}}) + body
    sock.sendall(struct.pack("!II", len(message) + 4, _VERSION) + message)
    length, version = struct.unpack("!II", _exactly(sock, 8))
    if version != _VERSION or not 4 <= length <= _LARGEST:
        raise OSError("the control channel's answer cannot be understood")
    answer = decode(_exactly(sock, length - 4))
    said, told = answer.get("_data"), answer.get("_ctrl")
    if not isinstance(said, dict) or not isinstance(told, dict):
        raise OSError("the control channel's answer cannot be understood")
    if trouble := said.get("err"):
        raise OSError(f"named refuses {command!r}: {trouble!r}")
    found = told.get("_nonce", b"")
    return found if isinstance(found, bytes) else b""


def _signature(secret: bytes, body: bytes) -> bytes:
    digest = base64.b64encode(hmac.new(secret, body, hashlib.sha256).digest())
    return struct.pack("!B88s", _SHA256, digest)


def _exactly(sock: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        piece = sock.recv(length - len(received))
        if not piece:
            raise OSError("the control channel was closed")
        received += piece
    return received
