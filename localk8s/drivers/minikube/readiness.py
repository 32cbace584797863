"""Ready beyond minikube's own word: the API answers, every node is ready, and a name resolves inside the cluster.

minikube returns before cluster DNS answers, by tens of seconds. The question goes to the DNS service's own address,
from the node over ssh (this host has no route to it), or from this host where it is the node. No packet for a cluster
address is ever sent by a host that is not in the cluster.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localk8s.kube.dns_query import Answer, MalformedError, RecordType, decode_answer, encode_question, query
from localk8s.kube.paths import api_path
from localk8s.kube.readiness import READY, Readiness, check_api, judge_dns, judge_node, wait_until_judged
from localk8s.model.errors import KubernetesError, Localk8sError
from localk8s.model.node import Node
from localk8s.model.progress import Step

if TYPE_CHECKING:
    from localk8s.kube.rest import RestClient

_LOOK = 3.0
"""Seconds one question to the API may take."""
_API_INTERVAL, _DNS_INTERVAL = 0.2, 0.5

_ASK = r"""exec 3<>"/dev/tcp/$1/$2" || exit 69
printf '%b' "$3" >&3
set -- $(timeout 3 dd bs=1 count=2 <&3 2>/dev/null | od -An -tu1)
[ "$#" = 2 ] || exit 70
timeout 3 dd bs=1 count=$(($1 * 256 + $2)) <&3 2>/dev/null | base64
"""
"""Asks over TCP with what every machine of minikube's has: bash, coreutils."""


@dataclass(frozen=True, slots=True)
class DnsServer:
    """Cluster DNS, or one server of it, as the API describes it."""

    address: str
    port: int
    """For TCP."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds to wait for each part of being ready."""

    api: float = 60.0
    nodes: float = 180.0
    dns: float = 180.0


DEFAULT_LIMITS = Limits()


def wait_ready(
    client: RestClient,
    machines: tuple[Node, ...],
    step: Step,
    limits: Limits,
    *,
    on_this_host: bool,
    hint: str,
    domain: str = "cluster.local",
) -> None:
    """Wait until the cluster can be used.

    Args:
        client: of the cluster's API.
        machines: the nodes that must be ready; the first answers for DNS.
        step: told what is waited for.
        limits: how long.
        on_this_host: whether this host is the node, and so reaches cluster addresses itself.
        hint: where to look when it did not: a cluster whose first start failed is taken back, and cannot be looked into.
        domain: the cluster's DNS domain.

    Raises:
        WaitTimeoutError: it did not become ready; the message says what is missing.
    """
    step.progress(0, 3, "the API server")
    wait_until_judged(lambda: check_api(client, timeout=_LOOK), "the API server", limits.api, interval=_API_INTERVAL, hint=hint)
    step.progress(1, 3, "nodes")
    wait_until_judged(
        lambda: look_at_nodes(client, len(machines)), "the nodes to be ready", limits.nodes, interval=_API_INTERVAL, hint=hint
    )
    step.progress(2, 3, "cluster DNS")
    ask = _ask_from_here if on_this_host else _asker(machines[0])
    wait_until_judged(lambda: look_at_dns(client, ask, domain), "cluster DNS", limits.dns, interval=_DNS_INTERVAL, hint=hint)
    step.progress(3, 3, "")
    count = len(machines)
    step.finish_as(f"ready: API, {count} node{'s' if count != 1 else ''}, DNS")


def look_at_nodes(client: RestClient, count: int) -> Readiness:
    """Whether so many nodes are there, all of them ready."""
    nodes = client.get(api_path("v1", "nodes"), timeout=_LOOK)["items"]
    if len(nodes) < count:
        return Readiness(False, f"{len(nodes)} of {count} nodes have joined")
    return next((judged for node in nodes if not (judged := judge_node(node))), READY)


def look_at_dns(client: RestClient, ask: Callable[[DnsServer, str], Answer], domain: str) -> Readiness:
    """Whether the API server's own name resolves to its own service address.

    The DNS service's address is asked first; then the servers behind it, because a host without a default route reaches
    pods but no service.
    """
    services = [
        client.get(api_path("v1", "services", namespace=space, name=name), timeout=_LOOK)
        for space, name in (("kube-system", "kube-dns"), ("default", "kubernetes"))
    ]
    behind = client.get(api_path("v1", "endpoints", namespace="kube-system", name="kube-dns"), timeout=_LOOK)
    name = f"kubernetes.default.svc.{domain}"
    judged = Readiness(False, "the DNS service has no address")
    for server in (*dns_service(services[0]), *dns_endpoints(behind)):
        try:
            judged = judge_dns(ask(server, name), name, str(services[1]["spec"].get("clusterIP") or ""))
        except KubernetesError as exc:
            judged = Readiness(False, exc.message.rstrip("."))
        if judged:
            break
    return judged


def dns_service(service: Mapping[str, Any]) -> tuple[DnsServer, ...]:
    """Where cluster DNS listens, from its Service; nothing while it has no address."""
    spec = service.get("spec") or {}
    ports = _tcp_ports(spec.get("ports"))
    address = str(spec.get("clusterIP") or "")
    return (DnsServer(address, ports[0] if ports else 53),) if _ADDRESS.fullmatch(address) else ()


def dns_endpoints(endpoints: Mapping[str, Any]) -> tuple[DnsServer, ...]:
    """The ready servers behind the Service."""
    return tuple(
        DnsServer(str(address["ip"]), port)
        for subset in endpoints.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in _tcp_ports(subset.get("ports"))[:1]
        if _ADDRESS.fullmatch(str(address["ip"]))
    )


_ADDRESS = re.compile(r"[0-9a-fA-F.:]+")


def _tcp_ports(ports: Sequence[Mapping[str, Any]] | None) -> list[int]:
    return [int(port["port"]) for port in ports or () if port.get("protocol") == "TCP" and port.get("name") != "metrics"]


def _ask_from_here(dns: DnsServer, name: str) -> Answer:
    try:
        return query(dns.address, name, port=dns.port, timeout=1.0)
    except KubernetesError:
        return query(dns.address, name, port=dns.port, timeout=2.0, tcp=True)


def _asker(node: Node) -> Callable[[DnsServer, str], Answer]:
    def ask(dns: DnsServer, name: str) -> Answer:
        question = encode_question(0x6B38, name, RecordType.A)
        packed = struct.pack("!H", len(question)) + question
        text = "".join(f"\\x{byte:02x}" for byte in packed)
        try:
            done = node.run(["bash", "-c", _ASK, "bash", dns.address, str(dns.port), text], timeout=15.0, check=False)
            answer = decode_answer(base64.b64decode(done.stdout), question) if done.returncode == 0 else None
        except (MalformedError, binascii.Error, Localk8sError) as exc:
            raise KubernetesError(f"The DNS server {dns.address} cannot be asked from {node.name}: {exc}") from exc
        if answer is None:
            raise KubernetesError(f"The DNS server {dns.address} does not answer {node.name}.", details=done.stderr)
        return answer

    return ask
