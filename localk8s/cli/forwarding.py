"""``port-forward``, ``proxy``: local ports that lead into the cluster, until Ctrl-C."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import Annotated

import typer

from localk8s.cli.options import ClusterName, Namespace, Output, Quiet, Verbose
from localk8s.cli.output import Format, document, show
from localk8s.cli.session import Session
from localk8s.model.addresses import check_address, parse_addresses, reaches_beyond_this_host
from localk8s.model.errors import NotFoundError, UsageError
from localk8s.model.hints import command, host_command
from localk8s.model.ports import parse_port

_FORMATS = (Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
_WHERE = "Where to listen"
_LOOK = 1.0
"""Seconds between two looks whether the cluster is still there."""


def until_interrupted(session: Session) -> int:
    """Wait for Ctrl-C (or SIGTERM), which is how these commands end: 0.

    Raises:
        NotFoundError: the cluster was deleted meanwhile.
    """
    session.endless = True
    waiting = threading.Event()
    with contextlib.suppress(KeyboardInterrupt):
        while session.cluster.exists():
            waiting.wait(_LOOK)
        raise NotFoundError(f'Cluster "{session.name}" was deleted.', hint=host_command("list"))
    return 0


def port_forward(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="KIND/NAME", help="svc, pod, deploy, sts, ds, rs or job, and a name.")],
    ports: Annotated[
        list[str], typer.Argument(metavar="[LOCAL:]REMOTE…", help="Numbers or names; LOCAL 0 takes any free port.")
    ],
    cluster: ClusterName = None,
    namespace: Namespace = "default",
    address: Annotated[
        str,
        typer.Option("--address", metavar="IP[,IP…]", help="Local addresses (default 127.0.0.1).", rich_help_panel=_WHERE),
    ] = "127.0.0.1",
    through_api: Annotated[
        bool,
        typer.Option(
            "--through-api", help="By way of the API server, also where there is a shorter one.", rich_help_panel=_WHERE
        ),
    ] = False,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Make ports of a service, pod or workload local ports, until Ctrl-C.

    Each connection goes to a pod that is ready at that moment: pods may be replaced, scaled and rolled meanwhile, and the
    API server restarted.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, quiet=quiet, verbose=verbose, formats=_FORMATS)
    if not ports:
        raise UsageError(
            "There is no port to forward.", hint=command("port-forward", "svc/web", "8080:80", cluster=session.name)
        )
    addresses = parse_addresses(address)
    with session.cluster.port_forward(
        target,
        *ports,
        namespace=namespace,
        addresses=addresses,
        direct=False if through_api else None,
        tell=complain,
    ) as forward:
        found = forward.ports
        show(
            session.format,
            table="".join(f"{each.address}:{each.port} -> {each.target} {each.remote}\n" for each in found),
            content=document(
                "PortForward",
                {
                    "cluster": session.name,
                    "namespace": namespace,
                    "target": str(found[0].target),
                    "ports": [{"address": each.address, "port": each.port, "remote": each.remote} for each in found],
                },
            ),
            names=[f"{each.address}:{each.port}" for each in found],
        )
        return until_interrupted(session)


def proxy(
    ctx: typer.Context,
    cluster: ClusterName = None,
    port: Annotated[
        str, typer.Option("--port", "-p", metavar="PORT", help="0: any free port (default 8001).", rich_help_panel=_WHERE)
    ] = "8001",
    address: Annotated[
        str, typer.Option("--address", metavar="IP", help="Local address (default 127.0.0.1).", rich_help_panel=_WHERE)
    ] = "127.0.0.1",
    commands: Annotated[
        bool, typer.Option("--commands", help="Also let commands be run in pods.", rich_help_panel="What to serve")
    ] = False,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Serve the Kubernetes API on a local port without its credentials, until Ctrl-C.

    Whoever can reach the port is the cluster's administrator. Web pages cannot use it.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, quiet=quiet, verbose=verbose, formats=_FORMATS)
    number = parse_port(port, "--port")
    with session.cluster.proxy(address=check_address(address), port=number, commands=commands) as served:
        if reaches_beyond_this_host(check_address(address)):
            complain("Whoever reaches this port is the cluster's administrator.")
        content = document("Proxy", {"cluster": session.name, "url": served.url})
        show(session.format, table=served.url, content=content, names=[served.url])
        return until_interrupted(session)


def complain(sentence: str) -> None:
    """Say in a line what went wrong on the way; the command goes on."""
    sys.stderr.write(f"  ! {sentence}\n")
    sys.stderr.flush()
