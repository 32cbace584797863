"""``mount``: a directory of this host on the nodes too."""

from __future__ import annotations

from typing import Annotated

import typer

from localk8s.cli.image import Nodes
from localk8s.cli.options import ClusterName, Quiet, Verbose
from localk8s.cli.output import write
from localk8s.cli.session import Session


def mount(
    ctx: typer.Context,
    pair: Annotated[str, typer.Argument(metavar="HOST:NODE", help="A directory here, and an absolute path on the nodes.")],
    cluster: ClusterName = None,
    node: Nodes = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take it away again; HOST: may be left out.", rich_help_panel="Where to")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Let a directory of this host be one on the nodes too.

    Until they are switched off, or --remove. Pods reach it by hostPath, those that start afterwards.
    """
    from localk8s.helpers.mount import split

    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose)
    if remove:
        target = pair.rpartition(":")[2]
        session.cluster.unmount(target, nodes=node or ())
        write(f"{target} is no longer mounted.")
        return 0
    source, target = split(pair)
    session.cluster.mount(source, target, nodes=node or ())
    write(f"{source} is {target} on {', '.join(node) if node else 'every node'}.")
    return 0
