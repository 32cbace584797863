"""``bundle`` and ``cache``: what clusters are made of, packed to go, looked at, and thrown away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from localk8s.cli.commands import Command, Group
from localk8s.cli.options import Output, Quiet, Verbose, Yes
from localk8s.cli.output import Format, columns, document, show, write
from localk8s.cli.session import Session
from localk8s.model.errors import UsageError
from localk8s.model.hints import host_command
from localk8s.model.quantities import format_size

_FORMATS = (Format.TABLE, Format.JSON, Format.YAML, Format.NAME)


def bundle(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Ends in .tar, .tar.gz, .tar.xz or .tar.zst.")],
    kubernetes_version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Of Kubernetes (default: the newest that can be had).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Pack all that clusters are made of into one file.

    For a machine without a network: there, localk8s start --artifacts FILE. Holds the Kubernetes programs, images, the
    nodes' root file system, and docker with its registry, each with its digest.
    """
    from localk8s.cluster.supplies import write_bundle
    from localk8s.model.versions import parse_kubernetes_version

    session: Session = ctx.obj
    session.begin(quiet=quiet, verbose=verbose)
    target = Path(file)
    wanted = parse_kubernetes_version(kubernetes_version) if kubernetes_version else None
    write_bundle(session.installation, target, wanted, session.narrator, replace=force)
    write(f"{target} has {format_size(target.stat().st_size)}.")
    session.narrator.say(f"  try   {host_command('start', '--artifacts', file)}")
    return 0


def cache_app() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(
        cls=Group,
        help="Look at what was fetched and built, and throw it away.",
        epilog="localk8s cache list",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.callback()(_cache)
    app.command("list", cls=Command, epilog="localk8s cache list -o json")(list_)
    app.command("delete", cls=Command, epilog="localk8s cache delete --all --yes")(delete)
    return app


def _cache() -> None:
    """Look at what was fetched and built, and throw it away."""


def list_(ctx: typer.Context, output: Output = None, verbose: Verbose = 0) -> int:
    """List what the cache holds, with its size.

    An entry under work/ is what an interrupted download or build left: the next one goes on with it.
    """
    from localk8s.cluster.supplies import holdings

    session: Session = ctx.obj
    session.begin(output=output, verbose=verbose, formats=_FORMATS)
    found = holdings(session.installation)
    items = [{"name": each.name, "bytes": each.size, "finished": each.finished, "path": str(each.path)} for each in found]
    rows = [("NAME", "SIZE"), *((each.name, format_size(each.size)) for each in found)]
    total = f"{format_size(sum(each.size for each in found))} in all\n"
    table = columns(rows) + total if found else "The cache is empty.\n"
    show(session.format, table=table, content=document("CacheList", {"items": items}), names=[each.name for each in found])
    return 0


def delete(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME…", help="As cache list shows them.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All of it.")] = False,
    yes: Yes = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Throw away entries of the cache.

    Clusters that exist keep what they run on. What a new one needs is fetched or built again.
    """
    from localk8s.cluster.supplies import throw_away

    session: Session = ctx.obj
    session.begin(quiet=quiet, verbose=verbose)
    if bool(names) == all_:
        raise UsageError("Name entries, or say --all.", hint=host_command("cache list"))
    refusal = "Refusing to delete cache entries without confirmation."
    if not yes and not session.confirm("Throw it away?", refusal=refusal):
        return 1
    gone = throw_away(session.installation, names or ())
    write(f"{format_size(sum(each.size for each in gone))} thrown away.")
    return 0
