"""Measures the helpers beside what they would be done with by hand, on one native cluster of three nodes.

Called by ``bench.py``; both sides of a row run in turn, and the medians of their figures make the ratios.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests/e2e"))

from small_images import CommandLine, busybox_layer, write_image  # noqa: E402 - the tests' own small images

_MIB = 1 << 20
_FILES = {1: 256 * _MIB, 20: 16 * _MIB}
"""Bytes that each of so many connections fetches."""
_NODES = ("default", "default-2", "default-3")
_SERVER = """
/bin/busybox dd if=/dev/zero of=/1 bs=1M count=256
/bin/busybox dd if=/dev/zero of=/20 bs=1M count=16
echo x >/x
exec /bin/busybox httpd -f -p 8080 -h /
"""


def fetch(port: int, path: str) -> int:
    """GET ``path`` over a connection of its own; returns how many bytes came."""
    count, buffer = 0, bytearray(_MIB)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
        while got := connection.recv_into(buffer):
            count += got
    return count


def throughput(port: int, connections: int) -> float:
    """MiB a second over so many connections at once."""
    with ThreadPoolExecutor(connections) as pool:
        begin = time.monotonic()
        total = sum(pool.map(lambda _: fetch(port, str(connections)), range(connections)))
        seconds = time.monotonic() - begin
    if total < connections * _FILES[connections]:
        raise RuntimeError(f"{total} bytes came instead of {connections * _FILES[connections]}")
    return total / _MIB / seconds


def latency(port: int, connections: int) -> float:
    """Median milliseconds of a connection with one small answer, with so many at once."""

    def one(_: int) -> float:
        begin = time.monotonic()
        fetch(port, "x")
        return (time.monotonic() - begin) * 1000

    with ThreadPoolExecutor(connections) as pool:
        return median(pool.map(one, range(10 * connections)))


@contextmanager
def forwarding(argv: list[str], environment: dict[str, str]) -> Iterator[int]:
    """A port-forward that runs; yields its local port."""
    with started(argv, environment) as (_, port):
        yield port


@contextmanager
def started(argv: list[str], environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A port-forward that runs, and its local port."""
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"127\.0\.0\.1:(\d+)", line):
                yield process, int(found[1])
                return
        raise RuntimeError(f"{argv} ended")
    finally:
        process.kill()
        process.communicate()


def forwards(cli: CommandLine, rounds: int) -> dict[str, dict[str, float]]:
    """Figures of our port-forward, direct and by way of the API, and of kubectl's."""
    ours = [str(Path(sys.executable).with_name("localk8s"))]
    ways = {
        "`localk8s port-forward`": [*ours, "port-forward", "pod/bench", "0:8080"],
        "the same, `--through-api`": [*ours, "port-forward", "--through-api", "pod/bench", "0:8080"],
        "`kubectl port-forward`": [str(cli.home / "data/native/default/bin/kubectl"), "port-forward", "pod/bench", ":8080"],
    }
    found: dict[str, dict[str, list[float]]] = {name: {} for name in ways}
    for _ in range(rounds):
        for name, argv in ways.items():
            with forwarding(argv, cli.environment) as port:
                fetch(port, "x")
                for connections in _FILES:
                    found[name].setdefault(f"throughput {connections}", []).append(throughput(port, connections))
                    found[name].setdefault(f"latency {connections}", []).append(latency(port, connections))
    return {name: {key: median(values) for key, values in figures.items()} for name, figures in found.items()}


def resumed(cli: CommandLine, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds from a pod's replacement being ready to an answer, and from Ctrl-C to the end; kubectl's starts again."""
    ours, kubectl = [str(Path(sys.executable).with_name("localk8s"))], str(cli.home / "data/native/default/bin/kubectl")
    ways = {
        "`localk8s port-forward`": [*ours, "port-forward", "deploy/again", "0:8080"],
        "the same, `--through-api`": [*ours, "port-forward", "--through-api", "deploy/again", "0:8080"],
        "`kubectl port-forward`, started again": [kubectl, "port-forward", "deploy/again", ":8080"],
    }
    found: dict[str, dict[str, list[float]]] = {name: {"resumed": [], "ended": []} for name in ways}
    for _ in range(rounds):
        for name, argv in ways.items():
            stays = argv[0] != kubectl
            with contextlib.ExitStack() as stack:
                process, port = stack.enter_context(started(argv, cli.environment))
                fetch(port, "x")
                cli("kubectl", "delete", "pod", "-l", "app=again", "--wait=true")
                cli("kubectl", "rollout", "status", "deployment/again", "--timeout=60s")
                begin = time.monotonic()
                if not stays:
                    process, port = stack.enter_context(started(argv, cli.environment))
                fetch(port, "x")
                found[name]["resumed"].append((time.monotonic() - begin) * 1000)
                process.send_signal(signal.SIGINT)
                found[name]["ended"].append(timed(process.wait) * 1000)
    return {name: {key: median(values) for key, values in figures.items()} for name, figures in found.items()}


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begin = time.monotonic()
    call()
    return time.monotonic() - begin


def loads(cli: CommandLine, directory: Path, rounds: int) -> dict[str, float]:
    """Seconds of loading 300 MB onto three nodes, of one change in it, and of one ``ctr images import`` by hand."""
    found: dict[str, list[float]] = {"import": [], "load": [], "change": []}
    for number in range(rounds):
        big = {"big": os.urandom(300_000_000)}
        by_hand, first, changed = (directory / f"{name}.tar" for name in ("hand", "first", "changed"))
        write_image(by_hand, f"localhost/hand:{number}", {"big": os.urandom(300_000_000)}, busybox_layer())
        write_image(first, f"localhost/bench:{number}", big, busybox_layer())
        write_image(changed, f"localhost/bench:{number}-b", big, {"small": os.urandom(10_000)})
        cli("cp", str(by_hand), "default:/root/hand.tar")
        subprocess.run(["sync"], check=True)
        found["import"].append(timed(lambda: cli("ssh", "--", "ctr", "-n", "k8s.io", "images", "import", "/root/hand.tar")))
        found["load"].append(timed(lambda path=first: cli("image", "load", str(path))))
        found["change"].append(timed(lambda path=changed: cli("image", "load", str(path))))
        cli("ssh", "--", "ctr", "-n", "k8s.io", "images", "rm", f"localhost/hand:{number}")
        cli("image", "rm", f"localhost/bench:{number}", f"localhost/bench:{number}-b")
    return {key: median(values) for key, values in found.items()}


def builds(cli: CommandLine, directory: Path, rounds: int) -> float:
    """Seconds from the end of ``docker build`` until containerd on every node has the image."""
    exports = cli.out("docker-env", "--shell", "bash")
    variables = dict(re.findall(r"^export (\w+)=(.+)$", exports, re.MULTILINE))
    cached = cli.environment["LOCALK8S_CACHE"]
    docker = shutil.which("docker") or str(next(Path(cached).glob("artifacts/debian/docker-*/usr/bin/docker")))
    environment = {**cli.environment, "DOCKER_BUILDKIT": "0", **{name: value.strip("'\"") for name, value in variables.items()}}
    context = directory / "context"
    context.mkdir()
    (context / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
    found = []
    for number in range(rounds):
        tag = f"bench-{hashlib.sha256(os.urandom(8)).hexdigest()[:8]}:{number}"
        (context / "Dockerfile").write_text(f'FROM scratch\nCOPY busybox /bin/busybox\nLABEL run="{tag}"\n')
        subprocess.run([docker, "build", "-q", "-t", tag, "."], env=environment, cwd=context, check=True, capture_output=True)
        begin = time.monotonic()
        for node in _NODES:
            while f"/{tag}" not in cli.out("ssh", node, "--", "ctr", "-n", "k8s.io", "images", "ls", "-q"):
                time.sleep(0.05)
        found.append(time.monotonic() - begin)
    return median(found)


def replaced() -> dict[str, object]:
    """A deployment whose pod starts and ends at once."""
    command = ["/bin/busybox", "sh", "-c", "echo x >/x; exec /bin/busybox httpd -f -p 8080 -h /"]
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    image = {"image": "localhost/server:1", "imagePullPolicy": "Never"}
    container = {"name": "one", **image, "command": command, "readinessProbe": probe}
    template = {
        "metadata": {"labels": {"app": "again"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "again"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "again"}, "spec": spec}


def report(
    rounds: int,
    forwarded: dict[str, dict[str, float]],
    again: dict[str, dict[str, float]],
    loaded: dict[str, float],
    built: float,
) -> str:
    """The tables, as Markdown."""
    base = forwarded["`kubectl port-forward`"]
    lines = [
        f"Medians of {rounds} runs in turn on {os.cpu_count()} processors; in brackets the ratio to kubectl.",
        "",
        "| port-forward | MiB/s, 1 connection | MiB/s, 20 at once | ms an answer, 1 | ms an answer, 20 at once |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, figures in forwarded.items():
        keys = ("throughput 1", "throughput 20", "latency 1", "latency 20")
        cells = [f"{figures[key]:.{0 if 'through' in key else 1}f} ({figures[key] / base[key]:.2f})" for key in keys]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| after its pod was replaced | ms to the next answer | ms from Ctrl-C to its end |", "| --- | --- | --- |"]
    lines += [f"| {name} | {figures['resumed']:.0f} | {figures['ended']:.0f} |" for name, figures in again.items()]
    ratio = {key: value / loaded["import"] for key, value in loaded.items()}
    lines += [
        "",
        f"An image of 300 MB: one `ctr images import` on one node {loaded['import']:.1f} s; `localk8s image load` onto three",
        f"nodes {loaded['load']:.1f} s ({ratio['load']:.2f}); again with one small layer changed {loaded['change']:.2f} s "
        f"({ratio['change']:.2f}).",
        "",
        f"What docker built is in containerd of all three nodes {built:.1f} s after `docker build` ended.",
    ]
    return "\n".join(lines) + "\n"


def measure(rounds: int) -> str:
    """Make a cluster, measure all of it, and return the tables."""
    with tempfile.TemporaryDirectory() as home:
        cli, directory = CommandLine(Path(home)), Path(home) / "work"
        directory.mkdir()
        cli("start", "--nodes", "3")
        try:
            image = directory / "server.tar"
            write_image(image, "localhost/server:1", busybox_layer())
            cli("image", "load", str(image))
            command = ["/bin/busybox", "sh", "-c", _SERVER]
            container = {"name": "one", "image": "localhost/server:1", "imagePullPolicy": "Never", "command": command}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bench"}, "spec": {"containers": [container]}}
            cli("kubectl", "apply", "-f", "-", input=json.dumps(pod).encode())
            cli("kubectl", "wait", "--for=condition=Ready", "pod/bench", "--timeout=60s")
            cli("kubectl", "apply", "-f", "-", input=json.dumps(replaced()).encode())
            cli("kubectl", "rollout", "status", "deployment/again", "--timeout=60s")
            time.sleep(5)  # the files that it serves are written first
            forwarded = forwards(cli, rounds)
            again = resumed(cli, rounds)
            loaded = loads(cli, directory, rounds)
            return report(rounds, forwarded, again, loaded, builds(cli, directory, rounds))
        finally:
            cli("delete", "--yes")
