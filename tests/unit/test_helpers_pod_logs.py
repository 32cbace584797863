"""Logs of pods: what is read on after a stream that ended."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

from localk8s.helpers.pod_logs import LogFollower, read_logs
from localk8s.kube.rest import RestClient
from localk8s.model.errors import KubernetesError, NotFoundError

POD = {"metadata": {"name": "p", "namespace": "default", "uid": "1"}, "spec": {"containers": [{"name": "c"}]}}


class Stream:
    """The lines of one answer."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines

    def __enter__(self) -> Any:
        return iter([line.encode() for line in self._lines])

    def __exit__(self, *exc_info: object) -> None:
        """As it is."""


class Client:
    """An API whose log streams end after some lines, one list after the other; the pod is gone after the last."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.gone = threading.Event()
        self.asked: list[str] = []

    def stream(self, path: str) -> Stream:
        self.asked.append(path)
        lines = self._answers.pop(0)
        if not self._answers:
            self.gone.set()
        return Stream(lines)

    def close(self) -> None:
        """As it is."""


def _followed(*answers: Sequence[str]) -> tuple[list[str], list[str]]:
    client = Client(*answers)
    follower = LogFollower(cast(RestClient, client), "/api/v1/pods", tail=5)
    follower._follow(POD, "c", client.gone)
    lines = [line.text for line in iter(lambda: follower._lines.get_nowait() if follower._lines.qsize() else None, None)]
    return lines, client.asked


def test_what_the_kubelet_says_without_a_time_loses_no_lines() -> None:
    remark = "unable to retrieve container logs for containerd://abc"
    lines, asked = _followed(
        ["2026-01-01T00:00:01.1Z one"],
        [remark],
        [remark],
        ["2026-01-01T00:00:01.1Z one", "2026-01-01T00:00:02.25Z two", "2026-01-01T00:00:03+02:00 three"],
    )
    assert lines == ["one", remark, "two", "three"]
    assert "sinceTime=2026-01-01T00%3A00%3A01.1Z" in asked[-1]


def test_a_remark_at_the_beginning_is_no_time_either() -> None:
    lines, asked = _followed(["failed to try resolving symlinks"], ["2026-01-01T00:00:01Z one", "2026-01-01T00:00:02Z "])
    assert lines == ["failed to try resolving symlinks", "one", ""]
    assert "tailLines=5" in asked[-1]


class Pods:
    """An API with some pods of two containers, of which the second has been restarted."""

    def __init__(self, *names: str) -> None:
        containers = [{"name": "a"}, {"name": "b"}]
        self._items = [{"metadata": {"name": name, "namespace": "n"}, "spec": {"containers": containers}} for name in names]

    def get(self, path: str) -> dict[str, Any]:
        return {"items": self._items}

    def raw(self, path: str) -> str:
        if "previous" in path and "container=a" in path:
            raise KubernetesError("previous terminated container not found", status=400)
        return ("before\n" if "previous=true" in path else "now\n") + path.partition("container=")[2][:1]


def _read(client: Pods, **chosen: Any) -> list[tuple[str, str, str]]:
    lines = read_logs(cast(RestClient, client), "/api/v1/pods", tail=5, **chosen)
    return [(line.pod, line.container, line.text) for line in lines]


def test_containers_are_chosen_and_what_ran_before_is_read() -> None:
    assert _read(Pods("p"), container="a") == [("p", "a", "now"), ("p", "a", "a")]
    assert [line[1] for line in _read(Pods("p", "q"))] == ["a", "a", "b", "b"] * 2
    assert _read(Pods("p"), previous=True) == [("p", "b", "before"), ("p", "b", "b")]


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(NotFoundError, match="No pods"):
        _read(Pods())
    with pytest.raises(NotFoundError, match="no container 'x': there are a, b"):
        _read(Pods("p"), container="x")
    with pytest.raises(NotFoundError, match="restarted"):
        _read(Pods("p"), container="a", previous=True)
