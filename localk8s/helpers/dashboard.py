"""The built-in dashboard: a page on loopback that shows a cluster live. Needs no image, no add-on and no network.

Owns the server's life; what it shows is in ``dashboard_state``, who is let in in ``dashboard_web``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from localk8s.helpers.dashboard_rows import service_rows
from localk8s.helpers.dashboard_state import DashboardState
from localk8s.helpers.dashboard_web import build_app
from localk8s.helpers.port_forward_targets import Kind, PortPair, Target
from localk8s.helpers.top import FiguresOf
from localk8s.kube.paths import api_path
from localk8s.kube.rest import RestClient
from localk8s.model.errors import NotFoundError, PrerequisiteError, UsageError, WaitTimeoutError
from localk8s.model.hints import instead
from localk8s.model.spec import NodeSize

if TYPE_CHECKING:
    import uvicorn

    from localk8s.helpers.port_forward import PortForward

BUILT_IN = "built-in"
INSTALLED: dict[str, tuple[str, ...]] = {
    "headlamp": ("headlamp", "my-headlamp"),
    "kubernetes-dashboard": ("kubernetes-dashboard-kong-proxy", "kubernetes-dashboard"),
}
"""Other dashboards, and what their services are called."""
DRIVERS_OWN = ("minikube",)
"""Those that a driver of that name brings along (``Feature.DASHBOARD``)."""
_START = 10.0


@contextlib.contextmanager
def serve_dashboard(
    client: RestClient,
    *,
    title: str,
    nodes: tuple[str, ...],
    routes: bool,
    port: int = 0,
    size: NodeSize,
    figures_of: FiguresOf | None = None,
) -> Iterator[str]:
    """The built-in page, while the block runs.

    Args:
        client: of the cluster's API.
        title: the cluster's name.
        nodes: addresses of nodes, for the addresses of services.
        routes: whether this host reaches cluster addresses by itself.
        port: 0 for any that is free.
        size: the bounds of each node.
        figures_of: see ``top.look``.

    Yields:
        the address to open, with its token.

    Raises:
        PrerequisiteError: the port is taken.
        KubernetesError: the API refused, or gave no answer.
    """
    import uvicorn

    with contextlib.closing(_listen(port)) as listening:
        number: int = listening.getsockname()[1]
        token = secrets.token_urlsafe(24)
        loop = asyncio.new_event_loop()
        row = service_rows(nodes, routes=routes)
        with DashboardState(client, row, loop, size=size, figures_of=figures_of) as state:
            app = build_app(state, client, title=title, token=token, port=number)
            config = uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="off", ws="none", http="h11", timeout_graceful_shutdown=1
            )
            _say_nothing()
            server = uvicorn.Server(config)
            thread = threading.Thread(target=_run, args=(loop, server, listening), name="dashboard", daemon=True)
            thread.start()
            try:
                _wait_started(server, thread)
                yield f"http://127.0.0.1:{number}/?token={token}"
            finally:
                server.should_exit = True
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(state.end_listeners)
                thread.join(3)


def _say_nothing() -> None:
    """Keep uvicorn's warnings from standard error, where Python writes those that no handler takes."""
    logger = logging.getLogger("uvicorn")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _run(loop: asyncio.AbstractEventLoop, server: uvicorn.Server, listening: socket.socket) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(server.serve(sockets=[listening]))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _wait_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    from localk8s.system.wait import wait_until

    wait_until(lambda: server.started or not thread.is_alive(), what="the dashboard", timeout=_START, interval=0.01)
    if not server.started:
        raise WaitTimeoutError("The dashboard's server did not start.")


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as exc:
        raise PrerequisiteError(f"Port {port} is taken.", hint=instead("--port", "0")) from exc


@contextlib.contextmanager
def forward_installed(client: RestClient, ui: str, *, direct: bool, port: int = 0) -> Iterator[str]:
    """A dashboard that is installed in the cluster, on a local port while the block runs; yields its address.

    Raises:
        UsageError: nobody knows it.
        NotFoundError: it is not installed.
    """
    from localk8s.helpers.port_forward import PortForward

    names = INSTALLED.get(ui)
    if names is None:
        known = ", ".join((BUILT_IN, *INSTALLED, *DRIVERS_OWN))
        raise UsageError(f"{ui!r} is no dashboard: {known}.", hint=instead("--ui", BUILT_IN))
    services = client.get(api_path("v1", "services"))["items"]
    found = next((each for name in names for each in services if each["metadata"]["name"] == name), None)
    if found is None:
        raise NotFoundError(f"{ui} is not installed in this cluster.", hint=instead("--ui", BUILT_IN))
    target = Target(Kind.SERVICE, found["metadata"]["name"], found["metadata"]["namespace"])
    remote = found["spec"]["ports"][0]["port"]
    scheme = "https" if remote in (443, 8443) else "http"
    forward: PortForward
    with PortForward(client, target, [PortPair(port, remote)], direct=direct) as forward:
        yield f"{scheme}://127.0.0.1:{forward.ports[0].port}/"
