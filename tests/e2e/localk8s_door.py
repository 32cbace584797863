"""The real command line for tests, and a look at everything a cluster could leave on this host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BINARY = Path(sys.executable).parent / "localk8s"


class RealDoor:
    """localk8s in a process of its own, with one home.

    Args:
        home: where it keeps everything but the artifact cache.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        cache = os.environ.get("LOCALK8S_CACHE") or str(Path("~/.cache/localk8s").expanduser())
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LOCALK8S_")},
            "LOCALK8S_HOME": str(home),
            "LOCALK8S_CACHE": cache,
            "LOCALK8S_OFFLINE": "1",
            "KUBECONFIG": str(home / "kubeconfig"),
            "COLUMNS": "120",
        }

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        """The command line; LOCALK8S_TEST_ARTIFACTS names other Kubernetes programs to make every cluster of."""
        artifacts = os.environ.get("LOCALK8S_TEST_ARTIFACTS", "")
        more = ["--artifacts", artifacts] if artifacts and arguments[:1] == ("start",) else []
        return [str(BINARY), *arguments, *more]

    def spawn(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and do not wait for it."""
        return subprocess.Popen(
            self._command(arguments),
            env=self.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str, timeout: float = 300, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its exit code."""
        return subprocess.run(
            self._command(arguments),
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=timeout,
            input=stdin if stdin is not None else "",
            check=False,
        )

    def do(self, *arguments: str, timeout: float = 300, stdin: str | None = None) -> str:
        """Run a command that must succeed; returns its standard output."""
        done = self.run(*arguments, timeout=timeout, stdin=stdin)
        assert done.returncode == 0, f"localk8s {' '.join(arguments)} -> {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    def fail(self, *arguments: str, code: int, timeout: float = 300) -> str:
        """Run a command that must fail with ``code`` and one clear sentence; returns its standard error."""
        done = self.run(*arguments, timeout=timeout)
        assert done.returncode == code, f"localk8s {' '.join(arguments)} -> {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.stderr.count("error: ") == 1 and "Traceback" not in done.stderr, done.stderr
        return done.stderr

    def status(self, cluster: str = "default") -> dict[str, Any]:
        """What ``status -o json`` says, whatever its exit code."""
        done = self.run("status", "-c", cluster, "-o", "json")
        return dict(json.loads(done.stdout or "{}"))

    def kubectl(self, *arguments: str, cluster: str = "default", stdin: str | None = None) -> str:
        """kubectl against the cluster; must succeed."""
        return self.do("kubectl", "-c", cluster, "--", *arguments, stdin=stdin)

    def objects(self, *arguments: str, cluster: str = "default") -> list[dict[str, Any]]:
        """Objects that ``kubectl get`` lists."""
        return list(json.loads(self.kubectl("get", *arguments, "-o", "json", cluster=cluster))["items"])

    def node(self, name: str, *argv: str, cluster: str = "default", stdin: str | None = None) -> str:
        """Run a command on a node; must succeed."""
        return self.do("ssh", "-c", cluster, name, "--", *argv, stdin=stdin)


def ask(url: str, timeout: float = 5) -> dict[str, Any]:
    """GET an echo server and return what it says; tried for ``timeout`` seconds: a kube-proxy takes one to know a service."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with urllib.request.urlopen(url, timeout=timeout) as answer:
                return dict(json.load(answer))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@dataclass(frozen=True)
class Traces:
    """Everything on this host that a cluster could leave."""

    processes: frozenset[str]
    mounts: frozenset[str]
    links: frozenset[str]
    routes: frozenset[str]
    rules: frozenset[str]
    loops: frozenset[str]
    groups: frozenset[str]
    named_networks: frozenset[str]
    sysctls: frozenset[str]
    files: frozenset[str]

    def more_than(self, before: Traces) -> dict[str, list[str]]:
        """What is there now and was not before, by kind."""
        found = {kind: sorted(getattr(self, kind) - getattr(before, kind)) for kind in self.__dataclass_fields__}
        return {kind: more for kind, more in found.items() if more}


def _lines(*argv: str) -> frozenset[str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return frozenset(line.strip() for line in done.stdout.splitlines() if line.strip())


def traces(door: RealDoor) -> Traces:
    """Look at this host now."""
    groups = {str(path) for path in Path("/sys/fs/cgroup").glob("*/localk8s-*")}
    groups |= {str(path) for path in Path("/sys/fs/cgroup").glob("localk8s-*")}
    own = str(door.home)
    rules = _lines("iptables-save", "-t", "nat") | _lines("iptables-save", "-t", "filter")
    sysctls = [Path("/proc/sys/vm/overcommit_memory"), Path("/proc/sys/kernel/panic"), Path("/proc/sys/kernel/panic_on_oops")]
    return Traces(
        processes=frozenset(line for line in _lines("ps", "-e", "-ww", "-o", "pid,args") if own in line),
        mounts=frozenset(line for line in Path("/proc/self/mountinfo").read_text().splitlines() if own in line),
        links=frozenset(line.split(": ")[1].split("@")[0] for line in _lines("ip", "-o", "link")),
        routes=_lines("ip", "-4", "route", "show", "table", "all"),
        rules=frozenset(line for line in rules if "localk8s" in line.lower()),
        loops=frozenset(line for line in _lines("losetup", "--list", "--noheadings", "-O", "BACK-FILE") if own in line),
        groups=frozenset(path for path in groups if _belongs(path, door)),
        named_networks=frozenset(str(path) for path in Path("/run/netns").glob("*"))
        if Path("/run/netns").is_dir()
        else frozenset(),
        sysctls=frozenset(f"{path}={path.read_text().strip()}" for path in sysctls),
        files=frozenset(str(path) for path in door.home.rglob("*") if path.is_file() and not _expected(path)),
    )


def _expected(path: Path) -> bool:
    """Locks are left for the next command, and the kubeconfig (with its backup) is the user's own."""
    return "/locks/" in str(path) or path.name.startswith("kubeconfig")


def _belongs(group: str, door: RealDoor) -> bool:
    """Whether the control group was made from this home (others may have clusters on this host at the same time)."""
    from localk8s.drivers.native.plan import identify

    identity, _, name = group.rpartition("localk8s-")[2].partition("-")
    return identify(str((door.home / "data" / "native").resolve()), name) == identity
