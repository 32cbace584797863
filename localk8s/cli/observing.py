"""``cp``, ``top``: files into nodes, figures out of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localk8s.cli.options import AllNamespaces, ClusterName, Output, Quiet, Verbose, chosen_namespace
from localk8s.cli.output import Format, columns, document, show
from localk8s.cli.session import Session
from localk8s.helpers.top import NodeUsage, PodUsage
from localk8s.model.errors import UsageError
from localk8s.model.hints import command, instead
from localk8s.model.quantities import format_size

if TYPE_CHECKING:
    from localk8s.helpers.top import Usage

_FORMATS = (Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
_WHAT = "What to show"
_EVERY = 2.0
"""Seconds between two looks."""
_BAR = 20
_ORDERS: Mapping[str, Callable[[NodeUsage | PodUsage], tuple[object, ...]]] = {
    "cpu": lambda each: (-(each.cpu or 0), each.name),
    "memory": lambda each: (-(each.memory or 0), each.name),
    "name": lambda each: (each.name,),
}


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
    all_namespaces: AllNamespaces = False,
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", metavar="NAME", help="Pods of one namespace (default: all).", rich_help_panel=_WHAT),
    ] = None,
    selector: Annotated[
        str, typer.Option("--selector", "-l", metavar="LABELS", help="Pods with these labels.", rich_help_panel=_WHAT)
    ] = "",
    sort: Annotated[
        str, typer.Option("--sort", metavar="BY", help="Sort by cpu (default), memory or name.", rich_help_panel=_WHAT)
    ] = "cpu",
    once: Annotated[bool, typer.Option("--once", help="Print one table and end.", rich_help_panel=_WHAT)] = False,
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
        raise UsageError(f"Invalid argument {what!r}: must be nodes or pods.", hint=instead("pods", of=what))
    if sort not in _ORDERS:
        raise UsageError(f"Invalid --sort {sort!r}: must be cpu, memory or name.", hint=instead("--sort", "memory"))
    pods = what.startswith("pod")
    if not pods and (all_namespaces or namespace or selector):
        raise UsageError("Namespaces and labels choose pods.", hint=command("top", "pods", "-A", cluster=session.name))

    def look() -> Usage:
        chosen = chosen_namespace(all_namespaces=all_namespaces, namespace=namespace, default="")
        return _sorted(session.cluster.top(namespace=chosen, selector=selector), sort)

    usage = look()
    if session.format is Format.TABLE and not once and sys.stdout.isatty():
        return _live(session, usage, look, pods=pods)
    names = [f"{pod.namespace}/{pod.name}" for pod in usage.pods] if pods else [node.name for node in usage.nodes]
    show(session.format, table=_table(usage, pods=pods, width=_width()), content=_content(usage, pods=pods), names=names)
    return 0


def _sorted(usage: Usage, by: str) -> Usage:
    order = _ORDERS[by]
    return replace(usage, nodes=tuple(sorted(usage.nodes, key=order)), pods=tuple(sorted(usage.pods, key=order)))


def _width() -> int:
    """Columns to keep to: the terminal's; no limit where there is none."""
    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal()
    return shutil.get_terminal_size().columns if known else 0


def _live(session: Session, usage: Usage, look: Callable[[], Usage], *, pods: bool) -> int:
    """Draw again and again; a look that fails leaves the last one standing."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from localk8s.model.errors import Localk8sError

    session.endless = True
    with contextlib.suppress(KeyboardInterrupt), Live(console=Console(), screen=True, auto_refresh=False) as live:
        while True:
            live.update(Text(_table(usage, pods=pods, width=_width()) + "\nCtrl-C ends it."), refresh=True)
            threading.Event().wait(_EVERY)
            with contextlib.suppress(Localk8sError):
                usage = look()
    return 0


def bar(share: float, width: int = _BAR) -> str:
    """A share from 0 to 1 as blocks; more than 1 is full."""
    full = round(max(0.0, min(1.0, share)) * width)
    return "█" * full + "░" * (width - full)


def _table(usage: Usage, *, pods: bool, width: int) -> str:
    """The widest form that keeps to ``width`` columns (0: any), with shorter bars or none; at last without pods' nodes."""
    forms = [(True, _BAR), (True, _BAR // 2), (True, 0), (not pods, 0)]
    drawn = [_drawn(usage, pods=pods, nodes=nodes, bars=bars) for nodes, bars in forms]
    return next((text for text in drawn if not width or max(map(len, text.splitlines())) <= width), drawn[-1])


def _drawn(usage: Usage, *, pods: bool, nodes: bool, bars: int) -> str:
    totals = {node.name: node for node in usage.nodes}
    used: Sequence[NodeUsage | PodUsage] = usage.pods if pods else usage.nodes
    names = ("NAMESPACE", "POD", "NODE") if pods else ("NODE",)
    rows = [_row(names, nodes=nodes, bars=bars, figures=("CPU", "", "MEMORY", ""))]
    for each in used:
        total = totals[each.node] if isinstance(each, PodUsage) else each
        named = (each.namespace, each.name, each.node) if isinstance(each, PodUsage) else (each.name,)
        figures = _cells(each.cpu, total.cpu_total, each.memory, total.memory_total, bars)
        rows.append(_row(named, nodes=nodes, bars=bars, figures=figures))
    return columns(rows)


def _row(names: tuple[str, ...], *, nodes: bool, bars: int, figures: tuple[str, ...]) -> tuple[str, ...]:
    """A row without the columns that there is no room for."""
    return (*(names if nodes else names[:-1]), *(figures if bars else figures[::2]))


def _cells(cpu: float | None, cpu_total: float, memory: int | None, memory_total: int, bars: int) -> tuple[str, str, str, str]:
    return (
        "unknown" if cpu is None else f"{cpu * 1000:.0f}m",
        bar(cpu / cpu_total, bars) if cpu is not None and cpu_total else "",
        "unknown" if memory is None else format_size(memory),
        bar(memory / memory_total, bars) if memory is not None and memory_total else "",
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
