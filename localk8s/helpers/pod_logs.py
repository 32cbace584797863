"""Logs of several pods as one stream, also of pods that come later, and through restarts of containers and of the API.

Gives lines, prints nothing.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localk8s.helpers.port_forward_targets import Kind, Target, selector_text
from localk8s.kube.live_list import Item, LiveList
from localk8s.kube.paths import api_path, with_query
from localk8s.kube.rest import RestClient
from localk8s.kube.transport import LineStream
from localk8s.model.errors import KubernetesError, NotFoundError
from localk8s.model.hints import DEFAULT_CLUSTER, command

_AGAIN = 0.5
"""Seconds until a log that ended is asked for again, while its pod is there."""
_MOST_WAITING = 10_000
"""Lines that wait for a slow reader, before the senders wait too."""
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a container."""

    pod: str
    container: str
    text: str


def pods_path(
    client: RestClient, target: Target | None, selector: str, namespace: str, *, cluster: str = DEFAULT_CLUSTER
) -> str:
    """The list of pods whose logs are meant.

    Args:
        client: of the cluster's API.
        target: a pod, a service or a workload; None goes by ``selector``.
        selector: a label selector as the API spells it; empty with no target: all pods of the namespace.
        namespace: theirs.
        cluster: the cluster's name, for hints.

    Raises:
        NotFoundError: there is no such target.
    """
    if target is None:
        return api_path("v1", "pods", namespace=namespace, labelSelector=selector)
    try:
        found = client.get(target.path)
    except KubernetesError as exc:
        if exc.status != 404:
            raise
        hint = command("kubectl", "get", "all", "-n", namespace, cluster=cluster)
        raise NotFoundError(f"There is no {target} in namespace {namespace}.", hint=hint) from exc
    if target.kind is Kind.POD:
        return api_path("v1", "pods", namespace=namespace, fieldSelector=f"metadata.name={target.name}")
    chosen = found["spec"].get("selector") or {}
    text = selector_text({"matchLabels": chosen} if target.kind is Kind.SERVICE else chosen)
    return api_path("v1", "pods", namespace=namespace, labelSelector=text)


def containers(pod: Mapping[str, Any], only: str = "") -> list[str]:
    """The containers of a pod, those that initialise it first; ``only`` the one of that name when it is not empty."""
    spec = pod["spec"]
    names = [str(each["name"]) for key in ("initContainers", "containers") for each in spec.get(key) or []]
    return [name for name in names if only in ("", name)]


def read_logs(client: RestClient, path: str, *, tail: int, container: str = "", previous: bool = False) -> Iterator[LogLine]:
    """The last ``tail`` lines of each container of the pods at ``path``, pod by pod.

    Args:
        client: of the cluster's API.
        path: the list of pods; see ``pods_path``.
        tail: lines of each container.
        container: only this one of each pod; all when empty.
        previous: of the containers that ran before the last restart.

    Raises:
        NotFoundError: there is no pod, no such container, or none has run before.
    """
    pods = sorted(client.get(path)["items"], key=lambda each: str(each["metadata"]["name"]))
    chosen = [(pod, name) for pod in pods for name in containers(pod, container)]
    if not pods:
        raise NotFoundError("No pods were found.")
    if not chosen:
        names = ", ".join(dict.fromkeys(name for pod in pods for name in containers(pod)))
        raise NotFoundError(f"There is no container {container!r}: there are {names}.")
    query: dict[str, int | bool] = {"tailLines": tail, **({"previous": True} if previous else {})}
    found = False
    for pod, name in chosen:
        try:
            text = client.raw(_log_path(pod, name, **query))
        except KubernetesError as exc:
            if exc.status in (400, 404):  # it has not started, or is gone
                continue
            raise
        found = True
        for line in text.splitlines():
            yield LogLine(pod["metadata"]["name"], name, line)
    if previous and not found:
        raise NotFoundError("No container of these pods has been restarted.")


def _log_path(pod: Mapping[str, Any], container: str, **query: str | int | bool) -> str:
    metadata = pod["metadata"]
    path = api_path("v1", "pods", namespace=metadata["namespace"], name=metadata["name"], subresource="log")
    return with_query(path, container=container, **query)


class LogFollower:
    """Lines of all pods of a list as they come; a context manager, iterated inside its block.

    Args:
        client: of the cluster's API.
        path: the list of pods; see ``pods_path``.
        tail: how many old lines of each container to begin with.
        container: only this one of each pod; all when empty.
    """

    def __init__(self, client: RestClient, path: str, *, tail: int, container: str = "") -> None:
        self._client = client
        self._tail = tail
        self._container = container
        self._lines: queue.Queue[LogLine | None] = queue.Queue(_MOST_WAITING)
        self._gone: dict[str, threading.Event] = {}
        self._streams: set[LineStream] = set()
        self._closed = threading.Event()
        self._pods = LiveList(client, path, self._changed)

    def __enter__(self) -> LogFollower:
        self._pods.__enter__()
        try:
            self._pods.wait_listed(10)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End all streams."""
        self._closed.set()
        for gone in self._gone.values():
            gone.set()
        for stream in tuple(self._streams):
            stream.close()
        self._pods.close()

    @property
    def pods(self) -> int:
        """How many pods there are now."""
        return len(self._pods.items)

    def __iter__(self) -> Iterator[LogLine]:
        while not self._closed.is_set():
            try:
                line = self._lines.get(timeout=0.5)
            except queue.Empty:
                continue
            if line is not None:
                yield line

    def _changed(self, kind: str, pod: Item) -> None:
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            self._gone.setdefault(uid, threading.Event()).set()
        elif uid not in self._gone:
            gone = self._gone[uid] = threading.Event()
            for container in containers(pod, self._container):
                arguments = (pod, container, gone)
                threading.Thread(target=self._follow, args=arguments, name="pod-log", daemon=True).start()

    def _follow(self, pod: Item, container: str, gone: threading.Event) -> None:
        place, tail = _Place(), self._tail
        while True:
            try:
                self._read(pod, container, place, tail)
            except KubernetesError as exc:
                if exc.status == 404 and gone.is_set():
                    break
            if place.since:
                tail = 0  # from here on by time, so that nothing is lost and nothing comes twice
            if gone.wait(_AGAIN) or self._closed.is_set():
                break
        self._client.close()

    def _read(self, pod: Item, container: str, place: _Place, tail: int) -> None:
        """One stream to its end, from ``place`` on, which moves along."""
        query = {"sinceTime": place.since} if place.since else {"tailLines": tail}
        path = _log_path(pod, container, follow=True, timestamps=True, **query)
        with self._client.stream(path) as stream:
            self._streams.add(stream)
            try:
                for raw in stream:
                    text = place.take(raw.decode("utf-8", "replace").rstrip("\r"))
                    if text is not None and not self._closed.is_set():
                        self._lines.put(LogLine(pod["metadata"]["name"], container, text))
            except KubernetesError:
                return
            finally:
                self._streams.discard(stream)


class _Place:
    """How far a container's log has been read, by the time of its lines."""

    def __init__(self) -> None:
        self.since = ""
        self._remark = ""

    def take(self, line: str) -> str | None:
        """The text of a line that was not read yet; None for one that was.

        What the kubelet says of its own has no time ("unable to retrieve container logs"): it passes once in a row.
        """
        stamp, _, text = line.partition(" ")
        if not _STAMP.fullmatch(stamp):
            repeated, self._remark = line == self._remark, line
            return None if repeated else line
        if stamp <= self.since:
            return None
        self.since, self._remark = stamp, ""
        return text
