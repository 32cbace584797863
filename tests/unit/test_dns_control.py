"""named's control channel: what goes over the wire, and answers that are none (a real named: tests/integration)."""

from __future__ import annotations

import contextlib
import hmac
import socket
import struct
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localk8s.kube.dns_control import Control, decode, encode, reload_zones

SECRET = b"s" * 32


def test_tables_as_they_are_sent() -> None:
    message = {"_data": {"type": b"null"}, "x": b""}
    content = encode(message)
    inner = b"\x04type\x01\x00\x00\x00\x04null"
    assert content == b"\x05_data\x02" + struct.pack("!I", len(inner)) + inner + b"\x01x\x01\x00\x00\x00\x00"
    assert decode(content) == message


def test_no_depth_is_too_deep() -> None:
    nested: dict[str, object] = {}
    for _ in range(300):
        nested = {"a": nested}
    assert decode(encode(nested))


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_table_or_refused(content: bytes) -> None:
    with contextlib.suppress(OSError):
        decode(content)


def test_the_secret_is_in_the_configuration_and_nowhere_else() -> None:
    clauses = Control(1953, SECRET).clauses()
    assert b64encode(SECRET).decode() in clauses and "inet 127.0.0.1 port 1953 allow { 127.0.0.1; }" in clauses


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def serve(listener: socket.socket, answers: list[bytes]) -> list[dict[str, object]]:
    """Answer one connection's commands with ``answers``; returns what came, as it comes."""
    seen: list[dict[str, object]] = []

    def run() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as file:
            for answer in answers:
                length, _ = struct.unpack("!II", file.read(8))
                content = file.read(length - 4)
                seen.append({**decode(content), "raw": content})
                connection.sendall(answer)

    threading.Thread(target=run, daemon=True).start()
    return seen


def framed(message: dict[str, object]) -> bytes:
    content = encode(message)
    return struct.pack("!II", len(content) + 4, 1) + content


def test_a_command_is_signed_and_bears_the_nonce(listener: socket.socket) -> None:
    answer = framed({"_ctrl": {"_nonce": b"77"}, "_data": {"result": b"0"}})
    seen = serve(listener, [answer, answer])
    reload_zones(Control(listener.getsockname()[1], SECRET), ["cluster.local"], timeout=5)
    assert seen[0]["_data"] == {"type": b"null"} and "_nonce" not in seen[0]["_ctrl"]  # type: ignore[operator]
    assert seen[1]["_data"] == {"type": b"reload cluster.local"}
    assert seen[1]["_ctrl"]["_nonce"] == b"77"  # type: ignore[index]
    assert seen[0]["_ctrl"]["_ser"] != seen[1]["_ctrl"]["_ser"]  # type: ignore[index]
    signature = seen[1]["_auth"]["hsha"]  # type: ignore[index]
    raw = seen[1]["raw"]
    assert isinstance(raw, bytes)
    body = raw[raw.index(b"\x05_ctrl") :]
    assert signature[0] == 163 and b64decode(signature[1:].rstrip(b"\0")) == hmac.digest(SECRET, body, "sha256")


@pytest.mark.parametrize(
    "answer",
    [
        framed({"_ctrl": {}, "_data": {"err": b"not found"}}),
        framed({"_ctrl": b"", "_data": {}}),
        framed({}),
        struct.pack("!II", 1 << 30, 1),
        struct.pack("!II", 4, 2),
        struct.pack("!II", 8, 1) + b"\xff\xff\xff\xff",
        b"",
    ],
)
def test_a_refusal_or_nonsense_is_an_error(listener: socket.socket, answer: bytes) -> None:
    serve(listener, [answer])
    with pytest.raises(OSError):
        reload_zones(Control(listener.getsockname()[1], SECRET), ["cluster.local"], timeout=5)
