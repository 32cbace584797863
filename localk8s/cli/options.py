"""Options that several commands share, spelled once. Values come in as text; the library parses them.

Must not do anything but declare.
"""

from __future__ import annotations

from typing import Annotated

import typer

from localk8s.cli.commands import GENERAL
from localk8s.model.errors import UsageError


def complete_cluster(incomplete: str) -> list[str]:
    """Names of clusters for the shell; reads only names of local files."""
    from localk8s.store.layout import Layout
    from localk8s.store.records import Records
    from localk8s.system.environment import read_environment
    from localk8s.system.paths import find_roots

    names = Records(Layout(find_roots(read_environment().variables))).names()
    return [name for name in names if name.startswith(incomplete)]


def complete_driver(incomplete: str) -> list[str]:
    """Names of the built-in drivers for the shell."""
    from localk8s.drivers.registry import BUILT_IN

    return [name for name in BUILT_IN if name.startswith(incomplete)]


def complete_format(incomplete: str) -> list[str]:
    """Output formats for the shell."""
    return [name for name in ("table", "json", "yaml", "name") if name.startswith(incomplete)]


ClusterName = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        "-c",
        metavar="NAME",
        help="Which cluster; else LOCALK8S_CLUSTER, else default.",
        autocompletion=complete_cluster,
        rich_help_panel=GENERAL,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FORMAT",
        help="table, json, yaml or name; else LOCALK8S_OUTPUT, else table.",
        autocompletion=complete_format,
        rich_help_panel=GENERAL,
    ),
]
Events = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FORMAT",
        help="json: one event a line on standard output, instead of lines for people.",
        autocompletion=complete_format,
        rich_help_panel=GENERAL,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Tell only results and errors.", rich_help_panel=GENERAL)]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, help="Show the commands that run, and what failed ones printed.", rich_help_panel=GENERAL
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", rich_help_panel=GENERAL)]
NodeName = Annotated[
    str | None, typer.Argument(metavar="[NODE]", help="A node of the cluster; the first control plane when left out.")
]
Namespace = Annotated[
    str,
    typer.Option("--namespace", "-n", metavar="NAME", help="Kubernetes namespace (default default).", rich_help_panel=GENERAL),
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.", rich_help_panel=GENERAL)]


def chosen_namespace(*, all_namespaces: bool, namespace: str | None, default: str) -> str:
    """The namespace that ``-A`` and ``-n`` choose; empty for all.

    Raises:
        UsageError: both were given.
    """
    if all_namespaces and namespace is not None:
        raise UsageError("--all-namespaces and --namespace cannot go together.", hint="leave one of them out")
    return "" if all_namespaces else (default if namespace is None else namespace)
