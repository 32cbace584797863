"""The dashboard's web application: the page, a stream of changes, a stream of logs. Read-only, behind a token.

Answers only to its own host names (DNS rebinding), only to its own pages (cross-site requests), and lets the page load
nothing from anywhere else. What it knows of the cluster is given for the token alone, in a header: the cookie, which browsers
send to every port of this host, opens nothing but the empty page.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import html
import json
import re
import secrets
import threading
from collections.abc import AsyncIterator, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from localk8s.helpers.dashboard_state import DashboardState
from localk8s.helpers.pod_logs import LogFollower
from localk8s.kube.paths import api_path
from localk8s.kube.rest import RestClient
from localk8s.model.errors import Localk8sError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_PAGE = "dashboard_page"
_FILES: Mapping[str, str] = {
    "index.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "charts.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_SAFE: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_API = "/api/"
_OLD_LINES = 500
_MOST_WAITING = 5000


class Guard:
    """Lets in who has the token, from this host's own names only (ASGI middleware).

    Args:
        app: what it guards.
        token: the secret of this run.
        port: where it listens.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._token = token
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._cookie = f"localk8s-{port}"  # cookies know no ports
        self._page = secrets.token_urlsafe(24)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge, then hand on."""
        if scope["type"] != "http":
            return
        from starlette.requests import Request

        answer = self._judge(Request(scope)) or self._app
        await answer(scope, receive, send)

    def _judge(self, request: Request) -> Response | None:
        from starlette.responses import PlainTextResponse, RedirectResponse

        if request.headers.get("host", "") not in self._hosts:
            return PlainTextResponse("This host name is not served.\n", 421, headers=_SAFE)
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("This page only shows.\n", 405, headers={**_SAFE, "Allow": "GET, HEAD"})
        if not self._is_own_page(request):
            return PlainTextResponse("Other sites are not served.\n", 403, headers=_SAFE)
        if _is(request.query_params.get("token", ""), self._token) and request.url.path == "/":
            entry = RedirectResponse(f"/#token={self._token}", 303, headers=_SAFE)
            entry.set_cookie(self._cookie, self._page, httponly=True, samesite="lax", path="/")
            return entry
        if not self._may_enter(request):
            return PlainTextResponse("Open the whole address that localk8s dashboard printed.\n", 401, headers=_SAFE)
        return None

    def _is_own_page(self, request: Request) -> bool:
        """Whether no other site asks: one may only link to the page itself."""
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] not in self._hosts:
            return False
        return request.url.path == "/" or request.headers.get("sec-fetch-site", "none") in ("none", "same-origin")

    def _may_enter(self, request: Request) -> bool:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _is(given, self._token):
            return True
        return not request.url.path.startswith(_API) and _is(request.cookies.get(self._cookie, ""), self._page)


def _is(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def build_app(state: DashboardState, client: RestClient, *, title: str, token: str, port: int) -> Starlette:
    """The application.

    Args:
        state: what it shows.
        client: reads logs.
        title: the cluster's name.
        token: who knows it gets in.
        port: where it will listen.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    page = resources.files(__package__).joinpath(_PAGE)

    async def file(request: Request) -> Response:
        name = request.path_params.get("name") or "index.html"
        if name not in _FILES:
            return PlainTextResponse("There is no such page.\n", 404, headers=_SAFE)
        return Response(page.joinpath(name).read_bytes(), media_type=_FILES[name], headers=_SAFE)

    async def cluster(request: Request) -> Response:
        return Response(json.dumps({"name": title}), media_type="application/json", headers=_SAFE)

    async def stream(request: Request) -> Response:
        return StreamingResponse(_as_events(state.listen()), media_type="text/event-stream", headers=_SAFE)

    async def logs(request: Request) -> Response:
        namespace, pod = request.query_params.get("namespace", ""), request.query_params.get("pod", "")
        if not (_NAME.fullmatch(namespace) and _NAME.fullmatch(pod)):
            return PlainTextResponse("There is no such pod.\n", 404, headers=_SAFE)
        path = api_path("v1", "pods", namespace=namespace, fieldSelector=f"metadata.name={pod}")
        return StreamingResponse(_as_events(_follow(client, path)), media_type="text/event-stream", headers=_SAFE)

    routes = [
        Route("/", file),
        Route("/api/cluster", cluster),
        Route("/api/stream", stream),
        Route("/api/logs", logs),
        Route("/{name}", file),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, token=token, port=port)])


def entry_page(address: str) -> str:
    """A page that leads to ``address``, for a browser's command line: everybody on this host can read those."""
    target = html.escape(address, quote=True)
    return (
        '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
        f'<meta http-equiv="refresh" content="0;url={target}"><title>localk8s</title><a href="{target}">localk8s</a>\n'
    )


async def _as_events(messages: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """Server-sent events, one JSON document each."""
    async with contextlib.aclosing(messages) as closing:  # type: ignore[type-var]
        async for message in closing:
            yield b"data: " + json.dumps(message, separators=(",", ":")).encode() + b"\n\n"


async def _follow(client: RestClient, path: str) -> AsyncIterator[list[list[str]]]:
    """Batches of [container, line] of a pod, as they come."""
    loop = asyncio.get_running_loop()
    waiting: list[list[str]] = []
    wake = asyncio.Event()
    follower = LogFollower(client, path, tail=_OLD_LINES)

    def take(container: str, text: str) -> None:
        waiting.append([container, text])
        del waiting[:-_MOST_WAITING]
        wake.set()

    def read() -> None:
        with contextlib.suppress(Localk8sError, RuntimeError), follower:
            for line in follower:
                loop.call_soon_threadsafe(take, line.container, line.text)

    threading.Thread(target=read, name="dashboard-log", daemon=True).start()
    try:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    await wake.wait()
            await asyncio.sleep(0.05)
            wake.clear()
            batch, waiting[:] = list(waiting), []
            yield batch
    finally:
        threading.Thread(target=follower.close, daemon=True).start()
