"""Local ports that lead to pods: a listener of our own, and for each connection a pod that is ready at that moment.

Where the host reaches pods by itself, a connection goes there directly, otherwise through the API server; both survive pods
that are replaced and API servers that are restarted. Prints nothing; knows no drivers.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localk8s.helpers.port_forward_pipes import LocalSide, PodSide, SocketSide
from localk8s.helpers.port_forward_targets import PodPort, PodSource, PortPair, Target
from localk8s.kube.rest import RestClient
from localk8s.kube.streams import PortStream, open_port_stream
from localk8s.model.addresses import check_addresses
from localk8s.model.errors import KubernetesError, PrerequisiteError, UsageError
from localk8s.model.hints import DEFAULT_CLUSTER, instead

_DIRECT = 0.7
"""Seconds for a TCP connection to a pod; on one machine it takes less than a millisecond, or something is wrong."""
_THROUGH_API = 5.0
_PATIENCE = 15.0
"""Seconds that a connection waits for a pod to be ready."""
_LOOK = 0.03
_LAST_WORDS = 10
"""Turns of the loop in which transports that were reset close their sockets."""
_FINISH = 0.5
"""Seconds that connections which are being made get at the end."""
_MOURNING = 0.5
"""Seconds in which connections of a pod that is gone may end by themselves."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A port that listens."""

    address: str
    port: int
    """The local port, also when any free one was asked for."""
    target: Target
    remote: int | str

    @property
    def url(self) -> str:
        """``http://ADDRESS:PORT``, for what speaks HTTP there."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}"


class PortForward:
    """Forwards local ports to a target while the block runs.

    ::

        with PortForward(client, Target(Kind.SERVICE, "web"), [PortPair(0, 80)]) as forward:
            print(forward.ports[0].url)

    Args:
        client: of the cluster's API.
        target: what is forwarded to.
        ports: which ports; local port 0 takes any free one.
        addresses: local IP addresses to listen on, each once.
        direct: whether this host reaches pod addresses by itself (``Feature.HOST_ROUTES``).
        tell: told in a sentence about each connection that could not be served; in another thread.
        cluster: the cluster's name, for hints.

    Raises:
        UsageError: an address is not an IP address, or is repeated.

    Raises (on entering):
        NotFoundError: there is no such target.
        UsageError: the service has no such port; an address is not one of this host.
        PrerequisiteError: a local port is taken.
        KubernetesError: the API refused, or gave no answer.
    """

    def __init__(
        self,
        client: RestClient,
        target: Target,
        ports: Sequence[PortPair],
        *,
        addresses: Sequence[str] = ("127.0.0.1",),
        direct: bool = False,
        tell: Callable[[str], None] | None = None,
        cluster: str = DEFAULT_CLUSTER,
    ) -> None:
        self._client = client
        self._pairs = tuple(ports)
        self._addresses = check_addresses(addresses)
        self._direct = direct
        self._tell = tell or (lambda sentence: None)
        self._source = PodSource(client, target, self._pod_gone, cluster=cluster)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="port-forward", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._open: dict[LocalSide, str] = {}
        self._sides: weakref.WeakSet[SocketSide | PortStream] = weakref.WeakSet()
        self._ending = False
        self._turn = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self.ports: tuple[Forwarded, ...] = ()
        """What listens, in the order asked for, for each address."""

    def __enter__(self) -> PortForward:
        self._thread.start()
        try:
            self._source.__enter__()
            for pair in self._pairs:
                self._source.check_port(pair.remote)
            self.ports = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and reset what is open."""
        self._source.__exit__()
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
        if not self._loop.is_closed() and not self._loop.is_running():
            self._loop.close()

    async def _listen(self) -> tuple[Forwarded, ...]:
        found = []
        for pair in self._pairs:
            port = pair.local
            for address in self._addresses:
                server = await self._bind(address, port, pair)
                self._servers.append(server)
                port = server.sockets[0].getsockname()[1]  # the same on every address
                found.append(Forwarded(address, port, self._source.target, pair.remote))
        return tuple(found)

    async def _bind(self, address: str, port: int, pair: PortPair) -> asyncio.Server:
        def accepted() -> LocalSide:
            return LocalSide(lambda local: self._begin(local, pair))

        try:
            return await self._loop.create_server(accepted, address, port, backlog=512)
        except PermissionError as exc:
            raise PrerequisiteError(
                f"Port {port} is for root alone.",
                hint=instead(f"{port + 8000}:{pair.remote}", of=pair.typed),
            ) from exc
        except OSError as exc:
            if exc.errno is not None and port and _in_use(exc):
                hint = instead(f"0:{pair.remote}", of=pair.typed)
                raise PrerequisiteError(f"Port {port} on {address} is taken.", hint=hint) from exc
            raise UsageError(f"{address} is not an address of this host.", hint=instead("--address", "127.0.0.1")) from exc

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        self._ending = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_FINISH)  # asyncio loses a transport whose TLS handshake is cancelled
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for side in tuple(self._sides):
            side.end(clean=False)
        for _ in range(_LAST_WORDS):
            await asyncio.sleep(0)

    def _begin(self, local: LocalSide, pair: PortPair, sent: bytes = b"", *, finished: bool = False) -> None:
        task = self._loop.create_task(self._serve(local, pair, sent, finished))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, local: LocalSide, pair: PortPair, sent: bytes, finished: bool) -> None:
        """Find a pod for a connection, give it what another never got, and let the bytes flow."""
        self._open[local] = ""
        self._sides.add(local)
        local.on_lost = self._forget
        try:
            uid, far = await self._reach(pair)
        except KubernetesError as exc:
            self._tell(exc.message)
            local.end(clean=False)
            return
        if local.lost:
            far.end(clean=False)
            return
        self._open[local] = uid
        if isinstance(far, PortStream):
            far.on_unreached = lambda sent, finished: self._elsewhere(local, pair, sent, finished)
        local.attach(far)
        far.attach(local)
        if sent:
            far.write(sent)
        if finished:
            far.finish()
        local.resume()

    def _elsewhere(self, local: LocalSide, pair: PortPair, sent: bytes, finished: bool) -> bool:
        if local.lost:
            return False
        local.pause()
        self._loop.call_later(_LOOK, lambda: self._begin(local, pair, sent, finished=finished))
        return True

    def _forget(self, local: LocalSide) -> None:
        self._open.pop(local, None)

    async def _reach(self, pair: PortPair) -> tuple[str, PodSide | PortStream]:
        """A connection to one of the pods that are ready, tried in turn until one takes it."""
        deadline = self._loop.time() + _PATIENCE
        trouble = f"no pod of {self._source.target} is ready"
        while self._loop.time() < deadline and not self._ending:
            pods = self._source.candidates(pair.remote)
            first = next(self._turn) % len(pods) if pods else 0
            for pod in [*pods[first:], *pods[:first]]:
                try:
                    return pod.uid, await self._connect(pod)
                except (KubernetesError, OSError) as exc:
                    trouble = exc.message.rstrip(".") if isinstance(exc, KubernetesError) else f"{pod.name}: {exc}"
            await asyncio.sleep(_LOOK)
        raise KubernetesError(f"No connection to {self._source.target} port {pair.remote}: {trouble}.")

    async def _connect(self, pod: PodPort) -> PodSide | PortStream:
        if self._direct:
            try:
                async with asyncio.timeout(_DIRECT):
                    _, side = await self._loop.create_connection(PodSide, pod.address, pod.port)
                self._sides.add(side)
                return side
            except OSError:  # TimeoutError is one. It may listen on the pod's own 127.0.0.1: the node can reach that
                pass
        stream = await open_port_stream(self._client.endpoint, pod.namespace, pod.name, pod.port, timeout=_THROUGH_API)
        self._sides.add(stream)
        stream.on_failure = self._tell
        return stream

    def _pod_gone(self, uid: str) -> None:
        """Called by the watch's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.call_later, _MOURNING, self._end_those_of, uid)

    def _end_those_of(self, uid: str) -> None:
        for local in [local for local, pod in self._open.items() if pod == uid]:
            local.hang_up()


def _in_use(exc: OSError) -> bool:
    import errno

    return exc.errno == errno.EADDRINUSE
