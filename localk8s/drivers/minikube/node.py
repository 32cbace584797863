"""The machines of a minikube cluster as nodes: this host itself, or one that plain ssh reaches.

Owns running and copying with real exit codes; must not know where machines come from (``machines`` does).
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from localk8s.drivers.minikube.ssh import CONNECTION_FAILED, SshTarget, remote_command, ssh_argv
from localk8s.drivers.minikube.vm_drivers import refuse_ssh, vm_driver
from localk8s.model.errors import CommandError, NotFoundError, UsageError
from localk8s.model.node import Completed, Input
from localk8s.model.status import NodeRole
from localk8s.system.files import write_atomic
from localk8s.system.process import HostRunner

_COPY = 600.0
"""Seconds a copy may take."""
_MISSING = 66

_WRITE = """set -eu
mkdir -p -- "$(dirname -- "$1")"
new=$(mktemp -- "$1.XXXXXX")
trap 'rm -f -- "$new"' EXIT
cat > "$new"
chmod -- "$2" "$new"
mv -f -- "$new" "$1"
trap - EXIT
"""
_READ = f"""test -f "$1" || exit {_MISSING}
base64 < "$1"
"""


class _Machine:
    """What both kinds of nodes have in common: files go through standard input and output of commands."""

    def __init__(self, name: str, role: NodeRole, address: Callable[[], str]) -> None:
        self.name = name
        self.role = role
        self._address = address

    @property
    def address(self) -> str:
        """The address that the node has now; minikube's own record of it may be old.

        Raises:
            WrongStateError: the cluster does not run, so that nobody knows.
        """
        return self._address()

    def run(
        self,
        argv: Sequence[str],
        *,
        input: Input | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        """See ``Runner.run``."""
        raise NotImplementedError

    def copy_in(self, source: Path, target: str, *, mode: int = 0o644) -> None:
        """See ``Node.copy_in``."""
        try:
            content = source.read_bytes()
        except (FileNotFoundError, IsADirectoryError) as exc:
            raise NotFoundError(f"{source} is not there, or is no file.") from exc
        self.write(target, content, mode=mode)

    def copy_out(self, source: str, target: Path) -> None:
        """See ``Node.copy_out``."""
        done = self.run(["sh", "-c", _READ, "sh", source], timeout=_COPY, check=False)
        if done.returncode == _MISSING:
            raise NotFoundError(f"{source} is not on {self.name}, or is no file.")
        if done.returncode != 0:
            raise CommandError(done.argv, done.returncode, stderr=done.stderr)
        try:
            content = base64.b64decode(done.stdout, validate=False)
        except binascii.Error as exc:
            raise CommandError(done.argv, 0, message=f"{source} could not be read from {self.name}.") from exc
        write_atomic(target, content, mode=0o600)

    def write(self, target: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """See ``Node.write``."""
        if not PurePosixPath(target).is_absolute():
            raise UsageError(f"{target!r} is no absolute path.")
        self.run(["sh", "-c", _WRITE, "sh", target, f"{mode:o}"], input=content or b"", timeout=_COPY)


class HostNode(_Machine):
    """The node of minikube's none driver: this host.

    Args:
        runner: runs commands on it.
        name: its name in Kubernetes.
        role: what it does.
        address: finds out its IPv4 address.
    """

    def __init__(self, runner: HostRunner, name: str, role: NodeRole, address: Callable[[], str]) -> None:
        super().__init__(name, role, address)
        self._runner = runner

    def run(
        self,
        argv: Sequence[str],
        *,
        input: Input | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        """See ``Runner.run``."""
        return self._runner.run(self._as_root(argv, env), input=input, timeout=timeout, check=check)

    def shell(self, argv: Sequence[str] = ()) -> int:
        """See ``Node.shell``.

        Raises:
            NotSupportedError: no command is given: there is nothing to log in to.
        """
        if not argv:
            refuse_ssh(vm_driver("none"))
        return self._runner.foreground(self._as_root(argv, None))

    def _as_root(self, argv: Sequence[str], env: Mapping[str, str] | None) -> list[str]:
        words = ["env", *(f"{name}={value}" for name, value in env.items()), *argv] if env else list(argv)
        return words if os.geteuid() == 0 else ["sudo", "-n", "--", *words]


class SshNode(_Machine):
    """A machine that is reached over ssh.

    Args:
        runner: runs ssh on this host.
        name: its name in Kubernetes and as host name.
        role: what it does.
        address: finds out the one by which the other nodes reach it.
        target: finds out how to reach it; called when it is first needed.
    """

    def __init__(
        self, runner: HostRunner, name: str, role: NodeRole, address: Callable[[], str], target: Callable[[], SshTarget]
    ) -> None:
        super().__init__(name, role, address)
        self._runner = runner
        self._find = target
        self._target: SshTarget | None = None

    def run(
        self,
        argv: Sequence[str],
        *,
        input: Input | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        """See ``Runner.run``."""
        target = self._reach()
        full = (*ssh_argv(target), remote_command(argv, target.user, env))
        done = self._runner.run(full, input=input, timeout=timeout, check=False)
        shown = Completed(tuple(argv), done.returncode, done.stdout, done.stderr)
        if done.returncode == CONNECTION_FAILED and _never_got_there(done.stderr):
            raise CommandError(
                full,
                done.returncode,
                stderr=done.stderr,
                message=f"{self.name} cannot be reached over ssh: {done.stderr.strip().splitlines()[-1].strip().rstrip('.')}.",
                unanswered=True,
            )
        if check and done.returncode != 0:
            raise CommandError(argv, done.returncode, done.stdout, done.stderr)
        return shown

    def shell(self, argv: Sequence[str] = ()) -> int:
        """See ``Node.shell``."""
        import sys

        target = self._reach()
        terminal = sys.stdin.isatty() if sys.stdin else False
        return self._runner.foreground((*ssh_argv(target, terminal=terminal), remote_command(argv, target.user)))

    def _reach(self) -> SshTarget:
        if self._target is None:
            self._target = self._find()
        return self._target


def _never_got_there(stderr: str) -> bool:
    """Whether ssh itself failed: a command on the far side may end with 255 too, but does not complain like this."""
    last = next((line for line in reversed(stderr.splitlines()) if line.strip()), "")
    signs = (
        "ssh: ",
        "Permission denied",
        "Host key verification failed",
        "Connection closed",
        "Connection reset",
        "kex_exchange",
    )
    return last.startswith(signs) or "Permission denied (" in last or "Connection to " in last
