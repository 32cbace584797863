"""The tunnel: services of type LoadBalancer get an address that this host reaches, for as long as it runs.

Where the host has a way to cluster addresses, a service's own address is announced; elsewhere its ports are forwarded from
this host's loopback and ``localhost`` is announced. What is announced is taken back at the end; nothing else is changed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localk8s.helpers.port_forward import PortForward
from localk8s.helpers.port_forward_targets import Kind, PortPair, Target
from localk8s.kube.live_list import Item, LiveList
from localk8s.kube.paths import api_path
from localk8s.kube.rest import RestClient
from localk8s.model.errors import KubernetesError, Localk8sError

_LOCALHOST = "localhost"
_WITHDRAWAL = 3.0
"""Seconds to take an address back in."""
_ALL = api_path("v1", "services")


@dataclass(frozen=True, slots=True)
class Tunnelled:
    """A service that has an address now."""

    namespace: str
    name: str
    host: str
    """An IP address, or ``localhost``."""
    ports: tuple[int, ...]


def announcement(service: Mapping[str, Any], *, routes: bool) -> dict[str, str] | None:
    """What shall be announced for a service; None when it is none of ours.

    Args:
        service: the Service object.
        routes: whether this host reaches cluster addresses by itself.
    """
    spec = service["spec"]
    if spec.get("type") != "LoadBalancer" or service["metadata"].get("deletionTimestamp"):
        return None
    if spec.get("loadBalancerClass"):  # somebody else's by the user's own word
        return None
    there = _ingress(service)
    if there and not is_ours(service):
        return None
    return {"ip": spec["clusterIP"]} if routes else {"hostname": _LOCALHOST}


def is_ours(service: Mapping[str, Any]) -> bool:
    """Whether what is announced for a service is what a tunnel would announce, this one or one that was killed."""
    cluster_ip = service["spec"].get("clusterIP")
    return _ingress(service) in ([{"ip": cluster_ip}], [{"ip": cluster_ip, "ipMode": "VIP"}], [{"hostname": _LOCALHOST}])


def _ingress(service: Mapping[str, Any]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
    return found


class Tunnel:
    """Serves LoadBalancer services while the block runs; all namespaces, also services that come later.

    Args:
        client: of the cluster's API.
        routes: whether this host reaches cluster addresses by itself.
        changed: told when a service got its address, and (with no address) when it lost it; in another thread.
        tell: told in a sentence what could not be done; in another thread.
    """

    def __init__(
        self,
        client: RestClient,
        *,
        routes: bool,
        changed: Callable[[Tunnelled], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._client = client
        self._routes = routes
        self._tell_change = changed or (lambda service: None)
        self._tell = tell or (lambda sentence: None)
        self._served: dict[str, Tunnelled] = {}
        self._forwards: dict[str, contextlib.ExitStack] = {}
        self._lock = threading.Lock()
        self._services = LiveList(client, _ALL, self._changed)

    def __enter__(self) -> Tunnel:
        self._services.__enter__()
        try:
            self._services.wait_listed(10)
        except BaseException:
            self._services.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._services.close()
        for uid in tuple(self._served):
            self._release(uid, withdraw=True)

    @property
    def services(self) -> tuple[Tunnelled, ...]:
        """What has an address now."""
        with self._lock:
            return tuple(self._served.values())

    def _changed(self, kind: str, service: Item) -> None:
        uid = service["metadata"]["uid"]
        wanted = None if kind == "DELETED" else announcement(service, routes=self._routes)
        try:
            if wanted is not None:
                self._serve(uid, service, wanted)
            elif uid in self._served:
                self._release(uid, withdraw=kind != "DELETED")
        except Localk8sError as exc:
            self._tell(f"{_title(service)}: {exc.message}")

    def _serve(self, uid: str, service: Item, wanted: dict[str, str]) -> None:
        metadata, spec = service["metadata"], service["spec"]
        ports = tuple(port["port"] for port in spec.get("ports") or [])
        host = wanted.get("ip") or _LOCALHOST
        found = Tunnelled(metadata["namespace"], metadata["name"], host, ports)
        if self._served.get(uid) != found:
            if not self._routes:
                self._forward(uid, service)
            with self._lock:
                self._served[uid] = found
            self._tell_change(found)
        if not _ingress(service):
            announce(self._client, found, [wanted])

    def _forward(self, uid: str, service: Item) -> None:
        """Listen on loopback for the service's TCP ports, in place of what listened for it before."""
        if old := self._forwards.pop(uid, None):
            old.close()
        metadata = service["metadata"]
        target = Target(Kind.SERVICE, metadata["name"], metadata["namespace"])
        tcp = [port["port"] for port in service["spec"]["ports"] if port.get("protocol", "TCP") == "TCP"]
        stack = contextlib.ExitStack()
        stack.enter_context(PortForward(self._client, target, [PortPair(port, port) for port in tcp], tell=self._tell))
        self._forwards[uid] = stack

    def _release(self, uid: str, *, withdraw: bool) -> None:
        with self._lock:
            service = self._served.pop(uid)
        if forward := self._forwards.pop(uid, None):
            forward.close()
        if withdraw:
            try:
                announce(self._client, service, None, timeout=_WITHDRAWAL)
            except KubernetesError as exc:
                if exc.status != 404:
                    self._tell(f"The address of service {service.name} could not be taken back: {exc.message}")
        self._tell_change(Tunnelled(service.namespace, service.name, "", service.ports))


def announce(
    client: RestClient, service: Tunnelled, ingress: list[dict[str, str]] | None, *, timeout: float | None = None
) -> None:
    """Write what is announced for a service; None: nothing. ``timeout`` is in seconds."""
    path = api_path("v1", "services", namespace=service.namespace, name=service.name, subresource="status")
    client.patch(path, {"status": {"loadBalancer": {"ingress": ingress}}}, timeout=timeout)


def clean_up(client: RestClient) -> tuple[Tunnelled, ...]:
    """Take back what a tunnel that was killed left announced; returns whose."""
    return tuple(_cleaned(client))


def _cleaned(client: RestClient) -> Iterator[Tunnelled]:
    for service in client.get(_ALL)["items"]:
        if _ingress(service) and is_ours(service):
            found = Tunnelled(service["metadata"]["namespace"], service["metadata"]["name"], "", ())
            announce(client, found, None)
            yield found


def _title(service: Mapping[str, Any]) -> str:
    return f"Service {service['metadata']['name']} in namespace {service['metadata']['namespace']}"
