"""The API server on a local port without its credentials: for programs that speak plain HTTP, and for ``curl``.

Refuses what a web page in a browser could make it do: other Host names (DNS rebinding), requests from other sites, and by
default running commands in pods. Prints nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import threading
from dataclasses import dataclass

from localk8s.kube.endpoint import Endpoint
from localk8s.model.errors import PrerequisiteError, UsageError

_LONGEST_HEAD = 65536
_PIECE = 262144
_COMMANDS = re.compile(r"/pods/[^/]+/(exec|attach)\b")
_DROPPED = frozenset({"host", "connection", "authorization", "keep-alive", "proxy-connection", "origin", "referer"})


@dataclass(frozen=True, slots=True)
class Request:
    """The head of an HTTP request."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """The first header of that name (lower case); empty when there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not handed on."""

    status: str
    reason: str


def parse_head(head: bytes) -> Request | None:
    """The head of a request; None when it is none."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[1].startswith("/") or not words[2].startswith("HTTP/1."):
        return None
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or "\n" in value or "\r" in value:
            return None
        headers.append((name, value.strip()))
    return Request(words[0], words[1], tuple(headers))


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
    if not is_local_host(request.header("host")):
        return Refusal("403 Forbidden", "This Host is not served.")
    if request.header("sec-fetch-site") in ("cross-site", "same-site"):
        return Refusal("403 Forbidden", "Requests of other sites are not served.")
    origin = request.header("origin")
    if origin and origin.partition("://")[2] != request.header("host"):
        return Refusal("403 Forbidden", "Requests of other sites are not served.")
    if not commands and _COMMANDS.search(request.target.partition("?")[0]):
        return Refusal("403 Forbidden", "Commands in pods are not served: localk8s proxy --commands")
    return None


def upstream_head(request: Request, endpoint: Endpoint) -> bytes:
    """The head as it goes to the API server."""
    upgrade = request.header("upgrade")
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    kept = [(name, value) for name, value in request.headers if name.lower() not in _DROPPED]
    kept += [
        ("Host", f"{host}:{endpoint.port}"),
        ("Connection", "Upgrade" if upgrade else "close"),
        *endpoint.headers().items(),
    ]
    lines = [f"{request.method} {endpoint.prefix}{request.target} HTTP/1.1", *(f"{name}: {value}" for name, value in kept)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class ApiProxy:
    """Serves the API on a local port while the block runs.

    Args:
        endpoint: the API server and the identity that requests get.
        address: the local IP address to listen on.
        port: 0 for any that is free.
        commands: whether commands may be run in pods (exec, attach).

    Raises (on entering):
        PrerequisiteError: the port is taken.
        UsageError: the address is none of this host.
    """

    def __init__(self, endpoint: Endpoint, *, address: str = "127.0.0.1", port: int = 0, commands: bool = False) -> None:
        self._endpoint = endpoint
        self._address = address
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
        try:
            self._server = await asyncio.start_server(self._accepted, self._address, self._wanted, limit=_LONGEST_HEAD)
        except OSError as exc:
            import errno

            if exc.errno == errno.EADDRINUSE:
                raise PrerequisiteError(f"Port {self._wanted} is taken.", hint="localk8s proxy --port 0") from exc
            raise UsageError(f"{self._address!r} is no address of this host.", hint="--address 127.0.0.1") from exc
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
        try:
            request = parse_head(await reader.readuntil(b"\r\n\r\n"))
            refusal = Refusal("400 Bad Request", "This is no HTTP request.") if request is None else None
            if request is not None:
                refusal = judge(request, commands=self._commands)
            if refusal is not None or request is None:
                await _say(writer, refusal or Refusal("400 Bad Request", ""))
                return
            await self._hand_on(request, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away, or never was one
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _hand_on(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        endpoint = self._endpoint
        name = (endpoint.server_name or endpoint.host) if endpoint.tls else None
        try:
            far_reader, far_writer = await asyncio.open_connection(
                endpoint.host, endpoint.port, ssl=endpoint.tls, server_hostname=name
            )
        except OSError:
            await _say(writer, Refusal("502 Bad Gateway", "The Kubernetes API does not answer."))
            return
        self._writers.add(far_writer)
        upward: asyncio.Task[None] | None = None
        try:
            far_writer.write(upstream_head(request, endpoint))
            upward = self._loop.create_task(_copy(reader, far_writer))
            await _copy(far_reader, writer)
        finally:
            if upward is not None:
                upward.cancel()
                await asyncio.gather(upward, return_exceptions=True)
            self._writers.discard(far_writer)
            far_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()


async def _say(writer: asyncio.StreamWriter, refusal: Refusal) -> None:
    body = f"{refusal.reason}\n".encode()
    head = f"HTTP/1.1 {refusal.status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
