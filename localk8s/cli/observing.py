"""``cp``, ``top``: files into nodes, figures out of them."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localk8s.cli.options import ClusterName, Output, Quiet, Verbose
from localk8s.cli.output import Format, columns, document, show
from localk8s.cli.session import Session
from localk8s.model.errors import UsageError
from localk8s.model.hints import instead
from localk8s.model.quantities import format_size

if TYPE_CHECKING:
    from localk8s.helpers.top import Usage

_FORMATS = (Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
_EVERY = 2.0
"""Seconds between two looks."""
_BAR = 20


def cp(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A path on this host, or NODE:/PATH.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Likewise; a directory gets the source into it.")],
    cluster: ClusterName = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Copy files and directories between this host and nodes, or from node to node.

    To and from pods: localk8s kubectl cp.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose)
    session.cluster.copy(source, target)
    return 0


def top(
    ctx: typer.Context,
    what: Annotated[str | None, typer.Argument(metavar="[nodes|pods]", help="What to measure (default nodes).")] = None,
    cluster: ClusterName = None,
    once: Annotated[bool, typer.Option("--once", help="Print one table and end.", rich_help_panel="What to show")] = False,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Show what nodes or pods use, live on a terminal, until Ctrl-C.

    Asks the kubelets themselves: no add-on is needed.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, quiet=quiet, verbose=verbose, formats=_FORMATS)
    what = (what or "nodes").lower()
    if what not in ("nodes", "node", "pods", "pod"):
        raise UsageError(f"{what!r} is neither nodes nor pods.", hint=instead("pods", of=what))
    pods = what.startswith("pod")
    usage = session.cluster.top()
    if session.format is Format.TABLE and not once and sys.stdout.isatty():
        return _live(session, usage, pods=pods)
    names = [f"{pod.namespace}/{pod.name}" for pod in usage.pods] if pods else [node.name for node in usage.nodes]
    show(session.format, table=_table(usage, pods=pods), content=_content(usage, pods=pods), names=names)
    return 0


def _live(session: Session, usage: Usage, *, pods: bool) -> int:
    """Draw again and again; a look that fails leaves the last one standing."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from localk8s.model.errors import Localk8sError

    session.endless = True
    with contextlib.suppress(KeyboardInterrupt), Live(console=Console(), screen=True, auto_refresh=False) as live:
        while True:
            live.update(Text(_table(usage, pods=pods) + "\nCtrl-C ends it."), refresh=True)
            threading.Event().wait(_EVERY)
            with contextlib.suppress(Localk8sError):
                usage = session.cluster.top()
    return 0


def bar(share: float) -> str:
    """A share from 0 to 1 as blocks; more than 1 is full."""
    full = round(max(0.0, min(1.0, share)) * _BAR)
    return "█" * full + "░" * (_BAR - full)


def _table(usage: Usage, *, pods: bool) -> str:
    totals = {node.name: node for node in usage.nodes}
    if not pods:
        rows = [("NODE", "CPU", "", "MEMORY", "")]
        rows += [(node.name, *_cells(node.cpu, node.cpu_total, node.memory, node.memory_total)) for node in usage.nodes]
        return columns(rows)
    found = sorted(usage.pods, key=lambda pod: -(pod.cpu or 0))
    table = [("NAMESPACE", "POD", "NODE", "CPU", "", "MEMORY", "")]
    for pod in found:
        node = totals[pod.node]
        table.append((pod.namespace, pod.name, pod.node, *_cells(pod.cpu, node.cpu_total, pod.memory, node.memory_total)))
    return columns(table)


def _cells(cpu: float | None, cpu_total: float, memory: int | None, memory_total: int) -> tuple[str, str, str, str]:
    return (
        "unknown" if cpu is None else f"{cpu * 1000:.0f}m",
        bar(cpu / cpu_total) if cpu is not None and cpu_total else "",
        "unknown" if memory is None else format_size(memory),
        bar(memory / memory_total) if memory is not None and memory_total else "",
    )


def _content(usage: Usage, *, pods: bool) -> dict[str, Any]:
    """Cores and bytes."""
    if pods:
        items: list[dict[str, Any]] = [
            {"namespace": pod.namespace, "name": pod.name, "node": pod.node, "cpu": pod.cpu, "memoryBytes": pod.memory}
            for pod in usage.pods
        ]
        return document("PodUsageList", {"items": items})
    items = [
        {
            "name": node.name,
            "cpu": node.cpu,
            "cpuTotal": node.cpu_total,
            "memoryBytes": node.memory,
            "memoryTotalBytes": node.memory_total,
        }
        for node in usage.nodes
    ]
    return document("NodeUsageList", {"items": items})
