"""``demo``: the main job in one command. Starts a cluster when none runs, shows the answer and how to do it by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from localk8s.cli.options import ClusterName, Output, Quiet, Verbose
from localk8s.cli.output import Format, document, show, write
from localk8s.cli.session import Session
from localk8s.model.errors import UsageError
from localk8s.model.hints import instead

if TYPE_CHECKING:
    from localk8s.helpers.demo import DemoResult

_WHAT = "What to deploy"
_FORMATS = (Format.TABLE, Format.JSON, Format.YAML, Format.NAME)


def demo(
    ctx: typer.Context,
    cluster: ClusterName = None,
    replicas: Annotated[str, typer.Option(metavar="N", help="How many pods (default 2).", rich_help_panel=_WHAT)] = "2",
    image: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE", help="Instead of the built-in echo server; has to serve HTTP on port 8080.", rich_help_panel=_WHAT
        ),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Take the demo out of the cluster.", rich_help_panel=_WHAT)] = False,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Deploy an echo server, ask it over HTTP, show the answer.

    Starts a cluster if none is running. Needs no network.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, quiet=quiet, verbose=verbose, formats=_FORMATS)
    if not (replicas.isascii() and replicas.isdigit() and len(replicas) < 7):
        raise UsageError(f"--replicas {replicas!r} is no number of pods.", hint=instead("--replicas", "2"))
    if delete:
        session.cluster.delete_demo()
        write(f'The demo is no longer in cluster "{session.name}".')
        return 0
    _have_cluster(session)
    result = session.cluster.demo(replicas=int(replicas), image=image)
    show(session.format, table=_table(session, result), content=document("Demo", _content(result)), names=[result.url])
    return 0


def _have_cluster(session: Session) -> None:
    from localk8s.cli.lifecycle import announce
    from localk8s.cluster.wish import Wish
    from localk8s.model.status import ClusterState

    if session.cluster.exists() and session.cluster.status().state is ClusterState.RUNNING:
        return
    session.verb = "start"
    session.cluster.start_as(Wish(), announce=lambda plan: announce(session, plan))
    session.verb = ""


def _content(result: DemoResult) -> dict[str, Any]:
    answer = result.answer
    return {
        "url": result.url,
        "milliseconds": round(result.milliseconds, 1),
        "status": result.status,
        "answer": None
        if answer is None
        else {
            "pod": answer.pod,
            "node": answer.node,
            "client": answer.client,
            "method": answer.method,
            "path": answer.path,
            "protocol": answer.protocol,
            "headers": dict(answer.headers),
        },
        "body": result.body,
        "byHand": list(result.by_hand),
    }


def _table(session: Session, result: DemoResult) -> str:
    answer = result.answer
    lines = [f"{result.url} answered in {result.milliseconds:.0f} ms:"]
    if answer is None:
        lines += [f"  {line}" for line in result.body.splitlines()[:20]]
    else:
        lines.append(f"  pod {answer.pod} on {answer.node or 'an unknown node'}")
        lines.append(f"  {answer.method} {answer.path} {answer.protocol} · client {answer.client}")
        lines += [f"  {name}: {value}" for name, value in answer.headers.items()]
    lines += ["  by hand:", *(f"    {command}" for command in result.by_hand)]
    return "\n".join(lines) + "\n"
