"""The door: the list of commands, and ``main``, the only place that turns failures into words and exit codes."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer._click.exceptions import NoArgsIsHelpError
from typer.main import get_command

from localk8s._version import __version__
from localk8s.cli import errors
from localk8s.cli.commands import Command, Group
from localk8s.cli.interrupts import Interrupts
from localk8s.cli.narrators import Narrator
from localk8s.cli.output import PipeClosed
from localk8s.cli.session import Session
from localk8s.model.errors import InterruptedByUser, Localk8sError, UsageError
from localk8s.model.hints import Correction, completed, corrected
from localk8s.system.environment import Environment, read_environment

_MAY_BE_A_FULL_DISK = (1, 6, 7, 10, 11)
"""Exit codes of errors that a full disk can be behind."""
_EVERY_DAY, _INSIDE, _USING, _HOST = "Every day", "Getting in", "Using what runs", "This host"
_COMMANDS: tuple[tuple[str, str, str, str], ...] = (
    ("start", "lifecycle:start", _EVERY_DAY, "localk8s start --nodes 3 --memory 2g"),
    ("stop", "lifecycle:stop", _EVERY_DAY, "localk8s stop"),
    ("delete", "lifecycle:delete", _EVERY_DAY, "localk8s delete --yes"),
    ("status", "looking:status", _EVERY_DAY, "localk8s status -o json"),
    ("list", "looking:list_", _EVERY_DAY, "localk8s list -o name"),
    ("demo", "demo:demo", _EVERY_DAY, "localk8s demo --replicas 3"),
    ("kubectl", "access:kubectl", _INSIDE, "localk8s kubectl get nodes -o wide"),
    ("kubeconfig", "access:kubeconfig", _INSIDE, "localk8s kubeconfig --merge"),
    ("ssh", "access:ssh", _INSIDE, "localk8s ssh default -- hostname"),
    ("ip", "looking:ip", _INSIDE, "localk8s ip"),
    ("logs", "pod_logs:logs", _INSIDE, "localk8s logs --run last"),
    ("dashboard", "dashboard:dashboard", _USING, "localk8s dashboard"),
    ("port-forward", "forwarding:port_forward", _USING, "localk8s port-forward svc/web 8080:80"),
    ("service", "services:service", _USING, "localk8s service web --url"),
    ("tunnel", "services:tunnel", _USING, "localk8s tunnel"),
    ("hosts", "services:hosts", _USING, "localk8s hosts --apply"),
    ("proxy", "forwarding:proxy", _USING, "localk8s proxy --port 0"),
    ("cp", "observing:cp", _USING, "localk8s cp ./app.tar default:/root/"),
    ("top", "observing:top", _USING, "localk8s top pods"),
    ("docker-env", "docker_env:docker_env", _USING, "eval $(localk8s docker-env)"),
    ("mount", "mount:mount", _USING, "localk8s mount .:/src"),
    ("render", "machines:render", _USING, "localk8s render --provider virtualbox --nodes 3"),
    ("inventory", "machines:inventory", _USING, "localk8s inventory -o json"),
    ("doctor", "host:doctor", _HOST, "localk8s doctor --nodes 3 --memory 4g"),
    ("setup", "host:setup", _HOST, "localk8s setup --driver native --yes"),
    ("bundle", "supplies:bundle", _HOST, "localk8s bundle cluster.tar.gz"),
    ("version", "looking:version", _HOST, "localk8s version -o json"),
)

_GROUPS: tuple[tuple[str, str, str], ...] = (
    ("node", "node:node_app", _EVERY_DAY),
    ("image", "image:image_app", _USING),
    ("registry", "registry:registry_app", _USING),
    ("box", "machines:box_app", _HOST),
    ("cache", "supplies:cache_app", _HOST),
    ("config", "looking:config_app", _HOST),
)
"""Groups of commands; the function builds the group's ``typer.Typer``."""


def command_names() -> tuple[str, ...]:
    """Every command, as it is typed."""
    names = [name for name, *_ in _COMMANDS]
    for group, reference, _ in _GROUPS:
        names += [f"{group} {info.name}" for info in _load(reference)().registered_commands]
    return tuple(names)


def _load(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(import_module(f"localk8s.cli.{module}"), name)


def build_app(only: str = "") -> typer.Typer:
    """The command tree.

    Args:
        only: a command or group; then nothing but that is loaded. All of it when there is none of that name.
    """
    app = typer.Typer(
        name="localk8s",
        cls=Group,
        help="A real Kubernetes cluster on your own machine, the same way on every driver.",
        epilog="localk8s demo",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_root)
    known = {name for name, *_ in (*_COMMANDS, *_GROUPS)}
    for name, reference, panel, example in _COMMANDS:
        if only in (name, "") or only not in known:
            app.command(name, cls=Command, epilog=example, rich_help_panel=panel)(_load(reference))
    for name, reference, panel in _GROUPS:
        if only in (name, "") or only not in known:
            app.add_typer(_load(reference)(), name=name, rich_help_panel=panel)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"localk8s {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A real Kubernetes cluster on your own machine, the same way on every driver."""


def split_passthrough(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """What is ours and what is another program's.

    ``ssh`` hands on what stands behind ``--``; ``kubectl`` everything behind localk8s's own leading options.

    Returns:
        our arguments; and those to hand on, None when there was no place where they begin.
    """
    ours = list(argv)
    if ours[:1] == ["ssh"] and "--" in ours:
        cut = ours.index("--")
        return ours[:cut], ours[cut + 1 :]
    if ours[:1] != ["kubectl"]:
        return ours, None
    cut = 1
    while cut < len(ours):
        word = ours[cut]
        if word in ("-c", "--cluster"):
            cut += 2
        elif word.startswith(("--cluster=", "-c")) or word in ("--help", "-h", "-v", "--verbose"):
            cut += 1
        else:
            break
    rest = ours[cut:]
    return ours[:cut], rest[1:] if rest[:1] == ["--"] else rest


def wants_json(argv: Sequence[str], environment: Environment) -> bool:
    """Whether errors shall be JSON; judged from the words alone, because the words themselves may be wrong."""
    ours, _ = split_passthrough(argv)
    for word, following in zip(ours, [*ours, ""][1:], strict=True):
        if word in ("-o", "--output"):
            return following == "json"
        if word in ("-ojson", "-o=json", "--output=json"):
            return True
    return environment.text("LOCALK8S_OUTPUT") == "json"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    environment = read_environment()
    ours, rest = split_passthrough(words)
    session = Session(environment, rest)
    interrupts = Interrupts(
        lambda: _fail(session, _interruption(session), json=wants_json(words, environment)),
        lambda: _kill(session),
        lambda: session.endless,
    )
    if argv is None:
        interrupts.install()
    try:
        code = _run(session, ours)
        if interrupts.raised:
            raise KeyboardInterrupt  # typer made an exit code of it
        return code
    except (KeyboardInterrupt, InterruptedByUser):
        interrupts.tell_once()
        _fail_evaluation(words, environment)
        return interrupts.code
    except PipeClosed:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except NoArgsIsHelpError as exc:
        sys.stderr.write(f"{exc.format_message().rstrip()}\n")
        return UsageError.exit_code
    except Exception as exc:  # everything else is told in a sentence
        error = _translated(session, exc)
        error.hint = _finished(error.hint, words, session)
        _fail(session, error, json=wants_json(words, environment))
        _fail_evaluation(words, environment)
        return error.exit_code
    finally:
        session.hand_over_files()


def _fail_evaluation(words: Sequence[str], environment: Environment) -> None:
    """Where a shell evaluates what is printed, print what evaluates to false."""
    if "docker-env" in words[:1]:
        sys.stdout.write(_load("docker_env:failure")(words, environment.text("SHELL")))


def _run(session: Session, argv: Sequence[str]) -> int:
    completing = session.environment.text("_LOCALK8S_COMPLETE")
    command = get_command(build_app("" if completing or not argv else argv[0]))
    code = command.main(args=list(argv), prog_name="localk8s", standalone_mode=False, obj=session)
    return code if isinstance(code, int) else 0


def _translated(session: Session, exc: Exception) -> Localk8sError:
    if isinstance(exc, Localk8sError):
        return _full_disk_behind(session, exc) or exc
    if type(exc).__module__.startswith("typer."):
        return _usage(exc)
    if isinstance(exc, OSError):
        from localk8s.cluster.recipe import file_trouble

        return file_trouble(exc)
    return errors.bug(exc, session.installation.layout.bug_log)


def _full_disk_behind(session: Session, exc: Localk8sError) -> Localk8sError | None:
    """The full disk that made a program, the API or a wait fail."""
    if exc.exit_code not in _MAY_BE_A_FULL_DISK:
        return None
    from localk8s.cluster.recipe import places
    from localk8s.system.disk_space import full_disk_behind

    with contextlib.suppress(Localk8sError, OSError):
        return full_disk_behind(exc, places(session.installation))
    return None


def _finished(hint: str, words: Sequence[str], session: Session) -> str:
    """A hint as one can paste it: where it corrects the command, the typed line with the correction."""
    if not isinstance(hint, Correction):
        return hint
    command, depth = _typed_command(words)
    line = corrected(words, hint, [name for param in command.params for name in param.opts])
    if line is not None and _parses(command, shlex.split(line.removeprefix(hint.before))[1 + depth :]):
        return line
    return completed(hint, "start", cluster=session.name)


def _typed_command(words: Sequence[str]) -> tuple[Any, int]:
    """The command that was typed, and of how many words its name is."""
    command: Any = get_command(build_app(words[0] if words else ""))
    for depth, word in enumerate(words):
        inner = getattr(command, "commands", {}).get(word)
        if inner is None:
            return command, depth
        command = inner
    return command, len(words)


def _parses(command: Any, words: list[str]) -> bool:
    """Whether the command takes the words: where a value looks like an option, a correction may have hit the wrong one."""
    try:
        command.make_context(command.name, split_passthrough([command.name or "", *words])[0][1:])
    except Exception:
        return False
    return True


def _usage(exc: Exception) -> UsageError:
    ctx = getattr(exc, "ctx", None)
    path = getattr(ctx, "command_path", "localk8s")
    message = exc.format_message() if hasattr(exc, "format_message") else str(exc)
    message = " ".join(str(message).split())
    return UsageError(message if message.endswith((".", ")", "?")) else f"{message}.", hint=f"{path} --help")


def _interruption(session: Session) -> InterruptedByUser:
    current = session.narrator.current
    if session.verb:
        from localk8s.cluster.recipe import interrupted

        return interrupted(current, session.name, session.verb)
    return InterruptedByUser(f'interrupted at "{current}".' if current else "interrupted.")


def _kill(session: Session) -> None:
    if "installation" in session.__dict__:
        session.installation.end_running()


def _fail(session: Session, error: Localk8sError, *, json: bool) -> None:
    _be_still(session.narrator)
    told = errors.text_of(error, verbose=session.verbose, log=_log_command(session, error))
    text = errors.json_of(error) if json else told
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _be_still(narrator: Narrator) -> None:
    still = getattr(narrator, "still", None)
    if still is not None:
        still()


def _log_command(session: Session, error: Localk8sError) -> str:
    """The command that shows what ran, if that could help."""
    if session.verb and error.exit_code in (1, 6, 7, 10):
        from localk8s.model.hints import command

        if session.installation.layout.log(session.name).exists():
            return command("logs", "--run", "last", cluster=session.name)
    return ""
