"""kill -9 at every step that localk8s itself reports, derived while it runs: nobody has to list the steps.

As a program it runs one verb of the library and ends itself by SIGKILL at the first point that was not met before. A
point is the begin of a step, or a command inside one; those that were met stand in a file, so that a caller who repeats the
verb until it comes to its end has met all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from localk8s import Cluster
from localk8s.model.progress import Step
from localk8s.wiring import Installation

_MOST = 60
"""Kills after which a verb that does not come to its end is an error."""
TURN = int(os.environ.get("LOCALK8S_TEST_TURN") or 0)
"""Where to meet all points would take too long, one of them is met; another number meets another."""


class Deadly:
    """A reporter that ends this process at the first new point.

    Args:
        met: the file of the points that were met.
        inside: how many commands into a step a point is, besides its begin.
        skip: how many new points it lives through.
    """

    def __init__(self, met: Path, inside: frozenset[int], skip: int = 0) -> None:
        self._met, self._inside, self._skip = met, inside, skip
        self._known = set(met.read_text().splitlines()) if met.exists() else set()
        self._steps: list[list[object]] = []
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def step(self, key: str, title: str) -> Iterator[Step]:
        """Meet the begin of a step, or run it."""
        self._meet(key)
        with self._lock:
            self._steps.append([key, 0])
        yield _Step()
        with self._lock:
            self._steps.pop()

    def warn(self, message: str) -> None:
        """Nothing."""

    def command(self, line: str) -> None:
        """Meet a command inside a step, or let it run."""
        with self._lock:
            if not self._steps:
                return
            step = self._steps[-1]
            step[1] = number = int(str(step[1])) + 1
            if number in self._inside:
                self._meet(f"{step[0]}+{number}")

    def _meet(self, point: str) -> None:
        with self._lock:
            if point in self._known:
                return
            if self._skip:
                self._skip -= 1
                self._known.add(point)
                return
            with self._met.open("a") as file:
                file.write(f"{point}\n")
            os.kill(os.getpid(), signal.SIGKILL)


class _Step:
    def progress(self, done: float, total: float | None, detail: str = "") -> None:
        """Nothing."""

    def finish_as(self, title: str) -> None:
        """Nothing."""


VERBS: dict[str, Callable[[Cluster, list[str]], object]] = {
    "start": lambda cluster, more: cluster.start(**_wish(more)),
    "stop": lambda cluster, more: cluster.stop(),
    "delete": lambda cluster, more: cluster.delete(),
    "node add": lambda cluster, more: cluster.add_node(),
    "node delete": lambda cluster, more: cluster.delete_node(more[0]),
    "registry start": lambda cluster, more: cluster.start_registry(),
    "docker-env": lambda cluster, more: cluster.docker_environment(),
    "image load": lambda cluster, more: cluster.load_image(Path(more[0])),
}


def _wish(words: list[str]) -> dict[str, Any]:
    """Arguments of ``Cluster.start`` from words such as ``nodes=2`` and ``option.provider=lxc``."""
    pairs = [(word.partition("=")[0], word.partition("=")[2]) for word in words]
    options = {key.removeprefix("option."): value for key, value in pairs if key.startswith("option.")}
    rest = {key: int(value) if key == "nodes" else value for key, value in pairs if not key.startswith("option.")}
    return {**rest, "options": options}


class Killer:
    """Kills verbs on one cluster.

    Args:
        cluster: its name.
        environment: of the processes.
        directory: for the files of points, one a verb.
        inside: see ``Deadly``.
    """

    def __init__(
        self, cluster: str, environment: Mapping[str, str], directory: Path, *, inside: tuple[int, ...] = (2,)
    ) -> None:
        self._cluster, self._environment, self._directory = cluster, dict(environment), directory
        self._inside = ",".join(map(str, inside))

    def kill(self, verb: str, *more: str, skip: int = 0) -> str:
        """Run ``verb`` until it dies at a new point; returns that, or nothing when it came to its end.

        Args:
            verb: see ``VERBS``.
            more: its arguments.
            skip: how many new points it lives through before.
        """
        met = self._directory / f"{verb.replace(' ', '-')}.met"
        before = self._points(met)
        argv = [sys.executable, __file__, self._cluster, verb, str(met), self._inside, str(skip), *more]
        done = subprocess.run(
            argv, env=self._environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, check=False
        )
        found = self._points(met)[len(before) :]
        if not found:
            assert done.returncode == 0, f"{verb} after {before}: {done.stdout}{done.stderr}"
            return ""
        assert done.returncode == -signal.SIGKILL, done.stderr
        return found[0]

    def kill_everywhere(self, verb: str, *more: str, between: Callable[[str], object] = lambda point: None) -> list[str]:
        """Repeat ``verb`` until it comes to its end, having died once at each point; returns those.

        Args:
            verb: see ``VERBS``.
            more: its arguments.
            between: called with each point after the death there.
        """
        points = []
        while point := self.kill(verb, *more):
            points.append(point)
            assert len(points) < _MOST, f"{verb} does not end: {points}"
            between(point)
        assert points, f"{verb} reports no step"
        return points

    @staticmethod
    def _points(met: Path) -> list[str]:
        return met.read_text().splitlines() if met.exists() else []


def main(cluster: str, verb: str, met: str, inside: str, skip: str, more: list[str]) -> None:
    """Run ``verb``, and die on the way."""
    report = Deadly(Path(met), frozenset(int(number) for number in inside.split(",") if number), int(skip))
    VERBS[verb](Cluster(cluster, installation=Installation(echo=report.command), report=report), more)


if __name__ == "__main__":
    main(*sys.argv[1:6], sys.argv[6:])
