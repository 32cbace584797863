"""What the tests of the helpers share: one small workload, and short ways to ask it."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from localk8s_door import RealDoor

from localk8s import Cluster
from localk8s.system.environment import Environment
from localk8s.wiring import Installation

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: localk8s.dev/echo:1
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http, name: http}]}
"""


def library(door: RealDoor) -> Cluster:
    """The door's default cluster as an object in this process."""
    return Cluster(installation=Installation(Environment(door.environment)))


def deploy_web(door: RealDoor, manifest: str = WEB) -> None:
    """Apply the workload and wait until it is there."""
    door.do("kubectl", "apply", "-f", "-", stdin=manifest)
    door.do("kubectl", "rollout", "status", "deployment/web", "--timeout=120s", timeout=130)


def ask(url: str, timeout: float = 20) -> dict[str, Any]:
    """What the echo server says."""
    with urllib.request.urlopen(url, timeout=timeout) as response:
        said: dict[str, Any] = json.loads(response.read())
    return said


def eventually(check: Callable[[], Any], seconds: float = 15) -> Any:
    """The first true value of ``check``; it may fail before."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, urllib.error.URLError, AssertionError, KeyError, ValueError):
            if found := check():
                return found
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


@contextlib.contextmanager
def running(door: RealDoor, *arguments: str) -> Iterator[str]:
    """A command that runs until Ctrl-C; gives the first line of its output, and sees that it ends at once with 0."""
    process = door.spawn(*arguments)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=10)
        yield line
        began = time.monotonic()
        process.send_signal(2)
        _, complaints = process.communicate(timeout=10)
        assert process.returncode == 0, complaints
        assert time.monotonic() - began < 8
        assert "Traceback" not in complaints
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
