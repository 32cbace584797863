"""``logs``: what components, pods, and localk8s itself wrote."""

from __future__ import annotations

import contextlib
import itertools
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from localk8s.cli.options import ClusterName, Namespace, Verbose
from localk8s.cli.output import write
from localk8s.cli.session import Session
from localk8s.model.errors import NotFoundError, UsageError
from localk8s.model.hints import command, host_command, instead

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localk8s.helpers.pod_logs import LogLine

LAST_RUN = "=== "
"""What the first line of each run begins with in a cluster's log."""
_WHAT = "What to show"
_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


def logs(
    ctx: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(metavar="[NODE|KIND/NAME]", help="A node; or pods: pod, deploy, svc, sts, ds, rs or job, and a name."),
    ] = None,
    cluster: ClusterName = None,
    lines: Annotated[
        str,
        typer.Option(
            "--lines", metavar="N", help="How many lines of each component or container (default 50).", rich_help_panel=_WHAT
        ),
    ] = "50",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on, also with pods that come later.", rich_help_panel=_WHAT)
    ] = False,
    selector: Annotated[
        str, typer.Option("--selector", "-l", metavar="LABELS", help="Pods with these labels.", rich_help_panel=_WHAT)
    ] = "",
    container: Annotated[
        str, typer.Option("--container", metavar="NAME", help="Only this container of each pod.", rich_help_panel=_WHAT)
    ] = "",
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Logs of each container before its last restart.", rich_help_panel=_WHAT)
    ] = False,
    namespace: Namespace = "default",
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="WHICH",
            help="last or all: instead, what localk8s ran and what that printed.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    verbose: Verbose = 0,
) -> int:
    """Show logs: of a node's components, of pods, or of localk8s itself."""
    session: Session = ctx.obj
    session.begin(cluster=cluster, verbose=verbose)
    if run is not None:
        return _own(session, run)
    if not (lines.isascii() and lines.isdigit() and len(lines) < 7 and int(lines) > 0):
        raise UsageError(f"--lines {lines!r} is no number of lines.", hint=instead("--lines", "50"))
    if not selector and (target is None or "/" not in target):
        if follow or container or previous:
            what = "followed" if follow else "chosen by --container or --previous"
            raise UsageError(
                f"Only logs of pods can be {what}.", hint=command("logs", "-f", "deploy/web", cluster=session.name)
            )
        write(session.cluster.logs(target or "", lines=int(lines)))
        return 0
    if selector and target:
        raise UsageError(
            "A name and --selector cannot go together.", hint=command("logs", "-l", "app=web", cluster=session.name)
        )
    if follow and previous:
        raise UsageError(
            "--follow and --previous cannot go together.", hint=command("logs", "-p", "pod/x", cluster=session.name)
        )
    chosen = {"selector": selector, "namespace": namespace, "container": container}
    if follow:
        return _follow(session, target or "", int(lines), chosen)
    try:
        _print(session.cluster.pod_logs(target or "", lines=int(lines), previous=previous, **chosen))
    except NotFoundError as exc:
        if not exc.hint:
            exc.hint = command("kubectl", "get", "pods", "-n", namespace, "--show-labels", cluster=session.name)
        raise
    return 0


def _follow(session: Session, target: str, lines: int, chosen: dict[str, str]) -> int:
    session.endless = True
    with (
        contextlib.suppress(KeyboardInterrupt),
        session.cluster.follow_pod_logs(target, lines=lines, **chosen) as follower,
    ):
        if not follower.pods:
            sys.stderr.write("No pods yet; waiting for one (Ctrl-C ends it).\n")
            sys.stderr.flush()
        _print(follower)
    return 0


def _print(lines: Iterable[LogLine]) -> None:
    """Each line behind its pod's name, in the pod's colour on a terminal."""
    colours: dict[str, int] = {}
    turn = itertools.cycle(_COLOURS)
    colourful = sys.stdout.isatty()
    for line in lines:
        name = f"{line.pod} {line.container}"
        if colourful:
            colour = colours.setdefault(line.pod, 0) or next(turn)
            colours[line.pod] = colour
            name = f"\x1b[{colour}m{name}\x1b[0m"
        write(f"{name}  {line.text}")


def _own(session: Session, run: str) -> int:
    if run not in ("last", "all"):
        raise UsageError(f"--run {run!r} is neither last nor all.", hint=instead("--run", "last"))
    text = session.cluster.run_log()
    if not text:
        raise NotFoundError(f'There is no log of cluster "{session.name}".', hint=host_command("list"))
    write(text if run == "all" else last_run(text))
    return 0


def last_run(text: str) -> str:
    """The part of a log from the last line that begins a run."""
    begin = text.rfind(f"\n{LAST_RUN}")
    return text[begin + 1 :] if begin >= 0 else text
