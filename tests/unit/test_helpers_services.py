"""Which addresses of a service this host reaches, and what a tunnel announces."""

from __future__ import annotations

from typing import Any

import pytest
from cli_door import Door, assert_one_sentence

from localk8s.helpers.services import ServiceAccess, Way, addresses_of, best, scheme
from localk8s.helpers.tunnel import announcement, is_ours


def _service(kind: str = "ClusterIP", ingress: list[dict[str, str]] | None = None, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "web", "port": 80, "nodePort": 30080}, {"name": "https", "port": 8443, "nodePort": 30443}]
    return {
        "metadata": {"name": "s", "namespace": "default"},
        "spec": {"type": kind, "clusterIP": "10.9.0.7", "ports": ports, **spec},
        "status": {"loadBalancer": {"ingress": ingress} if ingress else {}},
    }


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ({"port": 80}, "http"),
        ({"port": 443}, "https"),
        ({"port": 443, "name": "http"}, "http"),
        ({"port": 1, "name": "https-admin"}, "https"),
        ({"port": 1, "appProtocol": "HTTPS"}, "https"),
        ({"port": 53, "protocol": "UDP"}, "udp"),
    ],
)
def test_schemes(port: dict[str, Any], expected: str) -> None:
    assert scheme(port) == expected


def test_node_ports_are_reached_everywhere_and_cluster_addresses_only_with_routes() -> None:
    far = addresses_of(_service("NodePort"), ["192.0.2.2"], routes=False)
    assert [each.url for each in far] == ["http://192.0.2.2:30080", "https://192.0.2.2:30443"]
    near = addresses_of(_service("NodePort"), ["192.0.2.2"], routes=True)
    assert [each.way for each in near] == [Way.CLUSTER_IP, Way.CLUSTER_IP, Way.NODE_PORT, Way.NODE_PORT]
    access = ServiceAccess("default", "s", "NodePort", near, 1)
    assert [each.url for each in best(access)] == ["http://10.9.0.7:80", "https://10.9.0.7:8443"]


def test_some_services_have_no_address() -> None:
    headless = _service(clusterIP="None")
    for port in headless["spec"]["ports"]:
        del port["nodePort"]
    assert addresses_of(headless, ["192.0.2.2"], routes=True) == ()
    assert best(ServiceAccess("default", "s", "ClusterIP", (), 0)) == ()


def test_six_is_in_brackets() -> None:
    (first, *_) = addresses_of(_service("LoadBalancer", [{"ip": "fd00::7"}]), [], routes=False)
    assert (first.url, first.way) == ("http://[fd00::7]:80", Way.LOAD_BALANCER)


def test_a_tunnel_announces_only_what_nobody_else_did() -> None:
    assert announcement(_service(), routes=True) is None
    assert announcement(_service("LoadBalancer"), routes=True) == {"ip": "10.9.0.7"}
    assert announcement(_service("LoadBalancer"), routes=False) == {"hostname": "localhost"}
    assert announcement(_service("LoadBalancer", [{"ip": "203.0.113.9"}]), routes=True) is None
    assert announcement(_service("LoadBalancer", [{"ip": "10.9.0.7"}]), routes=True) == {"ip": "10.9.0.7"}
    assert announcement(_service("LoadBalancer", loadBalancerClass="other/lb"), routes=True) is None


def test_what_a_killed_tunnel_left_is_known() -> None:
    assert is_ours(_service("LoadBalancer", [{"ip": "10.9.0.7"}]))
    assert is_ours(_service("LoadBalancer", [{"hostname": "localhost"}]))
    assert not is_ours(_service("LoadBalancer", [{"ip": "203.0.113.9"}]))
    assert not is_ours(_service("LoadBalancer"))


def test_bad_words_are_told_in_a_sentence(door: Door) -> None:
    door("start")
    assert_one_sentence(door("service", "web", "--wait", "soon"), {2})
    assert_one_sentence(door("service", "-c", "none"), {3})
    assert_one_sentence(door("tunnel", "-c", "none"), {3})
