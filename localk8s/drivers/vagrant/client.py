"""The only importer of python-vagrant: its verbs, our process runner, our parsers, the reason of every failure kept.

python-vagrant would send the reason to /dev/null, kill a Vagrant that is tidying up after Ctrl-C, and wait forever;
so its two methods that start processes are replaced here. Must not know Kubernetes.
"""

from __future__ import annotations

import shutil
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, cast

from localk8s.drivers.vagrant.machine_readable import (
    HostEntry,
    error_reason,
    failed_machines,
    machine_states,
    parse_ssh_config,
    shorten,
)
from localk8s.model.errors import CommandError, PrerequisiteError
from localk8s.model.hints import host_command
from localk8s.system.process import HostRunner

_PATIENCE = 60.0
"""Seconds that Vagrant gets to let go of its locks after Ctrl-C."""
_QUERY_LIMIT = 60.0


class VagrantError(CommandError):
    """Vagrant failed; ``machines`` says which machines and why, where Vagrant told."""

    code = "vagrant_failed"

    def __init__(self, error: CommandError, machines: Mapping[str, str], message: str, hint: str) -> None:
        super().__init__(error.argv, error.returncode, error.stdout, error.stderr, message=message, hint=hint)
        self.unanswered = error.unanswered
        self.machines = dict(machines)


class PartialBootError(VagrantError):
    """Some machines did not come up; the others run, and the cluster is brought up on them.

    Args:
        error: what Vagrant said.
        down: names of the machines that are not there.
        message: a sentence.
        hint: what finishes it.
    """

    resumable = True

    def __init__(self, error: VagrantError, down: Sequence[str], message: str, hint: str) -> None:
        super().__init__(error, error.machines, message, hint)
        self.down = tuple(down)
        self.began: datetime | None = None
        """When the others began to boot."""


class _Verbs(Protocol):
    """What is used of python-vagrant's class."""

    def up(self, vm_name: str | None = None, no_provision: bool = False, provider: str | None = None) -> Any: ...
    def halt(self, vm_name: str | None = None, force: bool = False) -> None: ...
    def destroy(self, vm_name: str | None = None) -> None: ...
    def ssh_config(self, vm_name: str | None = None) -> str: ...
    def _call_vagrant_command(self, args: Sequence[str | None]) -> None: ...
    def _run_vagrant_command(self, args: Sequence[str | None]) -> str: ...


class VagrantClient:
    """Vagrant, for one directory with a Vagrantfile.

    Args:
        directory: where the Vagrantfile is; Vagrant's state of these machines stays below it.
        runner: runs vagrant.
        environment: what is added to Vagrant's environment (``VAGRANT_HOME``, what a provider needs).
        boot_limit: seconds that bringing machines up may take.
    """

    def __init__(
        self, directory: Path, runner: HostRunner, environment: Mapping[str, str], *, boot_limit: float = 1800.0
    ) -> None:
        self._directory = directory
        self._runner = runner
        self._environment = {
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_BOX_UPDATE_CHECK_DISABLE": "1",
            "VAGRANT_NO_COLOR": "1",
            "VAGRANT_CWD": str(directory),
            "VAGRANT_DOTFILE_PATH": str(directory / ".vagrant"),
            "VAGRANT_VAGRANTFILE": "Vagrantfile",
            **environment,
        }
        self._boot_limit = boot_limit
        self._hosts: Mapping[str, HostEntry] | None = None
        self._on_line: Callable[[str], None] | None = None
        self._lock = threading.Lock()

    def up(self, machines: Sequence[str], provider: str, on_line: Callable[[str], None] | None = None) -> None:
        """Bring machines up, several at once where the provider can; those that run are left alone.

        Args:
            machines: their names; all when empty.
            provider: as Vagrant calls it.
            on_line: called with each line that Vagrant prints.

        Raises:
            VagrantError: at least one did not come up.
        """
        self._hosts = None
        self._on_line = on_line
        try:
            if len(machines) == 1:
                self._verbs().up(vm_name=machines[0], no_provision=True, provider=provider)
            else:  # python-vagrant takes one name or none
                self._verbs()._call_vagrant_command(["up", *machines, "--no-provision", f"--provider={provider}"])
        finally:
            self._on_line = None

    def halt(self, machine: str, *, force: bool = False) -> None:
        """Switch one machine off; one that is off stays off."""
        self._hosts = None
        self._verbs().halt(vm_name=machine, force=force)

    def destroy(self, machine: str | None = None) -> None:
        """Remove one machine, or all at once, with their disks. Removing what is not there succeeds."""
        self._hosts = None
        if machine is None:
            self._verbs()._call_vagrant_command(["destroy", "--force", "--parallel"])
        else:
            self._verbs().destroy(vm_name=machine)

    def states(self) -> Mapping[str, str]:
        """Machine -> Vagrant's word for its state (one or two seconds)."""
        return machine_states(self._verbs()._run_vagrant_command(["status", "--machine-readable"]))

    def hosts(self) -> Mapping[str, HostEntry]:
        """Machine -> how it is reached by ssh. Asked once; ``up``, ``halt`` and ``destroy`` forget it.

        Machines that are off are not in it.
        """
        with self._lock:
            if self._hosts is None:
                self._hosts = parse_ssh_config(self._ssh_config())
            return self._hosts

    def _ssh_config(self) -> str:
        try:
            return self._verbs().ssh_config()
        except CommandError as exc:  # one machine that is off makes it fail, but the others are printed
            return exc.stdout

    def _verbs(self) -> _Verbs:
        return _make(self)

    def run(self, arguments: Sequence[str], *, timeout: float) -> str:
        """Run ``vagrant`` with ``arguments`` and return what it printed.

        Raises:
            VagrantError: it failed, or took longer than ``timeout`` seconds.
            PrerequisiteError: it is not installed.
        """
        if shutil.which("vagrant") is None:
            raise PrerequisiteError("Vagrant is not installed on this host.", hint=host_command("setup", "--driver", "vagrant"))
        try:
            done = self._runner.run(
                ["vagrant", *arguments], env=self._environment, cwd=self._directory, timeout=timeout, patience=_PATIENCE,
                on_line=self._on_line,
            )  # fmt: skip
        except CommandError as exc:
            raise _translated(arguments, exc) from exc
        return done.stdout

    def limit(self, arguments: Sequence[str]) -> float:
        """Seconds that a command may take."""
        return _QUERY_LIMIT if arguments[0] in ("status", "ssh-config") else self._boot_limit


def _translated(arguments: Sequence[str], error: CommandError) -> VagrantError:
    machines = failed_machines(error.stderr) or failed_machines(error.stdout)
    if error.returncode is None:
        reason = error.message
    elif machines:
        reason = "; ".join(f"{name}: {why}" for name, why in machines.items())
    else:
        reason = error_reason(error.stdout) or shorten(error.stderr) or shorten(error.stdout) or "it gave no reason"
    message = f"vagrant {arguments[0]} failed: {reason}"
    return VagrantError(error, machines, message if message.endswith((".", "?", "!")) else f"{message}.", "")


def _make(client: VagrantClient) -> _Verbs:
    """python-vagrant's object with its two doors to processes led through ``client``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns at import when vagrant is missing; ``run`` says so better
        import vagrant

    class Verbs(vagrant.Vagrant):
        def _call_vagrant_command(self, args: Sequence[str | None]) -> None:
            self._run_vagrant_command(args)

        def _run_vagrant_command(self, args: Sequence[str | None]) -> str:
            arguments = [argument for argument in args if argument is not None]
            return client.run(arguments, timeout=client.limit(arguments))

    make: Any = Verbs
    return cast(_Verbs, make(root=str(client._directory)))
