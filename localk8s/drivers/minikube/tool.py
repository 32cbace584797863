"""The program minikube: which one, which version, and one door to run it.

Owns time limits and the environment; must not interpret what minikube says beyond its version.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from localk8s.drivers.minikube import arguments
from localk8s.drivers.minikube.versions import (
    FLOOR,
    SETUP_HINT,
    MinikubeVersion,
    newest_supported_kubernetes,
    parse_version_output,
    require_floor,
)
from localk8s.model.errors import CommandError, Localk8sError, PrerequisiteError
from localk8s.model.node import Completed
from localk8s.system.process import HostRunner

if TYPE_CHECKING:
    import psutil

_TOKEN = re.compile(r"--token[ =](\w{6}\.\w{16})")
"""A bootstrap token, which minikube shows when a join fails."""
_MOUNT = "mount"
PROBE = 15.0
"""Seconds for a question that minikube answers from its own knowledge."""
QUESTION = 30.0
"""Seconds for a question about a cluster, outside of ``inspect``."""


class Minikube:
    """One minikube on this host.

    Args:
        runner: runs it.
        candidates: the programs to choose from, the preferred one first; the first that is new enough is taken.
        environment: variables that it runs with.
    """

    def __init__(self, runner: HostRunner, candidates: Sequence[Path], environment: Mapping[str, str]) -> None:
        self._runner = runner
        self._candidates = tuple(candidates)
        self._environment = dict(environment)

    @cached_property
    def _chosen(self) -> tuple[Path, MinikubeVersion]:
        """The program and its version; asked once."""
        refused: Localk8sError | None = None
        for program in self._candidates:
            try:
                version = self._version_of(program)
                require_floor(version)
            except Localk8sError as exc:
                refused = refused or exc
                continue
            return program, version
        if refused is not None:
            raise refused
        raise PrerequisiteError(f"minikube is not installed on this host (localk8s needs {FLOOR} or newer).", hint=SETUP_HINT)

    @property
    def version(self) -> MinikubeVersion:
        """Which release it is.

        Raises:
            PrerequisiteError: there is none, or none that is new enough.
        """
        return self._chosen[1]

    @property
    def program(self) -> Path:
        """Where it is; errors as for ``version``."""
        return self._chosen[0]

    @cached_property
    def unchecked_program(self) -> Path | None:
        """Where it is, its version not asked for; for questions that have to be quick."""
        return self._candidates[0] if self._candidates else None

    def newest_kubernetes(self, newest_minor: int) -> str | None:
        """The newest released Kubernetes that this minikube knows; None when it does not say."""
        done = self.run(arguments.KUBERNETES_VERSIONS, timeout=PROBE)
        return newest_supported_kubernetes(done.stdout, newest_minor=newest_minor) if done.returncode == 0 else None

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        on_line: Callable[[str], None] | None = None,
        quick: bool = False,
    ) -> Completed:
        """Run minikube to its end, whatever its exit code.

        Args:
            argv: without the program.
            timeout: seconds; its whole process group is then ended.
            on_line: called with each line it prints.
            quick: do not make sure of its version first.

        Raises:
            CommandError: it ran out of time.
            PrerequisiteError: there is no usable minikube.
        """
        program = self.unchecked_program if quick and self.unchecked_program else self.program
        return self._run(program, argv, timeout, on_line)

    def launch(self, argv: Sequence[str], output: Path) -> subprocess.Popen[bytes]:
        """Start what goes on by itself, its output into the file ``output``; errors as for ``version``."""
        return self._runner.launch([str(self.program), *argv], output, env=self._environment)

    def _run(self, program: Path, argv: Sequence[str], timeout: float, on_line: Callable[[str], None] | None) -> Completed:
        def line(text: str) -> None:
            for token in _TOKEN.findall(text):
                self._runner.hide(token)
            if on_line:
                on_line(text)

        return self._runner.run(
            [str(program), *argv], env=self._environment, timeout=timeout, check=False, on_line=line, cwd=Path(os.sep)
        )

    def _version_of(self, program: Path) -> MinikubeVersion:
        try:
            done = self._run(program, arguments.VERSION, PROBE, None)
        except CommandError as exc:
            exc.hint = exc.hint or SETUP_HINT
            raise
        if done.returncode != 0:
            raise CommandError(
                done.argv,
                done.returncode,
                done.stdout,
                done.stderr,
                message=f"{program} cannot say its version (exit {done.returncode}).",
                hint=SETUP_HINT,
            )
        return parse_version_output(done.stdout)


def candidates(environment: Mapping[str, str], tools: Path, setting: str = "") -> tuple[Path, ...]:
    """The minikube programs on this host, the preferred one first.

    Args:
        environment: for PATH.
        tools: where ``setup`` puts programs.
        setting: the program that the configuration names; then no other is looked for.
    """
    if setting:
        return (Path(setting).expanduser().absolute(),)
    installed = shutil.which("minikube", path=environment.get("PATH", os.defpath))
    own = tools / ("minikube.exe" if os.name == "nt" else "minikube")
    found = [Path(installed)] if installed else []
    return (*found, *([own] if own.is_file() and own not in found else []))


def end_orphans(profile: str, kubeconfig: Path, *, keep_serving: bool = False) -> int:
    """End what a killed localk8s left running on ``profile``; returns how many process groups that were.

    With ``keep_serving`` not the mounts, which are meant to outlive localk8s.

    Only minikube processes that localk8s itself started for this very cluster are meant: their command line names the
    profile and localk8s, their environment the private kubeconfig. The caller holds the cluster's lock, so no living
    localk8s waits for them.
    """
    return _end(profile, kubeconfig, lambda words: not (keep_serving and _MOUNT in words))


def end_serving(profile: str, kubeconfig: Path, ending: str) -> int:
    """End the mounts of ``profile`` whose pair of paths ends with ``ending``; returns how many."""
    return _end(profile, kubeconfig, lambda words: _MOUNT in words and any(word.endswith(ending) for word in words))


def is_running(profile: str, kubeconfig: Path) -> bool:
    """Whether a minikube that localk8s started works on ``profile`` now; its mounts do not count."""
    return any(True for _ in _own(profile, kubeconfig, lambda words: _MOUNT not in words))


def _end(profile: str, kubeconfig: Path, meant: Callable[[Sequence[str]], bool]) -> int:
    import psutil

    ended = 0
    for process in _own(profile, kubeconfig, meant):
        with contextlib.suppress(psutil.Error, OSError):
            _end_family(process)
        ended += 1
    return ended


def _own(profile: str, kubeconfig: Path, meant: Callable[[Sequence[str]], bool]) -> Iterator[psutil.Process]:
    """The minikubes that a localk8s with this private kubeconfig started on ``profile``."""
    import psutil

    marks = {f"--profile={profile}", f"--user={arguments.USER}"}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid == os.getpid() or not marks <= set(words) or not meant(words):
            continue
        named = ""
        with contextlib.suppress(psutil.Error, OSError):
            named = process.environ().get("KUBECONFIG", "")
        if named == str(kubeconfig):
            yield process


def _end_family(process: psutil.Process) -> None:
    import psutil

    family = [process, *process.children(recursive=True)]
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.terminate()
    _, alive = psutil.wait_procs(family, timeout=5)
    for member in alive:
        with contextlib.suppress(psutil.Error):
            member.kill()
