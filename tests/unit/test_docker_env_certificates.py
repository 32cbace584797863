"""The certificates of a docker on a node, as strictly as Python 3.13 and docker look at them."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from pathlib import Path

import pytest

from localk8s.helpers.docker_env_certificates import ensure_certificates
from localk8s.system.process import HostRunner

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")


def context(directory: Path, role: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if role == "server" else ssl.PROTOCOL_TLS_CLIENT)
    made.load_cert_chain(directory / role / "cert.pem", directory / role / "key.pem")
    made.load_verify_locations(directory / role / "ca.pem")
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return made


def test_both_sides_believe_each_other_by_the_strict_rules(tmp_path: Path) -> None:
    ensure_certificates(HostRunner(), tmp_path, "127.0.0.1", "default")
    server, client = context(tmp_path, "server"), context(tmp_path, "client")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, server.wrap_socket(connection, server_side=True) as talking:
                talking.sendall(talking.recv(10))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with (
            socket.create_connection(listening.getsockname(), timeout=10) as connection,
            client.wrap_socket(connection, server_hostname="127.0.0.1") as talking,
        ):
            talking.sendall(b"hello")
            assert talking.recv(10) == b"hello"
        thread.join(10)


def test_certificates_of_before_are_made_anew(tmp_path: Path) -> None:
    ensure_certificates(HostRunner(), tmp_path, "127.0.0.1", "default")
    made = (tmp_path / "server/cert.pem").read_bytes()
    ensure_certificates(HostRunner(), tmp_path, "127.0.0.1", "default")
    assert (tmp_path / "server/cert.pem").read_bytes() == made
    (tmp_path / "address").write_text("127.0.0.1 default")  # as an older localk8s wrote it
    ensure_certificates(HostRunner(), tmp_path, "127.0.0.1", "default")
    assert (tmp_path / "server/cert.pem").read_bytes() != made
