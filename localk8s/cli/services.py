"""``service``, ``tunnel``, ``hosts``: how this host reaches services."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localk8s.cli.forwarding import complain, until_interrupted
from localk8s.cli.options import AllNamespaces, ClusterName, Output, Quiet, Verbose, Yes, chosen_namespace
from localk8s.cli.output import Format, columns, document, show, write, write_line
from localk8s.cli.session import Session
from localk8s.model.errors import UsageError
from localk8s.model.hints import command, instead

if TYPE_CHECKING:
    from localk8s.helpers.services import ServiceAccess
    from localk8s.helpers.tunnel import Tunnelled

_HOSTS = "What to do"
_FORMATS = (Format.TABLE, Format.JSON, Format.YAML, Format.NAME)


def seconds(text: str, option: str) -> float:
    """A number of seconds as it was typed.

    Raises:
        UsageError: it is none.
    """
    if text.isascii() and text.replace(".", "", 1).isdecimal() and len(text) < 8:
        return float(text)
    raise UsageError(f"{option} {text!r} is no number of seconds.", hint=instead(option, "60"))


def service(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A service; all when left out.")] = None,
    cluster: ClusterName = None,
    all_namespaces: AllNamespaces = False,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace",
            "-n",
            metavar="NAME",
            help="Kubernetes namespace (default: default; all for the list).",
            rich_help_panel="General",
        ),
    ] = None,
    url: Annotated[bool, typer.Option("--url", help="Print URLs only, one a line.", rich_help_panel="What to show")] = False,
    wait: Annotated[
        str,
        typer.Option(
            "--wait", metavar="SECONDS", help="How long to wait for an endpoint (default 60).", rich_help_panel="What to show"
        ),
    ] = "60",
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Show where services answer, as this host reaches them.

    A named service is waited for until something behind it is ready; when nothing is, the command fails.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, quiet=quiet, verbose=verbose, formats=_FORMATS)
    limit = seconds(wait, "--wait")
    chosen = chosen_namespace(all_namespaces=all_namespaces, namespace=namespace, default="" if name is None else "default")
    if name is None:
        found = session.cluster.services(namespace=chosen)
    elif all_namespaces:
        raise UsageError(
            "--all-namespaces lists services: it takes no name.", hint=command("service", "-A", cluster=session.name)
        )
    else:
        found = (session.cluster.service(name, namespace=chosen, timeout=limit),)
    urls = [each.url for access in found for each in _best(access)]
    content = {"items": [_content(access) for access in found]} if name is None else _content(found[0])
    table = "".join(f"{each}\n" for each in urls) if url else columns(_rows(found))
    show(session.format, table=table, content=document("ServiceList" if name is None else "Service", content), names=urls)
    return 0


def _best(access: ServiceAccess) -> Any:
    from localk8s.helpers.services import best

    return best(access)


def _content(access: ServiceAccess) -> dict[str, Any]:
    return {
        "namespace": access.namespace,
        "name": access.name,
        "type": access.kind,
        "endpoints": access.endpoints,
        "addresses": [
            {
                "url": each.url,
                "host": each.host,
                "port": each.port,
                "servicePort": each.service_port,
                "name": each.name,
                "way": str(each.way),
            }
            for each in access.addresses
        ],
    }


def _rows(found: tuple[ServiceAccess, ...]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("NAMESPACE", "NAME", "TYPE", "ENDPOINTS", "URL")]
    for access in found:
        urls = [each.url for each in _best(access)] or ["-"]
        rows.append((access.namespace, access.name, access.kind, str(access.endpoints), urls[0]))
        rows += [("", "", "", "", each) for each in urls[1:]]
    return rows


def tunnel(
    ctx: typer.Context,
    cluster: ClusterName = None,
    cleanup: Annotated[
        bool, typer.Option("--cleanup", help="Only take back what a killed tunnel left.", rich_help_panel="What to do")
    ] = False,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Give LoadBalancer services an address that this host reaches, until Ctrl-C.

    Prints a line when a service gets its address. One tunnel serves all namespaces of a cluster.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, quiet=quiet, verbose=verbose, formats=(Format.TABLE, Format.JSON))
    if cleanup:
        cleaned = session.cluster.clean_up_tunnel()
        write("".join(f"{each.namespace}/{each.name}\n" for each in cleaned) or "There was nothing to take back.")
        return 0
    with session.cluster.tunnel(
        changed=lambda each: _tell_tunnelled(session.format, each),
        tell=lambda sentence: complain(sentence) if session.cluster.exists() else None,
    ) as running:
        if not quiet and not running.services:
            sys.stderr.write("No service of type LoadBalancer yet; waiting for one (Ctrl-C ends it).\n")
            sys.stderr.flush()
        return until_interrupted(session)


def _tell_tunnelled(format_: Format, service: Tunnelled) -> None:
    if format_ is Format.JSON:
        content = {"namespace": service.namespace, "name": service.name, "host": service.host, "ports": list(service.ports)}
        write_line(document("TunnelledService", content))
    elif service.host:
        ports = ", ".join(str(port) for port in service.ports)
        write(f"{service.namespace}/{service.name}  {service.host}  {ports}")


def hosts(
    ctx: typer.Context,
    cluster: ClusterName = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write them into the hosts file.", rich_help_panel=_HOSTS)] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take them out of it.", rich_help_panel=_HOSTS)] = False,
    file: Annotated[
        str | None, typer.Option("--file", metavar="PATH", help="Another hosts file.", rich_help_panel=_HOSTS)
    ] = None,
    yes: Yes = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Names for nodes and ingress hosts: print them, or keep them in /etc/hosts.

    Only the cluster's own block in that file is ever changed; the difference is shown first.
    """
    from localk8s.cluster.host_names import read_table, write_names
    from localk8s.helpers.hosts import difference, hosts_file, with_block

    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose)
    if apply and remove:
        raise UsageError("--apply and --remove cannot go together.", hint=command("hosts", "--apply", cluster=session.name))
    entries = () if remove else session.cluster.host_entries()
    if not apply and not remove:
        write("".join(f"{entry}\n" for entry in entries))
        return 0
    path = Path(file) if file else hosts_file()
    before = read_table(path)
    after = with_block(before, session.name, entries)
    if after == before:
        write(f"{path} is as it should be.")
        return 0
    if not quiet:
        sys.stderr.write(difference(before, after, path))
    if not yes and not session.confirm(f"Change {path}?", refusal=f"Refusing to change {path} without confirmation."):
        return 1
    write_names(session.installation, session.name, path, after, can_ask=session.can_ask())
    write(f"{path} was changed.")
    return 0
