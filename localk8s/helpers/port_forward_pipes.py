"""Both ends of a forwarded connection as asyncio protocols: bytes, half-closes and back-pressure go from one to the other.

Knows nothing of pods, services or who listens.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from localk8s.kube.streams import Side

_BUFFER = 1 << 20
"""Bytes kept for a receiver that is slow, before the sender has to wait."""


class SocketSide(asyncio.Protocol):
    """An end that is a TCP connection (a ``Side``)."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._peer: Side | None = None
        self._finished = self._got_end = False
        self.lost = False

    def attach(self, peer: Side) -> None:
        """Give what comes to ``peer`` from now on."""
        self._peer = peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Switch delays off; read nothing until there is somewhere to put it."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's own promise
        self._transport = transport
        transport.set_write_buffer_limits(high=_BUFFER)
        # Not at once: with Debian 12's Python (3.11.2) asyncio begins to read after this, pause or no pause.
        asyncio.get_running_loop().call_soon(self._wait_for_peer)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _wait_for_peer(self) -> None:
        if self._peer is None:
            self.pause()

    def data_received(self, data: bytes) -> None:
        """Hand it on."""
        if self._peer is not None:
            self._peer.write(data)

    def eof_received(self) -> bool:
        """Hand the half-close on; the other direction goes on."""
        self._got_end = True
        if self._peer is not None:
            self._peer.finish()
        return not self._finished

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: so is the other end's."""
        self.lost = True
        if self._peer is not None:
            self._peer.end(clean=exc is None)

    def pause_writing(self) -> None:
        """This end is slower than the other."""
        if self._peer is not None:
            self._peer.pause()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._peer is not None:
            self._peer.resume()

    def write(self, data: bytes) -> None:
        """See ``Side``."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def finish(self) -> None:
        """See ``Side``."""
        self._finished = True
        if self._transport is None or self._transport.is_closing():
            return
        if self._got_end:
            self._transport.close()
        else:
            self._transport.write_eof()

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
        if self._transport is not None and not self.lost:  # asyncio may not be told to abort what is gone already
            self._transport.close() if clean else self._transport.abort()


class PodSide(SocketSide):
    """The end at a pod that this host reaches by itself."""

    def attach(self, peer: Side) -> None:
        """Give what comes to ``peer``, from now on."""
        super().attach(peer)
        self.resume()


class LocalSide(SocketSide):
    """The end at the client.

    Args:
        accepted: called with it when the connection is there.
    """

    def __init__(self, accepted: Callable[[LocalSide], None]) -> None:
        super().__init__()
        self._accepted = accepted
        self.on_lost: Callable[[LocalSide], None] = lambda side: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have somebody find the other end."""
        super().connection_made(transport)
        self._accepted(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so, too."""
        super().connection_lost(exc)
        self.on_lost(self)

    def hang_up(self) -> None:
        """The other end is no more: flush what it said, close both."""
        self.end(clean=True)
