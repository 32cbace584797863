"""A machine over plain ssh: one connection that is kept, real exit codes, files copied whole.

Knows neither Vagrant nor Kubernetes. ssh answers 255 for its own troubles and for a command's 255 alike, so the exit code
comes back in a line of its own.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import shlex
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from localk8s.drivers.vagrant.machine_readable import HostEntry
from localk8s.drivers.vagrant.node_files import File
from localk8s.model.errors import CommandError, NotFoundError
from localk8s.model.node import Completed, Input
from localk8s.model.status import NodeRole
from localk8s.system.files import writing
from localk8s.system.process import HostRunner

_KEPT_OPEN = "90s"
_WRITE = 'set -e; mkdir -p "$(dirname "$1")"; umask 077; cat >"$1.new"; chmod "$2" "$1.new"; mv -f "$1.new" "$1"'
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class SshNode:
    """One machine (a ``Node``).

    Args:
        name: its name in the cluster.
        role: its role.
        address: its address in the cluster's network.
        entry: how it is reached.
        runner: runs ssh on the host.
        sockets: a short directory of this user's own where the connection's socket is.
        slowness: by how much every limit is stretched; more than 1 for a machine whose processor is emulated.
    """

    def __init__(
        self,
        name: str,
        role: NodeRole,
        address: str,
        entry: HostEntry,
        runner: HostRunner,
        sockets: Path,
        *,
        slowness: float = 1.0,
        hint: str = "",
    ) -> None:
        self._name = name
        self._role = role
        self._address = address
        self._entry = entry
        self._host = runner
        self._sockets = sockets
        self._slowness = slowness
        self._hint = hint

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def role(self) -> NodeRole:
        """Its role."""
        return self._role

    @property
    def address(self) -> str:
        """Its address in the cluster's network."""
        return self._address

    def run(
        self,
        argv: Sequence[str],
        *,
        input: Input | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        """Run a command as root; see ``Runner.run``.

        Raises:
            CommandError: also, with no exit code, when the machine cannot be reached.
        """
        result = self._run(argv, input, env or {}, timeout)
        if check and result.returncode != 0:
            raise CommandError(argv, result.returncode, result.stdout, result.stderr)
        return result

    def _run(
        self, argv: Sequence[str], input: Input | None, env: Mapping[str, str], timeout: float, into: IO[bytes] | None = None
    ) -> Completed:
        self._sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = f"localk8s-{secrets.token_hex(6)}"
        remote = remote_line(argv, env, self._entry.get("User"), mark)
        limit = timeout * self._slowness
        done = self._host.run([*self._ssh(), self._target, remote], input=input, timeout=limit, check=False, into=into)
        if (result := take_exit_code(done, tuple(argv), mark)) is not None:
            return result
        message = f"Node {self._name} cannot be reached by ssh{_why(done.stderr)}."
        raise CommandError(argv, None, done.stdout, done.stderr, message=message, hint=self._hint, unanswered=True)

    def shell(self, argv: Sequence[str] = ()) -> int:
        """Run ``argv``, or a login shell, on this terminal."""
        self._sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        words = _as_root(self._entry.get("User"))
        remote = shlex.join([*words, *argv]) if argv else shlex.join([*words, "bash", "-l"])
        terminal = "-t" if sys.stdin.isatty() else "-T"
        return self._host.foreground([*self._ssh(), terminal, self._target, remote])

    def copy_in(self, source: Path, target: str, *, mode: int = 0o644) -> None:
        """Copy a host file onto the machine; see ``Node.copy_in``."""
        try:
            content = source.read_bytes()
        except OSError as exc:
            raise NotFoundError(f"{source} cannot be read: {exc.strerror}.") from exc
        self.write(target, content, mode=mode)

    def copy_out(self, source: str, target: Path) -> None:
        """Copy a file of the machine to the host, of which no log sees anything; see ``Node.copy_out``."""
        with writing(target) as file:
            done = self._run(["cat", source], None, {}, 600, file)
            if done.returncode != 0:
                raise NotFoundError(f"{source} cannot be read on node {self._name}.", details=done.stderr)

    def write(self, target: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """Write a file on the machine; see ``Node.write``."""
        self.run(["sh", "-c", _WRITE, "sh", target, f"{mode:o}"], input=content, timeout=600)

    def close(self) -> None:
        """End the kept connection, if there is one."""
        if any(self._sockets.glob(f"{self._name}*")):
            self._host.run([*self._ssh(), "-O", "exit", self._target], check=False, timeout=10)

    def fresh(self) -> None:
        """Make sure that no connection to an earlier boot is used."""
        self.close()
        (self._sockets / self._name).unlink(missing_ok=True)

    @property
    def _target(self) -> str:
        return f"{self._entry.get('User') or 'vagrant'}@{self._entry.get('HostName')}"

    def _ssh(self) -> list[str]:
        argv = ["ssh", "-F", "none", "-p", self._entry.get("Port") or "22"]
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(int(10 * self._slowness)),
            "ServerAliveInterval": str(int(10 * self._slowness)),
            "ServerAliveCountMax": "3",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": os.devnull,
            "GlobalKnownHostsFile": os.devnull,
            "IdentitiesOnly": "yes",
            "LogLevel": "ERROR",
        }
        for option, value in options.items():
            argv += ["-o", f"{option}={value}"]
        for option, value in self._entry.options:
            if option.lower() in ("identityfile", "proxycommand", "pubkeyacceptedkeytypes", "hostkeyalgorithms"):
                argv += ["-o", f"{option}={_quote_option(value)}"]
        if sys.platform != "win32":
            argv += ["-o", "ControlMaster=auto", "-o", f"ControlPersist={_KEPT_OPEN}"]
            argv += ["-o", f"ControlPath={_quote_option(str(self._sockets / self._name))}"]
        return argv


def unpack(node: SshNode, files: Mapping[str, File]) -> None:
    """Write several files on a machine with one command."""
    node.run(["tar", "-C", "/", "--no-same-owner", "-xpf", "-"], input=archive(files))


def archive(files: Mapping[str, File]) -> bytes:
    """The files as a tar archive, paths without the leading slash."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, file in files.items():
            data = file.content.encode()
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(data), file.mode
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def socket_directory(identity: str) -> Path:
    """Where the connections of one cluster have their sockets: short, since a socket's path has 108 bytes at most."""
    return Path(tempfile.gettempdir()) / f"localk8s-{identity}"


def remote_line(argv: Sequence[str], env: Mapping[str, str], user: str, mark: str) -> str:
    """The line that the machine's shell runs: ``argv`` as root, then its exit code behind ``mark``.

    Args:
        argv: the command.
        env: variables added to its environment.
        user: who logs in.
        mark: a word that the command does not print.
    """
    settings = [f"{name}={value}" for name, value in env.items()]
    command = shlex.join([*_as_root(user), *settings, *argv])
    return f'{command}; printf "\\n%s:%d" {mark} $? >&2'


def take_exit_code(done: Completed, argv: tuple[str, ...], mark: str) -> Completed | None:
    """The command's own result; None when the line with its exit code did not arrive.

    Args:
        done: what ssh returned.
        argv: the command.
        mark: the word before the exit code.
    """
    match = re.search(rf"\n{re.escape(mark)}:(\d+)\s*\Z", done.stderr)
    if match is None:
        return None
    return Completed(argv, int(match[1]), done.stdout, done.stderr[: match.start()])


def _as_root(user: str) -> list[str]:
    path = f"PATH={_PATH}"
    return ["env", path] if user == "root" else ["sudo", "-n", "-H", "env", path]


def _quote_option(value: str) -> str:
    return '"' + value.replace("%", "%%") + '"' if value.lower() != "none" else value


def _why(stderr: str) -> str:
    last = next((line.strip() for line in reversed(stderr.splitlines()) if line.strip()), "")
    return f": {last.rstrip('.')}" if last else ""
