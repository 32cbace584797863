"""The one door to processes: argv lists, a time limit, a process group of their own, secrets masked.

Must not know what the programs are. Everything that runs a program goes through ``HostRunner``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from localk8s.model.errors import CommandError, PrerequisiteError
from localk8s.model.hints import host_command
from localk8s.model.node import Completed, Input
from localk8s.system.slowness import measure_slowness

_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL for a command that ran out of time."""
_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent ends."""


class Mask:
    """Replaces secrets in whatever is logged or shown.

    Args:
        secrets: strings that must never be seen; more can be added as they come to be.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._secrets = {secret for secret in secrets if secret}

    def add(self, secret: str) -> None:
        """Hide ``secret`` from now on."""
        if secret:
            self._secrets.add(secret)

    def __call__(self, text: str) -> str:
        """``text`` with every secret replaced by ``***``."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class HostRunner:
    """Runs programs on this host (a ``Runner``).

    Args:
        log: a file to which every command line and its output is appended; None for no log.
        echo: called with each shell-quoted command line before it runs.
        prefix: argv put before every command, such as ``nsenter …`` (nodes are runners with a prefix).
        mask: hides secrets in the log, the echo and the errors.
        running: holds the processes that run now, for ``end_running``; shared by runners made from this one.
    """

    def __init__(
        self,
        *,
        log: Path | None = None,
        echo: Callable[[str], None] | None = None,
        prefix: Sequence[str] = (),
        mask: Mask | None = None,
        running: set[subprocess.Popen[bytes]] | None = None,
    ) -> None:
        self._log = log
        self._echo = echo
        self._prefix = tuple(prefix)
        self._mask = mask or Mask()
        self._running = set() if running is None else running

    def with_prefix(self, prefix: Sequence[str]) -> HostRunner:
        """A runner like this one that puts ``prefix`` before every command."""
        return HostRunner(log=self._log, echo=self._echo, prefix=prefix, mask=self._mask, running=self._running)

    def hide(self, secret: str) -> None:
        """Hide ``secret``, which a program has just made, in the log and the errors from now on."""
        self._mask.add(secret)

    def run(
        self,
        argv: Sequence[str],
        *,
        input: Input | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
        on_line: Callable[[str], None] | None = None,
        cwd: Path | None = None,
        patience: float = 0.0,
        into: IO[bytes] | None = None,
    ) -> Completed:
        """Run a command to its end; see ``Runner.run``.

        Args:
            on_line: called with each line of standard output and standard error as it comes.
            cwd: the directory to run in.
            patience: seconds that the program gets to tidy up after SIGINT, when the user interrupts or the time is
                over (Vagrant lets go of its locks then); 0 for one that has nothing to tidy.
            into: an open file that takes standard output, of which nothing is kept or logged then.
        """
        full = (*self._prefix, *argv)
        self._announce(full)
        process = self._spawn(full, env, cwd, feed=input is not None, into=into)
        self._running.add(process)
        try:
            stdout, stderr, in_time = _communicate(process, input, timeout, on_line, patience)
        finally:
            self._running.discard(process)
        shown = Completed(tuple(argv), process.returncode, stdout, stderr)
        self._record(full, shown, in_time)
        if not in_time:
            message = f"{argv[0]} did not end within {timeout:.0f} s."
            raise CommandError(argv, None, self._mask(stdout), self._mask(stderr), message=message, unanswered=True)
        if check and process.returncode != 0:
            raise CommandError(argv, process.returncode, self._mask(stdout), self._mask(stderr))
        return shown

    def launch(self, argv: Sequence[str], output: Path, *, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a program that goes on, in a group of its own; the caller ends it, or lets it outlive us.

        Args:
            argv: the program and its arguments.
            output: the file, made anew, that takes all it prints.
            env: variables added to its environment.

        Raises:
            PrerequisiteError: there is no such program.
        """
        full = (*self._prefix, *argv)
        self._announce(full)
        with output.open("wb") as printed:
            try:
                return subprocess.Popen(
                    full,
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=printed,
                    env=_environment(env),
                    cwd=os.sep,
                    start_new_session=True,
                )
            except FileNotFoundError as exc:
                raise _missing(full[0]) from exc

    def foreground(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
        """Run a command on this process's own terminal and return its exit code (128+n when signal n ended it).

        It ends with this process, also when that is killed (on Linux).
        """
        full = (*self._prefix, *argv)
        self._announce(full)
        old = signal.signal(signal.SIGINT, signal.SIG_IGN) if threading.current_thread() is threading.main_thread() else None
        before = _end_with(os.getpid())
        try:
            process = subprocess.Popen(full, env=_environment(env), preexec_fn=before)  # noqa: PLW1509 - no threads here
            code = process.wait()
        except FileNotFoundError as exc:
            raise _missing(full[0]) from exc
        finally:
            if old is not None:
                signal.signal(signal.SIGINT, old)
        return code if code >= 0 else 128 - code

    def _announce(self, full: Sequence[str]) -> None:
        if self._echo:
            self._echo(self._mask(shlex.join(full)))

    def _spawn(
        self, full: Sequence[str], env: Mapping[str, str] | None, cwd: Path | None, *, feed: bool, into: IO[bytes] | None
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                full,
                stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                stdout=into or subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(env),
                cwd=cwd,
                start_new_session=True,
            )
        except FileNotFoundError as exc:
            raise _missing(full[0]) from exc
        except OSError as exc:
            raise CommandError(full, None, message=f"{full[0]} cannot be run: {exc.strerror}.") from exc

    def _record(self, full: Sequence[str], done: Completed, in_time: bool) -> None:
        if self._log is None:
            return
        stamp = time.strftime("%H:%M:%S")
        text = f"{stamp} $ {shlex.join(full)}\n{done.stdout}{done.stderr}"
        ending = f"-> {done.returncode}" if in_time else "-> out of time"
        with contextlib.suppress(OSError), self._log.open("a", encoding="utf-8") as log:
            log.write(self._mask(text).rstrip("\n") + f"\n{ending}\n")


def end_process_group(process: subprocess.Popen[bytes], grace: float = _GRACE) -> None:
    """End ``process`` and all of its group: SIGTERM, then SIGKILL after ``grace`` seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            continue
        break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def end_running(running: set[subprocess.Popen[bytes]]) -> None:
    """Kill the process groups of all commands that run now, in whichever thread they are waited for."""
    for process in tuple(running):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _interrupt(process: subprocess.Popen[bytes], patience: float) -> None:
    """Pass Ctrl-C on to a program in a group of its own, and let it tidy up."""
    if patience > 0:
        with contextlib.suppress(ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGINT)
            process.wait(patience)


def _wait(process: subprocess.Popen[bytes], timeout: float) -> None:
    """Wait for the end of ``process``, longer than ``timeout`` seconds where this host's processors are slow."""
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.wait(timeout * (measure_slowness() - 1))


def _communicate(
    process: subprocess.Popen[bytes],
    input: Input | None,
    timeout: float,
    on_line: Callable[[str], None] | None,
    patience: float,
) -> tuple[str, str, bool]:
    """Feed and drain ``process``; returns its output and whether it ended in time. Ends it on any exception."""
    outputs: tuple[list[bytes], list[bytes]] = ([], [])
    failures: list[Exception] = []
    threads = [
        threading.Thread(target=_drain, args=(stream, parts, on_line), daemon=True)
        for stream, parts in zip((process.stdout, process.stderr), outputs, strict=True)
        if stream is not None
    ]
    if input is not None:
        threads.append(threading.Thread(target=_feed, args=(process, input, failures), daemon=True))
    for thread in threads:
        thread.start()
    in_time = True
    try:
        _wait(process, timeout)
    except subprocess.TimeoutExpired:
        in_time = False
        _interrupt(process, patience)
        end_process_group(process)
    except BaseException:
        _interrupt(process, patience)
        end_process_group(process, grace=0.5)
        raise
    for thread in threads:
        thread.join(_GRACE)  # a grandchild may hold the pipe open: do not wait for it forever
    if failures:
        raise failures[0]
    return (*(b"".join(parts).decode("utf-8", "replace") for parts in outputs), in_time)  # type: ignore[return-value]


def _drain(stream: IO[bytes], parts: list[bytes], on_line: Callable[[str], None] | None) -> None:
    with contextlib.suppress(ValueError, OSError), stream:
        for line in stream:
            parts.append(line)
            if on_line:
                on_line(line.decode("utf-8", "replace").rstrip("\r\n"))


def _feed(process: subprocess.Popen[bytes], data: Input, failures: list[Exception]) -> None:
    """Write ``data``; when its pieces cannot be made, the program must not take half of them for all."""
    whole = data.encode() if isinstance(data, str) else data
    pieces = iter((whole,) if isinstance(whole, bytes) else whole)
    assert process.stdin is not None  # noqa: S101 - for the type checker
    with contextlib.suppress(BrokenPipeError, OSError), process.stdin as stream:
        while True:
            try:
                piece = next(pieces, None)
            except Exception as exc:  # raised again where the command is waited for
                failures.append(exc)
                os.killpg(process.pid, signal.SIGKILL)
                return
            if piece is None:
                return
            stream.write(piece)


def _environment(extra: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if extra is None else {**os.environ, **extra}


def _end_with(parent: int) -> Callable[[], None]:
    """What a child does before it becomes its program: it hears Ctrl-C again, and ends when ``parent`` does."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before the fork

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if library is not None:
            library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:  # it ended before it could be watched
                os._exit(128 + signal.SIGTERM)

    return prepare


def _missing(program: str) -> PrerequisiteError:
    return PrerequisiteError(f"{program} is not installed on this host.", hint=host_command("doctor"))
