"""``docker-env``: variables to evaluate, so that docker on this host builds into the cluster. A failure evaluates to false."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from localk8s.cli.options import ClusterName, Quiet, Verbose
from localk8s.cli.output import write
from localk8s.cli.session import Session
from localk8s.model.hints import command

if TYPE_CHECKING:
    from localk8s.helpers.docker_env_shell import Shell

_HOW = "What to print"


def docker_env(
    ctx: typer.Context,
    cluster: ClusterName = None,
    shell: Annotated[
        str | None,
        typer.Option(
            "--shell",
            metavar="SHELL",
            help="bash, zsh, sh, fish, tcsh, powershell, cmd or none; else what SHELL names.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    unset: Annotated[
        bool, typer.Option("--unset", "-u", help="Bring back what was there before.", rich_help_panel=_HOW)
    ] = False,
    node: Annotated[
        str, typer.Option("--node", metavar="NODE", help="Where docker runs; the first when left out.", rich_help_panel=_HOW)
    ] = "",
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Print variables that make docker build into the cluster.

    Starts a docker on a node when there is none. What is built or tagged there is on every node a moment later: a pod with
    imagePullPolicy Never or IfNotPresent can use it. In fish, type "localk8s docker-env --shell fish | source"; in tcsh,
    "eval `localk8s docker-env --shell tcsh`". --unset restores the variables as they were before.
    """
    from localk8s.helpers.docker_env_shell import assignments, detect_shell, parse_shell, removals

    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose)
    environment = session.environment.variables
    given = (("-c", cluster), ("--shell", shell), ("--node", node))
    typed = [*(word for option, value in given if value for word in (option, value)), *(["--unset"] if unset else [])]
    chosen = parse_shell(shell) if shell else detect_shell(environment.get("SHELL"))
    if unset:
        write(removals(chosen, environment) + _advice(chosen, typed))
        return 0
    write(assignments(chosen, session.name, session.cluster.docker_environment(node), environment) + _advice(chosen, typed))
    if not shutil.which("docker"):
        session.narrator.warn(
            f"docker is not installed on this host; {command('image build', cluster=session.name)} works without it."
        )
    return 0


def _advice(shell: Shell, typed: Sequence[str]) -> str:
    """A comment that says how the output is evaluated, where nobody evaluates it: on a terminal."""
    from localk8s.helpers.docker_env_shell import DIALECTS, typed_line

    line = typed_line(shell, typed)
    return f"{DIALECTS[shell].comment} {line}\n" if line and sys.stdout.isatty() else ""


def failure(words: Sequence[str], variable: str | None) -> str:
    """What a failed command line prints where its output is evaluated; empty for every other command, and on a terminal.

    Args:
        words: the command line.
        variable: the value of SHELL.
    """
    from localk8s.helpers.docker_env_shell import DIALECTS, detect_shell, parse_shell
    from localk8s.model.errors import UsageError

    if words[:1] != ["docker-env"] or sys.stdout.isatty():
        return ""
    named = [after for word, after in zip(words, [*words, ""][1:], strict=True) if word == "--shell"]
    named += [word.partition("=")[2] for word in words if word.startswith("--shell=")]
    try:
        shell = parse_shell(named[0]) if named else detect_shell(variable)
    except UsageError:
        shell = detect_shell(variable)
    line = DIALECTS[shell].fail
    return f"{line}\n" if line else ""
