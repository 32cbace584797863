"""Port-forward and proxy on a real native cluster of two nodes: through pods that go, and an API server that goes."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from localk8s_door import RealDoor
from web_workload import ask, deploy_web, eventually, library, running

from localk8s import Cluster
from localk8s.helpers.port_forward_targets import is_ready
from localk8s.model.errors import KubernetesError, NotFoundError, PrerequisiteError, UsageError

pytestmark = pytest.mark.real
BOTH = pytest.mark.parametrize("direct", [True, False], ids=["direct", "through the API"])


@pytest.fixture(scope="module")
def web(door: RealDoor) -> Iterator[Cluster]:
    """A cluster of two nodes with the workload."""
    door.do("start", "--nodes", "2")
    deploy_web(door)
    yield library(door)
    door.do("delete", "--yes")


@BOTH
def test_many_connections_go_to_all_pods_that_are_ready(web: Cluster, direct: bool) -> None:
    answers: Counter[str] = Counter()
    with web.port_forward("svc/web", "0:80", "0:http", direct=direct) as forward:
        assert len({each.port for each in forward.ports}) == 2

        def one(number: int) -> None:
            answers[ask(forward.ports[number % 2].url, 60)["pod"]] += 1

        threads = [threading.Thread(target=one, args=(number,)) for number in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers.total() == 100
    assert len(answers) == 2
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", forward.ports[0].port), timeout=2)


@BOTH
def test_a_half_close_gets_its_answer(web: Cluster, direct: bool) -> None:
    with web.port_forward("deploy/web", "0:8080", direct=direct) as forward:
        client = socket.create_connection(("127.0.0.1", forward.ports[0].port), timeout=10)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        client.close()
    assert answer.startswith(b"HTTP/1.1 200")


@BOTH
def test_the_next_connection_works_when_pods_were_replaced_scaled_and_rolled(
    web: Cluster, door: RealDoor, direct: bool
) -> None:
    with web.port_forward("svc/web", "0:80", direct=direct) as forward:
        url = forward.ports[0].url
        idle = socket.create_connection(("127.0.0.1", forward.ports[0].port), timeout=20)
        first = ask(url)["pod"]
        door.do("kubectl", "delete", "pod", "-l", "app=web", "--wait=true")
        began = time.monotonic()
        assert idle.recv(1) == b""  # the pod is gone: its connections end
        idle.close()
        door.do("kubectl", "rollout", "status", "deployment/web", "--timeout=120s")
        began = time.monotonic()
        assert ask(url)["pod"] != first
        assert time.monotonic() - began < 10
        door.do("kubectl", "scale", "deployment/web", "--replicas=1")
        for _ in range(20):
            _ask_twice(url)
        door.do("kubectl", "scale", "deployment/web", "--replicas=2")
        door.do("kubectl", "rollout", "restart", "deployment/web")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            _ask_twice(url)
        door.do("kubectl", "rollout", "status", "deployment/web", "--timeout=120s")
        ask(url)


def _ask_twice(url: str) -> None:
    """A connection may have been with a pod that was ended just then: the next one has to work."""
    try:
        ask(url)
    except OSError:
        eventually(lambda: ask(url), 10)


def _pods(door: RealDoor) -> list[str]:
    items = json.loads(door.do("kubectl", "get", "pods", "-l", "app=web", "-o", "json"))["items"]
    return [f"pod/{pod['metadata']['name']}" for pod in items if is_ready(pod)]


@BOTH
def test_a_pod_that_is_gone_is_followed_to_what_replaced_it(web: Cluster, door: RealDoor, direct: bool) -> None:
    eventually(lambda: len(_pods(door)) == 2, 60)
    pod = _pods(door)[0]
    with web.port_forward(pod, "0:8080", direct=direct) as forward:
        assert ask(forward.ports[0].url)["pod"] == pod.removeprefix("pod/")
        door.do("kubectl", "delete", pod, "--wait=true")
        assert ask(forward.ports[0].url)["pod"] != pod.removeprefix("pod/")
    door.do("kubectl", "rollout", "status", "deployment/web", "--timeout=120s")


@BOTH
def test_the_api_server_may_be_restarted(web: Cluster, door: RealDoor, direct: bool) -> None:
    with web.port_forward("svc/web", "0:80", direct=direct) as forward:
        ask(forward.ports[0].url)
        node = web.node()
        node.run(["sv", "kill", "/run/localk8s/service/kube-apiserver"])
        if direct:
            ask(forward.ports[0].url)  # at once: the API server is not needed
        _wait_for_api(web)
        began = time.monotonic()
        ask(forward.ports[0].url)
        assert time.monotonic() - began < 10
        door.do("kubectl", "scale", "deployment/web", "--replicas=3")
        door.do("kubectl", "rollout", "status", "deployment/web", "--timeout=120s")
        eventually(lambda: len({ask(forward.ports[0].url)["pod"] for _ in range(6)}) == 3)
        door.do("kubectl", "scale", "deployment/web", "--replicas=2")


def _wait_for_api(cluster: Cluster) -> None:
    def ready() -> bool:
        try:
            with contextlib.closing(cluster.client(timeout=2)) as client:
                return client.raw("/readyz") == "ok"
        except KubernetesError:
            return False

    eventually(ready, 60)


def test_what_cannot_be_forwarded_is_said(web: Cluster) -> None:
    with pytest.raises(NotFoundError), web.port_forward("svc/none", 80):
        pass
    with pytest.raises(UsageError, match="its ports: 80/TCP"), web.port_forward("svc/web", "0:81"):
        pass
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PrerequisiteError, match="taken"), web.port_forward("svc/web", f"{port}:80"):
            pass
    with pytest.raises(UsageError, match="not an address"), web.port_forward("svc/web", "0:80", addresses=["192.0.2.1"]):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name in ("port-forward", "live-list")]


def test_the_command_forwards_until_ctrl_c(web: Cluster, door: RealDoor) -> None:
    with running(door, "port-forward", "svc/web", "0:80", "--address", "127.0.0.1,127.0.0.2") as line:
        address, _, rest = line.strip().partition(" -> ")
        assert rest == "svc/web 80"
        assert ask(f"http://{address}")["method"] == "GET"
        port = address.rpartition(":")[2]
        assert ask(f"http://127.0.0.2:{port}")["method"] == "GET"


def test_bytes_come_through_whole_both_ways(web: Cluster, door: RealDoor) -> None:
    body = b"x" * 200_000
    for direct in (True, False):
        with web.port_forward("svc/web", "0:80", direct=direct) as forward:
            port = forward.ports[0].port
            done = subprocess.run(
                ["curl", "-sS", "--data-binary", "@-", f"http://127.0.0.1:{port}/"], input=body, capture_output=True, timeout=60
            )
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["method"] == "POST"
