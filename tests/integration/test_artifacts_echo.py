"""The small images at work: the echo server over real HTTP from its real image, and pause as the first process."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localk8s.artifacts.kinds import ImageRole, KubernetesBinaries
from localk8s.artifacts.library import Library
from localk8s.artifacts.settings import ArtifactSettings
from localk8s.model.progress import SilentReporter
from localk8s.model.versions import KubernetesVersion
from localk8s.store.layout import Layout
from localk8s.system import archives
from localk8s.system.paths import find_roots
from localk8s.system.process import HostRunner
from localk8s.system.wait import wait_until

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="chroot needs root"),
]


@dataclass(frozen=True)
class Unpacked:
    """An image as a directory."""

    root: Path
    config: dict[str, list[str]]
    size: int


def unpack(role: ImageRole, target: Path) -> Unpacked:
    library = Library(Layout(find_roots(os.environ)).artifacts, HostRunner(), ArtifactSettings())
    with SilentReporter().step("x", "") as step:
        binaries = KubernetesBinaries(KubernetesVersion(1, 20, 2), Path("/nonexistent"), "none")
        (image,) = library.images(binaries, [role], step)
    archives.unpack(image.archive, target / "archive")
    (listed,) = json.loads((target / "archive/manifest.json").read_text())
    (target / "root").mkdir()
    subprocess.run(["tar", "-xf", target / "archive" / listed["Layers"][0], "-C", target / "root"], check=True)
    (target / "root/dev").mkdir()  # every container has one
    os.mknod(target / "root/dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chmod(target / "root/dev/null", 0o666)
    config = json.loads((target / "archive" / listed["Config"]).read_text())["config"]
    return Unpacked(target / "root", config, image.archive.stat().st_size)


def first_process(image: Unpacked, environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    """Start the image's command as process 1 of a process namespace, as nobody; returns unshare and that process."""
    command = [*image.config["Entrypoint"], *image.config.get("Cmd", [])]
    argv = ["unshare", "--pid", "--fork", "--kill-child", "chroot", "--userspec=65534:65534", str(image.root), *command]
    process = subprocess.Popen(argv, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment})
    name = Path(command[0]).name
    children = wait_until(
        lambda: [child for child in psutil.Process(process.pid).children() if child.name() == name], what=name, timeout=10
    )
    return process, children[0]


@dataclass(frozen=True)
class Server:
    port: int
    outer: subprocess.Popen[bytes]
    first: psutil.Process

    def raw(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(data)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts)

    def ask(self, method: str = "GET", path: str = "/", **more: object) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, **more)  # type: ignore[arg-type]
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response, body


def start(image: Unpacked) -> Server:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {"LISTEN": "127.0.0.1", "PORT": str(port)}
    environment |= {"POD_NAME": "demo-7d9f", "POD_NAMESPACE": 'de"fault', "NODE_NAME": "node\\1"}
    outer, first = first_process(image, environment)

    def listens() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            return False
        return True

    wait_until(listens, what="the echo server", timeout=10, interval=0.02)
    return Server(port, outer, first)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    return unpack(ImageRole.ECHO, tmp_path_factory.mktemp("echo"))


@pytest.fixture(scope="module")
def server(image: Unpacked) -> Iterator[Server]:
    running = start(image)
    yield running
    running.first.kill()  # the first process of a namespace takes all of it along
    running.outer.wait()


def test_the_image_is_small_and_a_toolbox(image: Unpacked) -> None:
    assert image.size < 6_000_000
    for name in ("sh", "wget", "nslookup", "cat", "sleep", "ping", "nc", "env"):
        assert (image.root / "usr/bin" / name).readlink() == Path("busybox")
    said = subprocess.run(["chroot", image.root, "/bin/sh", "-c", "echo a b | cut -d' ' -f2"], capture_output=True, check=True)
    assert said.stdout == b"b\n"


def test_an_answer_says_who_was_asked_what(server: Server) -> None:
    response, body = server.ask("POST", "/a%20b?q='x'&y=\"", body="héllo\n".encode(), headers={"X-One": " 1 ", "Accept": "a/b"})
    assert (response.status, response.version) == (200, 11)
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Connection"] == "close"
    assert int(response.headers["Content-Length"]) == len(body)
    answer = json.loads(body)
    headers = answer.pop("headers")
    assert answer == {
        "pod": "demo-7d9f",
        "namespace": "de?fault",
        "node": "node?1",
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/a%20b?q='x'&y=\"",
        "protocol": "HTTP/1.1",
        "body": "héllo\n",
    }
    assert headers["X-One"] == "1"
    assert headers["Host"] == f"127.0.0.1:{server.port}"
    assert body.startswith(b'{\n  "pod": "demo-7d9f",\n')


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_any_method(server: Server, method: str) -> None:
    assert json.loads(server.ask(method, "/x")[1])["method"] == method


def test_head_has_a_length_and_no_body(server: Server) -> None:
    whole = server.raw(b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n")
    head, _, rest = whole.partition(b"\r\n\r\n")
    assert rest == b""
    assert b"Content-Length: 2" in head


def test_a_chunked_body_is_put_together(server: Server) -> None:
    chunks = b"5;ext=1\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    answer = server.raw(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["body"] == "hello 0123456789"


def test_a_client_that_waits_for_leave_to_send_gets_it(server: Server) -> None:
    answer = server.raw(b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_a_large_body_is_taken_whole_and_given_back_in_part(server: Server) -> None:
    response, body = server.ask("POST", "/", body=b"x" * 5_000_000)
    assert response.status == 200
    assert json.loads(body)["body"] == "x" * 262144


def test_repeated_and_folded_headers_are_joined(server: Server) -> None:
    answer = server.raw(b"GET / HTTP/1.1\r\nA: 1\r\na:2\r\nB: x\r\n  y\t\r\nC:\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["headers"] == {"A": "1, 2", "B": "x y", "C": ""}


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"hello\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1 x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: $(id)\r\n\r\n",
    ],
)
def test_what_is_no_request_is_told_so_in_json(server: Server, request_bytes: bytes) -> None:
    head, _, body = server.raw(request_bytes).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert isinstance(json.loads(body), dict)


@pytest.mark.parametrize("length", [b"0", b"00", b"\t 08 "])
def test_a_length_with_zeros_in_front_is_decimal(server: Server, length: bytes) -> None:
    answer = server.raw(b"PUT / HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\n" + b"x" * int(length))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["body"] == "x" * int(length)


def test_too_many_headers(server: Server) -> None:
    answer = server.raw(b"GET / HTTP/1.1\r\n" + b"".join(b"H%d: x\r\n" % number for number in range(201)) + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")


TOKEN = st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)
FRAMING = {b"content-length", b"transfer-encoding", b"expect"}
NAMES = TOKEN.filter(lambda name: name.lower() not in FRAMING)
VALUES = st.binary(max_size=60).filter(lambda value: not set(value) & set(b"\r\n\0"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=30).map(str.encode)


@settings(max_examples=120, deadline=None)
@given(
    TOKEN,
    st.binary(max_size=40).map(lambda path: b"/" + bytes(byte for byte in path if byte not in b"\r\n\0 \t\x0b\x0c")),
    st.lists(st.tuples(NAMES, st.one_of(VALUES, TEXTS)), max_size=6),
    st.one_of(st.binary(max_size=200), st.text(max_size=50).map(lambda text: text.encode("utf-8", "replace"))),
)
def test_whatever_is_sent_comes_back_as_json(
    server: Server, method: bytes, path: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    lines = [b"%s %s HTTP/1.1" % (method, path), *(b"%s: %s" % header for header in headers), b"Content-Length: %d" % len(body)]
    head, _, content = server.raw(b"\r\n".join(lines) + b"\r\n\r\n" + body).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: %d" % len(content) in head or method == b"HEAD"
    if method == b"HEAD":
        return
    answer = json.loads(content)
    assert answer["method"] == method.decode()
    _same(answer["path"], path)
    _same(answer["body"], body)
    expected: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        expected.setdefault(name.lower(), []).append(value.strip(b" \t"))
    got = {name.lower(): value for name, value in answer["headers"].items()}
    assert got.keys() == {name.decode() for name in expected} | {"content-length"}
    for lower, values in expected.items():
        _same(got[lower.decode()], b", ".join(values))


def _same(got: str, sent: bytes) -> None:
    """Valid UTF-8 comes back as it was; of other bytes nothing is asked but that something stands for them."""
    try:
        assert got == sent.decode()
    except UnicodeDecodeError:
        assert "\ufffd" in got


def test_a_hundred_at_once(server: Server) -> None:
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda number: json.loads(server.ask("GET", f"/{number}")[1])["path"], range(100)))
    assert answers == [f"/{number}" for number in range(100)]


def test_a_client_that_says_nothing_does_not_hold_up_others(server: Server) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    try:
        assert server.ask()[0].status == 200
    finally:
        for connection in silent:
            connection.close()


def test_it_ends_at_once_when_told_to(image: Unpacked) -> None:
    running = start(image)
    with socket.create_connection(("127.0.0.1", running.port)):
        running.first.send_signal(signal.SIGTERM)
        running.outer.wait(10)  # a kubelet would wait for 30 s
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.port))


def test_pause_reaps_and_ends_at_once(tmp_path: Path) -> None:
    image = unpack(ImageRole.PAUSE, tmp_path)
    assert image.size < 2_000_000
    outer, first = first_process(image, {})
    try:
        enter = ["nsenter", f"--target={first.pid}", "--pid", shutil.which("sh") or "sh", "-c", "sleep 0.1 & sleep 0.1 &"]
        subprocess.run(enter, check=True)
        wait_until(lambda: not first.children(), what="the orphans to be gone", timeout=10)
        assert first.status() != psutil.STATUS_ZOMBIE
    finally:
        first.send_signal(signal.SIGTERM)
        outer.wait(10)  # a kubelet would wait for 30 s
