"""Every error a user can meet, each with a stable code, an exit code and a hint to paste.

::

    Localk8sError                 1   operation_failed
    +-- UsageError                2   usage
    +-- NotFoundError             3   not_found
    +-- WrongStateError           4   wrong_state      (exists already, locked, drift, not ready)
    +-- PrerequisiteError         5   prerequisite     (a tool, a privilege, memory, a port is missing)
    +-- CommandError              6   command_failed   (an external program failed; carries argv and output)
    +-- WaitTimeoutError          7   timeout
    +-- NotSupportedError         8   not_supported    (this driver cannot)
    +-- ConfigError               9   invalid_config
    +-- KubernetesError          10   kubernetes
    +-- ArtifactError            11   artifact         (nothing gives it, or its digest is wrong)
    +-- InterruptedByUser       130   interrupted

Exit code 70 is kept for a bug of ours. Must not import anything but the standard library.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import ClassVar


class Localk8sError(Exception):
    """A failure that a user can understand: one sentence, and what to paste.

    Args:
        message: one sentence that says what is wrong, without a traceback's words.
        hint: a command or a sentence that would mend it; empty when there is none.
        details: the output of a failed program, or other lines for ``-v``; never needed to understand.
    """

    code: ClassVar[str] = "operation_failed"
    exit_code: ClassVar[int] = 1
    resumable = False
    """Set by a driver where what was made is worth keeping: the next start goes on with it, so it is not taken back."""
    unanswered = False
    """Set where there was only no answer in time: it says nothing about what was asked, so whoever waits asks again."""

    def __init__(self, message: str, *, hint: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class UsageError(Localk8sError):
    """What was asked for makes no sense: a bad name, size, version or combination."""

    code = "usage"
    exit_code = 2


class NotFoundError(Localk8sError):
    """A cluster, node, service or file of that name is not there."""

    code = "not_found"
    exit_code = 3


class WrongStateError(Localk8sError):
    """It is there, but not in a state in which this can be done."""

    code = "wrong_state"
    exit_code = 4


class PrerequisiteError(Localk8sError):
    """This host lacks something: a tool, a privilege, memory, a free port."""

    code = "prerequisite"
    exit_code = 5


class CommandError(Localk8sError):
    """An external program failed.

    Args:
        argv: the command line that ran.
        returncode: its exit code; negative for a signal, None when it never ran or ran out of time.
        stdout: what it printed, already without secrets.
        stderr: what it complained, already without secrets.
        message: a sentence to use instead of the one made from the above.
        hint: what to do about it.
        unanswered: whether it ran out of time, or its machine could not be reached; see ``Localk8sError``.
    """

    code = "command_failed"
    exit_code = 6

    def __init__(
        self,
        argv: Sequence[str],
        returncode: int | None,
        stdout: str = "",
        stderr: str = "",
        *,
        message: str = "",
        hint: str = "",
        unanswered: bool = False,
    ) -> None:
        last = next((line.strip() for line in reversed((stderr or stdout).splitlines()) if line.strip()), "")
        how = "did not end in time" if returncode is None else f"failed with exit code {returncode}"
        text = message or f"{argv[0]} {how}" + (f": {last}" if last else "") + "."
        details = f"$ {shlex.join(argv)}\n{stdout}{stderr}".rstrip()
        super().__init__(text, hint=hint, details=details)
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        self.unanswered = unanswered


class WaitTimeoutError(Localk8sError):
    """Something did not become true in time; the message holds the last thing seen."""

    code = "timeout"
    exit_code = 7


class NotSupportedError(Localk8sError):
    """This driver cannot do that; the hint names what can be done instead."""

    code = "not_supported"
    exit_code = 8


class ConfigError(Localk8sError):
    """A configuration file or environment variable holds something unusable."""

    code = "invalid_config"
    exit_code = 9


class KubernetesError(Localk8sError):
    """The Kubernetes API answered with an error, or not at all."""

    code = "kubernetes"
    exit_code = 10

    def __init__(self, message: str, *, status: int | None = None, hint: str = "", details: str = "") -> None:
        super().__init__(message, hint=hint, details=details)
        self.status = status
        """The HTTP status of the answer; None when there was no answer."""


class ArtifactError(Localk8sError):
    """Something a cluster is made of cannot be had, or is not what its digest says."""

    code = "artifact"
    exit_code = 11


class InterruptedByUser(Localk8sError):  # noqa: N818 - it is no error of the program
    """Ctrl-C."""

    code = "interrupted"
    exit_code = 130
