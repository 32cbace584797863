"""Where services answer, as this host reaches them: node ports, load balancer addresses, and cluster addresses where it has
a route to them.

Judging is pure. Returns results, prints nothing, knows no drivers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from localk8s.kube.paths import api_path
from localk8s.kube.readiness import wait_endpoints
from localk8s.kube.rest import RestClient
from localk8s.model.errors import KubernetesError, NotFoundError, NotSupportedError, UsageError
from localk8s.model.hints import command, instead
from localk8s.model.progress import Reporter

MOST_WAIT = 3600.0
_NO_HTTP = frozenset({22, 25, 53, 3306, 5432, 5672, 6379, 9092, 27017})
"""Ports that are well known for something else."""


class Way(StrEnum):
    """How an address is reached."""

    LOAD_BALANCER = "load-balancer"
    CLUSTER_IP = "cluster-ip"
    NODE_PORT = "node-port"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """One port of a service, at one address."""

    url: str
    """``http://HOST:PORT``; ``https`` where name, number or appProtocol say so, ``tcp`` for well-known others, ``udp``."""
    host: str
    port: int
    """Where it answers."""
    service_port: int
    """The service's own number for it."""
    name: str
    """The port's name; empty when it has none."""
    way: Way


@dataclass(frozen=True, slots=True)
class ServiceAccess:
    """A service and where it answers, the best way first."""

    namespace: str
    name: str
    kind: str
    """``ClusterIP``, ``NodePort``, ``LoadBalancer``, ``ExternalName``."""
    addresses: tuple[ServiceAddress, ...]
    endpoints: int
    """Ready addresses behind it."""


def scheme(port: Mapping[str, Any]) -> str:
    """What a port most likely speaks, by its protocol, appProtocol, name and number."""
    protocol = str(port.get("protocol") or "TCP").lower()
    if protocol != "tcp":
        return protocol
    if port["port"] in _NO_HTTP:
        return "tcp"
    told = str(port.get("appProtocol") or port.get("name") or "").lower()
    return "https" if told.startswith(("https", "tls")) or (not told and port["port"] in (443, 8443)) else "http"


def addresses_of(service: Mapping[str, Any], nodes: Sequence[str], *, routes: bool) -> tuple[ServiceAddress, ...]:
    """Where this host reaches a service.

    Args:
        service: the Service object.
        nodes: addresses of nodes, the one to name first.
        routes: whether this host reaches cluster addresses by itself.
    """
    spec = service["spec"]
    ports: Sequence[Mapping[str, Any]] = spec.get("ports") or []
    if spec.get("type") == "ExternalName":
        return tuple(_address(spec["externalName"], port["port"], port, Way.EXTERNAL) for port in ports)
    found: list[ServiceAddress] = []
    for ingress in (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or []:
        host = ingress.get("ip") or ingress.get("hostname")
        found += [_address(host, port["port"], port, Way.LOAD_BALANCER) for port in ports if host]
    cluster_ip = spec.get("clusterIP") or "None"
    if routes and cluster_ip != "None" and all(each.host != cluster_ip for each in found):
        found += [_address(cluster_ip, port["port"], port, Way.CLUSTER_IP) for port in ports]
    for node in nodes:
        found += [_address(node, port["nodePort"], port, Way.NODE_PORT) for port in ports if port.get("nodePort")]
    return tuple(found)


def _address(host: str, number: int, port: Mapping[str, Any], way: Way) -> ServiceAddress:
    shown = f"[{host}]" if ":" in host else host
    return ServiceAddress(f"{scheme(port)}://{shown}:{number}", host, number, port["port"], port.get("name") or "", way)


def best(access: ServiceAccess) -> tuple[ServiceAddress, ...]:
    """One address for each port: of the first way that there is."""
    first = access.addresses[0] if access.addresses else None
    return tuple(each for each in access.addresses if first and (each.way, each.host) == (first.way, first.host))


def list_services(client: RestClient, namespace: str, nodes: Sequence[str], *, routes: bool) -> tuple[ServiceAccess, ...]:
    """All services of a namespace, of all when it is empty. Arguments as for ``addresses_of``."""
    ready = {_key(each): _ready(each) for each in client.get(api_path("v1", "endpoints", namespace=namespace))["items"]}
    services = client.get(api_path("v1", "services", namespace=namespace))["items"]
    found = [_access(each, nodes, routes, ready.get(_key(each), 0)) for each in services]
    return tuple(sorted(found, key=lambda each: (each.namespace, each.name)))


def find_service(
    client: RestClient,
    namespace: str,
    name: str,
    nodes: Sequence[str],
    *,
    routes: bool,
    timeout: float,
    report: Reporter,
    cluster: str,
) -> ServiceAccess:
    """One service, once it has a ready endpoint.

    Args:
        client: of the cluster's API.
        namespace: the service's.
        name: the service.
        nodes: see ``addresses_of``.
        routes: see ``addresses_of``.
        timeout: seconds to wait for an endpoint.
        report: told about the wait.
        cluster: the cluster's name, for hints.

    Raises:
        NotFoundError: there is no such service.
        NotSupportedError: this host does not reach it.
        WaitTimeoutError: nothing behind it became ready.
    """
    if not 0 <= timeout <= MOST_WAIT:
        raise UsageError(f"{timeout:g} s is no time to wait: from 0 to {MOST_WAIT:g}.", hint=instead("--wait", "60"))
    path = api_path("v1", "services", namespace=namespace, name=name)
    try:
        service = client.get(path)
    except KubernetesError as exc:
        if exc.status != 404:
            raise
        raise NotFoundError(
            f"There is no service {name} in namespace {namespace}.", hint=command("service", cluster=cluster)
        ) from exc
    if not addresses_of(service, nodes, routes=routes):
        port = ((service["spec"].get("ports") or [{}])[0]).get("port", 80)
        namespaced = () if namespace == "default" else ("-n", namespace)
        raise NotSupportedError(
            f"Service {name} has no address that this host reaches.",
            hint=command("port-forward", f"svc/{name}", f"0:{port}", *namespaced, cluster=cluster),
        )
    if service["spec"].get("type") == "ExternalName":
        return _access(service, nodes, routes, 0)
    with report.step("endpoint", f"waiting for service {name}") as step:
        wait_endpoints(client, namespace, name, timeout=timeout)
        step.finish_as("")
    endpoints = client.get(api_path("v1", "endpoints", namespace=namespace, name=name))
    return _access(client.get(path), nodes, routes, _ready(endpoints))


def _access(service: Mapping[str, Any], nodes: Sequence[str], routes: bool, endpoints: int) -> ServiceAccess:
    metadata = service["metadata"]
    kind = service["spec"].get("type") or "ClusterIP"
    return ServiceAccess(metadata["namespace"], metadata["name"], kind, addresses_of(service, nodes, routes=routes), endpoints)


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _ready(endpoints: Mapping[str, Any]) -> int:
    return sum(len(subset.get("addresses") or []) for subset in endpoints.get("subsets") or [])
