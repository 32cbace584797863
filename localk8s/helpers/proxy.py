"""The API server on a local port without its credentials: for programs that speak plain HTTP, and for ``curl``.

HTTP is h11's, so that what is judged is what the API server reads: one request a connection, nothing smuggled behind it.
``proxy_filter`` judges what is handed on. ``kubectl proxy`` would not do: it serves requests of web pages. Prints nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

from localk8s.helpers.proxy_filter import Refusal, Request, judge
from localk8s.kube.endpoint import Endpoint
from localk8s.model.addresses import check_address
from localk8s.model.errors import PrerequisiteError, UsageError
from localk8s.model.hints import instead

if TYPE_CHECKING:
    import h11

_LONGEST_HEAD = 65536
_PIECE = 262144
_DROPPED = frozenset({"host", "connection", "authorization", "keep-alive", "proxy-connection", "origin", "referer", "expect"})
"""Headers of a request that are not handed on."""
_UPGRADED = 101


def upstream_request(request: Request, endpoint: Endpoint) -> h11.Request:
    """The request as it goes to the API server: with the cluster's identity, and none of the client's."""
    import h11

    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    kept = [(name, value) for name, value in request.headers if name not in _DROPPED]
    kept += [
        ("Host", f"{host}:{endpoint.port}"),
        ("Connection", "Upgrade" if request.header("upgrade") else "close"),
        *endpoint.headers().items(),
    ]
    return h11.Request(method=request.method, target=f"{endpoint.prefix}{request.target}", headers=kept)


class ApiProxy:
    """Serves the API on a local port while the block runs.

    Args:
        endpoint: the API server and the identity that requests get.
        address: the local IP address to listen on.
        port: 0 for any that is free.
        commands: whether commands may be run in pods (exec, attach).

    Raises:
        UsageError: the address is not an IP address; on entering: it is not one of this host.
        PrerequisiteError: on entering: the port is taken.
    """

    def __init__(self, endpoint: Endpoint, *, address: str = "127.0.0.1", port: int = 0, commands: bool = False) -> None:
        self._endpoint = endpoint
        self._address = check_address(address)
        self._wanted = port
        self._commands = commands
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""
        """``http://ADDRESS:PORT`` while it serves."""

    def __enter__(self) -> ApiProxy:
        self._thread.start()
        try:
            port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        except BaseException:
            self._close()
            raise
        self.url = f"http://{f'[{self._address}]' if ':' in self._address else self._address}:{port}"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close()

    def _close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _listen(self) -> int:
        import errno

        try:
            self._server = await asyncio.start_server(self._accepted, self._address, self._wanted)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                raise PrerequisiteError(f"Port {self._wanted} is taken.", hint=instead("--port", "0")) from exc
            if exc.errno in (errno.EACCES, errno.EPERM):
                raise PrerequisiteError(f"Port {self._wanted} requires root.", hint=instead("--port", "0")) from exc
            raise UsageError(
                f"{self._address} is not an address of this host.", hint=instead("--address", "127.0.0.1")
            ) from exc
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in tuple(self._writers):
            writer.transport.abort()
        for _ in range(10):
            await asyncio.sleep(0)  # transports close their sockets

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import h11

        client = _Peer(h11.SERVER, reader, writer)
        try:
            await self._answer(client)
        except h11.RemoteProtocolError as exc:
            with contextlib.suppress(OSError, h11.LocalProtocolError):
                await client.refuse(Refusal(exc.error_status_hint, "This is not an HTTP request."))
        except (OSError, h11.LocalProtocolError):
            pass  # the client went away
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, client: _Peer) -> None:
        import h11

        head = await client.receive()
        if not isinstance(head, h11.Request):
            return
        request = Request(
            head.method.decode("latin-1"),
            head.target.decode("latin-1"),
            tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers),
        )
        refusal = judge(request, commands=self._commands)
        if refusal is None:
            await self._hand_on(request, client)
        else:
            await client.refuse(refusal)

    async def _hand_on(self, request: Request, client: _Peer) -> None:
        import h11

        endpoint = self._endpoint
        name = (endpoint.server_name or endpoint.host) if endpoint.tls else None
        try:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=endpoint.tls, server_hostname=name)
        except OSError:
            await client.refuse(Refusal(502, "The Kubernetes API does not answer."))
            return
        self._writers.add(writer)
        try:
            await _relay(client, _Peer(h11.CLIENT, reader, writer), upstream_request(request, endpoint))
        finally:
            self._writers.discard(writer)
            writer.transport.abort()


class _Peer:
    """One end of a relayed request: h11's state machine on a connection."""

    def __init__(self, role: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import h11

        self.http = h11.Connection(role, max_incomplete_event_size=_LONGEST_HEAD)
        self.reader = reader
        self.writer = writer

    async def receive(self) -> Any:
        import h11

        while (event := self.http.next_event()) is h11.NEED_DATA:
            if self.http.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.http.receive_data(await self.reader.read(_PIECE))
        return event

    async def send(self, event: Any) -> None:
        if piece := self.http.send(event):
            self.writer.write(piece)
            await self.writer.drain()

    async def refuse(self, refusal: Refusal) -> None:
        import h11

        body = f"{refusal.reason}\n".encode()
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Connection", "close")]
        await self.send(h11.Response(status_code=refusal.status, headers=headers))
        await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())


async def _relay(client: _Peer, server: _Peer, request: h11.Request) -> None:
    """One request to the server and its answer back; what is upgraded becomes a tunnel."""
    import h11

    await server.send(request)
    upward = asyncio.ensure_future(_send_body(client, server))
    try:
        while not isinstance(event := await server.receive(), h11.EndOfMessage):
            if isinstance(event, h11.InformationalResponse) and event.status_code == _UPGRADED:
                await upward
                await client.send(event)
                await _tunnel(client, server)
                return
            if isinstance(event, h11.Response):
                kept = [(name, value) for name, value in event.headers.raw_items() if name.lower() != b"connection"]
                event = h11.Response(status_code=event.status_code, headers=[*kept, (b"Connection", b"close")])
            if isinstance(event, h11.ConnectionClosed):
                return
            if not isinstance(event, h11.InformationalResponse):
                await client.send(event)
        await client.send(event)
    except h11.RemoteProtocolError as exc:
        raise ConnectionError(str(exc)) from exc  # the server broke off: so does the answer
    finally:
        upward.cancel()
        await asyncio.gather(upward, return_exceptions=True)


async def _send_body(client: _Peer, server: _Peer) -> None:
    import h11

    try:
        while not isinstance(event := await client.receive(), h11.EndOfMessage):
            await server.send(event)
        await server.send(event)
    except (OSError, h11.ProtocolError):
        server.writer.transport.abort()  # half a request gets no answer


async def _tunnel(client: _Peer, server: _Peer) -> None:
    """Bytes both ways, until either end has nothing more to say."""
    ways = [asyncio.ensure_future(_copy(*ends)) for ends in ((client, server), (server, client))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _copy(source: _Peer, target: _Peer) -> None:
    piece = source.http.trailing_data[0]
    with contextlib.suppress(OSError):
        while piece := piece or await source.reader.read(_PIECE):
            target.writer.write(piece)
            await target.writer.drain()
            piece = b""
