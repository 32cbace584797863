"""A copy of one list of the Kubernetes API, kept up to date: list, watch, and again whenever that breaks.

Owns the loop that never gives up: whatever happens to the API server, the copy keeps its last content.
It is part of the DNS image.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from localk8s.kube.dns_named import say
from localk8s.kube.paths import api_path
from localk8s.kube.rest import RestClient
from localk8s.model.errors import ConfigError, KubernetesError

T = TypeVar("T")

_WATCH = 300.0
"""Seconds after which a watch is begun anew."""
_EAGER, _PATIENT = 0.05, 0.5
"""Seconds between tries while the API server is expected any moment, and when it has been away for long."""
_EAGER_TRIES = 600
_SILENT_TRIES = 40
"""Tries of which nothing is said: an API server takes a moment to start."""
_STEADY = 5.0
"""Seconds after which a watch that broke was a good one."""


class Connector:
    """Makes API clients; reads the kubeconfig again when it has changed.

    Args:
        kubeconfig: the file; None for the service account of the pod that this runs in.
        environment: for the latter.
    """

    def __init__(self, kubeconfig: Path | None, environment: Mapping[str, str]) -> None:
        self._kubeconfig = kubeconfig
        self._environment = environment
        self._lock = threading.Lock()
        self._client: RestClient | None = None
        self._version: tuple[int, int] | None = None

    def client(self) -> RestClient:
        """The client for all threads.

        Raises:
            ConfigError: the kubeconfig is not there yet, or is none.
        """
        with self._lock:
            if self._kubeconfig is None:
                self._client = self._client or RestClient.in_cluster(self._environment, timeout=5.0)
                return self._client
            try:
                status = self._kubeconfig.stat()
                version = (status.st_mtime_ns, status.st_ino)
                if self._client is None or version != self._version:
                    text = self._kubeconfig.read_text()
                    self._client = RestClient.from_kubeconfig(text, timeout=5.0, base=self._kubeconfig.parent)
                    self._version = version
            except OSError as exc:
                raise ConfigError(f"{self._kubeconfig} cannot be read: {exc.strerror}.") from exc
            return self._client


class Mirror(Generic[T]):
    """The copy of one list, in all namespaces.

    Args:
        resource: the plural: ``services``.
        reduce: makes of an object of the API what is to be kept of it.
        connector: gives the API client.
        changed: called, in the mirror's own thread, whenever the copy is another than before.
    """

    def __init__(
        self, resource: str, reduce: Callable[[Mapping[str, Any]], T], connector: Connector, changed: Callable[[], None]
    ) -> None:
        self.resource = resource
        self._reduce = reduce
        self._connector = connector
        self._changed = changed
        self._objects: dict[tuple[str, str], T] = {}
        self._stopped = threading.Event()
        self.synced = False
        """Whether the list has been had at least once."""

    def objects(self) -> list[T]:
        """What is in the copy now."""
        return list(self._objects.values())

    def start(self) -> None:
        """Keep the copy up to date from now on, in a thread that ends with the process."""
        threading.Thread(target=self._run, name=f"mirror-{self.resource}", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end at its next step."""
        self._stopped.set()

    def _run(self) -> None:
        failures, trouble = 0, ""
        while not self._stopped.is_set():
            begin = time.monotonic()
            try:
                client = self._connector.client()
                version = self._list(client)
                if failures > _SILENT_TRIES:
                    say(f"{self.resource}: the API server answers again")
                    failures = 0
                self._follow(client, version)
            except (KubernetesError, ConfigError) as exc:
                trouble = exc.message
            except Exception as exc:  # one strange object must not end the service
                trouble = repr(exc)
            failures = 1 if time.monotonic() - begin > _STEADY else failures + 1
            if failures == _SILENT_TRIES:
                say(f"{self.resource}: {trouble}")
            self._stopped.wait(_EAGER if failures < _EAGER_TRIES else _PATIENT)

    def _list(self, client: RestClient) -> str:
        found = client.get(api_path("v1", self.resource))
        objects = {_key(item): self._reduce(item) for item in found.get("items") or ()}
        news = objects != self._objects or not self.synced
        self._objects = objects
        self.synced = True
        if news:
            self._changed()
        return str(found["metadata"]["resourceVersion"])

    def _follow(self, client: RestClient, version: str) -> None:
        """Take in what happens, one watch after the other, until one breaks (KubernetesError)."""
        while not self._stopped.is_set():
            for event in client.watch(api_path("v1", self.resource), timeout=_WATCH, resource_version=version):
                version = str(event["object"]["metadata"]["resourceVersion"])
                if event["type"] != "BOOKMARK":
                    self._take(event)

    def _take(self, event: Mapping[str, Any]) -> None:
        key = _key(event["object"])
        before = self._objects.get(key)
        after = None if event["type"] == "DELETED" else self._reduce(event["object"])
        if before == after:
            return
        objects = dict(self._objects)  # readers keep the one they have
        if after is None:
            del objects[key]
        else:
            objects[key] = after
        self._objects = objects
        self._changed()


def _key(found: Mapping[str, Any]) -> tuple[str, str]:
    return str(found["metadata"].get("namespace")), str(found["metadata"]["name"])
