"""Whether things are ready: pure judgements on what the API shows, and the small waits built on them.

Owns the meaning of "ready" for the API server, nodes, deployments, services and cluster DNS. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from localk8s.kube.dns_query import Answer, RecordType, ResponseCode, query
from localk8s.kube.paths import api_path
from localk8s.kube.rest import RestClient
from localk8s.model.errors import KubernetesError
from localk8s.model.status import NodeState
from localk8s.system.wait import Pending, wait_until

_INTERVAL = 0.05
"""Seconds between looks; one look costs about a millisecond."""
_ONE_LOOK = 2.0
"""Seconds that one look may take."""
_LONGEST = timedelta(hours=1)
"""Nothing waits for a node so long: a later word is from before the clock was set back."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """A judgement; true when ready."""

    ready: bool
    reason: str = ""
    """What is still missing, as it reads after a colon; empty when ready."""

    def __bool__(self) -> bool:
        return self.ready


READY = Readiness(True)


def judge_node(node: Mapping[str, Any], *, heard_since: datetime | None = None) -> Readiness:
    """Whether the node's kubelet says that it is ready.

    Args:
        node: a Node object.
        heard_since: an older word of the kubelet does not count. After a restart the API still holds the word
            from before, for the 40 s that the controller manager takes to notice. Timezone-aware.
    """
    name = node["metadata"]["name"]
    condition = _condition(node, "Ready")
    if condition is None:
        return Readiness(False, f"node {name} has not reported yet")
    if condition.get("status") != "True":
        message = str(condition.get("message") or condition.get("reason") or "no reason given")
        return Readiness(False, f"node {name} is not ready: {message}")
    if heard_since is not None:
        heard = _instant(condition.get("lastHeartbeatTime"))
        if heard is None or not heard_since.replace(microsecond=0) <= heard < heard_since + _LONGEST:  # it keeps whole seconds
            return Readiness(False, f"node {name} has not been heard of since it was started")
    return READY


def node_state(node: Mapping[str, Any]) -> tuple[NodeState, str]:
    """The one word for a node that the API knows, and why it is not ready (empty when it is)."""
    judged = judge_node(node)
    return (NodeState.READY if judged else NodeState.NOT_READY), judged.reason


def judge_nodes(
    nodes: Collection[Mapping[str, Any]], names: Collection[str], *, heard_since: datetime | None = None
) -> Readiness:
    """Whether all nodes called ``names`` are there and ready; others do not matter."""
    found = {node["metadata"]["name"]: node for node in nodes}
    missing = [name for name in names if name not in found]
    if missing:
        return Readiness(False, f"{_listed(missing)} not there yet")
    waiting = [judged for name in names if not (judged := judge_node(found[name], heard_since=heard_since))]
    return waiting[0] if waiting else READY


def judge_deployment(deployment: Mapping[str, Any]) -> Readiness:
    """Whether every replica that is asked for runs the newest template and is available, and no old one is left."""
    name = deployment["metadata"]["name"]
    status = deployment.get("status") or {}
    wanted = deployment["spec"].get("replicas", 1)
    if int(status.get("observedGeneration", 0)) < int(deployment["metadata"].get("generation", 0)):
        return Readiness(False, f"deployment {name} has not been looked at yet")
    counts = {key: int(status.get(key, 0)) for key in ("replicas", "updatedReplicas", "availableReplicas")}
    if all(count == wanted for count in counts.values()):
        return READY
    progressing = _condition(deployment, "Progressing") or {}
    why = f" ({progressing.get('message')})" if progressing.get("status") == "False" else ""
    return Readiness(False, f"deployment {name} has {counts['availableReplicas']} of {wanted} replicas available{why}")


def judge_endpoints(endpoints: Mapping[str, Any], *, at_least: int = 1) -> Readiness:
    """Whether a service has so many ready addresses behind it. ``endpoints`` is its Endpoints object."""
    ready = sum(len(subset.get("addresses") or ()) for subset in endpoints.get("subsets") or ())
    if ready >= at_least:
        return READY
    return Readiness(False, f"service {endpoints['metadata']['name']} has {ready} of {at_least} endpoints")


def judge_dns(answer: Answer, name: str, expected: str = "") -> Readiness:
    """Whether ``answer`` resolves ``name`` to an address, or to ``expected`` when that is given."""
    addresses = answer.data(RecordType.A)
    if answer.code != ResponseCode.NOERROR or not addresses:
        code = ResponseCode(answer.code).name if answer.code in set(ResponseCode) else str(answer.code)
        return Readiness(False, f"{name} does not resolve ({code})")
    if expected and expected not in addresses:
        return Readiness(False, f"{name} resolves to {', '.join(addresses)}, not to {expected}")
    return READY


def check_api(client: RestClient, *, timeout: float = _ONE_LOOK) -> Readiness:
    """Whether the API server says that it is ready (servers without ``/readyz`` are asked for ``/healthz``).

    Args:
        timeout: seconds. Never raises a KubernetesError: that is the reason.
    """
    try:
        try:
            text = client.raw("/readyz", timeout=timeout)
        except KubernetesError as exc:
            if exc.status != 404:
                raise
            text = client.raw("/healthz", timeout=timeout)
    except KubernetesError as exc:
        return Readiness(False, exc.message.rstrip("."))
    return READY if text.strip() == "ok" else Readiness(False, "the API server is not healthy")


def wait_api(client: RestClient, *, timeout: float) -> None:
    """Wait until the API server is ready.

    Args:
        timeout: seconds.

    Raises:
        WaitTimeoutError: it did not become so; the message holds what was missing.
    """
    wait_until_judged(lambda: check_api(client), "the API server", timeout)


def wait_nodes(client: RestClient, names: Collection[str], *, timeout: float, heard_since: datetime | None = None) -> None:
    """Wait until all nodes called ``names`` are ready (see ``judge_nodes``); errors as for ``wait_api``."""

    def look() -> Readiness:
        nodes = client.get(api_path("v1", "nodes"), timeout=_ONE_LOOK)["items"]
        return judge_nodes(nodes, names, heard_since=heard_since)

    wait_until_judged(look, f"{len(names)} node{'s' if len(names) != 1 else ''} to be ready", timeout)


def wait_deployment(client: RestClient, namespace: str, name: str, *, timeout: float) -> None:
    """Wait until a deployment is rolled out (see ``judge_deployment``); errors as for ``wait_api``."""
    path = api_path("apps/v1", "deployments", namespace=namespace, name=name)
    wait_until_judged(lambda: judge_deployment(client.get(path, timeout=_ONE_LOOK)), f"deployment {name}", timeout)


def wait_endpoints(client: RestClient, namespace: str, name: str, *, timeout: float, at_least: int = 1) -> None:
    """Wait until a service has ready addresses behind it; errors as for ``wait_api``."""
    path = api_path("v1", "endpoints", namespace=namespace, name=name)
    wait_until_judged(
        lambda: judge_endpoints(client.get(path, timeout=_ONE_LOOK), at_least=at_least), f"service {name}", timeout
    )


def wait_dns(server: str, name: str, *, timeout: float, expected: str = "", port: int = 53) -> None:
    """Wait until cluster DNS resolves ``name``; errors as for ``wait_api``.

    Args:
        server: the address of cluster DNS, which must be reachable from where this process runs.
        name: the full name: ``kubernetes.default.svc.cluster.local``.
        expected: an address that has to be among the answer's; empty for any.
    """
    wait_until_judged(lambda: judge_dns(query(server, name, port=port, timeout=0.5), name, expected), "cluster DNS", timeout)


def wait_until_judged(
    look: Callable[[], Readiness], what: str, timeout: float, *, interval: float = _INTERVAL, hint: str = ""
) -> None:
    """Wait until ``look`` judges that something is ready; an API that refuses or is silent is a reason to wait.

    Args:
        look: one look.
        what: what is waited for, for the error.
        timeout: seconds.
        interval: seconds between looks.
        hint: of the error.

    Raises:
        WaitTimeoutError: it did not become so; the message holds what was missing.
    """

    def ready() -> bool:
        try:
            judged = look()
        except KubernetesError as exc:
            raise Pending(exc.message.rstrip(".")) from exc
        if not judged:
            raise Pending(judged.reason)
        return True

    wait_until(ready, what=what, timeout=timeout, interval=interval, hint=hint)


def _condition(thing: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    conditions: list[Mapping[str, Any]] = (thing.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def _instant(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _listed(names: Collection[str]) -> str:
    return f"node{'s' if len(names) != 1 else ''} {', '.join(names)} {'are' if len(names) != 1 else 'is'}"
