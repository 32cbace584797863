"""What follows a docker, for real over TLS: each name is pulled once, also when the follower or its node was started again."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from localk8s.helpers import docker_env_certificates, docker_env_sync
from localk8s.helpers.docker_env_certificates import ensure_certificates, has_certificates
from localk8s.helpers.docker_env_sync import DockerStore, Names
from localk8s.model.node import Runner
from localk8s.system.process import HostRunner
from localk8s.system.wait import wait_until

ONE, TWO, ANOTHER = (f"sha256:{digit * 64}" for digit in "123")


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    directory = tmp_path / "certificates"
    ensure_certificates(HostRunner(), directory, "127.0.0.1", "one")
    return directory


@pytest.fixture
def served(tmp_path: Path, certificates: Path) -> Iterator[tuple[Names, int]]:
    """What a docker has, and the port at which that is told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server" / "cert.pem", certificates / "server" / "key.pem")
    context.load_verify_locations(certificates / "server" / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    names = Names("unused")
    server = docker_env_sync._Server(("127.0.0.1", 0), names, DockerStore(tmp_path), context)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield names, server.server_address[1]
    server.shutdown()
    server.server_close()


def serve(names: Names, **images: str) -> None:
    with names._changed:
        names.images = {f"docker.io/library/{name}:1": identity for name, identity in images.items()}
        names._revision += 1
        names._changed.notify_all()


@contextlib.contextmanager
def follower(tmp_path: Path, certificates: Path, port: int) -> Iterator[None]:
    hosts, ctr = tmp_path / "follow" / "hosts", tmp_path / "ctr"
    hosts.mkdir(parents=True, exist_ok=True)
    (hosts / "hosts.toml").write_text("")
    ctr.write_text(f'#!/bin/sh\n[ "$2" != pull ] || echo "${{@:$#}}" >>{tmp_path}/pulled\n'.replace("#!/bin/sh", "#!/bin/bash"))
    ctr.chmod(0o755)
    argv = [sys.executable, docker_env_sync.__file__, "follow", "--server", f"127.0.0.1:{port}", "--hosts", hosts, "--ctr", ctr]
    process = subprocess.Popen([*argv, "--platform", "linux/amd64", "--certificates", certificates / "client"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def pulled(tmp_path: Path) -> list[str]:
    file = tmp_path / "pulled"
    return [line.partition("library/")[2] for line in file.read_text().split()] if file.exists() else []


def test_a_follower_that_is_started_again_pulls_only_what_changed(
    tmp_path: Path, certificates: Path, served: tuple[Names, int]
) -> None:
    names, port = served
    serve(names, app=ONE, base=TWO)
    with follower(tmp_path, certificates, port):
        wait_until(lambda: len(pulled(tmp_path)) == 2, what="both", timeout=30)
        wait_until(lambda: "base:1" in (tmp_path / "follow" / "followed.json").read_text(), what="it to be kept", timeout=30)
    serve(names, app=ANOTHER, base=TWO, later=ONE)
    with follower(tmp_path, certificates, port):
        wait_until(lambda: len(pulled(tmp_path)) >= 4, what="what changed", timeout=30)
    assert sorted(pulled(tmp_path)) == ["app:1", "app:1", "base:1", "later:1"]


def test_what_cannot_be_read_of_it_is_pulled_again(tmp_path: Path, certificates: Path, served: tuple[Names, int]) -> None:
    names, port = served
    serve(names, app=ONE)
    (tmp_path / "follow").mkdir()
    (tmp_path / "follow" / "followed.json").write_text("[not json")
    with follower(tmp_path, certificates, port):
        wait_until(lambda: pulled(tmp_path) == ["app:1"], what="it", timeout=30)


@pytest.mark.parametrize("role", ["client", "server"])
def test_an_interrupted_renewal_of_certificates_is_made_good(
    certificates: Path, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = docker_env_certificates._sign

    def sign_the_server_s_and_die(runner: Runner, place: Path, which: str, extension: str) -> None:
        if which == "client":
            raise KeyboardInterrupt
        sign(runner, place, which, extension)

    old = (certificates / "client" / "ca.pem").read_text()
    (certificates / role / "key.pem").unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(docker_env_certificates, "_sign", sign_the_server_s_and_die)
        ensure_certificates(HostRunner(), certificates, "127.0.0.1", "one")
    assert not has_certificates(certificates)
    ensure_certificates(HostRunner(), certificates, "127.0.0.1", "one")
    authorities = [(certificates / each / "ca.pem").read_text() for each in ("client", "server")]
    assert has_certificates(certificates) and authorities[0] == authorities[1] != old
