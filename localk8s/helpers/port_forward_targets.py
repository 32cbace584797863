"""What a port-forward goes to: targets and ports as they are typed, and which pods stand behind a target now.

Parsing is pure; ``PodSource`` keeps itself up to date by a watch. Knows nothing of sockets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from localk8s.kube.live_list import Item, LiveList
from localk8s.kube.paths import api_path
from localk8s.kube.rest import RestClient
from localk8s.model.errors import KubernetesError, NotFoundError, NotSupportedError, UsageError
from localk8s.model.hints import DEFAULT_CLUSTER, command, instead

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", re.ASCII)


class Kind(StrEnum):
    """What can be forwarded to."""

    POD = "pod"
    SERVICE = "svc"
    DEPLOYMENT = "deploy"
    STATEFUL_SET = "sts"
    DAEMON_SET = "ds"
    REPLICA_SET = "rs"
    JOB = "job"


_SPELLINGS: Mapping[str, Kind] = {
    **dict.fromkeys(("pod", "pods", "po"), Kind.POD),
    **dict.fromkeys(("svc", "service", "services"), Kind.SERVICE),
    **dict.fromkeys(("deploy", "deployment", "deployments"), Kind.DEPLOYMENT),
    **dict.fromkeys(("sts", "statefulset", "statefulsets"), Kind.STATEFUL_SET),
    **dict.fromkeys(("ds", "daemonset", "daemonsets"), Kind.DAEMON_SET),
    **dict.fromkeys(("rs", "replicaset", "replicasets"), Kind.REPLICA_SET),
    **dict.fromkeys(("job", "jobs"), Kind.JOB),
}
_WHERE: Mapping[Kind, tuple[str, str]] = {
    Kind.POD: ("v1", "pods"),
    Kind.SERVICE: ("v1", "services"),
    Kind.DEPLOYMENT: ("apps/v1", "deployments"),
    Kind.STATEFUL_SET: ("apps/v1", "statefulsets"),
    Kind.DAEMON_SET: ("apps/v1", "daemonsets"),
    Kind.REPLICA_SET: ("apps/v1", "replicasets"),
    Kind.JOB: ("batch/v1", "jobs"),
}
_OWNERS: Mapping[str, Kind] = {
    "Deployment": Kind.DEPLOYMENT,
    "StatefulSet": Kind.STATEFUL_SET,
    "DaemonSet": Kind.DAEMON_SET,
    "ReplicaSet": Kind.REPLICA_SET,
    "Job": Kind.JOB,
}


@dataclass(frozen=True, slots=True)
class Target:
    """An object of a namespace."""

    kind: Kind
    name: str
    namespace: str = "default"

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def path(self) -> str:
        """Where it is in the API."""
        version, plural = _WHERE[self.kind]
        return api_path(version, plural, namespace=self.namespace, name=self.name)


@dataclass(frozen=True, slots=True)
class PortPair:
    """A local port and where it leads."""

    local: int
    """0: any that is free."""
    remote: int | str
    """The service's port, or the pod's; a number or a name."""
    typed: str = field(default="", compare=False)
    """What it was made from; empty when it was not typed."""

    def __str__(self) -> str:
        return f"{self.local}:{self.remote}"


@dataclass(frozen=True, slots=True)
class PodPort:
    """A port of a pod that could answer now."""

    uid: str
    namespace: str
    name: str
    address: str
    port: int


def parse_target(text: str, namespace: str = "default") -> Target:
    """``svc/NAME``, ``pod/NAME``, ``deploy/NAME``, …; a bare name is a pod, as for kubectl.

    Raises:
        UsageError: it is none.
    """
    kind, slash, name = text.rpartition("/")
    found = _SPELLINGS.get(kind.lower()) if slash else Kind.POD
    if found is None:
        raise UsageError(
            f"Unsupported target {text!r}: expected KIND/NAME, with one of {', '.join(Kind)}.", hint=instead("svc/web", of=text)
        )
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name.", hint=instead(f"{found}/web", of=text))
    if not _NAME.fullmatch(namespace):
        raise UsageError(f"{namespace!r} is no namespace.", hint=instead("default", of=namespace))
    return Target(found, name, namespace)


def parse_port(text: str) -> PortPair:
    """``[LOCAL:]REMOTE``: without LOCAL it is the same port (any free one when REMOTE is a name); ``0`` or nothing: any.

    Raises:
        UsageError: it is none.
    """
    local, colon, remote = text.rpartition(":")
    far: int | str
    if remote.isascii() and remote.isdecimal() and len(remote) < 6 and 0 < int(remote) < 65536:
        far = int(remote)
    elif _PORT_NAME.fullmatch(remote):
        far = remote
    else:
        raise UsageError(f"{text!r} is no port: [LOCAL:]REMOTE, from 1 to 65535.", hint=instead("8080:80", of=text))
    if not colon:
        return PortPair(far if isinstance(far, int) else 0, far, text)
    if local and not (local.isascii() and local.isdecimal() and len(local) < 6 and int(local) < 65536):
        raise UsageError(f"{text!r} has no local port: 0 to 65535.", hint=instead(f"0:{remote}", of=text))
    return PortPair(int(local or 0), far, text)


def selector_text(selector: Mapping[str, Any]) -> str:
    """A LabelSelector as the API's query spells it."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for rule in selector.get("matchExpressions") or []:
        key, values = rule["key"], ",".join(rule.get("values") or [])
        parts.append(
            {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key, "DoesNotExist": f"!{key}"}[
                rule["operator"]
            ]
        )
    return ",".join(parts)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the pod takes connections: Ready, and not on its way out."""
    status = pod.get("status") or {}
    conditions = status.get("conditions") or []
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    return ready and is_running(pod)


def is_running(pod: Mapping[str, Any]) -> bool:
    """Whether the pod runs and stays."""
    status = pod.get("status") or {}
    return status.get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp") and bool(status.get("podIP"))


def container_port(pod: Mapping[str, Any], wanted: int | str) -> int | None:
    """The number of a pod's port, which may be given by its name; None when the pod has none of that name."""
    if isinstance(wanted, int):
        return wanted
    for container in pod["spec"].get("containers") or []:
        for port in container.get("ports") or []:
            if port.get("name") == wanted and port.get("protocol", "TCP") == "TCP":
                return int(port["containerPort"])
    return None


def target_port(service: Mapping[str, Any], wanted: int | str) -> int | str | None:
    """What a service's port (number or name) is on its pods; None when the service has no such TCP port."""
    for port in service["spec"].get("ports") or []:
        if wanted in (port.get("name"), port["port"]) and port.get("protocol", "TCP") == "TCP":
            found: int | str = port.get("targetPort") or port["port"]
            return found
    return None


class PodSource:
    """The pods behind a target, now; a context manager.

    Args:
        client: of the cluster's API.
        target: what is forwarded to.
        gone: told the uid of each pod that ended, in another thread.
        cluster: the cluster's name, for hints.

    Raises (on entering):
        NotFoundError: there is no such target.
        NotSupportedError: a service without a selector.
    """

    def __init__(
        self, client: RestClient, target: Target, gone: Callable[[str], None] | None = None, *, cluster: str = DEFAULT_CLUSTER
    ) -> None:
        self._client = client
        self.target = target
        self._gone = gone or (lambda uid: None)
        self._cluster = cluster
        self._object: Item = {}
        self._siblings: Target | None = None
        self._pods = LiveList(client, self._path, self._changed)

    def __enter__(self) -> PodSource:
        try:
            self._object = self._client.get(self.target.path)
        except KubernetesError as exc:
            if exc.status != 404:
                raise
            raise self._missing() from exc
        if self.target.kind is Kind.SERVICE and not self._object["spec"].get("selector"):
            raise NotSupportedError(f"Service {self.target.name} has no selector: there are no pods to forward to.")
        self._siblings = self._owner()
        self._pods.__enter__()
        self._pods.wait_listed(10)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._pods.close()

    def check_port(self, wanted: int | str) -> None:
        """Raise UsageError when the service has no such port."""
        if self.target.kind is Kind.SERVICE and target_port(self._object, wanted) is None:
            ports = self._object["spec"].get("ports") or []
            tcp = [port["port"] for port in ports if port.get("protocol", "TCP") == "TCP"]
            listed = ", ".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports) or "none"
            example = (str(self.target), str(tcp[0])) if tcp else ()
            raise UsageError(
                f"Service {self.target.name} has no TCP port {wanted}; its ports: {listed}.",
                hint=command("port-forward", *example, "-n", self.target.namespace, cluster=self._cluster) if example else "",
            )

    def candidates(self, wanted: int | str) -> Sequence[PodPort]:
        """The pods that could take a connection to the target's port ``wanted`` now; ready ones only, if there are any.

        Pods that run without being ready are named for a target that is a pod alone.
        """
        far = target_port(self._object, wanted) if self.target.kind is Kind.SERVICE else wanted
        if far is None:
            return ()
        pods = self._pods.items
        if self.target.kind is Kind.POD:
            own = [pod for pod in pods if pod["metadata"]["name"] == self.target.name and is_running(pod)]
            pods = tuple(own) or tuple(pod for pod in pods if is_ready(pod))
        else:
            pods = tuple(pod for pod in pods if is_ready(pod))
        return [_pod_port(pod, number) for pod in pods if (number := container_port(pod, far)) is not None]

    def _path(self) -> str:
        namespace, kind = self.target.namespace, self.target.kind
        if kind is Kind.POD:
            if self._siblings is None:
                return api_path("v1", "pods", namespace=namespace, fieldSelector=f"metadata.name={self.target.name}")
            found = self._client.get(self._siblings.path)
            return api_path("v1", "pods", namespace=namespace, labelSelector=selector_text(found["spec"]["selector"]))
        self._object = self._client.get(self.target.path)  # selector and ports may have changed
        selector = self._object["spec"].get("selector") or {}
        if kind is Kind.SERVICE:
            selector = {"matchLabels": selector}
        return api_path("v1", "pods", namespace=namespace, labelSelector=selector_text(selector))

    def _owner(self) -> Target | None:
        """For a pod: what will replace it when it is gone."""
        if self.target.kind is not Kind.POD:
            return None
        owner = _controller(self._object)
        if owner and owner.kind is Kind.REPLICA_SET:
            try:
                return _controller(self._client.get(owner.path)) or owner
            except KubernetesError:
                return owner
        return owner

    def _changed(self, kind: str, pod: Item) -> None:
        phase = (pod.get("status") or {}).get("phase")
        if kind == "DELETED" or phase in ("Succeeded", "Failed"):
            self._gone(pod["metadata"]["uid"])

    def _missing(self) -> NotFoundError:
        _, plural = _WHERE[self.target.kind]
        hint = command("kubectl", "get", plural, "-n", self.target.namespace, cluster=self._cluster)
        return NotFoundError(f"There is no {self.target} in namespace {self.target.namespace}.", hint=hint)


def _controller(item: Mapping[str, Any]) -> Target | None:
    for owner in item["metadata"].get("ownerReferences") or []:
        if owner.get("controller") and owner.get("kind") in _OWNERS:
            return Target(_OWNERS[owner["kind"]], owner["name"], item["metadata"]["namespace"])
    return None


def _pod_port(pod: Mapping[str, Any], port: int) -> PodPort:
    metadata = pod["metadata"]
    return PodPort(metadata["uid"], metadata["namespace"], metadata["name"], pod["status"]["podIP"], port)
