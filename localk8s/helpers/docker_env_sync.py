"""What carries images from a node's docker to containerd on every node. Runs on the nodes, on the standard library alone.

``serve`` stands beside dockerd: it reads dockerd's own files and offers each image as a registry would, layers as docker
keeps them, so that nobody has to save or to copy what is there already; and it tells when a name changed.
``follow`` stands on every node: it lets containerd pull what changed. Both speak TLS with docker's certificates.
Copied to nodes as one file: must not import anything of localk8s.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import hashlib
import http.client
import http.server
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

_DOCKER = "application/vnd.docker"
_MANIFEST = f"{_DOCKER}.distribution.manifest.v2+json"
_HOLD = 20.0
"""Seconds that a question for changes is held open."""
_SEGMENT, _FILE = 2, 1
_CHUNK = 1 << 20
_PULL = 3600.0


class DockerStore:
    """What dockerd keeps on disk (overlay2), read only.

    Args:
        root: dockerd's ``--data-root``.
    """

    def __init__(self, root: Path) -> None:
        self._images = root / "image" / "overlay2"
        self._layers = root / "overlay2"
        self._sizes: dict[str, int] = {}
        self._chains: dict[str, str] = {}
        self._lock = threading.Lock()

    def config(self, identity: str) -> bytes:
        """The configuration whose digest is ``identity``."""
        return (self._images / "imagedb" / "content" / "sha256" / _hex(identity)).read_bytes()

    def manifest(self, identity: str) -> bytes:
        """A manifest of the image, with its layers as plain tar files."""
        config = self.config(identity)
        layers, chain = [], ""
        for digest in json.loads(config)["rootfs"].get("diff_ids") or ():
            joined = hashlib.sha256(f"{chain} {digest}".encode()).hexdigest()
            chain = f"sha256:{joined}" if chain else str(digest)
            with self._lock:
                self._chains[str(digest)] = chain
            kind = f"{_DOCKER}.image.rootfs.diff.tar"
            layers.append({"mediaType": kind, "digest": digest, "size": self.size(str(digest))})
        inside = {"mediaType": f"{_DOCKER}.container.image.v1+json", "digest": identity, "size": len(config)}
        return json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST, "config": inside, "layers": layers}).encode()

    def size(self, digest: str) -> int:
        """Bytes of a layer as a tar file."""
        if digest not in self._sizes:
            self._sizes[digest] = sum(
                len(data) if isinstance(data, bytes) else int(data["size"]) for data in self._pieces(digest)
            )
        return self._sizes[digest]

    def layer(self, digest: str) -> Iterator[bytes]:
        """A layer as the tar file that it was made of."""
        chain = self._layer(digest)
        files = self._layers / (chain / "cache-id").read_text().strip() / "diff"
        for data in self._pieces(digest):
            if isinstance(data, bytes):
                yield data
                continue
            left = int(data["size"])
            with (files / _name(data).lstrip("/")).open("rb") as file:
                while left:
                    piece = file.read(min(left, _CHUNK))
                    if not piece:
                        raise OSError("a layer is shorter than it was")
                    left -= len(piece)
                    yield piece

    def _pieces(self, digest: str) -> Iterator[bytes | dict[str, Any]]:
        """The tar file's bytes between files, and the files, in order (docker's tar-split)."""
        with gzip.open(self._layer(digest) / "tar-split.json.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                entry = json.loads(line)
                if entry["type"] == _SEGMENT:
                    yield base64.b64decode(entry["payload"])
                elif entry["type"] == _FILE and entry.get("size"):
                    yield entry

    def _layer(self, digest: str) -> Path:
        with self._lock:
            chain = self._chains[digest]
        return self._images / "layerdb" / "sha256" / _hex(chain)


class Names:
    """Which name leads to which image, kept up to date from dockerd's events."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._changed = threading.Condition()
        self.images: Mapping[str, str] = {}
        self._revision = 0

    def wait(self, since: int, seconds: float) -> tuple[int, Mapping[str, str]]:
        """Names and their revision, once it is another than ``since``; at the latest after ``seconds``."""
        with self._changed:
            self._changed.wait_for(lambda: self._revision != since, seconds)
            return self._revision, self.images

    def keep(self) -> None:
        """Follow dockerd for ever; while it is away, ask again and again."""
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                self._follow()
            time.sleep(0.3)

    def _follow(self) -> None:
        query = urllib.parse.quote(json.dumps({"type": ["image"]}))
        events = _UnixConnection(self._path)
        with contextlib.closing(events):
            events.request("GET", f"/events?filters={query}")
            stream = events.getresponse()
            self._read()
            while stream.readline():
                self._read()

    def _read(self) -> None:
        connection = _UnixConnection(self._path)
        with contextlib.closing(connection):
            connection.request("GET", "/images/json")
            found = json.loads(connection.getresponse().read())
        images = {
            full_name(tag): str(image["Id"])
            for image in found
            for tag in image.get("RepoTags") or ()
            if not tag.startswith("<none>")
        }
        with self._changed:
            if images != self.images or not self._revision:
                self.images = images
                self._revision = time.time_ns()
                self._changed.notify_all()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], names: Names, store: DockerStore, context: ssl.SSLContext) -> None:
        super().__init__(address, _Handler)
        self.names, self.store, self._context = names, store, context

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread, so that nobody who is silent keeps others waiting."""
        request.settimeout(60)
        with self._context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _say(f"{client_address[0]}: {sys.exc_info()[1]}")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        try:
            self._answer(parts.path, query)
        except (KeyError, FileNotFoundError, ValueError):
            self._send(b"{}", "application/json", status=404)

    def _answer(self, path: str, query: Mapping[str, str]) -> None:
        server = cast("_Server", self.server)
        names, store = server.names, server.store
        if path == "/changes":
            revision, images = names.wait(int(query.get("since", 0)), _HOLD)
            self._send(json.dumps({"revision": revision, "images": images}).encode(), "application/json")
            return
        if path in ("/v2", "/v2/"):
            self._send(b"{}", "application/json")
            return
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", path)
        if found is None:
            raise KeyError(path)
        repository, kind, reference = found.groups()
        if kind == "manifests":
            self._send_manifest(f"{query.get('ns', 'docker.io')}/{repository}", reference)
        elif reference in names.images.values():
            self._send(store.config(reference), "application/octet-stream")
        else:
            self._head(store.size(reference), "application/octet-stream", reference)
            if self.command != "HEAD":
                for piece in store.layer(reference):
                    self.wfile.write(piece)

    def _send_manifest(self, repository: str, reference: str) -> None:
        server = cast("_Server", self.server)
        for name, identity in server.names.images.items():
            if name.rpartition(":")[0] == repository:
                data = server.store.manifest(identity)
                if reference in (name.rpartition(":")[2], _digest(data)):
                    self._send(data, _MANIFEST, _digest(data))
                    return
        raise KeyError(reference)

    def _send(self, data: bytes, kind: str, digest: str = "", status: int = 200) -> None:
        self._head(len(data), kind, digest, status)
        if self.command != "HEAD":
            self.wfile.write(data)

    def _head(self, size: int, kind: str, digest: str = "", status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not worth a log; failures are printed where they happen."""


def full_name(tag: str) -> str:
    """A tag of docker's, as containerd spells it."""
    first, _, rest = tag.partition("/")
    if rest and ("." in first or ":" in first or first == "localhost"):
        return tag
    return f"docker.io/{tag}" if rest else f"docker.io/library/{tag}"


def serve(options: argparse.Namespace) -> None:
    """Offer dockerd's images for ever."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{options.certificates}/cert.pem", f"{options.certificates}/key.pem")
    context.load_verify_locations(f"{options.certificates}/ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    names = Names(options.socket)
    threading.Thread(target=names.keep, daemon=True).start()
    host, _, port = options.listen.rpartition(":")
    _Server((host, int(port)), names, DockerStore(Path(options.root)), context).serve_forever()


def follow(options: argparse.Namespace) -> None:
    """Pull what changes, for ever."""
    context = ssl.create_default_context(cafile=f"{options.certificates}/ca.pem")
    context.load_cert_chain(f"{options.certificates}/cert.pem", f"{options.certificates}/key.pem")
    host, _, port = options.server.rpartition(":")
    state = Path(options.hosts).parent / "followed.json"
    there = read_state(state)
    revision, failed = 0, False
    while True:
        try:
            connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=_HOLD + 10)
            with contextlib.closing(connection):
                connection.request("GET", f"/changes?since={0 if failed else revision}")
                told = json.loads(connection.getresponse().read())
            revision, failed = int(told["revision"]), False
            for name, identity in told["images"].items():
                if there.get(name) != identity:
                    if pull(options, name):
                        there[name] = identity
                        write_state(state, there)
                    else:
                        failed = True
        except (OSError, http.client.HTTPException, ValueError, KeyError) as exc:
            _say(f"{options.server}: {exc}")
            failed = True
        if failed:
            time.sleep(0.5)


def read_state(path: Path) -> dict[str, str]:
    """What was pulled before this program was started again: it must not replace what came to the node since."""
    try:
        return {str(name): str(identity) for name, identity in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def write_state(path: Path, there: Mapping[str, str]) -> None:
    """Keep it for ``read_state``."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(there))
    new.replace(path)


def pull(options: argparse.Namespace, name: str) -> bool:
    """Let containerd take ``name``; whether it did."""
    argv = [*options.ctr.split(), "images", "pull", "--hosts-dir", options.hosts, "--platform", options.platform, name]
    began = time.monotonic()
    try:
        _point(Path(options.hosts), name.partition("/")[0])
        done = _run(argv)
        # A name that moved still bears the mark of an image that the kubelet's side need not look at again.
        _run([*options.ctr.split(), "images", "label", name, "io.cri-containerd.image="])
    except (OSError, subprocess.TimeoutExpired) as exc:
        _say(f"{name}: {exc}")
        return False
    last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    _say(f"{name}: {last or 'pulled'} ({time.monotonic() - began:.2f} s)")
    return done.returncode == 0


def _run(argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PULL, check=False)


def _point(hosts: Path, registry: str) -> None:
    """Let containerd ask the server of docker's images for those of ``registry``, and nobody else (1.6 has no default)."""
    file = hosts / registry / "hosts.toml"
    content = (hosts / "hosts.toml").read_text()
    if not file.is_file() or file.read_text() != content:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".new").write_text(content)
        file.with_suffix(".new").replace(file)


def _say(text: str) -> None:
    """For the supervisor's log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _name(entry: Mapping[str, Any]) -> str:
    raw = entry.get("name_raw")
    return os.fsdecode(base64.b64decode(raw)) if raw else str(entry["name"])


def _hex(digest: str) -> str:
    value = digest.removeprefix("sha256:")
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise KeyError(digest)
    return value


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    server = commands.add_parser("serve")
    for name in ("--socket", "--root", "--listen", "--certificates"):
        server.add_argument(name, required=True)
    server.set_defaults(run=serve)
    follower = commands.add_parser("follow")
    for name in ("--server", "--hosts", "--ctr", "--platform", "--certificates"):
        follower.add_argument(name, required=True)
    follower.set_defaults(run=follow)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
