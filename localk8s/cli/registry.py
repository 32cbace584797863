"""``registry start|stop``: a registry that this host and the nodes both reach."""

from __future__ import annotations

import typer

from localk8s.cli.commands import Command, Group
from localk8s.cli.options import ClusterName, Output, Quiet, Verbose
from localk8s.cli.output import Format, document, show, write
from localk8s.cli.session import Session
from localk8s.model.hints import command

_FORMATS = (Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
COMMAND_NAMES = ("registry start", "registry stop")
"""Every command, as it is typed."""


def registry_app() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(
        cls=Group,
        help="Run an image registry in the cluster.",
        epilog="localk8s registry start",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.callback()(_registry)
    app.command("start", cls=Command, epilog="localk8s registry start -o name")(start)
    app.command("stop", cls=Command, epilog="localk8s registry stop")(stop)
    return app


def _registry() -> None:
    """Run an image registry in the cluster."""


def start(
    ctx: typer.Context, cluster: ClusterName = None, output: Output = None, quiet: Quiet = False, verbose: Verbose = 0
) -> int:
    """Start a registry that this host and all nodes reach.

    Its address is the same for all of them: image names begin with it. Tools find it by the ConfigMap local-registry-hosting.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, quiet=quiet, verbose=verbose, formats=_FORMATS)
    found = session.cluster.start_registry()
    table = f"{found.address}\n  try   {command('image pull', f'{found.address}/IMAGE', cluster=session.name)}\n"
    show(session.format, table=table, content=document("Registry", {"address": found.address}), names=[found.address])
    return 0


def stop(ctx: typer.Context, cluster: ClusterName = None, quiet: Quiet = False, verbose: Verbose = 0) -> int:
    """Stop the registry.

    Its images stay until the cluster is deleted.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose)
    session.cluster.stop_registry()
    write("The registry is stopped.")
    return 0
