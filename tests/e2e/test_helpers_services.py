"""Services, tunnel, hosts, on a real native cluster of two nodes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from localk8s_door import RealDoor
from web_workload import ask, deploy_web, eventually, library, running

from localk8s import Cluster
from localk8s.helpers.tunnel import Tunnel
from localk8s.model.errors import WrongStateError
from localk8s.system.wait import wait_until

pytestmark = pytest.mark.real
BALANCED = """\
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 18080, targetPort: 8080}]}
"""


@pytest.fixture(scope="module")
def web(door: RealDoor) -> Iterator[Cluster]:
    """A cluster of two nodes with the workload."""
    door.do("start", "--nodes", "2")
    deploy_web(door)
    yield library(door)
    door.do("delete", "--yes")


def soon(url: str) -> str:
    """The method that the server saw; kube-proxy has a moment to learn of a new service."""

    def answered() -> str:
        try:
            return str(ask(url)["method"])
        except OSError:
            return ""

    return wait_until(answered, what=url, timeout=20)


def test_a_service_answers_where_the_command_says(web: Cluster, door: RealDoor) -> None:
    (url,) = door.do("service", "web", "--url").splitlines()
    assert soon(url) == "GET"
    door.do("kubectl", "expose", "deployment", "web", "--name=noded", "--type=NodePort", "--port=8080")
    said = json.loads(door.do("service", "noded", "-o", "json"))
    assert {each["way"] for each in said["addresses"]} == {"cluster-ip", "node-port"}
    for each in said["addresses"]:
        assert soon(each["url"]) == "GET"
    listed = json.loads(door.do("service", "-o", "json"))["items"]
    assert {"web", "noded", "kubernetes"} <= {each["name"] for each in listed}


def test_a_service_without_endpoints_fails_in_time(web: Cluster, door: RealDoor) -> None:
    door.do("kubectl", "create", "service", "clusterip", "empty", "--tcp=80")
    began = time.monotonic()
    assert "empty" in door.fail("service", "empty", "--url", "--wait", "1", code=7)
    assert time.monotonic() - began < 10
    assert "no service" in door.fail("service", "nothing", code=3)


def _ingress(door: RealDoor) -> list[dict[str, str]]:
    service = json.loads(door.do("kubectl", "get", "service", "balanced", "-o", "json"))
    found: list[dict[str, str]] = service["status"]["loadBalancer"].get("ingress", [])
    return found


def test_a_tunnel_gives_addresses_until_it_ends(web: Cluster, door: RealDoor) -> None:
    door.do("kubectl", "apply", "-f", "-", stdin=BALANCED)
    with running(door, "tunnel") as line:
        name, host, port = line.split()
        assert (name, port) == ("default/balanced", "18080")
        assert eventually(lambda: ask(f"http://{host}:{port}", 2))["method"] == "GET"
        assert [each["ip"] for each in eventually(lambda: _ingress(door))] == [host]
        assert "in use" in door.fail("tunnel", code=4)
        url = door.do("service", "balanced", "--url").strip()
        assert url == f"http://{host}:{port}"
    assert _ingress(door) == []


def test_a_killed_tunnel_can_be_cleaned_up(web: Cluster, door: RealDoor) -> None:
    door.do("kubectl", "apply", "-f", "-", stdin=BALANCED)
    process = door.spawn("tunnel")
    eventually(lambda: _ingress(door))
    process.kill()
    process.communicate()
    assert _ingress(door)
    assert door.do("tunnel", "--cleanup").strip() == "default/balanced"
    assert _ingress(door) == []


def test_without_routes_the_tunnel_listens_on_this_host(web: Cluster, door: RealDoor) -> None:
    door.do("kubectl", "apply", "-f", "-", stdin=BALANCED)
    with Tunnel(web.client(), routes=False) as tunnel:
        eventually(lambda: tunnel.services)
        assert ask("http://127.0.0.1:18080")["method"] == "GET"
        assert eventually(lambda: _ingress(door)) == [{"hostname": "localhost"}]
    assert _ingress(door) == []
    with pytest.raises(OSError):
        ask("http://127.0.0.1:18080", 2)


def test_one_tunnel_a_cluster_in_the_library_too(web: Cluster) -> None:
    with web.tunnel(), pytest.raises(WrongStateError, match="in use"), web.tunnel():
        pass
