"""The cluster's API server and DNS: a process of its own, as long as the cluster runs. Reads files for each answer."""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KUBERNETES = "10.96.0.1"


class Api(BaseHTTPRequestHandler):
    """A few paths of the Kubernetes API."""

    protocol_version = "HTTP/1.1"
    root: Path
    home: Path
    profile: str

    def do_GET(self) -> None:
        """Answer, or hang while the cluster is paused."""
        if self._state().get("apiserver") == "Paused":
            time.sleep(30)
            return
        path = self.path.partition("?")[0]
        if path in ("/readyz", "/healthz"):
            self._answer(200, b"ok", "text/plain")
        elif path == "/version":
            config = load(self.home / "profiles" / self.profile / "config.json")
            self._json({"gitVersion": config.get("KubernetesConfig", {}).get("KubernetesVersion", "")})
        elif path == "/api/v1/nodes":
            self._json({"kind": "NodeList", "items": self._nodes()})
        elif path.startswith("/api/v1/namespaces/kube-system/") and self._state().get("incomplete"):
            body = {"kind": "Status", "message": 'services "kube-dns" not found', "reason": "NotFound", "code": 404}
            self._answer(404, json.dumps(body).encode(), "application/json")
        elif path == "/api/v1/namespaces/kube-system/services/kube-dns":
            self._json(self._dns_service())
        elif path == "/api/v1/namespaces/kube-system/endpoints/kube-dns":
            self._json(self._dns_endpoints())
        elif path == "/api/v1/namespaces/default/services/kubernetes":
            self._json({"metadata": {"name": "kubernetes"}, "spec": {"clusterIP": KUBERNETES}})
        else:
            self._answer(404, json.dumps({"message": "not found", "reason": "NotFound"}).encode(), "application/json")

    def _nodes(self) -> list[dict[str, Any]]:
        config = load(self.home / "profiles" / self.profile / "config.json")
        ready = "False" if load(self.root / "scenario.json").get("nodes") == "notready" else "True"
        items = []
        for node in config.get("Nodes", []):
            machine = self.profile if not node["Name"] or len(config["Nodes"]) == 1 else f"{self.profile}-{node['Name']}"
            state = load(self.root / "machines" / f"{machine}.json")
            up = ready if state.get("kubelet") == "Running" else "Unknown"
            name = socket.gethostname().lower() if config["Driver"] == "none" else machine
            condition = {
                "type": "Ready",
                "status": up,
                "message": "kubelet is posting ready status" if up == "True" else "it is not",
            }
            address = {"type": "InternalIP", "address": state.get("ip", node["IP"])}
            items.append({"metadata": {"name": name}, "status": {"conditions": [condition], "addresses": [address]}})
        return items

    def _dns_service(self) -> dict[str, Any]:
        port = load(self.root / "servers" / f"{self.profile}.json")["dns"]
        ports = [{"name": "dns", "protocol": "UDP", "port": port}, {"name": "dns-tcp", "protocol": "TCP", "port": port}]
        address = load(self.root / "scenario.json").get("services_at", "127.0.0.1")
        return {"metadata": {"name": "kube-dns"}, "spec": {"clusterIP": address, "ports": ports}}

    def _dns_endpoints(self) -> dict[str, Any]:
        port = load(self.root / "servers" / f"{self.profile}.json")["dns"]
        ports = [{"name": "metrics", "protocol": "TCP", "port": 9153}, {"name": "dns-tcp", "protocol": "TCP", "port": port}]
        addresses = [{"ip": "127.0.0.1"}]
        return {"metadata": {"name": "kube-dns"}, "subsets": [{"addresses": addresses, "ports": ports}]}

    def _state(self) -> dict[str, Any]:
        return load(self.root / "machines" / f"{self.profile}.json")

    def _json(self, content: dict[str, Any]) -> None:
        self._answer(200, json.dumps(content).encode(), "application/json")

    def _answer(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def load(path: Path) -> dict[str, Any]:
    """The JSON in ``path``; empty when it is not there."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def serve_dns(port: int, root: Path) -> None:
    """Answer one question a connection, over TCP."""
    server = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = server.accept()
        with connection:
            mood = load(root / "scenario.json").get("dns")
            header = connection.recv(2, socket.MSG_WAITALL)
            if len(header) < 2 or mood == "silent":
                continue
            (length,) = struct.unpack("!H", header)
            question = connection.recv(length, socket.MSG_WAITALL)
            right = b"\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00" in question and mood != "nxdomain"
            answer = (
                question[:2]
                + (b"\x85\x80\x00\x01\x00\x01" if right else b"\x85\x83\x00\x01\x00\x00")
                + b"\0\0\0\0"
                + question[12:]
            )
            if right:
                answer += b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04" + socket.inet_aton(KUBERNETES)
            packed = struct.pack("!H", len(answer)) + answer
            connection.sendall(packed[:1])  # an answer may come in pieces
            connection.sendall(packed[1:])


def main(root: Path, home: Path, profile: str) -> None:
    """Serve until the world is gone."""
    ports = load(root / "servers" / f"{profile}.json")
    Api.root, Api.home, Api.profile = root, home, profile
    server = ThreadingHTTPServer(("127.0.0.1", ports["api"]), Api)
    server.daemon_threads = True
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(root / "pki/ca.crt", root / "pki/ca.key")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(root / "pki/ca.crt")
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=serve_dns, args=(ports["dns"], root), daemon=True).start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    deadline = time.monotonic() + 900
    while (root / "servers").is_dir() and time.monotonic() < deadline:
        time.sleep(0.2)
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
