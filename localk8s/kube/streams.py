"""A pod's TCP port through the API server: SPDY/3.1 frames with port-forward's two streams, one connection each.

Owns the wire; knows nothing of listeners or of which pod to choose. SPDY rather than a websocket, because only it carries a
half-close, and every API server since 1.20 speaks it. Server headers are never inflated: nothing in them is needed.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple, Protocol

from localk8s.kube.endpoint import Endpoint
from localk8s.kube.paths import api_path
from localk8s.kube.transport import USER_AGENT, refusal
from localk8s.model.errors import KubernetesError

_ERROR_STREAM, _DATA_STREAM = 1, 3
_FIN = 1
_VERSION = 0x8003
_MOST = 0xFFFF00
"""Bytes in one frame; its length has 24 bits."""
_LONGEST_HEAD = 65536
_MOST_KEPT = 65536
"""Bytes sent to a pod that are kept until it answers, in case it turns out that it was never reached."""
_NEVER_REACHED = ("connection refused", "failed to dial", "failed to connect", "not found", "namespace", "not running")
"""What nodes say when they could not connect to the pod's port."""


class FrameType(IntEnum):
    """Control frames that matter here."""

    DATA = 0
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    PING = 6
    GOAWAY = 7


class Frame(NamedTuple):
    """One frame as it came."""

    kind: int
    """A ``FrameType``, or another that can be skipped."""
    stream: int
    fin: bool
    body: bytes


def data_frame(stream: int, body: bytes | memoryview = b"", *, fin: bool = False) -> bytes:
    """The head of a data frame with ``body`` behind it."""
    return struct.pack(">II", stream, (_FIN if fin else 0) << 24 | len(body)) + body


def control_frame(kind: FrameType, body: bytes, *, fin: bool = False) -> bytes:
    """A control frame."""
    return struct.pack(">HHI", _VERSION, kind, (_FIN if fin else 0) << 24 | len(body)) + body


class Headers:
    """Compresses header blocks; one for each connection, because they build on each other."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj()

    def syn_stream(self, stream: int, headers: Mapping[str, str], *, fin: bool) -> bytes:
        """The frame that opens ``stream``."""
        plain = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                plain += struct.pack(">I", len(text)) + text
        block = self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return control_frame(FrameType.SYN_STREAM, struct.pack(">IIBB", stream, 0, 0, 0) + block, fin=fin)


class Frames:
    """Cuts what comes into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now."""
        self._rest += data
        begin = 0
        while len(self._rest) - begin >= 8:
            first, second = struct.unpack_from(">II", self._rest, begin)
            end = begin + 8 + (second & 0xFFFFFF)
            if len(self._rest) < end:
                break
            body = bytes(memoryview(self._rest)[begin + 8 : end])
            fin = bool(second >> 24 & _FIN)
            begin = end
            if first & 0x80000000:
                stream = struct.unpack_from(">I", body)[0] & 0x7FFFFFFF if len(body) >= 4 else 0
                yield Frame(first & 0xFFFF, stream, fin, body)
            else:
                yield Frame(FrameType.DATA, first, fin, body)
        del self._rest[:begin]


class Side(Protocol):
    """One end of a forwarded connection, as the other end uses it."""

    def write(self, data: bytes) -> None:
        """Send ``data``, or keep it until it can be sent."""

    def finish(self) -> None:
        """Nothing more will be written."""

    def pause(self) -> None:
        """Give the other end no more data for now."""

    def resume(self) -> None:
        """Go on giving."""

    def end(self, *, clean: bool) -> None:
        """It is over: flush and close, or reset."""


class PortStream(asyncio.Protocol):
    """A port of a pod (a ``Side``); made by ``open_port_stream``.

    Args:
        request: the upgrade request.
        port: the pod's port.
        opened: resolved when the streams are open.
    """

    def __init__(self, request: bytes, port: int, opened: asyncio.Future[None]) -> None:
        self._request = request
        self._port = port
        self._opened = opened
        self._head: bytearray | None = bytearray()
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._peer: Side | None = None
        self._failure = b""
        self.on_failure: Callable[[str], None] = lambda sentence: None
        """Told what the node says when nobody listens on the port."""
        self.on_unreached: Callable[[bytes, bool], bool] = lambda sent, finished: False
        """Asked, when the pod was never reached, to have what was sent go elsewhere; false: the connection ends."""
        self._sent: bytearray | None = bytearray()
        self._early: list[Frame] = []
        self._sent_fin = self._got_fin = self._lost = False

    @property
    def failure(self) -> str:
        """What the node said went wrong; empty when nothing did."""
        return self._failure.decode("utf-8", "replace").strip()

    def attach(self, peer: Side) -> None:
        """Give what comes to ``peer`` from now on."""
        self._peer = peer
        early, self._early = self._early, []
        for frame in early:
            self._take(frame)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's own promise
        self._transport = transport
        transport.set_write_buffer_limits(high=1 << 20)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Read the answer's head, then frames."""
        if self._head is not None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                if len(self._head) > _LONGEST_HEAD:
                    self._fail(KubernetesError("The API server's answer to a port-forward is no HTTP."))
                return
            head, data, self._head = bytes(self._head[:end]), bytes(self._head[end + 4 :]), None
            self._upgraded(head, data)
        for frame in self._frames.feed(data):
            self._take(frame)

    def _upgraded(self, head: bytes, rest: bytes) -> None:
        status = head.split(b" ", 2)[1:2]
        code = int(status[0]) if status and status[0].isdigit() else 0
        if code != 101:
            self._fail(refusal("portforward", code, rest))
            return
        headers = Headers()
        told = {"port": str(self._port), "requestid": "0"}
        assert self._transport is not None  # noqa: S101 - data came through it
        self._transport.write(headers.syn_stream(_ERROR_STREAM, {"streamtype": "error", **told}, fin=True))
        self._transport.write(headers.syn_stream(_DATA_STREAM, {"streamtype": "data", **told}, fin=False))
        if not self._opened.done():
            self._opened.set_result(None)

    def _fail(self, error: KubernetesError) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
        self.end(clean=False)

    def _take(self, frame: Frame) -> None:
        if frame.kind == FrameType.PING:
            self._send(control_frame(FrameType.PING, frame.body))
        elif self._peer is None:
            self._early.append(frame)
        elif frame.kind == FrameType.GOAWAY:
            self._over(clean=False)
        elif frame.kind == FrameType.RST_STREAM and frame.stream == _DATA_STREAM:
            self._over(clean=self._got_fin and not self._failure)
        elif frame.kind == FrameType.DATA and frame.stream == _ERROR_STREAM:
            self._failure += frame.body[:4096]
            if self._failure and frame.fin:
                self._failed()
        elif frame.kind == FrameType.DATA and frame.stream == _DATA_STREAM:
            self._data(frame)

    def _failed(self) -> None:
        unreached = self._sent is not None and any(words in self.failure for words in _NEVER_REACHED)
        if unreached and self.on_unreached(bytes(self._sent or b""), self._sent_fin):
            self._peer = None
            self.end(clean=True)
            return
        self.on_failure(self.failure)
        self._over(clean=False)

    def _data(self, frame: Frame) -> None:
        assert self._peer is not None  # noqa: S101 - ``_take`` looked
        if frame.body:
            self._sent = None
            self._peer.write(frame.body)
        if frame.fin:
            self._got_fin = True
            self._peer.finish()
            if self._sent_fin:
                self._over(clean=True)

    def _over(self, *, clean: bool) -> None:
        if self._peer is not None:
            self._peer.end(clean=clean)
        self.end(clean=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """The API server closed."""
        self._lost = True
        if not self._opened.done():
            self._opened.set_exception(KubernetesError("The API server closed the connection."))
        if self._peer is not None:
            self._peer.end(clean=self._got_fin and not self._failure)

    def pause_writing(self) -> None:
        """The API server is slower than the client."""
        if self._peer is not None:
            self._peer.pause()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._peer is not None:
            self._peer.resume()

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def write(self, data: bytes) -> None:
        """See ``Side``."""
        if self._sent is not None:
            self._sent += data
            if len(self._sent) > _MOST_KEPT:
                self._sent = None
        for begin in range(0, len(data), _MOST):
            self._send(data_frame(_DATA_STREAM, data[begin : begin + _MOST]))

    def finish(self) -> None:
        """See ``Side``."""
        if not self._sent_fin:
            self._sent_fin = True
            self._send(data_frame(_DATA_STREAM, fin=True))
            if self._got_fin:
                self._over(clean=True)

    def pause(self) -> None:
        """See ``Side``."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """See ``Side``."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def end(self, *, clean: bool) -> None:
        """See ``Side``."""
        if self._transport is None or self._lost:
            return
        if not clean:
            self._transport.abort()
        elif not self._transport.is_closing():  # asyncio forgets a TLS connection that is closed twice
            self._transport.close()


def upgrade_request(endpoint: Endpoint, namespace: str, pod: str) -> bytes:
    """The HTTP request that turns a connection into port-forward's."""
    path = endpoint.prefix + api_path("v1", "pods", namespace=namespace, name=pod, subresource="portforward")
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    headers = {
        "Host": f"{host}:{endpoint.port}",
        "User-Agent": USER_AGENT,
        "Connection": "Upgrade",
        "Upgrade": "SPDY/3.1",
        "X-Stream-Protocol-Version": "portforward.k8s.io",
        "Content-Length": "0",
        **endpoint.headers(),
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def open_port_stream(endpoint: Endpoint, namespace: str, pod: str, port: int, *, timeout: float) -> PortStream:
    """Connect to a pod's TCP port through the API server.

    Args:
        endpoint: the API server.
        namespace: the pod's.
        pod: its name.
        port: its port.
        timeout: seconds.

    Raises:
        KubernetesError: the API server refused (``status``), or gave no answer (``status`` is None). That nobody listens
            on the port shows later, as ``PortStream.failure``.
    """
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[None] = loop.create_future()
    stream = PortStream(upgrade_request(endpoint, namespace, pod), port, opened)
    name = (endpoint.server_name or endpoint.host) if endpoint.tls else None
    try:
        async with asyncio.timeout(timeout):
            await loop.create_connection(lambda: stream, endpoint.host, endpoint.port, ssl=endpoint.tls, server_hostname=name)
            await opened
    except OSError as exc:  # TimeoutError is one
        stream.end(clean=False)
        raise KubernetesError(f"The Kubernetes API at {endpoint.url} does not answer.", details=repr(exc)) from exc
    except BaseException:
        stream.end(clean=False)
        raise
    return stream
