"""``kubeconfig``, ``kubectl``, ``ssh``, ``logs``: getting at a cluster and into its nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from localk8s.cli.options import ClusterName, NodeName, Quiet, Verbose
from localk8s.cli.output import write
from localk8s.cli.session import Session
from localk8s.model.errors import NotFoundError, UsageError

LAST_RUN = "=== "
"""What the first line of each run begins with in a cluster's log."""


def kubeconfig(
    ctx: typer.Context,
    cluster: ClusterName = None,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge", help="Merge it into your kubeconfig and make it current.", rich_help_panel="What to do with it"
        ),
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take it out of your kubeconfig.", rich_help_panel="What to do with it")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Print the cluster's kubeconfig, merge it, or remove it.

    Your kubeconfig is what kubectl uses: the files of KUBECONFIG, else ~/.kube/config.
    """
    from localk8s.model.names import context_name

    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose)
    if merge and remove:
        raise UsageError("--merge and --remove cannot go together.", hint="localk8s kubeconfig --merge")
    if merge:
        session.cluster.merge_kubeconfig()
        write(f"Context {context_name(session.name)} is current.")
    elif remove:
        session.cluster.remove_kubeconfig()
        write(f"Context {context_name(session.name)} is not in your kubeconfig.")
    else:
        write(session.cluster.kubeconfig())
    return 0


def kubectl(ctx: typer.Context, cluster: ClusterName = None, verbose: Verbose = 0) -> int:
    """Run kubectl against the cluster.

    Ends with kubectl's exit code. Everything behind localk8s's own options is kubectl's. Your kubeconfig is not needed for it.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, verbose=verbose)
    return session.cluster.kubectl(list(session.rest or ()))


def ssh(ctx: typer.Context, node: NodeName = None, cluster: ClusterName = None, verbose: Verbose = 0) -> int:
    """Open a shell on a node, or run a command there.

    The command stands behind two dashes; its exit code is that of ssh.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, verbose=verbose)
    if session.rest is not None and not session.rest:
        raise UsageError("There is no command behind the two dashes.", hint="localk8s ssh -- hostname")
    return session.cluster.node(node or "").shell(list(session.rest or ()))


def logs(
    ctx: typer.Context,
    node: NodeName = None,
    cluster: ClusterName = None,
    lines: Annotated[
        str,
        typer.Option(
            "--lines", "-n", metavar="N", help="How many lines of each component (default 50).", rich_help_panel="What to show"
        ),
    ] = "50",
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="WHICH",
            help="last or all: instead of components, what localk8s ran and what that printed.",
            rich_help_panel="What to show",
        ),
    ] = None,
    verbose: Verbose = 0,
) -> int:
    """Show logs: of a node's components, or of localk8s itself."""
    session: Session = ctx.obj
    session.begin(cluster=cluster, verbose=verbose)
    if run is None:
        if not (lines.isascii() and lines.isdigit() and len(lines) < 7 and int(lines) > 0):
            raise UsageError(f"--lines {lines!r} is no number of lines.", hint="localk8s logs --lines 50")
        write(session.cluster.logs(node or "", lines=int(lines)))
        return 0
    if run not in ("last", "all"):
        raise UsageError(f"--run {run!r} is neither last nor all.", hint="localk8s logs --run last")
    text = session.cluster.run_log()
    if not text:
        raise NotFoundError(f'There is no log of cluster "{session.name}".', hint="localk8s list")
    write(text if run == "all" else last_run(text))
    return 0


def last_run(text: str) -> str:
    """The part of a log from the last line that begins a run."""
    begin = text.rfind(f"\n{LAST_RUN}")
    return text[begin + 1 :] if begin >= 0 else text
