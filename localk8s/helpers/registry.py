"""A registry in the cluster that this host and every node reach under one address, announced as KEP-1755 says.

Owns what runs for it and where it keeps images (on the first node's disk: they go with the cluster). Takes nodes and a
way to supervise programs; must not know drivers.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from localk8s.artifacts.kinds import NodeTools
from localk8s.drivers.base import NodeService
from localk8s.helpers.docker_env import TOOLS, put_tools
from localk8s.helpers.images import CERTIFICATES
from localk8s.kube.paths import api_path
from localk8s.kube.rest import RestClient
from localk8s.model.errors import CommandError
from localk8s.model.hints import command
from localk8s.model.node import Node
from localk8s.model.progress import Step
from localk8s.system.wait import Pending, wait_until

PORT = 5000
SERVICE = "registry"
_HOME = "/var/lib/localk8s/registry"
_ASK = r"""exec 3<>"/dev/tcp/$1/$2" && printf 'GET /v2/ HTTP/1.0\r\n\r\n' >&3 && head -n 1 <&3"""
_NAMESPACE, _CONFIG_MAP = "kube-public", "local-registry-hosting"


@dataclass(frozen=True, slots=True)
class Registry:
    """A running registry."""

    address: str
    """``HOST:PORT``, the same for this host, the nodes and the pods: image names begin with it."""


class RegistryState(StrEnum):
    """The one word for a registry."""

    RUNNING = "running"
    """It answers this host."""
    STOPPED = "stopped"
    """It was not started, or stopped."""
    BROKEN = "broken"
    """It was started and does not answer this host."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """The registry as one node sees it."""

    node: str
    reason: str
    """Why the node does not reach it; empty when it does."""


@dataclass(frozen=True, slots=True)
class RegistryStatus:
    """What there is of a cluster's registry."""

    state: RegistryState
    address: str
    """``HOST:PORT``, the same when it is started again."""
    nodes: tuple[NodeView, ...] = ()
    """Those that run first; none while it is stopped."""
    reason: str = ""
    """Why it is broken."""


def registry_service(address: str) -> NodeService:
    """Debian's docker-registry, plain HTTP: it listens in the cluster's own network alone."""
    environment = {
        "REGISTRY_HTTP_ADDR": f"{address}:{PORT}",
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": f"{_HOME}/data",
        "REGISTRY_STORAGE_DELETE_ENABLED": "true",
        "OTEL_TRACES_EXPORTER": "none",
    }
    return NodeService(SERVICE, (f"{TOOLS}/usr/bin/docker-registry", "serve", f"{_HOME}/config.yml"), environment)


def registry_configuration() -> str:
    """The registry's configuration file (JSON is YAML)."""
    settings = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": f"{_HOME}/data"}, "cache": {"blobdescriptor": "inmemory"}},
        "http": {"addr": f"127.0.0.1:{PORT}"},
    }
    return json.dumps(settings) + "\n"


def hosting(address: str) -> dict[str, Any]:
    """The ConfigMap by which tools find the registry (KEP-1755)."""
    lines = ("host", "hostFromContainerRuntime", "hostFromClusterNetwork")
    text = "".join(f"{line}: {json.dumps(address)}\n" for line in lines)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _CONFIG_MAP, "namespace": _NAMESPACE},
        "data": {"localRegistryHosting.v1": text},
    }


def hosts_file(address: str) -> str:
    """What tells a node's containerd that the registry speaks plain HTTP."""
    return f'# The local registry.\nserver = "http://{address}"\n[host."http://{address}"]\n'


def start_registry(
    nodes: Sequence[Node],
    start: Callable[[str, NodeService], None],
    tools: Callable[[], NodeTools],
    client: RestClient,
    step: Step,
    cluster: str,
) -> Registry:
    """Have the registry running on the first of ``nodes``, known to all and announced. Idempotent.

    Args:
        start: lets a service run on the node of that name.
        tools: called when programs have to be copied to the node.
        cluster: the cluster's name, for hints.

    Raises:
        ArtifactError: Debian's docker-registry cannot be had.
        WaitTimeoutError: it does not answer; with what it complained.
        KubernetesError: it cannot be announced.
    """
    node = nodes[0]
    address = address_on(node)
    step.progress(0, None, f"copying programs to {node.name}")
    put_tools(node, tools)
    node.write(f"{_HOME}/config.yml", registry_configuration())
    start(node.name, registry_service(node.address))
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        list(pool.map(partial(_introduce, address=address), nodes))
    wait_until(
        partial(_answers, node), what="the registry", timeout=30, interval=0.2, hint=command("logs", node.name, cluster=cluster)
    )
    client.apply(hosting(address))
    return Registry(address)


def stop_registry(nodes: Sequence[Node], stop: Callable[[str, str], None], client: RestClient) -> None:
    """End the registry, forget it everywhere; its images stay for the next start. What does not run is stopped already."""
    client.delete(api_path("v1", "configmaps", namespace=_NAMESPACE, name=_CONFIG_MAP))
    stop(nodes[0].name, SERVICE)
    for node in nodes:
        _forget(node, address=address_on(nodes[0]))


def bring_up_to_date(nodes: Sequence[Node]) -> None:
    """Let nodes that were off or not there yet know of the registry on the first of ``nodes``, or forget it as that one did."""
    first, *others = nodes
    address = address_on(first)
    change = partial(_introduce, address=address) if _knows(first, address) else partial(_forget, address=address)
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        list(pool.map(change, others))


def address_on(node: Node) -> str:
    """``HOST:PORT`` of the registry on ``node``."""
    return f"{node.address}:{PORT}"


def inspect_registry(nodes: Sequence[Node], off: Sequence[str]) -> RegistryStatus:
    """Look from this host and from every running node; changes nothing, each look takes 5 seconds at most.

    Args:
        nodes: those that run, the registry's first.
        off: names of the others.
    """
    first = nodes[0]
    address = address_on(first)
    if not _knows(first, address):
        return RegistryStatus(RegistryState.STOPPED, address)
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        reasons = dict(zip((node.name for node in nodes), pool.map(partial(_trouble, address=address), nodes), strict=True))
    reasons |= dict.fromkeys(off, "the node is off")
    trouble = _trouble_here(first)
    state = RegistryState.BROKEN if trouble else RegistryState.RUNNING
    return RegistryStatus(state, address, tuple(NodeView(name, reason) for name, reason in reasons.items()), trouble)


def _knows(node: Node, address: str) -> bool:
    return node.run(["test", "-e", f"{CERTIFICATES}/{address}/hosts.toml"], check=False).returncode == 0


def _trouble(node: Node, *, address: str) -> str:
    """Why a node does not reach the registry; empty when it does."""
    if not _knows(node, address):
        return "its containerd does not know the registry"
    host, _, port = address.partition(":")
    try:
        done = node.run(["timeout", "4", "bash", "-c", _ASK, "ask", host, port], check=False, timeout=5)
    except CommandError:
        return "it does not answer in 5 seconds"
    return "" if " 200 " in done.stdout else "the registry does not answer it"


def _forget(node: Node, *, address: str) -> None:
    node.run(["rm", "-rf", f"{CERTIFICATES}/{address}"])


def _introduce(node: Node, *, address: str) -> None:
    node.write(f"{CERTIFICATES}/{address}/hosts.toml", hosts_file(address))


def _answers(node: Node) -> bool:
    trouble = _trouble_here(node)
    if trouble:
        raise Pending(trouble)
    return True


def _trouble_here(node: Node) -> str:
    """Why the registry on ``node`` does not answer this host; empty when it does."""
    connection = http.client.HTTPConnection(node.address, PORT, timeout=2)
    try:
        connection.request("GET", "/v2/")
        status = connection.getresponse().status
        return "" if status == 200 else f"it answers {status}"
    except (OSError, http.client.HTTPException) as exc:
        last = node.run(["tail", "-n", "1", registry_service(node.address).log], check=False).stdout.strip()
        return last[-200:] or str(exc)
    finally:
        connection.close()
