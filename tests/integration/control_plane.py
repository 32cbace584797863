"""A real API server for the tests of floor 2: etcd and kube-apiserver on loopback, no kubelet, no nodes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from localk8s.artifacts.kinds import NodeRoot
from localk8s.kube.rest import RestClient
from localk8s.model.errors import KubernetesError
from localk8s.system.paths import find_roots
from localk8s.system.process import HostRunner
from localk8s.system.wait import wait_until

SERVICE_CIDR = "10.96.0.0/16"


def kubernetes_programs() -> Path | None:
    """The directory of a Kubernetes in the cache, or the one that LOCALK8S_TEST_BINARIES names."""
    if named := os.environ.get("LOCALK8S_TEST_BINARIES"):
        return Path(named)
    cached = sorted(find_roots(os.environ).cache.glob("artifacts/kubernetes/*/kube-apiserver"))
    return cached[-1].parent if cached else None


def node_root() -> NodeRoot | None:
    """The root of native nodes in the cache; this machine's own when there is none."""
    cached = sorted(find_roots(os.environ).cache.glob("artifacts/debian/root-*/root"), key=lambda path: path.stat().st_mtime)
    if cached:
        return NodeRoot(cached[-1])
    return NodeRoot(Path("/")) if Path("/usr/bin/etcd").exists() else None


def named_program(directory: Path) -> Path | None:
    """A program in ``directory`` that runs the named of native nodes, which has a C library of its own."""
    root = node_root()
    if root is None or not (root.directory / "usr/sbin/named").exists():
        return None
    program = directory / "named"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(root.command("usr/sbin/named"))} "$@"\n')
    program.chmod(0o755)
    return program


def free_port() -> int:
    """A port on loopback that nobody has by TCP or UDP; below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port


class ControlPlane:
    """etcd and kube-apiserver, each of which can be killed and brought back.

    Args:
        programs: the directory of the Kubernetes programs.
        root: where etcd is.
        directory: an empty directory of its own.
    """

    def __init__(self, programs: Path, root: NodeRoot, directory: Path) -> None:
        self.programs = programs
        self._root = root
        self.directory = directory
        self.port = free_port()
        self._etcd_port, self._peer_port = free_port(), free_port()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    def client(self) -> RestClient:
        """A new client of the administrator."""
        return RestClient.from_kubeconfig(self.kubeconfig.read_text(), timeout=10)

    def prepare(self) -> None:
        """Make keys and the kubeconfig."""
        pki = self.directory / "pki"
        pki.mkdir()
        self._key_pair("ca", "/CN=test-ca", issuer="")
        self._key_pair("apiserver", "/CN=kube-apiserver", extension="subjectAltName=IP:127.0.0.1,DNS:kubernetes.default.svc")
        self._key_pair("admin", "/O=system:masters/CN=admin", extension="extendedKeyUsage=clientAuth")
        self._key_pair("sa", "/CN=sa")
        HostRunner().run(["openssl", "pkey", "-in", str(pki / "sa.key"), "-pubout", "-out", str(pki / "sa.pub")])

        def data(name: str) -> str:
            return base64.b64encode((pki / name).read_bytes()).decode()

        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority-data": data("ca.crt")}
        user = {"client-certificate-data": data("admin.crt"), "client-key-data": data("admin.key")}
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}], "users": [{"name": "admin", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        }  # fmt: skip
        self.kubeconfig.write_text(json.dumps(document))

    def _key_pair(self, name: str, subject: str, *, issuer: str = "ca", extension: str = "") -> None:
        """Make ``name``.key and ``name``.crt, signed by ``issuer`` (by itself when empty)."""
        pki = self.directory / "pki"
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        argv = ["openssl", "req", "-x509", "-sha256", "-days", "30", *new_key, "-subj", subject]
        argv += ["-keyout", str(pki / f"{name}.key"), "-out", str(pki / f"{name}.crt")]
        if issuer:
            argv += ["-CA", str(pki / f"{issuer}.crt"), "-CAkey", str(pki / f"{issuer}.key")]
            argv += ["-addext", "basicConstraints=critical,CA:FALSE"]
        HostRunner().run([*argv, *(["-addext", extension] if extension else [])])

    def start_etcd(self) -> None:
        """Start etcd."""
        client = f"http://127.0.0.1:{self._etcd_port}"
        peer = f"http://127.0.0.1:{self._peer_port}"
        self._spawn("etcd", [
            *self._root.command("usr/bin/etcd"), "--data-dir", str(self.directory / "etcd"), "--unsafe-no-fsync",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"default={peer}"])  # fmt: skip

    def start_api(self, *, wait: bool = True) -> None:
        """Start the API server and, if asked to, wait until it is ready."""
        pki = self.directory / "pki"
        self._spawn("kube-apiserver", [
            str(self.programs / "kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--secure-port={self.port}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={SERVICE_CIDR}", "--authorization-mode=RBAC",
            f"--client-ca-file={pki}/ca.crt", f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key", f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key", "--service-account-issuer=https://kubernetes.default.svc",
            "--disable-admission-plugins=ServiceAccount", "--watch-cache=true"])  # fmt: skip
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the API server answers."""
        client = self.client()

        def ready() -> bool:
            if self._running["kube-apiserver"].poll() is not None:
                raise AssertionError((self.directory / "kube-apiserver.log").read_text()[-3000:])
            try:
                return client.raw("/readyz", timeout=2) == "ok" and bool(client.get("/api/v1/namespaces/default"))
            except KubernetesError:
                return False

        wait_until(ready, what="the API server", timeout=60, interval=0.05)

    def end(self, name: str, number: int = signal.SIGKILL) -> None:
        """End ``etcd`` or ``kube-apiserver``."""
        process = self._running.pop(name, None)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            process.wait(10)

    def close(self) -> None:
        """End all of it."""
        for name in list(self._running):
            self.end(name)

    def _spawn(self, name: str, argv: list[str]) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )


@contextlib.contextmanager
def control_plane(directory: Path) -> Iterator[ControlPlane]:
    """A running control plane in ``directory``; the test is skipped where its programs are not at hand."""
    import pytest

    programs, root = kubernetes_programs(), node_root()
    if programs is None or root is None:
        pytest.skip("there is no kube-apiserver or etcd in the cache: make setup")
    plane = ControlPlane(programs, root, directory)
    try:
        plane.prepare()
        plane.start_etcd()
        plane.start_api()
        yield plane
    finally:
        plane.close()
