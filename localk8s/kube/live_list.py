"""A list of the Kubernetes API that keeps itself up to date: listed once, then watched, in a thread of its own.

Owns listing again after whatever went wrong (a restarted API server, a watch that ended, a version that is too old).
Must not judge the objects.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from localk8s.kube.paths import with_query
from localk8s.kube.rest import RestClient
from localk8s.kube.transport import LineStream
from localk8s.model.errors import KubernetesError, WaitTimeoutError

Item = dict[str, Any]
Changed = Callable[[str, Item], None]

_WATCH_SECONDS = 60
_IDLE_GRACE = 5.0
_PAUSE = 0.2
"""Seconds between attempts while the API does not answer."""


class LiveList:
    """The objects of one list, as they are now; a context manager.

    While the API does not answer, the last known objects stay.

    Args:
        client: of the cluster's API; threads may share it.
        path: of the list (see ``paths.api_path``), asked for again before each listing.
        changed: told about each object in the list's thread: ``ADDED``, ``MODIFIED`` or ``DELETED``, and the object.
    """

    def __init__(self, client: RestClient, path: str | Callable[[], str], changed: Changed | None = None) -> None:
        self._client = client
        self._path = path if callable(path) else lambda: path
        self._changed = changed or (lambda kind, item: None)
        self._items: dict[str, Item] = {}
        self._lock = threading.Lock()
        self._listed = threading.Event()
        self._closed = threading.Event()
        self._lines: LineStream | None = None
        self._thread = threading.Thread(target=self._run, name="live-list", daemon=True)
        self.trouble: KubernetesError | None = None
        """Why the last attempt failed; None while all is well."""

    def __enter__(self) -> LiveList:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End the watch; returns when its thread has ended, or after two seconds."""
        self._closed.set()
        lines = self._lines
        if lines is not None:
            lines.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(2)

    @property
    def items(self) -> tuple[Item, ...]:
        """The objects now, in no order."""
        with self._lock:
            return tuple(self._items.values())

    def wait_listed(self, timeout: float) -> None:
        """Wait until the list was read once.

        Args:
            timeout: seconds.

        Raises:
            KubernetesError: the API refuses.
            WaitTimeoutError: it did not answer in time.
        """
        if not self._listed.wait(timeout):
            if self.trouble is not None:
                raise self.trouble
            raise WaitTimeoutError(f"Waited {timeout:.0f} s for the Kubernetes API.")

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._watch(self._list())
                self.trouble = None
            except KubernetesError as exc:
                self.trouble = exc
                self._closed.wait(0 if exc.status == 410 else _PAUSE)
        self._client.close()

    def _list(self) -> str:
        listing = self._client.get(self._path())
        kind, version = str(listing.get("kind", "")).removesuffix("List"), listing.get("apiVersion", "")
        found = {item["metadata"]["uid"]: {"apiVersion": version, "kind": kind, **item} for item in listing["items"]}
        with self._lock:
            before, self._items = self._items, found
        for uid, item in before.items():
            if uid not in found:
                self._changed("DELETED", item)
        for uid, item in found.items():
            old = before.get(uid)
            if old is None or old["metadata"].get("resourceVersion") != item["metadata"].get("resourceVersion"):
                self._changed("MODIFIED" if old else "ADDED", item)
        self.trouble = None
        self._listed.set()
        return str(listing["metadata"].get("resourceVersion", ""))

    def _watch(self, version: str) -> None:
        path = with_query(
            self._path(), watch=True, allowWatchBookmarks=True, timeoutSeconds=_WATCH_SECONDS, resourceVersion=version
        )
        with self._client.stream(path, idle=_WATCH_SECONDS + _IDLE_GRACE) as lines:
            self._lines = lines
            if self._closed.is_set():
                return
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind, item = event["type"], event["object"]
        except (ValueError, KeyError, TypeError) as exc:
            raise KubernetesError("The watch sent half a line.") from exc
        if kind == "ERROR":
            raise KubernetesError(str(item.get("message") or "The watch ended."), status=item.get("code"))
        if kind == "BOOKMARK":
            return
        uid = item["metadata"]["uid"]
        with self._lock:
            if kind == "DELETED":
                self._items.pop(uid, None)
            else:
                self._items[uid] = item
        self._changed(kind, item)
