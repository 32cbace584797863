"""``registry start|stop|status|list``: a registry that this host and the nodes both reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from localk8s.cli.commands import Command, Group
from localk8s.cli.options import ClusterName, Output, Quiet, Verbose
from localk8s.cli.output import Format, columns, document, show, write
from localk8s.cli.session import Session
from localk8s.model.errors import Localk8sError, NotSupportedError, WrongStateError
from localk8s.model.hints import command

if TYPE_CHECKING:
    from localk8s.cluster import Cluster
    from localk8s.helpers.registry import RegistryStatus

_FORMATS = (Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
COMMAND_NAMES = ("registry start", "registry stop", "registry status", "registry list")
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
    app.command("status", cls=Command, epilog="localk8s registry status -o json")(status)
    app.command("list", cls=Command, epilog="localk8s registry list")(list_)
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
    session.narrator.say(f"  try   {command('image pull', f'{found.address}/IMAGE', cluster=session.name)}")
    show(
        session.format,
        table=f"{found.address}\n",
        content=document("Registry", {"address": found.address}),
        names=[found.address],
    )
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


def status(ctx: typer.Context, cluster: ClusterName = None, output: Output = None, verbose: Verbose = 0) -> int:
    """Show the registry's address and which nodes reach it.

    This host and every node are asked. Exits with 0 when all of them reach it, otherwise 4.
    """
    from localk8s.helpers.registry import RegistryState

    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, verbose=verbose, formats=_FORMATS)
    found = session.cluster.registry()
    rows = [
        ("NODE", "REACHES IT", "WHY NOT"),
        *((each.node, "no" if each.reason else "yes", each.reason) for each in found.nodes),
    ]
    head = columns(
        [("registry", found.state), ("address", found.address), *([("reason", found.reason)] if found.reason else [])]
    )
    table = head + (f"\n{columns(rows)}" if found.nodes else "")
    show(session.format, table=table, content=document("Registry", _content(found)), names=[found.address])
    if found.state is RegistryState.STOPPED:
        session.narrator.say(f"  try   {command('registry start', cluster=session.name)}")
    reached = found.state is RegistryState.RUNNING and not any(each.reason for each in found.nodes)
    return 0 if reached else WrongStateError.exit_code


def list_(ctx: typer.Context, output: Output = None, verbose: Verbose = 0) -> int:
    """List the registries of all clusters, and the nodes that reach them.

    Clusters whose driver runs no registry are left out.
    """
    from localk8s.cli.documents import listing

    session: Session = ctx.obj
    session.begin(output=output, verbose=verbose, formats=_FORMATS)
    items = [item for name in session.clusters.names() if (item := _item(session.clusters.get(name))) is not None]
    rows = [("CLUSTER", "ADDRESS", "STATE", "NODES")]
    for item in items:
        reach = [node["name"] for node in item["nodes"] if node["reaches"]]
        rows.append((item["cluster"], item["address"] or "-", item["state"], " ".join(reach) or "-"))
    names = [item["address"] for item in items if item["state"] == "running"]
    show(session.format, table=columns(rows), content=listing("Registry", items), names=names)
    return 0


def _item(cluster: Cluster) -> dict[str, Any] | None:
    """The registry of one of all clusters; None where there can be none. One that cannot be asked does not hide the others."""
    try:
        return {"cluster": cluster.name, **_content(cluster.registry())}
    except NotSupportedError:
        return None
    except Localk8sError as exc:
        return {"cluster": cluster.name, "address": "", "state": "unknown", "reason": exc.message, "nodes": []}


def _content(found: RegistryStatus) -> dict[str, Any]:
    nodes = [{"name": each.node, "reaches": not each.reason, "reason": each.reason} for each in found.nodes]
    return {"address": found.address, "state": str(found.state), "reason": found.reason, "nodes": nodes}
