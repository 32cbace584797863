"""What the dashboard knows of a cluster, kept up to date by watches, and told to whoever listens. No web in here."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from localk8s.helpers import dashboard_rows as rows
from localk8s.helpers.top import FiguresOf, look
from localk8s.kube.live_list import LiveList
from localk8s.kube.paths import api_path
from localk8s.kube.rest import RestClient
from localk8s.model.errors import KubernetesError
from localk8s.model.spec import NodeSize

_GATHER = 0.1
"""Seconds in which changes are gathered into one message."""
_SAMPLE = 3.0
_SAMPLES = 200
_LISTED = 10.0
_LIFE_SIGN = 10.0
"""Seconds of silence after which a listener gets an empty message, so that a dead connection shows."""
_MOST_EVENTS = 1000

Message = dict[str, Any]
_LISTS: tuple[tuple[str, str, str], ...] = (
    ("nodes", "v1", "nodes"),
    ("namespaces", "v1", "namespaces"),
    ("pods", "v1", "pods"),
    ("services", "v1", "services"),
    ("events", "v1", "events"),
    ("workloads", "apps/v1", "deployments"),
    ("workloads", "apps/v1", "statefulsets"),
    ("workloads", "apps/v1", "daemonsets"),
)


class Listener:
    """One page that is open: what it has not been told yet. Belongs to the event loop."""

    def __init__(self) -> None:
        self.changes: dict[tuple[str, str], rows.Row | None] = {}
        self.messages: list[Message] = []
        self.wake = asyncio.Event()


class DashboardState:
    """A cluster as the page shows it; a context manager.

    Args:
        client: of the cluster's API.
        service_row: makes the row of a service.
        loop: where the listeners live.
        size: the bounds of each node.
        figures_of: see ``top.look``.
    """

    def __init__(
        self,
        client: RestClient,
        service_row: Callable[[rows.Item], rows.Row],
        loop: asyncio.AbstractEventLoop,
        *,
        size: NodeSize,
        figures_of: FiguresOf | None = None,
    ) -> None:
        self._size, self._figures_of = size, figures_of
        self._client = client
        self._loop = loop
        self._makers: Mapping[str, Callable[[rows.Item], rows.Row]] = {
            "nodes": lambda node: rows.node_row(node, size),
            "namespaces": rows.namespace_row,
            "pods": rows.pod_row,
            "services": service_row,
            "events": rows.event_row,
            "workloads": rows.workload_row,
        }
        self._rows: dict[str, dict[str, rows.Row]] = {name: {} for name in self._makers}
        self._usage: deque[Message] = deque(maxlen=_SAMPLES)
        self._trouble = ""
        self._listeners: set[Listener] = set()
        self._closed = threading.Event()
        self._lists = [LiveList(client, api_path(version, plural), self._changed_in(name)) for name, version, plural in _LISTS]
        self._sampler = threading.Thread(target=self._sample, name="dashboard-usage", daemon=True)

    def __enter__(self) -> DashboardState:
        with contextlib.ExitStack() as stack:
            for each in self._lists:
                stack.enter_context(each)
            for each in self._lists:
                each.wait_listed(_LISTED)
            stack.pop_all()
        self._sampler.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closed.set()
        for each in self._lists:
            each.close()
        if self._sampler.is_alive():
            self._sampler.join(2)

    def end_listeners(self) -> None:
        """Let every page's stream end; called in the loop."""
        self._closed.set()
        for listener in self._listeners:
            listener.wake.set()

    async def listen(self) -> AsyncIterator[Message]:
        """Everything once, then what changes, gathered; ends when the dashboard does."""
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield self._everything()
            while not self._closed.is_set():
                try:
                    async with asyncio.timeout(_LIFE_SIGN):
                        await listener.wake.wait()
                except TimeoutError:
                    yield {"type": "alive"}
                    continue
                await asyncio.sleep(0 if self._closed.is_set() else _GATHER)
                listener.wake.clear()
                for message in self._untold(listener):
                    yield message
        finally:
            self._listeners.discard(listener)

    def _everything(self) -> Message:
        sections = {name: list(found.values()) for name, found in self._rows.items()}
        return {"type": "everything", "rows": sections, "usage": list(self._usage), "trouble": self._trouble}

    @staticmethod
    def _untold(listener: Listener) -> list[Message]:
        changes, messages = listener.changes, listener.messages
        listener.changes, listener.messages = {}, []
        if changes:
            told = [[section, uid, row] for (section, uid), row in changes.items()]
            messages.insert(0, {"type": "changes", "changes": told})
        return messages

    def _changed_in(self, section: str) -> Callable[[str, Mapping[str, Any]], None]:
        def changed(kind: str, item: Mapping[str, Any]) -> None:
            row = None if kind == "DELETED" else self._makers[section](item)
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._take, section, item["metadata"]["uid"], row)

        return changed

    def _take(self, section: str, uid: str, row: rows.Row | None) -> None:
        found = self._rows[section]
        gone = [uid] if row is None else []
        if row is not None:
            found[uid] = row
            if section == "events" and len(found) > _MOST_EVENTS:
                gone.append(min(found, key=lambda each: str(found[each]["last"])))
        for each in gone:
            found.pop(each, None)
        for listener in self._listeners:
            if row is not None:
                listener.changes[section, uid] = row
            for each in gone:
                listener.changes[section, each] = None
            listener.wake.set()

    def _sample(self) -> None:
        while not self._closed.is_set():
            message: Message | None = None
            with contextlib.suppress(KubernetesError):  # the lists say what is the matter
                message = rows.usage_message(look(self._client, self._size, self._figures_of), time.time())
            trouble = next((each.trouble.message for each in self._lists if each.trouble is not None), "")
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._take_usage, message, trouble)
            self._closed.wait(_SAMPLE if not trouble else 1)
        self._client.close()

    def _take_usage(self, usage: Message | None, trouble: str) -> None:
        messages: list[Message] = []
        if usage is not None:
            self._usage.append({key: usage[key] for key in ("at", "nodes")})
            messages.append({"type": "usage", **usage})
        if trouble != self._trouble:
            self._trouble = trouble
            messages.append({"type": "trouble", "text": trouble})
        for listener in self._listeners:
            listener.messages += messages
            listener.wake.set()
