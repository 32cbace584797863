"""A docker on a node of the cluster, for ``docker build``: what is built or tagged there is on every node a moment later.

Owns what runs on which node for it: dockerd and the server of its images on one, a follower on every node (see
``docker_env_sync``). Takes nodes and a way to supervise programs on them; must not know drivers.
"""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import IO, cast

from localk8s.artifacts.kinds import NodeTools
from localk8s.drivers.base import NodeService
from localk8s.helpers import docker_env_sync
from localk8s.helpers.docker_env_certificates import CLIENT_FILES, ensure_certificates
from localk8s.model.hints import command
from localk8s.model.node import Node, Runner
from localk8s.model.progress import Step
from localk8s.system.wait import Pending, wait_until

PORT, SYNC_PORT = 2376, 2378
_HOME = "/var/lib/localk8s/docker"
TOOLS = f"{_HOME}/tools"
_RUN = "/run/localk8s-docker"
SOCKET = f"{_RUN}/docker.sock"
_PING = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(5)
connection.connect(sys.argv[1])
connection.sendall(b"GET /_ping HTTP/1.0\\r\\n\\r\\n")
print(connection.recv(4096).decode())
"""
_ROOT = "/var/lib/docker"
_REAL_FILE_SYSTEM = (
    f'mkdir -p {_ROOT}; if [ "$(stat -f -c %T {_ROOT})" = overlayfs ]; then '
    f"mkdir -p /var/lib/containerd/docker; mount --bind /var/lib/containerd/docker {_ROOT}; fi"
)
"""Overlays cannot lie on an overlay: there docker keeps its images where containerd keeps its own."""
_COMPLETE = ".complete-26"
"""What marks that all of it is there: another docker has another mark."""
_NEEDED = ("dockerd", "docker-proxy", "docker-init", "tini-static", "docker-registry")


@dataclass(frozen=True, slots=True)
class DockerHost:
    """Where docker runs and who may use it."""

    node: Node
    certificates: Path
    """A directory of this host; ``client`` and ``server`` are below it."""

    @property
    def variables(self) -> dict[str, str]:
        """What docker's client on this host needs."""
        return {
            "DOCKER_HOST": f"tcp://{self.node.address}:{PORT}",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(self.certificates / "client"),
        }


@dataclass(frozen=True, slots=True)
class Supervision:
    """How programs are kept running on nodes, as the driver has it."""

    start: Callable[[str, NodeService], None]
    """Called with a node's name."""
    python: str
    """On every node."""
    ctr: Sequence[str]
    """On every node, up to the subcommand."""


def answers_client(host: DockerHost) -> bool:
    """Whether a docker that was started before answers docker's client on this host; without a look into the node."""
    import ssl

    place = host.certificates / "client"
    try:
        context = ssl.create_default_context(cafile=place / "ca.pem")
        context.load_cert_chain(place / "cert.pem", place / "key.pem")
        with contextlib.closing(HTTPSConnection(host.node.address, PORT, timeout=5, context=context)) as connection:
            connection.request("GET", "/_ping")
            return connection.getresponse().status == 200
    except (OSError, HTTPException):  # ssl's errors are OSError too
        return False


def start_docker(
    host: DockerHost,
    nodes: Sequence[Node],
    supervision: Supervision,
    tools: Callable[[], NodeTools],
    runner: Runner,
    architecture: str,
    step: Step,
    cluster: str,
) -> None:
    """Have docker running on ``host.node`` and its images carried to ``nodes``. Idempotent; quick when it runs.

    Args:
        nodes: those that run.
        tools: called when they have to be copied to the node.
        runner: runs openssl on this host.
        architecture: ``amd64`` or ``arm64``.
        cluster: the cluster's name, for hints.

    Raises:
        ArtifactError: Debian's docker cannot be had.
        WaitTimeoutError: it does not answer; with what it complained.
    """
    node = host.node
    ensure_certificates(runner, host.certificates, node.address, node.name)
    step.progress(0, None, f"copying docker to {node.name}")
    put_tools(node, tools)
    _put_certificates(node, host.certificates / "server", f"{_HOME}/server")
    node.write(f"{_HOME}/sync.py", Path(docker_env_sync.__file__).read_bytes())
    supervision.start(node.name, docker_service(node.address))
    supervision.start(node.name, serve_service(node.address, supervision.python))
    follow_docker(host, nodes, supervision, architecture)
    step.progress(0, None, "waiting for docker")
    wait_until(
        partial(_answers, node, supervision.python),
        what=f"docker on {node.name}",
        timeout=60,
        interval=0.2,
        hint=command("logs", node.name, cluster=cluster),
    )


def follow_docker(host: DockerHost, nodes: Sequence[Node], supervision: Supervision, architecture: str) -> None:
    """Have the images of the docker on ``host`` carried to ``nodes``, which run. Idempotent; docker itself may be off."""
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        list(pool.map(partial(_follow, host=host, supervision=supervision, architecture=architecture), nodes))


def docker_service(address: str) -> NodeService:
    """dockerd, beside the kubelet's containerd and in its own namespace there; it leaves the node's rules alone."""
    argv = (
        f"{TOOLS}/usr/sbin/dockerd",
        "--data-root", _ROOT, "--exec-root", f"{_RUN}/exec", "--pidfile", f"{_RUN}/docker.pid",
        "--host", f"unix://{SOCKET}", "--host", f"tcp://{address}:{PORT}",
        "--tlsverify", "--tlscacert", f"{_HOME}/server/ca.pem", "--tlscert", f"{_HOME}/server/cert.pem",
        "--tlskey", f"{_HOME}/server/key.pem",
        "--containerd", "/run/containerd/containerd.sock", "--storage-driver", "overlay2",
        "--insecure-registry", f"{address}:5000",
        "--iptables=false", "--ip6tables=false", "--bip", "172.17.0.1/16",
        "--init-path", f"{TOOLS}/usr/bin/tini-static", "--userland-proxy-path", f"{TOOLS}/usr/sbin/docker-proxy",
        "--exec-opt", "native.cgroupdriver=cgroupfs",
    )  # fmt: skip
    path = f"{TOOLS}/usr/sbin:{TOOLS}/usr/bin"
    masquerade = "POSTROUTING -s 172.17.0.0/16 ! -d 172.17.0.0/16 -j MASQUERADE"
    return NodeService(
        "docker",
        argv,
        {"PATH": f"{path}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        (
            f"mkdir -p {_RUN}; rm -f {_RUN}/docker.pid",
            _REAL_FILE_SYSTEM,
            f"iptables -w -t nat -C {masquerade} 2>/dev/null || iptables -w -t nat -A {masquerade}",
        ),
    )


def serve_service(address: str, python: str) -> NodeService:
    """What offers docker's images to the other nodes."""
    argv = [python, "-S", f"{_HOME}/sync.py", "serve", "--socket", SOCKET, "--root", _ROOT]
    return NodeService("docker-serve", (*argv, "--listen", f"{address}:{SYNC_PORT}", "--certificates", f"{_HOME}/server"))


def follow_service(server: Node, python: str, ctr: Sequence[str], architecture: str) -> NodeService:
    """What lets a node's containerd pull whatever changes in the docker on ``server``; each docker has its own follower."""
    home = follower_home(server.name)
    argv = [python, "-S", f"{_HOME}/sync.py", "follow", "--server", f"{server.address}:{SYNC_PORT}", "--hosts", f"{home}/hosts"]
    more = ("--ctr", " ".join(ctr), "--platform", f"linux/{architecture}", "--certificates", f"{home}/client")
    return NodeService(follower_name(server.name), (*argv, *more))


def follower_name(server: str) -> str:
    """Of the service that follows the docker on the node ``server``."""
    return f"docker-follow-{server}"


def follower_home(server: str) -> str:
    """Where a node keeps what the follower of the docker on the node ``server`` needs."""
    return f"{_HOME}/follow/{server}"


def hosts_file(server: Node) -> str:
    """Containerd's description of the server of docker's images; it has no other to fall back to."""
    address, home = server.address, follower_home(server.name)
    return (
        f'server = "https://{address}:{SYNC_PORT}"\n[host."https://{address}:{SYNC_PORT}"]\n'
        f'capabilities = ["pull", "resolve"]\nca = "{home}/client/ca.pem"\n'
        f'client = [["{home}/client/cert.pem", "{home}/client/key.pem"]]\n'
    )


def put_tools(node: Node, tools: Callable[[], NodeTools]) -> None:
    """Copy the programs to the node, unless they are there."""
    if node.run(["test", "-e", f"{TOOLS}/{_COMPLETE}"], check=False).returncode == 0:
        return
    root = tools().root
    names = [f"usr/{place}/{name}" for name in _NEEDED for place in ("bin", "sbin") if (root / "usr" / place / name).exists()]
    node.run(["sh", "-c", f"rm -rf {TOOLS}; mkdir -p {TOOLS}"])
    node.run(["tar", "-xf", "-", "-C", TOOLS], input=_tar(root, names), timeout=600)
    node.write(f"{TOOLS}/{_COMPLETE}", "")


def _tar(root: Path, names: Sequence[str]) -> Iterator[bytes]:
    """The files ``names`` below ``root`` as a tar file, as it is written."""
    pieces: list[bytes] = []

    class _Sink:
        def write(self, data: bytes) -> int:
            pieces.append(bytes(data))
            return len(data)

    with tarfile.open(fileobj=cast("IO[bytes]", _Sink()), mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for name in names:
            tar.add(root / name, name, recursive=False)
            yield from pieces
            pieces.clear()
    yield from pieces


def _follow(node: Node, *, host: DockerHost, supervision: Supervision, architecture: str) -> None:
    home = follower_home(host.node.name)
    _put_certificates(node, host.certificates / "client", f"{home}/client")
    node.write(f"{home}/hosts/hosts.toml", hosts_file(host.node))
    node.write(f"{_HOME}/sync.py", Path(docker_env_sync.__file__).read_bytes())
    supervision.start(node.name, follow_service(host.node, supervision.python, supervision.ctr, architecture))


def _put_certificates(node: Node, source: Path, target: str) -> None:
    for name in CLIENT_FILES:
        node.copy_in(source / name, f"{target}/{name}", mode=0o600)


def _answers(node: Node, python: str) -> bool:
    done = node.run([python, "-S", "-c", _PING, SOCKET], check=False, timeout=10)
    if "200 OK" not in done.stdout:
        last = node.run(["tail", "-n", "1", docker_service(node.address).log], check=False).stdout.strip()
        raise Pending(last[-200:] or "it has not begun")
    return True
