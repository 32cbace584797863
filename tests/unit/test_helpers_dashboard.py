"""The dashboard: who is let in, what rows say, and when no browser is opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cli_door import Door
from starlette.applications import Starlette
from starlette.types import Message

from localk8s.cli.dashboard import opened, why_not_open
from localk8s.cli.session import Session
from localk8s.helpers.dashboard_rows import event_row, node_row, pod_row, pod_status, service_rows, workload_row
from localk8s.helpers.dashboard_state import DashboardState
from localk8s.helpers.dashboard_web import build_app
from localk8s.kube.endpoint import Endpoint
from localk8s.kube.rest import RestClient
from localk8s.model.spec import NodeSize
from localk8s.system.environment import Environment

TOKEN, PORT = "the-token", 8300
HOST = {"host": f"127.0.0.1:{PORT}"}
BEARER = {"authorization": f"Bearer {TOKEN}"}


class _NoState:
    async def listen(self) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "everything"}


def _app() -> Starlette:
    client = RestClient(Endpoint("127.0.0.1", 1))
    state: Any = _NoState()
    return build_app(state, client, title="c", token=TOKEN, port=PORT)


def _ask(
    target: str, headers: dict[str, str], method: str = "GET", *, app: Starlette | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request straight into the application."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "scheme": "http",
        "server": ("127.0.0.1", PORT),
    }
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(30)  # the client stays
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run((app or _app())(scope, receive, send))
    got = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], got, b"".join(message.get("body", b"") for message in sent[1:])


def test_the_token_goes_where_no_server_and_no_other_port_sees_it() -> None:
    """Behind the #, which browsers keep to themselves; the cookie, which goes to every port of this host, is another secret."""
    app = _app()
    status, headers, _ = _ask(f"/?token={TOKEN}", HOST, app=app)
    assert (status, headers["location"]) == (303, f"/#token={TOKEN}")
    cookie, *attributes = headers["set-cookie"].lower().split("; ")
    assert cookie.startswith(f"localk8s-{PORT}=")
    assert {"httponly", "samesite=lax"} <= set(attributes)
    assert TOKEN not in headers["set-cookie"]
    stolen = {**HOST, "cookie": headers["set-cookie"].partition(";")[0]}
    assert [_ask(path, stolen, app=app)[0] for path in ("/", "/app.js")] == [200, 200]
    for path in ("/api/stream", "/api/cluster", "/api/logs?namespace=a&pod=b"):
        assert _ask(path, stolen, app=app)[0] == 401
        given = stolen["cookie"].partition("=")[2]
        assert _ask(path, {**stolen, "authorization": f"Bearer {given}"}, app=app)[0] == 401


@pytest.mark.parametrize(
    ("target", "headers", "method", "expected"),
    [
        ("/", {**HOST, **BEARER}, "GET", 200),
        ("/", {"host": f"localhost:{PORT}", **BEARER}, "GET", 200),
        ("/api/stream", {**HOST, **BEARER, "sec-fetch-site": "same-origin"}, "GET", 200),
        ("/", HOST, "GET", 401),
        ("/?token=wrong", HOST, "GET", 401),
        ("/?token=%ff", HOST, "GET", 401),
        ("/api/stream", HOST, "GET", 401),
        ("/api/logs?namespace=a&pod=b", HOST, "GET", 401),
        ("/app.js", HOST, "GET", 401),
        (f"/?token={TOKEN}", {"host": f"evil.test:{PORT}"}, "GET", 421),
        ("/", {"host": "127.0.0.1", **BEARER}, "GET", 421),
        ("/", BEARER, "GET", 421),
        ("/api/stream", {**HOST, **BEARER, "sec-fetch-site": "cross-site"}, "GET", 403),
        ("/api/stream", {**HOST, **BEARER, "sec-fetch-site": "same-site"}, "GET", 403),
        ("/api/stream", {**HOST, **BEARER, "origin": "http://127.0.0.1:9999"}, "GET", 403),
        ("/api/stream", {**HOST, **BEARER, "origin": "null"}, "GET", 403),
        ("/api/stream", {**HOST, **BEARER, "origin": f"http://127.0.0.1:{PORT}"}, "GET", 200),
        ("/api/stream", {**HOST, "cookie": f"localk8s-{PORT}={TOKEN}"}, "GET", 401),
        ("/api/stream", {**HOST, "authorization": f"Basic {TOKEN}"}, "GET", 401),
        ("/", {**HOST, **BEARER}, "POST", 405),
        ("/api/stream", {**HOST, **BEARER}, "DELETE", 405),
        ("/api/logs?namespace=a&pod=../secrets", {**HOST, **BEARER}, "GET", 404),
        ("/api/logs", {**HOST, **BEARER}, "GET", 404),
        ("/dashboard.py", {**HOST, **BEARER}, "GET", 404),
    ],
)
def test_who_is_let_in(target: str, headers: dict[str, str], method: str, expected: int) -> None:
    status, got, _ = _ask(target, headers, method)
    assert status == expected
    assert "default-src 'none'" in got["content-security-policy"]
    assert got["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in got


def test_the_page_names_no_other_place() -> None:
    for name in ("/", "/app.js", "/charts.js", "/style.css", "/icon.svg"):
        status, _, body = _ask(name, {**HOST, **BEARER})
        assert status == 200
        text = body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text and "innerHTML" not in text


def test_no_command_line_shows_the_token(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser gets a file that only this user can read, and that is gone afterwards."""
    seen: list[tuple[str, int, str]] = []

    def open_browser(url: str) -> bool:
        path = Path(url.removeprefix("file://"))
        seen.append((url, path.stat().st_mode & 0o777, path.read_text()))
        return True

    monkeypatch.setattr("webbrowser.open", open_browser)
    monkeypatch.setattr("localk8s.cli.dashboard.why_not_open", lambda *arguments, **more: "")
    session = Session(Environment(door.environment))
    with opened(session, f"http://127.0.0.1:{PORT}/?token={TOKEN}&x=<y>") as why:
        assert why == ""
    ((url, mode, text),) = seen
    assert TOKEN not in url
    assert mode == 0o600
    assert f"http://127.0.0.1:{PORT}/?token={TOKEN}&amp;x=&lt;y&gt;" in text
    assert not Path(url.removeprefix("file://")).exists()


def _pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"uid": "u", "name": "p", "namespace": "n"},
        "spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}], "initContainers": [{"name": "c"}]},
        "status": {"phase": "Running", **status},
    }


def test_pods_are_described_as_kubectl_does() -> None:
    assert pod_status(_pod()) == "Running"
    assert pod_status(_pod(containerStatuses=[{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}])) == "CrashLoopBackOff"
    assert pod_status(_pod(reason="Evicted", phase="Failed")) == "Evicted"
    gone = _pod()
    gone["metadata"]["deletionTimestamp"] = "now"
    assert pod_status(gone) == "Terminating"
    row = pod_row(_pod(containerStatuses=[{"ready": True, "restartCount": 2}, {"ready": False, "restartCount": 1}]))
    assert (row["ready"], row["restarts"], row["good"], row["containers"]) == ("1/2", 3, False, ["c", "a", "b"])


def test_other_rows() -> None:
    node = {
        "metadata": {"uid": "u", "name": "n", "labels": {"node-role.kubernetes.io/master": ""}},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "True"}],
            "capacity": {"cpu": "2", "memory": "1Gi"},
        },
    }
    row = node_row(node, NodeSize())
    assert (row["status"], row["good"], row["roles"], row["memory"]) == (
        "Ready, DiskPressure, cordoned",
        False,
        "control-plane",
        2**30,
    )
    bounded = node_row(node, NodeSize(cpus=Decimal("1.5"), memory=2**29))
    assert (bounded["cpu"], bounded["memory"]) == (1.5, 2**29), "its bound, not what the host has"
    template = {"spec": {"containers": [{"image": "i"}]}}
    daemon = {
        "kind": "DaemonSet",
        "metadata": {"uid": "u", "name": "d"},
        "spec": {"template": template},
        "status": {"desiredNumberScheduled": 2, "numberReady": 1},
    }
    assert (workload_row(daemon)["ready"], workload_row(daemon)["good"]) == ("1/2", False)
    event = {"metadata": {"uid": "u", "name": "e"}, "type": "Warning", "message": "m" * 9999, "eventTime": "t", "count": None}
    assert (event_row(event)["good"], len(event_row(event)["message"]), event_row(event)["count"]) == (False, 600, 1)
    service = {
        "metadata": {"uid": "u", "name": "s"},
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]},
    }
    assert service_rows((), routes=True)(service)["urls"] == ["http://10.0.0.1:80"]


def test_changes_are_gathered_and_the_last_word_counts() -> None:
    async def scenario() -> list[dict[str, Any]]:
        state = DashboardState(RestClient(Endpoint("127.0.0.1", 1)), dict, asyncio.get_running_loop(), size=NodeSize())
        said = []
        stream = state.listen()
        said.append(await anext(stream))
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        state._take("pods", "u", {"uid": "u", "name": "old"})
        state._take("pods", "u", {"uid": "u", "name": "new"})
        state._take("pods", "v", {"uid": "v"})
        state._take("pods", "v", None)
        said.append(await waiting)
        state.end_listeners()
        assert [message async for message in stream] == []
        return said

    everything, changes = asyncio.run(scenario())
    assert everything["rows"]["pods"] == []
    assert changes == {"type": "changes", "changes": [["pods", "u", {"uid": "u", "name": "new"}], ["pods", "v", None]]}


@pytest.mark.parametrize(
    ("variables", "platform", "root", "kernel", "why"),
    [
        ({"DISPLAY": ":0"}, "linux", False, "6.1", ""),
        ({"WAYLAND_DISPLAY": "w"}, "linux", False, "6.1", ""),
        ({}, "darwin", False, "24", ""),
        ({}, "linux", False, "6.1", "display"),
        ({"DISPLAY": ":0"}, "linux", True, "6.1", "root"),
        ({"DISPLAY": ":0"}, "linux", False, "5.15-microsoft-standard-WSL2", "WSL"),
    ],
)
def test_when_a_browser_is_opened(variables: dict[str, str], platform: str, root: bool, kernel: str, why: str) -> None:
    said = why_not_open(Environment(variables), platform, root=root, kernel=kernel)
    assert why in said if why else said == ""
