"""Cluster DNS for real: a real API server, the feeder as its own process, a real named, questions over UDP and TCP."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from control_plane import SERVICE_CIDR, ControlPlane, control_plane, free_port, named_program

from localk8s.kube.dns_query import Answer, RecordType, ResponseCode, query, reverse_name
from localk8s.kube.paths import api_path
from localk8s.kube.rest import RestClient
from localk8s.model.errors import KubernetesError
from localk8s.system.wait import wait_until

pytestmark = pytest.mark.real

A, SRV, PTR, CNAME, TXT, AAAA, SOA = (RecordType[name] for name in ("A", "SRV", "PTR", "CNAME", "TXT", "AAAA", "SOA"))
SVC = "svc.cluster.local"


def named_arguments(directory: Path) -> list[str]:
    """How the feeder is told where named is: unpacked from its package, as in a node."""
    program = named_program(directory)
    if program is None:
        pytest.skip("there is no named in the cache: make setup")
    return ["--named", str(program)]


class Dns:
    """The feeder in a process of its own."""

    def __init__(self, directory: Path, kubeconfig: Path, *more: str) -> None:
        self.directory = directory
        self.port = free_port()
        directory.mkdir(exist_ok=True)
        self.argv = [
            sys.executable, "-m", "localk8s.kube.dns_feed", "--kubeconfig", str(kubeconfig),
            "--zone-dir", str(directory / "zones"),
            "--service-cidr", SERVICE_CIDR, "--pod-cidr", "10.244.0.0/16", "--listen", f"127.0.0.1:{self.port}",
            *named_arguments(directory), *more,
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(10)
        self.process = None
        return code

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    @property
    def named(self) -> int:
        """The process id of named."""
        return int((self.directory / "zones" / "named.pid").read_text())

    def ask(self, name: str, kind: int = A, *, tcp: bool = False) -> Answer:
        return query("127.0.0.1", name, kind, port=self.port, timeout=1.0, tcp=tcp)

    def data(self, name: str, kind: int = A) -> tuple[str, ...]:
        return self.ask(name, kind).data(kind)

    def until(self, check: Callable[[], bool], timeout: float) -> float:
        """Wait until ``check`` holds; returns how long that took, in seconds."""
        begin = time.monotonic()

        def ready() -> bool:
            with contextlib.suppress(KubernetesError, OSError, ValueError):
                return check()
            return False

        wait_until(ready, what=f"cluster DNS; its log: {self.log[-1000:]}", timeout=timeout, interval=0.005)
        return time.monotonic() - begin


def runs(process: int) -> bool:
    """Whether there is such a process, and not only what is left of it until its parent looks."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def service(name: str, address: str = "", namespace: str = "default", **spec: Any) -> dict[str, Any]:
    if address:
        spec["clusterIP"] = address
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")  # server-side apply on 1.20 does not fill it in
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def endpoints(name: str, *subsets: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": name, "namespace": "default"},
        "subsets": list(subsets),
    }


def put_pod(client: RestClient, name: str, address: str, namespace: str = "default", phase: str = "Running") -> None:
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n", "automountServiceAccountToken": False}
    client.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
    path = api_path("v1", "pods", namespace=namespace, name=name, subresource="status")
    client.patch(path, {"status": {"podIP": address, "podIPs": [{"ip": address}], "phase": phase}})


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture(scope="module")
def client(plane: ControlPlane) -> RestClient:
    client = plane.client()
    named_port = {"name": "http", "port": 80, "targetPort": 8080}
    dns_port = {"name": "dns", "port": 53, "protocol": "UDP"}
    client.apply(service("web", "10.96.0.20", ports=[named_port, dns_port]))
    client.apply(service("plain", "10.96.0.21", ports=[{"port": 80}]))
    client.apply(service("db", "None", ports=[{"name": "sql", "port": 5432}], selector={"app": "db"}))
    db = [{"ip": "10.244.0.5", "hostname": "db-0"}, {"ip": "10.244.1.6"}]
    sql = [{"name": "sql", "port": 5432, "protocol": "TCP"}]
    client.apply(endpoints("db", {"addresses": db, "notReadyAddresses": [{"ip": "10.244.1.7"}], "ports": sql}))
    client.apply(service("eager", "None", publishNotReadyAddresses=True, ports=[{"port": 1}]))
    client.apply(endpoints("eager", {"notReadyAddresses": [{"ip": "10.244.1.8"}], "ports": [{"port": 1}]}))
    client.apply(service("out", type="ExternalName", externalName="example.com"))
    client.apply(service("inside", type="ExternalName", externalName=f"web.default.{SVC}"))
    put_pod(client, "p", "10.244.2.9")
    put_pod(client, "ended", "10.244.2.10", phase="Succeeded")
    return client


@pytest.fixture(scope="module")
def dns(plane: ControlPlane, client: RestClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dns]:
    running = Dns(tmp_path_factory.mktemp("dns"), plane.kubeconfig)
    running.start()
    try:
        running.until(lambda: bool(running.data(f"web.default.{SVC}")), 10)
        yield running
    finally:
        if running.process is not None:
            running.end()


@pytest.mark.parametrize("tcp", [False, True])
def test_services_have_addresses(dns: Dns, tcp: bool) -> None:
    answer = dns.ask(f"web.default.{SVC}", tcp=tcp)
    assert answer.code == ResponseCode.NOERROR and answer.authoritative
    assert [(record.data, record.ttl) for record in answer.records] == [("10.96.0.20", 5)]
    assert dns.data(f"kubernetes.default.{SVC}") == ("10.96.0.1",)
    assert dns.data(f"WEB.Default.{SVC}") == ("10.96.0.20",)


def test_the_schema_version(dns: Dns) -> None:
    assert dns.data("dns-version.cluster.local", TXT) == ("1.1.0",)


def test_named_ports_have_srv_records(dns: Dns) -> None:
    assert dns.data(f"_http._tcp.web.default.{SVC}", SRV) == (f"0 100 80 web.default.{SVC}",)
    assert dns.data(f"_dns._udp.web.default.{SVC}", SRV) == (f"0 100 53 web.default.{SVC}",)
    assert dns.data(f"_https._tcp.kubernetes.default.{SVC}", SRV) == (f"0 100 443 kubernetes.default.{SVC}",)
    answer = dns.ask(f"_http._tcp.web.default.{SVC}", SRV)
    assert [record.data for record in answer.additional if record.type == A] == ["10.96.0.20"]
    assert dns.ask(f"_http._udp.web.default.{SVC}", SRV).code == ResponseCode.NXDOMAIN
    assert dns.ask(f"_http._tcp.plain.default.{SVC}", SRV).code == ResponseCode.NXDOMAIN


def test_headless_services_have_all_ready_endpoints(dns: Dns) -> None:
    assert dns.data(f"db.default.{SVC}") == ("10.244.0.5", "10.244.1.6")
    assert dns.data(f"db-0.db.default.{SVC}") == ("10.244.0.5",)
    assert dns.data(f"10-244-1-6.db.default.{SVC}") == ("10.244.1.6",)
    assert dns.ask(f"10-244-1-7.db.default.{SVC}").code == ResponseCode.NXDOMAIN
    expected = (f"0 50 5432 10-244-1-6.db.default.{SVC}", f"0 50 5432 db-0.db.default.{SVC}")
    assert dns.data(f"_sql._tcp.db.default.{SVC}", SRV) == expected


def test_addresses_that_are_not_ready_are_published_where_asked_for(dns: Dns) -> None:
    assert dns.data(f"eager.default.{SVC}") == ("10.244.1.8",)


def test_addresses_have_names(dns: Dns) -> None:
    assert dns.data(reverse_name("10.96.0.20"), PTR) == (f"web.default.{SVC}",)
    assert dns.data(reverse_name("10.244.0.5"), PTR) == (f"db-0.db.default.{SVC}",)
    assert dns.data(reverse_name("10.244.1.6"), PTR) == (f"10-244-1-6.db.default.{SVC}",)
    assert dns.ask(reverse_name("10.96.7.7"), PTR).code == ResponseCode.NXDOMAIN
    assert dns.ask(reverse_name("10.244.2.9"), PTR).code == ResponseCode.NXDOMAIN


def test_external_names_are_aliases(dns: Dns) -> None:
    assert dns.data(f"out.default.{SVC}", CNAME) == ("example.com",)
    inside = dns.ask(f"inside.default.{SVC}")
    assert inside.data(CNAME) == (f"web.default.{SVC}",) and inside.data(A) == ("10.96.0.20",)


def test_pods_have_names_only_while_they_are(dns: Dns) -> None:
    assert dns.data("10-244-2-9.default.pod.cluster.local") == ("10.244.2.9",)
    for name in ("10-244-2-9.kube-system", "10-244-2-99.default", "10-244-2-10.default", "999-1-1-1.default"):
        assert dns.ask(f"{name}.pod.cluster.local").code == ResponseCode.NXDOMAIN


@pytest.mark.parametrize(
    "name",
    [
        f"nope.default.{SVC}",
        f"web.nope.{SVC}",
        f"x.web.default.{SVC}",
        "nope.cluster.local",
        "example.com",
        "com",
        "a.localhost",
    ],
)
def test_what_does_not_exist_is_denied_quickly_and_not_for_long(dns: Dns, name: str) -> None:
    begin = time.monotonic()
    answer = dns.ask(name)
    assert answer.code == ResponseCode.NXDOMAIN and time.monotonic() - begin < 1
    (soa,) = answer.authority
    assert soa.type == SOA and soa.ttl <= 1 and soa.data.split()[-1] == "1"


@pytest.mark.parametrize(
    "name", [f"default.{SVC}", SVC, "cluster.local", "default.pod.cluster.local", f"_tcp.web.default.{SVC}"]
)
def test_what_only_has_names_below_it_exists_without_records(dns: Dns, name: str) -> None:
    answer = dns.ask(name)
    assert answer.code == ResponseCode.NOERROR and answer.records == ()


def test_other_types_of_an_existing_name_are_empty(dns: Dns) -> None:
    answer = dns.ask(f"web.default.{SVC}", AAAA)
    assert answer.code == ResponseCode.NOERROR and answer.records == ()


def test_changes_show_within_a_second(dns: Dns, client: RestClient) -> None:
    took = []
    for number in range(5):
        name = f"new-{number}"
        client.apply(service(name, f"10.96.1.{number + 1}", ports=[{"name": "a", "port": 1}]))
        took.append(dns.until(lambda name=name: bool(dns.data(f"{name}.default.{SVC}")), 5))  # type: ignore[misc]
        client.delete(api_path("v1", "services", namespace="default", name=name))
        gone = lambda name=name: dns.ask(f"{name}.default.{SVC}").code == ResponseCode.NXDOMAIN  # noqa: E731
        took.append(dns.until(gone, 5))
    assert sorted(took)[len(took) // 2] < 1
    print(f"changes showed after {min(took) * 1000:.0f} to {max(took) * 1000:.0f} ms")


def test_many_changes_at_once_all_show(dns: Dns, client: RestClient) -> None:
    for number in range(100):
        client.apply(service(f"many-{number}", f"10.96.2.{number + 1}", ports=[{"name": "a", "port": 1}]))
    dns.until(lambda: dns.data(f"many-99.default.{SVC}") == ("10.96.2.100",), 10)
    assert dns.data(reverse_name("10.96.2.1"), PTR) == (f"many-0.default.{SVC}",)
    for number in range(100):
        client.delete(api_path("v1", "services", namespace="default", name=f"many-{number}"))
    dns.until(lambda: dns.ask(f"many-99.default.{SVC}").code == ResponseCode.NXDOMAIN, 10)


def test_a_long_answer_comes_whole(dns: Dns, client: RestClient) -> None:
    addresses = [{"ip": f"10.244.9.{number}"} for number in range(1, 201)]
    client.apply(service("long", "None", ports=[{"port": 1}]))
    client.apply(endpoints("long", {"addresses": addresses, "ports": [{"port": 1}]}))
    dns.until(lambda: len(dns.data(f"long.default.{SVC}")) == 200, 10)


def test_a_killed_named_comes_back_with_all_it_knew(dns: Dns) -> None:
    before = dns.named
    os.kill(before, signal.SIGKILL)
    took = dns.until(lambda: dns.named != before and bool(dns.data(f"web.default.{SVC}")), 10)
    assert took < 5 and dns.data(f"db-0.db.default.{SVC}") == ("10.244.0.5",)


def test_without_the_api_the_last_answers_stay_and_then_news_come(dns: Dns, plane: ControlPlane, client: RestClient) -> None:
    plane.end("kube-apiserver")
    assert dns.data(f"web.default.{SVC}") == ("10.96.0.20",)
    os.kill(dns.named, signal.SIGKILL)
    dns.until(lambda: dns.data(f"web.default.{SVC}") == ("10.96.0.20",), 10)
    plane.start_api()
    client.apply(service("after", "10.96.3.1", ports=[{"port": 1}]))
    dns.until(lambda: bool(dns.data(f"after.default.{SVC}")), 10)


def test_a_killed_feeder_begins_with_the_last_answers(dns: Dns, plane: ControlPlane, client: RestClient) -> None:
    client.delete(api_path("v1", "services", namespace="default", name="after"))
    dns.until(lambda: dns.ask(f"after.default.{SVC}").code == ResponseCode.NXDOMAIN, 10)
    plane.end("kube-apiserver")
    orphan = dns.named
    dns.end(signal.SIGKILL)
    dns.start()
    dns.until(lambda: dns.named != orphan and dns.data(f"web.default.{SVC}") == ("10.96.0.20",), 5)
    assert not runs(orphan)
    plane.start_api()


def test_it_answers_as_soon_as_the_api_is_ready(plane: ControlPlane, tmp_path: Path) -> None:
    plane.end("kube-apiserver")
    fresh = Dns(tmp_path / "dns", plane.kubeconfig)
    fresh.start()
    try:
        fresh.until(lambda: fresh.ask(f"web.default.{SVC}").code == ResponseCode.NXDOMAIN, 5)  # at once, though empty
        plane.start_api()
        took = fresh.until(lambda: bool(fresh.data(f"web.default.{SVC}")), 5)
        assert took < 2  # half a second where nothing else runs
        print(f"answered {took * 1000:.0f} ms after the API was ready")
    finally:
        assert fresh.end() == 0


def test_a_kubeconfig_that_comes_later_is_found(plane: ControlPlane, tmp_path: Path) -> None:
    late = Dns(tmp_path / "dns", tmp_path / "admin.conf")
    late.start()
    try:
        late.until(lambda: late.ask(f"web.default.{SVC}").code == ResponseCode.NXDOMAIN, 5)
        (tmp_path / "admin.conf").write_text("half a")
        late.until(lambda: late.ask(f"web.default.{SVC}").code == ResponseCode.NXDOMAIN, 5)
        shutil.copy(plane.kubeconfig, tmp_path / "admin.conf")
        late.until(lambda: bool(late.data(f"web.default.{SVC}")), 10)
    finally:
        late.end()


def test_other_names_are_passed_on_and_a_dead_forwarder_does_not_hang(dns: Dns, plane: ControlPlane, tmp_path: Path) -> None:
    # the first feeder's named plays the outside world; a second one, whose domain is another, asks it
    other = Dns(tmp_path / "dns", plane.kubeconfig, "--domain", "other.local", "--forward", f"127.0.0.1 port {dns.port}")
    other.start()
    try:
        other.until(lambda: bool(other.data("web.default.svc.other.local")), 10)
        assert other.data(f"web.default.{SVC}") == ("10.96.0.20",)
        assert other.ask("example.com").code == ResponseCode.NXDOMAIN
    finally:
        other.end()
    dead = Dns(tmp_path / "dead", plane.kubeconfig, "--forward", f"127.0.0.1 port {free_port()}")
    dead.start()
    try:
        dead.until(lambda: bool(dead.data(f"web.default.{SVC}")), 10)
        answer = query("127.0.0.1", "example.com", port=dead.port, timeout=5)
        assert answer.code == ResponseCode.SERVFAIL
    finally:
        dead.end()


def test_it_says_little_and_leaves_nothing(dns: Dns) -> None:
    named = dns.named
    assert dns.end() == 0
    assert not runs(named)
    lines = [line for line in dns.log.splitlines() if "serial" not in line]  # on a slow machine it may load one twice
    assert len(lines) < 10, dns.log
    assert all(" dns: " in line for line in lines), dns.log
