"""minikube's reasons and exit codes as localk8s's errors, with minikube's own advice where it is usable. Pure.

minikube's exit code says which area failed (tens) and how (ones); its reason id says exactly what. What it advises is
turned into localk8s's own commands; advice with a hole in it (``<no value>``) is never shown.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from localk8s.drivers.minikube.events import Event, EventKind, parse_events
from localk8s.model import hints
from localk8s.model.errors import (
    ArtifactError,
    CommandError,
    InterruptedByUser,
    Localk8sError,
    NotFoundError,
    NotSupportedError,
    PrerequisiteError,
    UsageError,
    WaitTimeoutError,
    WrongStateError,
)
from localk8s.model.node import Completed

_HOLE = "<no value>"
_LONGEST = 240

_BY_REASON: dict[str, type[Localk8sError]] = {
    "DRV_AS_ROOT": PrerequisiteError,
    "DRV_NEEDS_ROOT": PrerequisiteError,
    "DRV_NEEDS_ADMINISTRATOR": PrerequisiteError,
    "DRV_UNSUPPORTED_OS": NotSupportedError,
    "DRV_UNSUPPORTED_PROFILE": NotSupportedError,
    "DRV_UNSUPPORTED_MULTINODE": NotSupportedError,
    "ENV_DRIVER_CONFLICT": NotSupportedError,
    "ENV_MULTINODE_CONFLICT": NotSupportedError,
    "GUEST_DRIVER_MISMATCH": WrongStateError,
    "GUEST_STOP_TIMEOUT": WaitTimeoutError,
    "GUEST_NODE_RETRIEVE": NotFoundError,
    "GUEST_PORT_IN_USE": PrerequisiteError,
    "K8S_OLD_UNSUPPORTED": NotSupportedError,
    "K8S_NEW_UNSUPPORTED": NotSupportedError,
    "K8S_DOWNGRADE_UNSUPPORTED": NotSupportedError,
    "RSRC_INSUFFICIENT_REQ_MEMORY": UsageError,
    "RSRC_INSUFFICIENT_CORES": PrerequisiteError,
}
_BY_CODE: dict[int, type[Localk8sError]] = {
    2: CommandError,
    11: InterruptedByUser,
    14: UsageError,
    51: NotSupportedError,
    81: WrongStateError,
    82: WaitTimeoutError,
    83: WrongStateError,
    85: NotFoundError,
    103: WrongStateError,
}
_BY_TENS: dict[int, type[Localk8sError]] = {
    2: PrerequisiteError,
    3: PrerequisiteError,
    4: ArtifactError,
    5: PrerequisiteError,
    6: PrerequisiteError,
    7: PrerequisiteError,
}

_DOCKER_OFF = "start the Docker service, or: "


@dataclass(frozen=True, slots=True)
class _Remedy:
    """A command that helps against one reason."""

    arguments: tuple[str, ...] = ()
    verb: str = "start"
    driver: bool = True
    """Whether the driver that was asked for is named again."""
    before: str = ""


_REMEDIES = {
    "DRV_AS_ROOT": _Remedy(("--minikube-arg", "--force")),
    "DRV_NEEDS_ROOT": _Remedy(before="sudo "),
    "K8S_OLD_UNSUPPORTED": _Remedy(("--minikube-arg", "--force")),
    "K8S_NEW_UNSUPPORTED": _Remedy(("--minikube-arg", "--force")),
    "RSRC_INSUFFICIENT_REQ_MEMORY": _Remedy(("--memory", "2g")),
    "PROVIDER_DOCKER_NOT_RUNNING": _Remedy(("--vm-driver", "none"), driver=False, before=_DOCKER_OFF),
    "DRV_DOCKER_NOT_RUNNING": _Remedy(("--vm-driver", "none"), driver=False, before=_DOCKER_OFF),
    "GUEST_SSH_CERT_NOT_FOUND": _Remedy(verb="delete"),
}

_NETWORK = re.compile(
    r"network is unreachable|no such host|i/o timeout|connection refused|TLS handshake timeout|dial tcp: lookup|x509: "
)
_FULL = re.compile(r"no space left on device|out of disk space", re.IGNORECASE)
_PORT = re.compile(r"Port[- ](\d{1,5})")
_PULL = re.compile(
    r"pull(ing)? image|ImagePull|failed to pull|ErrImagePull|lookup [\w.-]*(registry|gcr\.io|docker\.io)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a minikube command failed, as far as it said."""

    exit_code: int
    reason: str
    """``GUEST_START``; empty when it gave none."""
    message: str
    """In minikube's words, whole."""
    advice: str = ""
    step: str = ""
    """minikube's name for the step that it was at; empty outside of a start."""


def find_failure(done: Completed, fatal: Event | None = None, step: str = "") -> Failure:
    """Why ``done`` failed.

    Args:
        done: the command that ended with another exit code than 0.
        fatal: the last error event that named an exit code.
        step: minikube's name for the step it was at.
    """
    events = parse_events(done.stdout)
    if fatal is None:
        fatal = next(
            (event for event in reversed(events) if event.kind is EventKind.ERROR and event.exit_code is not None), None
        )
    if name := _signal_name(done.returncode):
        return Failure(done.returncode, "", f"it was killed ({name})", "", step)
    if fatal is not None and fatal.exit_code == done.returncode:
        return Failure(done.returncode, fatal.name, fatal.message, fatal.advice, step)
    text = re.search(r"Exiting due to ([A-Z0-9_]+): (.*?)(?:\n\* |\n\S?[╭┌]|\Z)", done.stderr, re.DOTALL)
    if text:
        return Failure(done.returncode, text[1], text[2].strip(), _suggestion(done.stderr), step)
    said = [
        event.message for event in events if event.message and "╭" not in event.message and event.kind is not EventKind.STEP
    ]
    plain = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    usage = next((line for line in plain if line.startswith("Error: ")), "")
    if "panic:" in done.stderr:
        usage = next(line for line in plain if "panic:" in line)
    return Failure(
        done.returncode, "", usage.removeprefix("Error: ") or _last_error(events) or " ".join(said[:1] or plain[-1:]), "", step
    )


def to_error(failure: Failure, done: Completed, *, doing: str, cluster: str, vm: str = "") -> Localk8sError:
    """The error to raise.

    Args:
        failure: what ``find_failure`` found.
        done: the command, for the details.
        doing: what minikube was to do, as it reads after "could not": ``start the cluster``.
        cluster: localk8s's name of it.
        vm: minikube's driver; empty when none was named.
    """
    kind = _kind(failure, done)
    at = f' at step "{failure.step}"' if failure.step else ""
    code = ", ".join(filter(None, [f"exit {failure.exit_code}" if failure.exit_code >= 0 else "", failure.reason]))
    cause = summary(failure.message)
    message = f"minikube could not {doing}{at}" + (f" ({code})" if code else "") + (f": {cause}" if cause else ".")
    message = message if message.endswith((".", "…", "!")) else f"{message}."
    hint = _hint(failure, cluster, vm)
    if kind is CommandError:
        said = (mask_tokens(done.stdout), mask_tokens(done.stderr))
        return CommandError(done.argv, done.returncode, *said, message=message, hint=hint)
    return kind(message, hint=hint, details=mask_tokens(f"{failure.message}\n{done.stderr}".strip()))


def summary(message: str) -> str:
    """One bearable sentence from minikube's ``message``, which may be a whole kubeadm log."""
    text = re.sub(r'"[^"\n]*<no value>[^"\n]*"( exit status \d+)?:? ?', "", message)
    text = text.replace(_HOLE, "…")
    if _PULL.search(text) and _NETWORK.search(text):
        return "images could not be pulled: no network reaches their registry."
    if "\n" in text or len(text) > _LONGEST:
        errors = re.findall(r"^\s*(?:error execution phase|\[ERROR [^\]]*\]:?|err\s*:|error:)\s*(.*)$", text, re.MULTILINE)
        first = " ".join(text.partition("\n")[0].split())
        told = " ".join(errors[-1].split()) if errors else ""
        text = f"{first} ({told})" if told and len(first) < _LONGEST - 80 else told or first
    text = mask_tokens(" ".join(text.split()))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"


def mask_tokens(text: str) -> str:
    """``text`` without the bootstrap tokens that minikube prints when a join fails."""
    return re.sub(r"(--token[ =]+)\S+", r"\1***", text)


def usable_advice(advice: str, cluster: str) -> str:
    """The ``advice`` of minikube with localk8s's commands in place of minikube's; empty when it has holes or says nothing."""
    text = " ".join(advice.split())
    if not text or _HOLE in text or "{{" in text:
        return ""
    for verb in ("delete", "start", "stop", "status", "logs"):
        ours = hints.command(verb, cluster=cluster)
        text = re.sub(rf"minikube {verb}(?: (?:-p|--profile)[ =]\S+?)?(?=['\"`,.]|\s|$)", ours, text)
    return "" if re.search(r"\bminikube (config|profile|addons|ssh|node|update)", text) else text


def _signal_name(code: int) -> str:
    """The signal that ended a program with this exit code; empty when it ended by itself."""
    try:
        return signal.Signals(-code).name if code < 0 else ""
    except ValueError:
        return f"signal {-code}"


def _kind(failure: Failure, done: Completed) -> type[Localk8sError]:
    if _FULL.search(failure.message) or _FULL.search(done.stderr):
        return PrerequisiteError
    if found := _BY_REASON.get(failure.reason):
        return found
    if failure.reason.startswith("INET_"):
        return ArtifactError
    return _BY_CODE.get(failure.exit_code) or _BY_TENS.get(failure.exit_code // 10, CommandError)


def _hint(failure: Failure, cluster: str, vm: str) -> str:
    """Minikube's own advice where it is usable, else a command; what was killed can simply be asked for again."""
    if _FULL.search(failure.message) and not failure.advice:
        return "df -h"
    if failure.reason == "GUEST_PORT_IN_USE":
        port = _PORT.search(failure.message)
        return f"sudo ss -ltnp 'sport = :{port[1]}'" if port else "sudo ss -ltnp"
    remedy = _REMEDIES.get(failure.reason)
    own = _spelled(remedy, cluster, vm) if remedy else ""
    if own and failure.reason != "PROVIDER_DOCKER_NOT_RUNNING":
        return own
    return usable_advice(failure.advice, cluster) or own or last_log(cluster)


def last_log(cluster: str) -> str:
    """The command that shows what the last run did; it works for a cluster that was taken back, too."""
    return hints.command("logs", "--run", "last", cluster=cluster)


def _spelled(remedy: _Remedy, cluster: str, vm: str) -> str:
    named = ["--driver", "minikube"] if remedy.verb == "start" else []
    named += ["--vm-driver", vm] if named and vm and remedy.driver else []
    return remedy.before + hints.command(remedy.verb, *named, *remedy.arguments, cluster=cluster)


def _suggestion(stderr: str) -> str:
    match = re.search(r"\* Suggestion:\s*\n(.*?)(?=\n\* |\Z)", stderr, re.DOTALL)
    return match[1].strip() if match else ""


def _last_error(events: tuple[Event, ...]) -> str:
    return next(
        (
            event.message
            for event in reversed(events)
            if event.kind is EventKind.ERROR and event.message and "╭" not in event.message
        ),
        "",
    )
