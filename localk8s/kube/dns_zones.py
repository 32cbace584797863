"""What cluster DNS should answer: services, endpoints and pods turned into zones, as the Kubernetes DNS specification has it.

Pure: objects in, zone file texts out; no I/O, no clock. The standard library alone, no other module of localk8s:
it is part of the DNS image. Names that no DNS server would take are left out rather than spoil a whole zone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SCHEMA_VERSION = "1.1.0"
"""The version of the DNS specification, announced as TXT record ``dns-version``."""
TTL = 5
"""Seconds for which an answer may be kept."""
NEGATIVE_TTL = 1
"""Seconds for which it may be kept that a name does not exist."""

_LABEL = re.compile(r"[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?\Z")


class Port(NamedTuple):
    """A named port."""

    name: str
    protocol: str
    """In lower case: ``tcp``."""
    number: int


class Service(NamedTuple):
    """What DNS has to know of a Service."""

    namespace: str
    name: str
    addresses: tuple[str, ...]
    """Its cluster addresses; none when it is headless."""
    ports: tuple[Port, ...]
    external_name: str
    publish_not_ready: bool


class Endpoint(NamedTuple):
    """One address behind a service."""

    address: str
    hostname: str
    ready: bool
    ports: tuple[Port, ...]


class Endpoints(NamedTuple):
    """What DNS has to know of an Endpoints object; it bears the name of its service."""

    namespace: str
    name: str
    members: tuple[Endpoint, ...]


class Pod(NamedTuple):
    """What DNS has to know of a Pod."""

    namespace: str
    name: str
    addresses: tuple[str, ...]


class Settings(NamedTuple):
    """What does not change while the cluster runs."""

    domain: str
    """``cluster.local``."""
    reverse: tuple[Network, ...]
    """Ranges of addresses whose names are asked for: services, pods."""
    server: str
    """The address of this DNS server."""


def service_of(found: Mapping[str, Any]) -> Service:
    """The Service in an object of the API."""
    spec = found.get("spec") or {}
    external = str(spec.get("externalName") or "") if spec.get("type") == "ExternalName" else ""
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
    return Service(
        *_identity(found),
        addresses=tuple(address for address in addresses if address and address != "None") if not external else (),
        ports=_ports(spec.get("ports")),
        external_name=external.lower().rstrip("."),
        publish_not_ready=bool(spec.get("publishNotReadyAddresses")),
    )


def endpoints_of(found: Mapping[str, Any]) -> Endpoints:
    """The Endpoints in an object of the API."""
    members = tuple(
        Endpoint(str(one.get("ip")), str(one.get("hostname") or ""), ready, _ports(subset.get("ports")))
        for subset in found.get("subsets") or ()
        for key, ready in (("addresses", True), ("notReadyAddresses", False))
        for one in subset.get(key) or ()
    )
    return Endpoints(*_identity(found), members=members)


def pod_of(found: Mapping[str, Any]) -> Pod:
    """The Pod in an object of the API; one that has ended has no address any more."""
    status = found.get("status") or {}
    many = [one.get("ip") for one in status.get("podIPs") or ()] or [status.get("podIP")]
    ended = status.get("phase") in ("Succeeded", "Failed")
    return Pod(*_identity(found), addresses=() if ended else tuple(str(address) for address in many if address))


def zone_names(settings: Settings, *, root: bool) -> tuple[str, ...]:
    """The zones that are served: the domain, the reverse ones and, if asked for, ``.``: all that is not elsewhere."""
    reverse = sorted({name for network in settings.reverse for name in reverse_zones(network)})
    return (settings.domain, *reverse, *((".",) if root else ()))


def reverse_zones(network: Network) -> Iterator[str]:
    """The reverse zones of a range: one, or several where it does not end at a label's boundary."""
    bits = 8 if network.version == 4 else 4
    boundary = min(max(-(-network.prefixlen // bits) * bits, bits), network.max_prefixlen - bits)
    if boundary <= network.prefixlen:
        subnets: Iterable[Any] = [network.supernet(new_prefix=boundary)]
    else:
        subnets = network.subnets(new_prefix=boundary)
    for subnet in subnets:
        labels = subnet.network_address.reverse_pointer.split(".")
        yield ".".join(labels[(network.max_prefixlen - boundary) // bits :])


def build_zones(
    settings: Settings,
    names: Sequence[str],
    services: Iterable[Service],
    endpoints: Iterable[Endpoints],
    pods: Iterable[Pod],
) -> dict[str, tuple[str, ...]]:
    """The records of each zone, sorted, each a line of its file.

    Args:
        names: the zones; records that belong to none of them are dropped.
    """
    members = {(one.namespace, one.name): one.members for one in endpoints}
    lines: dict[str, set[str]] = {name: set() for name in names}
    for owner, kind, data in _records(settings, services, members, pods):
        zone = _zone_of(owner, lines)
        if zone and _is_name(owner):
            lines[zone].add(f"{owner}. {kind} {data}")
    return {name: tuple(sorted(found)) for name, found in lines.items()}


def render_zone(name: str, settings: Settings, records: Sequence[str], serial: int) -> str:
    """The text of a zone file."""
    origin = name if name == "." else f"{name}."
    server = f"ns.dns.{settings.domain}."
    head = [
        f"$TTL {TTL}",
        f"{origin} SOA {server} hostmaster.{settings.domain}. {serial} 7200 1800 86400 {NEGATIVE_TTL}",
        f"{origin} NS {server}",
    ]
    if name in (".", settings.domain):
        head.append(f"{server} {_family(settings.server)} {settings.server}")
    return "\n".join([*head, *records]) + "\n"


def _records(
    settings: Settings,
    services: Iterable[Service],
    members: Mapping[tuple[str, str], Sequence[Endpoint]],
    pods: Iterable[Pod],
) -> Iterator[tuple[str, str, str]]:
    """Owner (without the last dot), type and data of every record."""
    yield f"dns-version.{settings.domain}", "TXT", f'"{SCHEMA_VERSION}"'
    for service in services:
        owner = f"{service.name}.{service.namespace}.svc.{settings.domain}"
        if service.external_name:
            if _is_name(service.external_name):
                yield owner, "CNAME", f"{service.external_name}."
        elif service.addresses:
            yield from _with_address(owner, service.addresses, service.ports)
        else:
            yield from _headless(owner, service, members.get((service.namespace, service.name), ()))
    for pod in pods:
        for address in filter(_family, pod.addresses):
            yield f"{_dashed(address)}.{pod.namespace}.pod.{settings.domain}", _family(address), address


def _with_address(owner: str, addresses: Sequence[str], ports: Sequence[Port]) -> Iterator[tuple[str, str, str]]:
    for address in filter(_family, addresses):
        yield owner, _family(address), address
        yield _reverse(address), "PTR", f"{owner}."
    for port in ports:
        yield f"_{port.name}._{port.protocol}.{owner}", "SRV", f"0 100 {port.number} {owner}."


def _headless(owner: str, service: Service, members: Sequence[Endpoint]) -> Iterator[tuple[str, str, str]]:
    reachable = [one for one in members if (one.ready or service.publish_not_ready) and _family(one.address)]
    weight = max(1, 100 // max(1, len(reachable)))
    for one in reachable:
        name = f"{one.hostname if _LABEL.match(one.hostname) else _dashed(one.address)}.{owner}"
        yield owner, _family(one.address), one.address
        yield name, _family(one.address), one.address
        yield _reverse(one.address), "PTR", f"{name}."
        for port in one.ports:
            yield f"_{port.name}._{port.protocol}.{owner}", "SRV", f"0 {weight} {port.number} {name}."


def _identity(found: Mapping[str, Any]) -> tuple[str, str]:
    metadata = found.get("metadata") or {}
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")


def _ports(found: Any) -> tuple[Port, ...]:
    """The ports that have a name: the others have no records."""
    return tuple(
        Port(str(one["name"]), str(one.get("protocol") or "TCP").lower(), int(one["port"]))
        for one in found or ()
        if one.get("name") and 0 < int(one.get("port") or 0) < 65536
    )


def _zone_of(owner: str, zones: Mapping[str, object]) -> str:
    rest = owner
    while rest:
        if rest in zones:
            return rest
        rest = rest.partition(".")[2]
    return ""


def _is_name(name: str) -> bool:
    return len(name) <= 253 and all(_LABEL.match(label) for label in name.split("."))


def _family(address: str) -> str:
    """The type of record for an address; empty when it is none that others can use."""
    if "%" in address:
        return ""
    try:
        return "A" if ipaddress.ip_address(address).version == 4 else "AAAA"
    except ValueError:
        return ""


def _dashed(address: str) -> str:
    dashed = re.sub(r"[.:]", "-", address)
    return f"0{dashed}" if dashed.startswith("-") else f"{dashed}0" if dashed.endswith("-") else dashed


def _reverse(address: str) -> str:
    return ipaddress.ip_address(address).reverse_pointer
