"""Objects of the API turned into zones: the Kubernetes DNS specification, rule by rule, and what must not spoil a zone."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from localk8s.kube.dns_control import Control
from localk8s.kube.dns_named import NamedSettings, render_configuration
from localk8s.kube.dns_zones import (
    Endpoints,
    Pod,
    Service,
    Settings,
    build_zones,
    endpoints_of,
    pod_of,
    render_zone,
    reverse_zones,
    service_of,
    zone_names,
)

SETTINGS = Settings("cluster.local", (ip_network("10.96.0.0/16"), ip_network("10.244.0.0/16")), "10.83.0.10")
SVC = "svc.cluster.local."


def records(*found: Service | Endpoints | Pod, zone: str = "cluster.local") -> set[str]:
    zones = build_zones(
        SETTINGS,
        zone_names(SETTINGS, root=False),
        [one for one in found if isinstance(one, Service)],
        [one for one in found if isinstance(one, Endpoints)],
        [one for one in found if isinstance(one, Pod)],
    )
    return set(zones[zone]) - {'dns-version.cluster.local. TXT "1.1.0"'}


def service(**spec: Any) -> Service:
    return service_of({"metadata": {"name": "s", "namespace": "n"}, "spec": spec})


def endpoints(*subsets: dict[str, Any]) -> Endpoints:
    return endpoints_of({"metadata": {"name": "s", "namespace": "n"}, "subsets": list(subsets)})


HTTP = {"name": "http", "port": 80, "protocol": "TCP"}


def test_a_service_with_an_address() -> None:
    found = service(clusterIP="10.96.0.9", clusterIPs=["10.96.0.9", "fd00::9"], ports=[HTTP, {"port": 9}])
    assert records(found) == {
        f"s.n.{SVC} A 10.96.0.9",
        f"s.n.{SVC} AAAA fd00::9",
        f"_http._tcp.s.n.{SVC} SRV 0 100 80 s.n.{SVC}",
    }
    assert records(found, zone="96.10.in-addr.arpa") == {f"9.0.96.10.in-addr.arpa. PTR s.n.{SVC}"}


def test_a_service_of_1_20_with_one_address_only() -> None:
    assert records(service(clusterIP="10.96.0.9")) == {f"s.n.{SVC} A 10.96.0.9"}


def test_a_service_that_waits_for_its_address_has_no_name() -> None:
    assert records(service(type="ClusterIP")) == set()


def test_a_headless_service() -> None:
    members = endpoints(
        {
            "addresses": [{"ip": "10.244.0.1", "hostname": "s-0"}, {"ip": "10.244.0.2"}],
            "notReadyAddresses": [{"ip": "10.244.0.3"}],
            "ports": [HTTP],
        },
        {"addresses": [{"ip": "10.244.0.4"}]},
    )
    names = {"s-0": "10.244.0.1", "10-244-0-2": "10.244.0.2", "10-244-0-4": "10.244.0.4"}
    expected = {f"s.n.{SVC} A {address}" for address in names.values()}
    expected |= {f"{name}.s.n.{SVC} A {address}" for name, address in names.items()}
    expected |= {f"_http._tcp.s.n.{SVC} SRV 0 33 80 {name}.s.n.{SVC}" for name in ("s-0", "10-244-0-2")}
    assert records(service(clusterIP="None"), members) == expected
    assert records(service(clusterIP="None"), members, zone="244.10.in-addr.arpa") == {
        f"{address.split('.')[3]}.0.244.10.in-addr.arpa. PTR {name}.s.n.{SVC}" for name, address in names.items()
    }
    published = records(service(clusterIP="None", publishNotReadyAddresses=True), members)
    assert f"s.n.{SVC} A 10.244.0.3" in published


def test_endpoints_of_a_service_with_an_address_have_no_names() -> None:
    members = endpoints({"addresses": [{"ip": "10.244.0.1"}]})
    assert records(service(clusterIP="10.96.0.9"), members) == {f"s.n.{SVC} A 10.96.0.9"}
    assert records(members) == set()


def test_an_external_name() -> None:
    assert records(service(type="ExternalName", externalName="Example.com.")) == {f"s.n.{SVC} CNAME example.com."}
    assert records(service(type="ExternalName", externalName="a b\n$INCLUDE /etc/passwd")) == set()


def test_pods() -> None:
    def pod(**status: Any) -> Pod:
        return pod_of({"metadata": {"name": "p", "namespace": "n"}, "status": status})

    assert records(pod(podIP="10.244.0.1")) == {"10-244-0-1.n.pod.cluster.local. A 10.244.0.1"}
    assert records(pod(podIPs=[{"ip": "10.244.0.1"}, {"ip": "fd00::1"}])) == {
        "10-244-0-1.n.pod.cluster.local. A 10.244.0.1",
        "fd00--1.n.pod.cluster.local. AAAA fd00::1",
    }
    assert records(pod()) == records(pod(podIP="10.244.0.1", phase="Failed")) == set()


@pytest.mark.parametrize(
    ("network", "zones"),
    [
        ("10.96.0.0/16", ["96.10.in-addr.arpa"]),
        ("10.1.2.0/24", ["2.1.10.in-addr.arpa"]),
        ("10.1.2.128/28", ["2.1.10.in-addr.arpa"]),
        ("10.0.0.0/8", ["10.in-addr.arpa"]),
        ("10.96.0.0/14", [f"{number}.10.in-addr.arpa" for number in range(96, 100)]),
        ("10.83.4.0/23", ["4.83.10.in-addr.arpa", "5.83.10.in-addr.arpa"]),
        ("fd00:1::/32", ["1.0.0.0.0.0.d.f.ip6.arpa"]),
    ],
)
def test_reverse_zones(network: str, zones: list[str]) -> None:
    assert list(reverse_zones(ip_network(network))) == zones


def test_twelve_bits_as_kubeadm_has_them_are_sixteen_zones() -> None:
    assert len(list(reverse_zones(ip_network("10.96.0.0/12")))) == 16


def test_a_zone_file() -> None:
    text = render_zone("cluster.local", SETTINGS, ("a.cluster.local. A 10.0.0.1",), 7)
    assert text.splitlines() == [
        "$TTL 5",
        "cluster.local. SOA ns.dns.cluster.local. hostmaster.cluster.local. 7 7200 1800 86400 1",
        "cluster.local. NS ns.dns.cluster.local.",
        "ns.dns.cluster.local. A 10.83.0.10",
        "a.cluster.local. A 10.0.0.1",
    ]
    assert ". SOA" in render_zone(".", SETTINGS, (), 1)


line = re.compile(
    r"[-._a-z0-9]{1,253}\. (A [.0-9]+|AAAA [:.0-9a-f]+|SRV 0 \d+ \d+ [-._a-z0-9]+\.|(PTR|CNAME) [-._a-z0-9]+\.)\Z"
)


@hypothesis_settings(deadline=None)
@given(
    st.text(max_size=20), st.text(max_size=80), st.one_of(st.text(max_size=20), st.ip_addresses().map(str)), st.integers(-1, 9)
)
def test_no_object_can_spoil_a_zone(name: str, long: str, address: str, number: int) -> None:
    metadata = {"name": name, "namespace": long}
    port = {"name": name, "port": number, "protocol": long}
    subset = {"addresses": [{"ip": address, "hostname": long}], "ports": [port]}
    good = {"name": "s", "namespace": "n"}
    found: list[Any] = []
    for owner in (metadata, good):
        found += [service_of({"metadata": owner, "spec": {"clusterIP": address, "ports": [port]}})]
        found += [service_of({"metadata": owner, "spec": {"clusterIP": "None"}})]
        found += [service_of({"metadata": owner, "spec": {"type": "ExternalName", "externalName": long}})]
        found += [endpoints_of({"metadata": owner, "subsets": [subset]})]
        found += [pod_of({"metadata": owner, "status": {"podIP": address}})]
    for zone in zone_names(SETTINGS, root=False):
        assert all(line.match(record) for record in records(*found, zone=zone))


CONTROL = Control(953, b"secret")


def settings(*forwarders: str, address: str = "10.83.0.10") -> NamedSettings:
    return NamedSettings(Path("/usr/sbin/named"), Path("/run/dns"), address, 53, ("cluster.local", "."), forwarders)


def test_named_is_kept_from_the_world() -> None:
    text = render_configuration(settings(), CONTROL, (9, 18, 49))
    for wanted in (
        "recursion no;",
        "dnssec-validation no;",
        "inet 127.0.0.1 port 953 allow { 127.0.0.1; }",
        "allow-transfer { none; };",
        "notify no;",
    ):
        assert wanted in text
    assert "forward" not in text
    assert 'zone "." { type primary; file "root.zone"; };' in text


def test_named_asks_forwarders_only() -> None:
    text = render_configuration(settings("192.0.2.1", "192.0.2.2"), CONTROL, (9, 18, 49))
    assert "forward only; forwarders { 192.0.2.1; 192.0.2.2; };" in text and "recursion yes;" in text


def test_options_that_old_versions_do_not_know_are_left_out() -> None:
    assert "max-records-per-type" not in render_configuration(settings(), CONTROL, (9, 18, 12))
    assert "max-records-per-type 0;" in render_configuration(settings(), CONTROL, (9, 18, 28))
    assert "max-records-per-type 0;" in render_configuration(settings(), CONTROL, (9, 20, 0))
    assert "listen-on port 53 { any; };" in render_configuration(settings(address="0.0.0.0"), CONTROL, ())
