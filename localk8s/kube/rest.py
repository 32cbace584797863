"""A light client of the Kubernetes API: HTTP and JSON, nothing generated, no models.

For everything that must be quick to start (``status`` has 300 ms in all). Owns what a call is;
``transport`` owns the connection, ``paths`` the spelling. Threads may share a client: each has its own connection.
The standard library alone: it is part of the DNS image.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localk8s.kube.endpoint import Endpoint, endpoint_from_kubeconfig, endpoint_in_cluster
from localk8s.kube.paths import Resource, api_path, known_resource, object_path, with_query
from localk8s.kube.transport import LineStream, connect, no_answer, read_all, refusal, send, socket_of, usable
from localk8s.model.errors import KubernetesError

if TYPE_CHECKING:
    import http.client

FIELD_MANAGER = "localk8s"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

_IDLE_GRACE = 5.0
"""Seconds that a watch may be silent beyond its own time limit before the server is taken for gone."""
_REPEATABLE = ("GET", "PUT", "DELETE")


class RestClient:
    """One API server, asked by path.

    Args:
        endpoint: the server and the identity.
        timeout: seconds one call may take, unless the call says otherwise.
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float = 10.0) -> None:
        self.endpoint = endpoint
        self._timeout = timeout
        self._local = threading.local()
        self._resources: dict[tuple[str, str], Resource] = {}

    @classmethod
    def from_kubeconfig(cls, text: str, *, timeout: float = 10.0, context: str = "", base: Path | None = None) -> RestClient:
        """A client for one context of a kubeconfig's text; see ``endpoint_from_kubeconfig``."""
        return cls(endpoint_from_kubeconfig(text, context=context, base=base), timeout=timeout)

    @classmethod
    def in_cluster(cls, environment: Mapping[str, str], *, timeout: float = 10.0) -> RestClient:
        """A client with the service account of the pod that this runs in; see ``endpoint_in_cluster``."""
        return cls(endpoint_in_cluster(environment), timeout=timeout)

    def get(self, path: str, *, timeout: float | None = None) -> Any:
        """The decoded JSON at ``path`` (see ``paths.api_path``).

        Raises:
            KubernetesError: the server refused (``status`` holds the HTTP status), or gave no answer (``status`` is None).
        """
        return self.request("GET", path, timeout=timeout)

    def post(self, path: str, body: Any, *, timeout: float | None = None) -> Any:
        """Create ``body`` below the list at ``path``; returns the object as stored. Errors as for ``get``."""
        return self.request("POST", path, body, timeout=timeout)

    def put(self, path: str, body: Any, *, timeout: float | None = None) -> Any:
        """Replace the object at ``path``; returns it as stored. Errors as for ``get``."""
        return self.request("PUT", path, body, timeout=timeout)

    def patch(self, path: str, body: Any, *, content_type: str = MERGE, timeout: float | None = None) -> Any:
        """Change the object at ``path``; returns it as stored.

        Args:
            content_type: ``MERGE``, ``STRATEGIC``, ``JSON_PATCH`` or ``APPLY``.
        """
        return self.request("PATCH", path, body, content_type=content_type, timeout=timeout)

    def delete(self, path: str, *, missing_ok: bool = True, timeout: float | None = None) -> None:
        """Delete the object at ``path``; its dependents go with it, in the background.

        Raises:
            KubernetesError: as for ``get``; that it is not there only when ``missing_ok`` is False.
        """
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        try:
            self.request("DELETE", path, body, timeout=timeout)
        except KubernetesError as exc:
            if exc.status != 404 or not missing_ok:
                raise

    def apply(self, manifest: dict[str, Any], *, timeout: float | None = None) -> Any:
        """Make the object exist as ``manifest`` says (server-side apply; fields of others are taken over).

        Args:
            manifest: apiVersion, kind, metadata.name, and what is wanted; no other manager's fields.

        Raises:
            KubernetesError: as for ``get``; status 404 also for a kind that the server does not know.
            UsageError: the manifest has no name.
        """
        path = object_path(manifest, self.resource(str(manifest.get("apiVersion")), str(manifest.get("kind"))))
        path = with_query(path, fieldManager=FIELD_MANAGER, force=True)
        return self.request("PATCH", path, manifest, content_type=APPLY, timeout=timeout)

    def resource(self, api_version: str, kind: str) -> Resource:
        """How ``kind`` is spelled in paths; asks the server for kinds that are not among the usual ones."""
        key = (api_version, kind)
        found = known_resource(*key) or self._resources.get(key)
        if found is None:
            for item in self.get(api_path(api_version)).get("resources", []):
                if "/" not in item["name"]:
                    self._resources[api_version, item["kind"]] = Resource(item["name"], bool(item["namespaced"]))
            found = self._resources.get(key)
        if found is None:
            raise KubernetesError(f"The API server knows no kind {kind!r} in {api_version!r}.", status=404)
        return found

    def raw(self, path: str, *, timeout: float | None = None) -> str:
        """The text at ``path``, such as ``/readyz`` or a pod's log. Errors as for ``get``."""
        return self._call("GET", path, None, "", timeout).decode("utf-8", "replace")

    def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", timeout: float | None = None
    ) -> Any:
        """Any call with a JSON body and a JSON answer; errors as for ``get``."""
        data = None if body is None else json.dumps(body).encode()
        answer = self._call(method, path, data, content_type, timeout)
        try:
            return json.loads(answer) if answer else None
        except ValueError as exc:
            raise KubernetesError(f"The answer of {self.endpoint.url}{path} is no JSON.") from exc

    def stream(self, path: str, *, timeout: float | None = None, idle: float | None = None) -> LineStream:
        """The lines at ``path`` as they come (a followed log, a watch), on a connection of their own.

        Args:
            timeout: seconds until the answer begins.
            idle: seconds without a byte after which the server is taken for gone; None waits as long as it takes.
        """
        limit = self._timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        connection = connect(self.endpoint, deadline, limit)
        try:
            response = send(connection, self.endpoint, "GET", path, None, "", deadline)
            if response.status >= 400:
                raise refusal(path, response.status, read_all(connection, response, deadline))
        except OSError as exc:
            connection.close()
            raise no_answer(self.endpoint, exc, limit) from exc
        except BaseException:
            connection.close()
            raise
        socket_of(connection).settimeout(idle)
        return LineStream(self.endpoint, connection, response)

    def watch(self, path: str, *, timeout: float, resource_version: str = "") -> Iterator[dict[str, Any]]:
        """What happens to the objects of the list at ``path``.

        Args:
            timeout: seconds after which the watch ends by itself (the server is told).
            resource_version: that of the list from which to go on; empty begins with every object as it is.

        Yields:
            events as the server sends them: ``{"type": "ADDED", "object": {…}}``; also ``BOOKMARK``.

        Raises:
            KubernetesError: status 410 when ``resource_version`` is too old (list again); None when the server went away.
        """
        query = with_query(
            path,
            watch=True,
            allowWatchBookmarks=True,
            timeoutSeconds=max(1, round(timeout)),
            resourceVersion=resource_version,
        )
        with self.stream(query, idle=timeout + _IDLE_GRACE) as lines:
            for line in lines:
                event: dict[str, Any] = json.loads(line)
                if event.get("type") == "ERROR":
                    status = event.get("object") or {}
                    raise KubernetesError(str(status.get("message") or "The watch ended."), status=status.get("code"))
                yield event

    def close(self) -> None:
        """Close this thread's connection; the next call opens another."""
        slot: _Kept | None = getattr(self._local, "kept", None)
        self._local.kept = None
        if slot is not None:
            slot.connection.close()

    def _call(self, method: str, path: str, data: bytes | None, content_type: str, timeout: float | None) -> bytes:
        limit = self._timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        slot: _Kept | None = getattr(self._local, "kept", None)
        kept = slot.connection if slot is not None and usable(slot.connection) else None
        while True:
            fresh = kept is None
            connection = kept or self._reconnect(deadline, limit)
            try:
                response = send(connection, self.endpoint, method, path, data, content_type, deadline)
                answer = read_all(connection, response, deadline)
            except OSError as exc:
                self.close()
                repeatable = method in _REPEATABLE or content_type == APPLY
                if fresh or not repeatable or isinstance(exc, TimeoutError):
                    raise no_answer(self.endpoint, exc, limit) from exc
                kept = None  # the server had closed an idle connection: once more on a new one
                continue
            except BaseException:
                self.close()  # half an answer may still be under way
                raise
            if response.status >= 400:
                raise refusal(path, response.status, answer)
            return answer

    def _reconnect(self, deadline: float, limit: float) -> http.client.HTTPConnection:
        self.close()
        connection = connect(self.endpoint, deadline, limit)
        self._local.kept = _Kept(connection)
        return connection


class _Kept:
    """A thread's connection; closed when the thread ends or the client is forgotten."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()
