"""A world of its own for one test: a fake minikube on PATH, a driver on it, and what was said to whom."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil

from localk8s.drivers.base import DriverContext
from localk8s.drivers.minikube import build
from localk8s.drivers.minikube.driver import MinikubeDriver
from localk8s.model.errors import ArtifactError
from localk8s.model.progress import Step
from localk8s.model.quantities import GIB
from localk8s.model.spec import ClusterSpec, NodeSize
from localk8s.store.layout import Layout
from localk8s.system.host import Host
from localk8s.system.paths import Roots
from localk8s.system.process import HostRunner

FAKE = Path(__file__).parent.parent / "fakes" / "minikube" / "bin"
SIZE = NodeSize(Decimal(2), 2 * GIB, 20 * GIB)


class Told:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.finished: list[str] = []
        self.moves: list[tuple[float, float | None, str]] = []
        self.warnings: list[str] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def step(self, key: str, title: str) -> Iterator[Step]:
        """Remember its key, and its title once it has ended."""
        self.steps.append(key)
        told = self

        class Running:
            title = ""

            def progress(self, done: float, total: float | None, detail: str = "") -> None:
                told.moves.append((done, total, detail))

            def finish_as(self, title: str) -> None:
                self.title = title

        running = Running()
        yield running
        self.finished.append(running.title or title)

    def warn(self, message: str) -> None:
        """Remember; the same twice breaks the contract."""
        assert message not in self.warnings, f"warned twice: {message}"
        self.warnings.append(message)

    def command(self, line: str) -> None:
        """Nobody watches."""


class NoArtifacts:
    """An artifact library that has nothing."""

    def newest_version(self, named: str | None) -> Any:
        """Nothing."""
        raise ArtifactError("There is nothing.")

    def kubernetes(self, version: Any, named: str | None, step: Step) -> Any:
        """Nothing."""
        raise ArtifactError("There are no programs.")

    def node_root(self, step: Step) -> Any:
        """Nothing."""
        raise ArtifactError("There is no root.")

    def images(self, binaries: Any, roles: Any, step: Step) -> Any:
        """Nothing."""
        raise ArtifactError("There are no images.")


class World:
    """One test's world.

    Args:
        root: an empty directory.
        monkeypatch: sets this process's environment.
    """

    def __init__(self, root: Path, monkeypatch: Any) -> None:
        self.root = root / "world"
        (self.root / "servers").mkdir(parents=True)
        self.home = root / "home" / ".minikube"
        self.data = root / "data"
        self.artifacts: Any = NoArtifacts()
        for name in [name for name in os.environ if name.startswith("MINIKUBE_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("FAKE_MINIKUBE_WORLD", str(self.root))
        monkeypatch.setenv("MINIKUBE_HOME", str(self.home))
        monkeypatch.setenv("HOME", str(root / "home"))
        monkeypatch.setenv("PATH", f"{self._programs(root / 'bin')}:{os.environ['PATH']}")
        monkeypatch.delenv("KUBECONFIG", raising=False)
        monkeypatch.setenv("LOCALK8S_OFFLINE", "0")
        monkeypatch.setenv("FAKE_MINIKUBE_SLOW", "3")  # more than a status waits for
        self._monkeypatch = monkeypatch
        self.patience(20.0)  # a busy machine is no trap

    @staticmethod
    def _programs(folder: Path) -> Path:
        """The fake's programs, run by this Python itself: several times quicker than by whatever ``env`` finds."""
        folder.mkdir()
        for name in ("minikube", "ssh", "docker"):
            program = folder / name
            program.write_text(
                f"#!{sys.executable} -ISB\nimport runpy\nrunpy.run_path({str(FAKE / name)!r}, run_name='__main__')\n"
            )
            program.chmod(0o755)
        return folder

    def patience(self, seconds: float) -> None:
        """How long ``inspect`` waits for an answer."""
        self._monkeypatch.setattr("localk8s.drivers.minikube.inspect._LIMIT", seconds)

    def scenario(self, **content: Any) -> None:
        """What is to go wrong from now on, and nothing else."""
        (self.root / "scenario.json").write_text(json.dumps(content))
        (self.root / "counts.json").unlink(missing_ok=True)

    def calls(self, command: str = "") -> list[list[str]]:
        """The calls of minikube so far, without the program."""
        file = self.root / "calls.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        argvs = [json.loads(line)["argv"] for line in lines]
        return [argv for argv in argvs if not command or " ".join(argv).startswith(command)]

    def forget_calls(self) -> None:
        """Begin to listen anew."""
        (self.root / "calls.jsonl").unlink(missing_ok=True)

    def environments(self) -> list[dict[str, str]]:
        """What minikube saw of the environment, call by call."""
        return [json.loads(line)["env"] for line in (self.root / "calls.jsonl").read_text().splitlines()]

    def machine(self, name: str) -> dict[str, Any] | None:
        """The state of a machine."""
        file = self.root / "machines" / f"{name}.json"
        return json.loads(file.read_text()) if file.exists() else None

    def set_machine(self, name: str, **words: str) -> None:
        """Something happened to a machine behind our back."""
        file = self.root / "machines" / f"{name}.json"
        file.write_text(json.dumps({**(self.machine(name) or {}), **words}))

    def lose_machine(self, name: str) -> None:
        """The machine vanished behind our back."""
        (self.root / "machines" / f"{name}.json").unlink()

    def profile(self, name: str) -> dict[str, Any] | None:
        """A profile as minikube recorded it."""
        file = self.home / "profiles" / name / "config.json"
        return json.loads(file.read_text()) if file.exists() else None

    def driver(
        self, settings: Mapping[str, str] | None = None, *, wait: bool = True, log: Path | None = None
    ) -> MinikubeDriver:
        """A driver as a new process would have it."""
        roots = Roots(self.data / "config", self.data / "state", self.data / "data", self.data / "cache")
        layout = Layout(roots)
        return build(
            DriverContext(
                directory=layout.driver_data("minikube"),
                runner=HostRunner(log=log),
                artifacts=self.artifacts,
                host=Host(roots.data),
                layout=layout,
                environment=dict(os.environ),
                settings=settings or {},
                wait=wait,
            )
        )

    def spec(self, vm: str = "docker", *, name: str = "default", nodes: int = 1, **options: str) -> ClusterSpec:
        """A completed spec."""
        named = {key.replace("_", "-"): text for key, text in options.items()}
        wish = ClusterSpec(name, "minikube", nodes=nodes, size=SIZE, options={"vm-driver": vm, **named})
        return self.driver().complete(wish)

    def running(self, word: str) -> list[psutil.Process]:
        """The processes of this world, and of no other, that have ``word`` in their command line."""
        found = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            own = (process.info["environ"] or {}).get("FAKE_MINIKUBE_WORLD") == str(self.root)
            if own and word in (process.info["cmdline"] or []):
                found.append(process)
        return found

    def close(self) -> None:
        """End the servers of this world."""
        import signal

        for file in (self.root / "servers").glob("*.json"):
            with contextlib.suppress(ProcessLookupError, KeyError):
                os.killpg(json.loads(file.read_text())["pid"], signal.SIGKILL)
