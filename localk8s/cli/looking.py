"""``status``, ``list``, ``ip``, ``version``, ``config view``: what is there. They change nothing and are quick."""

from __future__ import annotations

from typing import Annotated

import typer

from localk8s._version import __version__
from localk8s.cli.commands import Command, Group
from localk8s.cli.options import ClusterName, NodeName, Output, Quiet, Verbose
from localk8s.cli.output import Format, columns, document, line_width, show
from localk8s.cli.session import Session
from localk8s.model.errors import Localk8sError, NotFoundError, WrongStateError
from localk8s.model.hints import host_command


def status(ctx: typer.Context, cluster: ClusterName = None, output: Output = None, verbose: Verbose = 0) -> int:
    """Show the cluster and its nodes as they are now.

    Exits with 0 when it is healthy, 3 when there is none, otherwise 4. It takes two seconds at most, and says
    "unknown" rather than hang.
    """
    from localk8s.cli.documents import cluster_content, cluster_table
    from localk8s.model.status import ClusterState
    from localk8s.store.records import CorruptRecordError

    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, verbose=verbose)
    wanted = session.cluster
    if not wanted.exists() and session.format is Format.TABLE and not session.clusters.names():
        raise NotFoundError("No clusters.", hint=host_command("start"))
    found = wanted.status()
    try:
        choice = wanted.choice()
    except CorruptRecordError:
        choice = None
    show(
        session.format,
        table=cluster_table(found, choice, line_width()),
        content=document("Cluster", cluster_content(found, choice)),
        names=[node.name for node in found.nodes],
    )
    return 0 if found.state is ClusterState.RUNNING else WrongStateError.exit_code


def list_(ctx: typer.Context, output: Output = None, verbose: Verbose = 0) -> int:
    """List all clusters."""
    from localk8s.cli.documents import cluster_content, list_table, listing

    session: Session = ctx.obj
    session.begin(output=output, verbose=verbose)
    found = session.clusters.list()
    items = []
    for each in found:
        try:
            choice = session.clusters.get(each.name).choice()
        except Localk8sError:
            choice = None
        items.append(cluster_content(each, choice))
    show(session.format, table=list_table(found), content=listing("Cluster", items), names=[each.name for each in found])
    return 0


def ip(
    ctx: typer.Context, node: NodeName = None, cluster: ClusterName = None, output: Output = None, quiet: Quiet = False
) -> int:
    """Print the address of the cluster or of one node."""
    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, quiet=quiet)
    found = session.cluster.node(node or "")
    content = document("NodeAddress", {"cluster": session.name, "node": found.name, "address": found.address})
    show(session.format, table=found.address, content=content, names=[found.address])
    return 0


def version(ctx: typer.Context, output: Output = None) -> int:
    """Print the version of localk8s."""
    from localk8s.model.versions import NEWEST_MINOR, OLDEST_MINOR

    session: Session = ctx.obj
    session.begin(output=output)
    known = {"oldest": f"1.{OLDEST_MINOR}", "newest": f"1.{NEWEST_MINOR}"}
    content = document("Version", {"version": __version__, "kubernetes": known})
    show(session.format, table=f"localk8s {__version__}", content=content, names=[__version__])
    return 0


def config_app() -> typer.Typer:
    """The group ``config``."""
    app = typer.Typer(
        cls=Group,
        help="Show the configuration.",
        epilog="localk8s config view --show-origin",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.callback()(_config)
    app.command("view", cls=Command, epilog="localk8s config view --show-origin")(config_view)
    return app


def _config() -> None:
    """Show the configuration."""


def config_view(
    ctx: typer.Context,
    output: Output = None,
    show_origin: Annotated[
        bool, typer.Option("--show-origin", help="Also say where each setting comes from.", rich_help_panel="General")
    ] = False,
) -> int:
    """Show the settings that new clusters are made with, and where each comes from."""
    from localk8s.cluster.settings import effective_settings

    session: Session = ctx.obj
    session.begin(output=output)
    settings = effective_settings(session.installation)
    rows = [(s.key, s.value or "-", *((s.origin,) if show_origin else ())) for s in settings]
    items = [{"key": s.key, "value": s.value, "origin": s.origin} for s in settings]
    content = document("Settings", {"file": str(session.installation.config_file), "items": items})
    show(session.format, table=columns(rows), content=content, names=[s.key for s in settings])
    return 0
