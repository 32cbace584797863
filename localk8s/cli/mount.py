"""``mount``: a directory of this host on the nodes too."""

from __future__ import annotations

from typing import Annotated

import typer

from localk8s.cli.image import Nodes
from localk8s.cli.options import ClusterName, Output, Quiet, Verbose
from localk8s.cli.output import Format, columns, document, show, write
from localk8s.cli.session import Session
from localk8s.model.errors import UsageError
from localk8s.model.hints import command

_FORMATS = (Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
_WHAT = "What to do"


def mount(
    ctx: typer.Context,
    pair: Annotated[
        str | None, typer.Argument(metavar="[HOST:NODE]", help="A directory here, and an absolute path on the nodes.")
    ] = None,
    cluster: ClusterName = None,
    node: Nodes = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Unmount it; HOST: can be left out (--remove /src).", rich_help_panel=_WHAT)
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show what is mounted (default).", rich_help_panel=_WHAT)] = False,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Mount a directory of this host on the nodes.

    It stays mounted until the nodes are stopped, or until --remove. Pods that start afterwards can use it by hostPath.
    """
    from localk8s.helpers.mount import split

    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, quiet=quiet, verbose=verbose, formats=_FORMATS)
    if list_ and (pair or remove):
        raise UsageError("--list takes no path and no --remove.", hint=command("mount", "--list", cluster=session.name))
    if pair is None:
        if remove:
            raise UsageError("--remove requires a path.", hint=command("mount", "--list", cluster=session.name))
        return _list(session, node)
    if remove:
        target = pair.rpartition(":")[2]
        session.cluster.unmount(target, nodes=node or ())
        write(f"{target} is no longer mounted.")
        return 0
    source, target = split(pair)
    where = session.cluster.mount(source, target, nodes=node or ())
    write(f"{source} is mounted at {target} on {', '.join(where)}.")
    return 0


def _list(session: Session, nodes: list[str] | None) -> int:
    found = [each for each in session.cluster.mounts() if not nodes or each.node in nodes]
    items = [{"node": each.node, "source": each.source, "target": each.target} for each in found]
    show(
        session.format,
        table=columns([("NODE", "HOST", "PATH"), *((each.node, each.source, each.target) for each in found)]),
        content=document("MountList", {"items": items}),
        names=[f"{each.node}:{each.target}" for each in found],
    )
    return 0
