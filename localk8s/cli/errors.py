"""How a failure is told: once, on standard error, in a sentence and what to paste. Pure but for the bug log."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from localk8s.cli.output import document
from localk8s.model import errors
from localk8s.model.errors import Localk8sError
from localk8s.system.owner import hand_over, make_owned

BUG = 70
"""Exit code of a mistake of ours."""
_SUDO_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Debian's ``secure_path``."""
_MEANING: Mapping[type[Localk8sError], str] = {
    errors.Localk8sError: "the operation failed",
    errors.UsageError: "what was asked for makes no sense: a bad name, size, version, option or combination",
    errors.NotFoundError: "a cluster, node, service or file of that name is not there",
    errors.WrongStateError: "it is there, but not in a state for this; `status`: the cluster is not healthy",
    errors.PrerequisiteError: "this host lacks something: a tool, a privilege, memory, disk, a free port",
    errors.CommandError: "an external program failed",
    errors.WaitTimeoutError: "something did not become true in time",
    errors.NotSupportedError: "this driver cannot do that",
    errors.ConfigError: "the configuration file or an environment variable holds something unusable",
    errors.KubernetesError: "the Kubernetes API answered with an error, or not at all",
    errors.ArtifactError: "something a cluster is made of cannot be had, or its digest is wrong",
    errors.InterruptedByUser: "Ctrl-C",
}


def exit_code_table() -> str:
    """The exit codes as a Markdown table, from the error classes; ``README.md`` holds it."""
    rows = [(0, "", "it worked; `status`: the cluster is healthy")]
    rows += [(kind.exit_code, kind.code, meaning) for kind, meaning in _MEANING.items()]
    rows += [(kind.exit_code, kind.code, meaning) for kind, meaning in _finer().items()]
    rows.append((BUG, "internal_bug", "a bug of localk8s; the traceback is in a log that the message names"))
    rows.append((141, "", "whoever read the output closed it (SIGPIPE)"))
    rows.append((143, "interrupted", "ended by SIGTERM"))
    lines = ["| exit code | code in JSON | meaning |", "| --- | --- | --- |"]
    lines += [f"| {number} | {f'`{code}`' if code else ''} | {meaning} |" for number, code, meaning in sorted(rows)]
    return "\n".join([*lines, "", "`ssh` and `kubectl` end with the exit code of the program that they ran."]) + "\n"


def _finer() -> Mapping[type[Localk8sError], str]:
    from localk8s.drivers.registry import BrokenDriverError
    from localk8s.store.records import CorruptRecordError

    return {
        BrokenDriverError: "a driver is installed, but cannot be loaded",
        CorruptRecordError: "what localk8s keeps of a cluster cannot be read",
    }


def text_of(error: Localk8sError, *, verbose: bool, log: str = "") -> str:
    """The lines for people.

    Args:
        error: what happened.
        verbose: with the output of a failed program.
        log: the command that shows the log; empty when there is none.
    """
    if isinstance(error, errors.InterruptedByUser):
        return f"{error.message}\n"
    lines = [f"error: {one_line(error.message)}"]
    if error.hint:
        lines.append(f"  hint: {one_line(pasteable(error.hint))}")
    if log and log != error.hint:
        lines.append(f"  log:  {log}")
    if verbose and error.details:
        lines += ["", error.details.rstrip()]
    return "\n".join(lines) + "\n"


def one_line(text: str) -> str:
    """``text`` with line ends and control characters spelled out: what somebody typed must not move the cursor."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def pasteable(hint: str) -> str:
    """``hint`` so that it works as it stands: sudo finds programs in the system's directories only."""
    program = Path(sys.argv[0])
    if not hint.startswith("sudo localk8s") or program.name != "localk8s" or shutil.which("localk8s", path=_SUDO_PATH):
        return hint
    return f"sudo {shlex.quote(str(program.absolute()))}{hint.removeprefix('sudo localk8s')}"


def json_of(error: Localk8sError) -> str:
    """One line for programs."""
    content = {"code": error.code, "message": error.message, "hint": pasteable(error.hint), "exitCode": error.exit_code}
    return json.dumps(document("Error", content), ensure_ascii=False) + "\n"


class InternalBugError(Localk8sError):
    """A mistake of ours, told without a traceback."""

    code = "internal_bug"
    exit_code = BUG


def bug(exc: BaseException, log: Path) -> InternalBugError:
    """The sentence for an exception that nobody expected; the traceback goes to ``log``, or where one can write."""
    text = time.strftime("%Y-%m-%d %H:%M:%S ") + "".join(traceback.format_exception(exc))
    try:
        make_owned(log.parent, 0o700)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")
        hand_over(log)
    except OSError:
        with tempfile.NamedTemporaryFile("w", prefix="localk8s-bug-", suffix=".log", delete=False) as file:
            file.write(text)
            log = Path(file.name)
    return InternalBugError(f"internal bug ({type(exc).__name__}); what went wrong is in {log}.", hint=f"cat {log}")
