"""``node add|delete|list|stop|start``: the machines of a cluster one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from localk8s.cli.commands import Command, Group
from localk8s.cli.options import ClusterName, Output, Quiet, Verbose, Yes
from localk8s.cli.output import columns, show, write
from localk8s.cli.session import Session

if TYPE_CHECKING:
    from localk8s.model.status import NodeStatus


def complete_node(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the cluster's nodes for the shell, as recorded; asks no machine."""
    from localk8s.model.errors import Localk8sError
    from localk8s.model.names import DEFAULT_CLUSTER, node_name
    from localk8s.store.layout import Layout
    from localk8s.store.records import Records
    from localk8s.system.environment import read_environment
    from localk8s.system.paths import find_roots

    environment = read_environment()
    name = ctx.params.get("cluster") or environment.text("LOCALK8S_CLUSTER") or DEFAULT_CLUSTER
    try:
        count = Records(Layout(find_roots(environment.variables))).load(name).spec.nodes
    except Localk8sError:
        return []
    return [node for index in range(1, count + 1) if (node := node_name(name, index)).startswith(incomplete)]


OneNode = Annotated[str, typer.Argument(metavar="NODE", help="Its name: see node list.", autocompletion=complete_node)]


def node_app() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(
        cls=Group,
        help="Add, delete, list, stop and start single nodes.",
        epilog="localk8s node list",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.callback()(_node)
    for name, function, example in _COMMANDS:
        app.command(name, cls=Command, epilog=example)(function)
    return app


def _node() -> None:
    """Add, delete, list, stop and start single nodes."""


def add(
    ctx: typer.Context, cluster: ClusterName = None, output: Output = None, quiet: Quiet = False, verbose: Verbose = 0
) -> int:
    """Add one worker while the others run.

    What is interrupted, or fails, is finished by localk8s start.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, quiet=quiet, verbose=verbose, verb="start")
    added = session.cluster.add_node()
    table = "".join(f"{node.name} is {node.state}{f' at {node.address}' if node.address else ''}.\n" for node in added)
    _show(session, table, added)
    return 0


def delete(
    ctx: typer.Context,
    node: OneNode,
    cluster: ClusterName = None,
    yes: Yes = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Drain a node and remove it with its machine.

    Its data is lost; its pods go to the other nodes. Works on one that is off or dead too. What is interrupted is finished
    by localk8s start.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose, verb="start")
    session.cluster.check_node_may_leave(node)
    if not yes and not session.confirm(
        f"Deleting node {node}: its data is lost. Go on?",
        refusal=f"Refusing to delete node {node} and its data without confirmation.",
    ):
        write("Nothing was deleted.")
        return 1
    session.cluster.delete_node(node)
    write(f"{node} is deleted.")
    return 0


def list_(ctx: typer.Context, cluster: ClusterName = None, output: Output = None, verbose: Verbose = 0) -> int:
    """List the nodes as they are now.

    It takes two seconds at most.
    """
    from localk8s.cli.documents import node_rows

    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, verbose=verbose)
    found = session.cluster.status().nodes
    _show(session, columns(node_rows(found)), found)
    return 0


def stop(ctx: typer.Context, node: OneNode, cluster: ClusterName = None, quiet: Quiet = False, verbose: Verbose = 0) -> int:
    """Switch one machine off and keep its data.

    The others go on. node start brings it back, and so does localk8s start.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose)
    session.cluster.stop_node(node)
    write(f"{node} is stopped.")
    return 0


def start(ctx: typer.Context, node: OneNode, cluster: ClusterName = None, quiet: Quiet = False, verbose: Verbose = 0) -> int:
    """Switch one machine on, with the address and data that it had.

    Ends when the node is ready.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose, verb="start")
    session.cluster.start_node(node)
    write(f"{node} is ready.")
    return 0


def _show(session: Session, table: str, nodes: tuple[NodeStatus, ...]) -> None:
    from localk8s.cli.documents import listing, node_content

    content = listing("Node", [node_content(node) for node in nodes])
    show(session.format, table=table, content=content, names=[node.name for node in nodes])


_COMMANDS: tuple[tuple[str, Any, str], ...] = (
    ("add", add, "localk8s node add"),
    ("delete", delete, "localk8s node delete default-3 --yes"),
    ("list", list_, "localk8s node list -o name"),
    ("stop", stop, "localk8s node stop default-2"),
    ("start", start, "localk8s node start default-2"),
)
COMMAND_NAMES = tuple(f"node {name}" for name, *_ in _COMMANDS)
"""Every command, as it is typed."""
