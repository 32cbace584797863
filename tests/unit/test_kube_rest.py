"""The light API client against a small server of our own that answers as it is told (a real one: tests/integration)."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from localk8s.kube.endpoint import Endpoint, endpoint_from_kubeconfig, endpoint_in_cluster
from localk8s.kube.kubeconfig_document import render
from localk8s.kube.paths import api_path, known_resource, object_path
from localk8s.kube.rest import APPLY, RestClient
from localk8s.model.errors import ConfigError, KubernetesError, UsageError


class Handler(BaseHTTPRequestHandler):
    """Answers by path; remembers what came, and from which connection."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None: ...

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.server.seen.append((self.command, self.path, dict(self.headers), body, self.client_address[1]))  # type: ignore[attr-defined]
        route = self.path.partition("?")[0]
        if route == "/refused":
            self.reply(403, {"kind": "Status", "message": "no, you may not", "reason": "Forbidden"})
        elif route == "/html":
            self.reply_raw(502, b"<html>bad gateway</html>")
        elif route == "/text":
            self.reply_raw(200, b"ok")
        elif route == "/slow":
            time.sleep(1)
            self.close_connection = True
        elif route == "/drip":
            self.drip()
        elif route == "/once":
            self.reply(200, {})
            self.close_connection = True  # without saying so
        elif route == "/half":
            self.reply_raw(200, b"half")
        elif route == "/watch":
            self.watch()
        elif route == "/apis/x.io/v1":
            kinds = [
                {"name": "foos/status", "kind": "Foo", "namespaced": True},
                {"name": "foos", "kind": "Foo", "namespaced": True},
            ]
            self.reply(200, {"resources": kinds})
        else:
            self.reply(200, {"path": self.path, "body": body.decode()})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    def reply(self, status: int, content: Any) -> None:
        self.reply_raw(status, json.dumps(content).encode())

    def reply_raw(self, status: int, content: bytes) -> None:
        self.send_response(status)
        missing = 5 if content == b"half" else 0
        self.send_header("Content-Length", str(len(content) + missing))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = bool(missing)

    def drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(20):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.05)
        self.close_connection = True

    def watch(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        events = [{"type": "ADDED", "object": {"n": 1}}, {"type": "MODIFIED", "object": {"n": 2}}]
        lines = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        for piece in (lines[:10], lines[10:]):  # an event may come in pieces, and two in one
            self.chunk(piece)
        if "old" in self.path:
            self.chunk(json.dumps({"type": "ERROR", "object": {"code": 410, "message": "too old"}}).encode() + b"\n")
        elif "cut" in self.path:
            self.wfile.flush()
            self.close_connection = True
            return
        elif "open" in self.path:
            time.sleep(2)
        self.chunk(b"")

    def chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, dict[str, str], bytes, int]] = []

    def handle_error(self, request: Any, client_address: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def client(server: Server) -> Iterator[RestClient]:
    made = RestClient(Endpoint("127.0.0.1", server.server_port, authorization="Bearer t"), timeout=2)
    yield made
    made.close()


def test_calls_share_one_connection_and_say_who_asks(client: RestClient, server: Server) -> None:
    assert client.get("/a?b=c")["path"] == "/a?b=c"
    client.post("/a", {"x": 1})
    client.put("/a/b", {"x": 2})
    client.patch("/a/b", {"x": 3})
    client.delete("/a/b")
    assert [seen[0] for seen in server.seen] == ["GET", "POST", "PUT", "PATCH", "DELETE"]
    assert len({seen[4] for seen in server.seen}) == 1
    assert all(seen[2]["Authorization"] == "Bearer t" for seen in server.seen)
    assert server.seen[3][2]["Content-Type"] == "application/merge-patch+json"
    assert json.loads(server.seen[4][3])["propagationPolicy"] == "Background"


def test_a_refused_call_leaves_the_connection_usable(client: RestClient, server: Server) -> None:
    for _ in range(3):
        with pytest.raises(KubernetesError) as caught:
            client.get("/refused")
        assert caught.value.status == 403 and caught.value.details == "Forbidden"
        assert caught.value.message == "The Kubernetes API answered 403 to /refused: no, you may not"
    assert len({seen[4] for seen in server.seen}) == 1


def test_answers_that_are_not_json(client: RestClient) -> None:
    assert client.raw("/text") == "ok"
    with pytest.raises(KubernetesError, match="no JSON"):
        client.get("/text")
    with pytest.raises(KubernetesError) as caught:
        client.get("/html")
    assert caught.value.status == 502 and "bad gateway" in caught.value.message


def test_half_an_answer_is_no_answer(client: RestClient) -> None:
    with pytest.raises(KubernetesError, match="cannot be asked"):
        client.raw("/half")


def test_each_thread_has_its_connection(client: RestClient, server: Server) -> None:
    def ask() -> None:
        for _ in range(5):
            client.get("/a")
        client.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.seen) == 20 and len({seen[4] for seen in server.seen}) == 4


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_connection_that_the_server_closed_is_replaced(client: RestClient, server: Server, method: str) -> None:
    client.get("/once")
    client._local.kept.connection.sock.recv(1, socket.MSG_PEEK)  # until it has been closed
    client.get("/a") if method == "get" else client.post("/a", {})
    assert len(server.seen) == 2 and server.seen[0][4] != server.seen[1][4]


@pytest.mark.parametrize("path", ["/slow", "/drip"])
def test_a_time_limit_holds_for_the_whole_call(client: RestClient, path: str) -> None:
    with pytest.raises(KubernetesError, match=r"did not answer within 0\.2 s") as caught:
        client.raw(path, timeout=0.2)  # the server would go on for a second, and close then: another error
    assert caught.value.status is None
    assert client.raw("/text") == "ok"


def test_nobody_listens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        client = RestClient(Endpoint("127.0.0.1", sock.getsockname()[1]))
        with pytest.raises(KubernetesError, match="refused the connection") as caught:
            client.get("/a")
    assert caught.value.status is None


def test_apply_is_a_server_side_apply(client: RestClient, server: Server) -> None:
    client.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}})
    client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
    for name in ("a", "b"):
        client.apply({"apiVersion": "x.io/v1", "kind": "Foo", "metadata": {"name": name}})
    tail = "?fieldManager=localk8s&force=true"
    assert [seen[1] for seen in server.seen] == [
        f"/apis/apps/v1/namespaces/n/deployments/d{tail}",
        f"/api/v1/namespaces/n{tail}",
        "/apis/x.io/v1",
        f"/apis/x.io/v1/namespaces/default/foos/a{tail}",
        f"/apis/x.io/v1/namespaces/default/foos/b{tail}",
    ]
    assert server.seen[0][2]["Content-Type"] == APPLY
    with pytest.raises(KubernetesError, match="no kind 'Bar'"):
        client.apply({"apiVersion": "x.io/v1", "kind": "Bar", "metadata": {"name": "a"}})


def test_watch_yields_events_and_ends(client: RestClient, server: Server) -> None:
    events = list(client.watch("/watch?labelSelector=a", timeout=5, resource_version="7"))
    assert [event["object"]["n"] for event in events] == [1, 2]
    query = server.seen[0][1]
    assert "labelSelector=a&watch=true" in query and "resourceVersion=7" in query and "timeoutSeconds=5" in query


def test_watch_that_is_too_old_says_410(client: RestClient) -> None:
    with pytest.raises(KubernetesError) as caught:
        list(client.watch("/watch?old=1", timeout=5))
    assert caught.value.status == 410


def test_watch_that_is_cut_off_is_an_error(client: RestClient) -> None:
    with pytest.raises(KubernetesError, match="went away"):
        list(client.watch("/watch?cut=1", timeout=5))


def test_a_stream_is_closed_from_another_thread(client: RestClient) -> None:
    stream = client.stream("/watch?open=1")
    lines = iter(stream)
    assert b"ADDED" in next(lines) and b"MODIFIED" in next(lines)
    threading.Timer(0.05, stream.close).start()
    begin = time.monotonic()
    assert list(lines) == []
    assert time.monotonic() - begin < 1.9  # the server would end it after two


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (("v1",), "/api/v1"),
        (("v1", "pods"), "/api/v1/pods"),
        (("apps/v1", "deployments"), "/apis/apps/v1/deployments"),
    ],
)
def test_paths_of_lists(arguments: tuple[str, ...], path: str) -> None:
    assert api_path(*arguments) == path


def test_paths_of_objects_are_quoted() -> None:
    path = api_path("v1", "pods", namespace="n", name="a/b?c", subresource="log", follow=True, tailLines=3, previous=False)
    assert path == "/api/v1/namespaces/n/pods/a%2Fb%3Fc/log?follow=true&tailLines=3"


@pytest.mark.parametrize(
    ("version", "kind", "plural"),
    [
        ("v1", "Endpoints", "endpoints"),
        ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
        ("networking.k8s.io/v1", "Ingress", "ingresses"),
        ("storage.k8s.io/v1", "StorageClass", "storageclasses"),
    ],
)
def test_plurals(version: str, kind: str, plural: str) -> None:
    found = known_resource(version, kind)
    assert found is not None and found.plural == plural
    assert known_resource("v2", kind) is None


def test_a_manifest_without_a_name() -> None:
    resource = known_resource("v1", "Pod")
    assert resource is not None
    with pytest.raises(UsageError):
        object_path({"apiVersion": "v1", "kind": "Pod", "metadata": {}}, resource)


def kubeconfig(server: str, user: str = "token: secret", cluster: str = "insecure-skip-tls-verify: true") -> str:
    return f"""
clusters: [{{name: c, cluster: {{server: "{server}", {cluster}}}}}]
contexts: [{{name: a, context: {{cluster: c, user: u}}}}]
current-context: a
users: [{{name: u, user: {{{user}}}}}]
"""


def test_endpoint_of_a_kubeconfig() -> None:
    endpoint = endpoint_from_kubeconfig(kubeconfig("https://[::1]:6443/prefix/"))
    assert (endpoint.host, endpoint.port, endpoint.prefix) == ("::1", 6443, "/prefix")
    assert endpoint.url == "https://[::1]:6443/prefix"
    assert endpoint.headers() == {"Authorization": "Bearer secret"} and "secret" not in repr(endpoint)
    plain = endpoint_from_kubeconfig(kubeconfig("http://h", "username: u, password: p"))
    assert plain.tls is None and plain.port == 80
    assert plain.headers() == {"Authorization": "Basic " + base64.b64encode(b"u:p").decode()}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "null",
        "- a",
        "{}",
        kubeconfig("https://h").replace("current-context: a", "current-context: b"),
        kubeconfig("https://h").replace("user: u", "user: v"),
        kubeconfig("ftp://h"),
        kubeconfig("https://"),
        kubeconfig("https://h:99999999"),
        kubeconfig("https://h", "exec: {command: login}"),
        kubeconfig("https://h", cluster="certificate-authority-data: QUJD"),
        kubeconfig("https://h", cluster="certificate-authority: /nowhere/ca"),
        kubeconfig("https://h", "client-certificate-data: QUJD, client-key-data: QUJD"),
        render(name="n", server="https://h", authority=b"\xff", certificate=b"c", key=b"k"),
    ],
)
def test_kubeconfigs_that_cannot_be_used_are_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        endpoint_from_kubeconfig(text)
    assert "\n" not in caught.value.message


def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    endpoint = endpoint_from_kubeconfig(kubeconfig("http://h", "tokenFile: token"), base=tmp_path)
    assert endpoint.headers()["Authorization"] == "Bearer one"
    token.write_text("two\n")
    assert endpoint.headers()["Authorization"] == "Bearer two"


def test_in_cluster_needs_a_pod(tmp_path: Path) -> None:
    for environment in ({}, {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}):
        with pytest.raises(ConfigError, match="not a pod"):
            endpoint_in_cluster(environment, tmp_path)


def test_importing_the_client_loads_nothing_heavy() -> None:
    program = (
        "import sys, localk8s.kube.rest; print(sorted({'kubernetes', 'pydantic', 'ruamel.yaml', 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[]\n"
