"""The API proxy on raw sockets: what reaches the API server behind it, and what does not."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from cli_door import Door, assert_one_sentence
from hypothesis import given
from hypothesis import strategies as st

from localk8s.helpers.port_forward import PortForward
from localk8s.helpers.port_forward_targets import Kind, PortPair, Target
from localk8s.helpers.proxy import ApiProxy, upstream_request
from localk8s.helpers.proxy_filter import Request, is_local_host, judge, runs_commands
from localk8s.kube.endpoint import Endpoint
from localk8s.kube.rest import RestClient
from localk8s.model.addresses import parse_addresses
from localk8s.model.errors import PrerequisiteError, UsageError
from localk8s.model.ports import parse_port

EXEC = "/api/v1/namespaces/a/pods/b/exec?command=sh"
LOCAL = "Host: localhost"


class Upstream:
    """A server that keeps what it is sent and gives each connection the next of its answers."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.got: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                head = b""
                while b"\r\n\r\n" not in head and (piece := connection.recv(65536)):
                    head += piece
                self.got.append(head)
                connection.sendall(answer)
                if answer.startswith(b"HTTP/1.1 101"):
                    connection.sendall(connection.recv(100).upper())
                elif b"keep" in answer:  # as Go's server: an upgrade that it does not know is an ordinary request
                    connection.settimeout(0.3)
                    try:
                        self.got.append(connection.recv(65536))
                    except TimeoutError:
                        self.got.append(b"")

    def __enter__(self) -> Upstream:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with socket.create_connection(("127.0.0.1", self.port)):  # whoever still waits
            self._listening.close()
        self._thread.join(15)
        assert not self._thread.is_alive()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextlib.contextmanager
def _proxied(upstream: Upstream, *, commands: bool = False) -> Iterator[int]:
    endpoint = Endpoint("127.0.0.1", upstream.port, authorization="Bearer own")
    with ApiProxy(endpoint, commands=commands) as proxy:
        yield int(proxy.url.rpartition(":")[2])


def _send(port: int, wire: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(wire)
        return b"".join(iter(lambda: client.recv(65536), b""))


def _get(target: str, *headers: str, method: str = "GET") -> bytes:
    return ("\r\n".join([f"{method} {target} HTTP/1.1", *(headers or (LOCAL,))]) + "\r\n\r\n").encode("latin-1")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1:8001", True),
        ("[::1]:8001", True),
        ("evil.com", False),
        ("127.0.0.1.evil.com:80", False),
        ("", False),
    ],
)
def test_hosts_that_no_rebinding_reaches(host: str, local: bool) -> None:
    assert is_local_host(host) is local


@pytest.mark.parametrize(
    ("headers", "target", "served"),
    [
        ((("host", "localhost:1"),), "/version", True),
        ((("host", "evil.com"),), "/version", False),
        ((), "/version", False),
        ((("host", "localhost:1"), ("origin", "http://evil.com")), "/version", False),
        ((("host", "localhost:1"), ("origin", "null")), "/version", False),
        ((("host", "localhost:1"), ("origin", "http://localhost:1")), "/version", True),
        ((("host", "localhost:1"), ("sec-fetch-site", "cross-site")), "/version", False),
        ((("host", "localhost:1"),), EXEC, False),
        ((("host", "localhost:1"),), "http://x/version", False),
    ],
)
def test_what_is_handed_on(headers: tuple[tuple[str, str], ...], target: str, served: bool) -> None:
    assert (judge(Request("GET", target, headers), commands=False) is None) is served


COMMANDS = [
    EXEC,
    "/api/v1/namespaces/a/pods/b/attach",
    "/api/v1/namespaces/a/pods/b/%65xec",
    "/api/v1/namespaces/a/pods/b/%2565xec",
    "/api/v1/namespaces/a/pods/b//exec",
    "/api/v1/namespaces/a/pods/b/./exec",
    "/api/v1/namespaces/a/pods/b/x/../exec",
    "/api/v1/namespaces/a/pods/b/..;/b/exec",
    "/api/v1/namespaces/a/pods/b/exec;x=y",
    "/api/v1/namespaces/a/pods/b%2Fexec",
    "/api/v1/namespaces/a/%70ods/b/exec",
    "//api/v1/namespaces/a/pods/b/exec",
    "/api/v1/namespaces/a/pods/b\\exec",
    "/api/v1/nodes/n/proxy/run/default/pod/container?cmd=id",
    "/api/v1/nodes/https:n:10250/proxy//run/default/pod/container",
    "/api/v1/nodes/n/proxy/%72un/default/pod/container",
    "/api/v1/nodes/n/proxy/exec/default/pod/container",
    "/api/v1/nodes/n/proxy/portForward/default/pod",
    "/api/v1/namespaces/default/services/https:kubernetes:443/proxy" + EXEC,
]


@pytest.mark.parametrize("target", COMMANDS)
def test_no_spelling_of_a_command_reaches_the_api(target: str) -> None:
    with Upstream(OK) as upstream, _proxied(upstream) as port:
        assert _send(port, _get(target, method="POST")).startswith(b"HTTP/1.1 403"), target
        assert upstream.got == []
    with Upstream(OK) as upstream, _proxied(upstream, commands=True) as port:
        assert _send(port, _get(target, method="POST")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/namespaces/a/pods/exec/log",
        "/api/v1/namespaces/exec/pods/attach",
        "/api/v1/nodes/run/proxy/stats/summary",
        "/api/v1/namespaces/a/pods?labelSelector=app%3Dexec",
        "/api/v1/nodes/n/proxy/containerLogs/a/b/c",
    ],
)
def test_what_only_sounds_like_a_command_is_served(target: str) -> None:
    assert not runs_commands(target)


@given(st.lists(st.tuples(st.sampled_from("exc"), st.integers(0, 3)), min_size=4, max_size=4))
def test_no_encoding_hides_a_command(levels: list[tuple[str, int]]) -> None:
    def spelled(letter: str, times: int) -> str:
        encoded = letter
        for _ in range(times):
            encoded = "".join(f"%{ord(each):02x}" for each in encoded) if encoded == letter else encoded.replace("%", "%25")
        return encoded

    word = "".join(spelled(letter, times) for letter, (_, times) in zip("exec", levels, strict=True))
    assert runs_commands(f"/api/v1/namespaces/a/pods/b/{word}")


def test_nothing_is_smuggled_behind_a_request() -> None:
    """Also not behind one that asks for an upgrade which the server does not know, and so keeps the connection open."""
    second = _get(EXEC, method="POST")
    for first in (
        _get("/version"),
        _get("/version", LOCAL, "Connection: Upgrade", "Upgrade: nothing"),
        _get("/version", LOCAL, "Upgrade: nothing"),
        b"POST /version HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ):
        kept = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nkeep"
        with Upstream(kept) as upstream, _proxied(upstream) as port:
            answer = _send(port, first + second)
        assert answer.endswith(b"keep")
        assert answer.count(b"HTTP/1.1") == 1
        assert b"exec" not in b"".join(upstream.got)


@pytest.mark.parametrize(
    "wire",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET /version HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET /version HTTP/1.1\r\n\r\n",
        b"POST /version HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /version HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\nab",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(wire: bytes) -> None:
    with Upstream(OK) as upstream, _proxied(upstream) as port:
        status = int(_send(port, wire).split(b" ")[1])
        assert 400 <= status < 600
        assert upstream.got == []


def test_a_head_without_end_is_given_up() -> None:
    with Upstream(OK) as upstream, _proxied(upstream) as port:
        with contextlib.suppress(ConnectionResetError):
            assert b"200" not in _send(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 700_000)
        assert upstream.got == []


def test_the_clusters_identity_is_the_only_one() -> None:
    headers = (("host", "localhost"), ("authorization", "Bearer stolen"), ("accept", "*/*"), ("connection", "keep-alive"))
    sent = upstream_request(Request("GET", "/version", headers), Endpoint("10.0.0.1", 6443, authorization="Bearer own"))
    found = dict(sent.headers)
    assert found[b"authorization"] == b"Bearer own"
    assert found[b"connection"] == b"close"
    assert found[b"host"] == b"10.0.0.1:6443"
    assert [value for _, value in sent.headers if b"stolen" in value] == []


def test_bodies_and_answers_come_through_whole() -> None:
    answer = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with Upstream(answer) as upstream, _proxied(upstream) as port:
        said = _send(port, b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody")
    assert b"HTTP/1.1 201" in said
    assert b"abc" in said and b"de" in said
    assert b"POST /x HTTP/1.1" in upstream.got[0]


def test_an_upgraded_connection_is_a_tunnel() -> None:
    switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nhello "
    with (
        Upstream(switched) as upstream,
        _proxied(upstream, commands=True) as port,
        socket.create_connection(("127.0.0.1", port), timeout=20) as client,
    ):
        client.sendall(_get(EXEC, LOCAL, "Connection: Upgrade", "Upgrade: SPDY/3.1", method="POST"))
        got = b""
        while not got.endswith(b"hello "):
            got += client.recv(1000)
        client.sendall(b"frames")
        assert b"".join(iter(lambda: client.recv(100), b"")) == b"FRAMES"


def test_an_answer_that_breaks_off_breaks_off() -> None:
    with Upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf") as upstream, _proxied(upstream) as port:
        assert _send(port, _get("/version")).endswith(b"half")


def test_the_proxy_says_when_nothing_is_behind_it_and_leaves_no_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with ApiProxy(Endpoint("127.0.0.1", port)) as proxy:
        taken = int(proxy.url.rpartition(":")[2])
        assert _send(taken, _get("/version")).startswith(b"HTTP/1.1 502")
        with pytest.raises(PrerequisiteError, match="taken"), ApiProxy(Endpoint("127.0.0.1", port), port=taken):
            pass
    assert not [thread for thread in threading.enumerate() if thread.name == "api-proxy"]


@pytest.mark.parametrize("text", ["", " ", ",", "127.0.0.1,", "127.0.0.1,127.0.0.1", "::1,0:0::1", "host", "127.1", "*", "1"])
def test_an_address_that_is_not_one_is_refused(text: str) -> None:
    """An empty one would be all addresses of this host."""
    with pytest.raises(UsageError):
        parse_addresses(text)


def test_addresses() -> None:
    assert parse_addresses("127.0.0.1, ::1") == ("127.0.0.1", "::1")
    assert parse_addresses("localhost") == ("127.0.0.1",)


def test_the_library_refuses_empty_and_repeated_addresses_too() -> None:
    endpoint = Endpoint("127.0.0.1", 1)
    with pytest.raises(UsageError):
        ApiProxy(endpoint, address="")
    for addresses in ((), ("",), ("127.0.0.1", "127.0.0.1")):
        with pytest.raises(UsageError):
            PortForward(RestClient(endpoint), Target(Kind.POD, "x"), [PortPair(0, 80)], addresses=addresses)


@pytest.mark.parametrize("address", ["", "127.0.0.1,127.0.0.1", "everywhere"])
def test_the_command_line_refuses_them_in_a_sentence(door: Door, address: str) -> None:
    door("start")
    assert_one_sentence(door("port-forward", "svc/x", "80", "--address", address), {2})
    assert_one_sentence(door("proxy", "--address", address), {2})


@pytest.mark.parametrize("text", ["", "-1", "65536", "00000199999", "8001x", "٣", "1" * 5000, " 80", "0x50", "80\n"])
def test_a_port_that_is_not_one_is_refused_in_a_sentence(door: Door, text: str) -> None:
    door("start")
    for command in ("proxy", "dashboard"):
        assert_one_sentence(door(command, f"--port={text}"), {2})


@given(st.integers(0, 65535), st.integers(0, 9))
def test_every_port_is_read(number: int, zeros: int) -> None:
    assert parse_port("0" * zeros + str(number), "--port") == number
