"""``dashboard``: the cluster as a page in the browser, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from localk8s.cli.forwarding import until_interrupted
from localk8s.cli.options import ClusterName, Output, Quiet, Verbose
from localk8s.cli.output import Format, document, show
from localk8s.cli.session import Session
from localk8s.model.ports import parse_port
from localk8s.system.browser import open_browser, variables_of
from localk8s.system.environment import Environment
from localk8s.system.host import is_root
from localk8s.system.owner import owner

_FORMATS = (Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
_WHAT = "What to open"


def why_not_open(environment: Environment, platform: str, *, root: bool, kernel: str) -> str:
    """Why no browser is opened here; empty when one can be.

    Args:
        environment: of this process.
        platform: as ``sys.platform``.
        root: whether this process may do everything.
        kernel: the kernel's release.
    """
    if root:
        return "browsers are not opened as root"
    if environment.text("WSL_DISTRO_NAME") or "microsoft" in kernel.lower():
        return "in WSL, open it in Windows"
    if platform.startswith("linux") and not (environment.text("DISPLAY") or environment.text("WAYLAND_DISPLAY")):
        return "there is no display"
    return ""


def dashboard(
    ctx: typer.Context,
    cluster: ClusterName = None,
    url: Annotated[bool, typer.Option("--url", help="Only print the address.", rich_help_panel=_WHAT)] = False,
    ui: Annotated[
        str,
        typer.Option(
            "--ui",
            metavar="NAME",
            help="built-in (default); one that is installed: headlamp, kubernetes-dashboard; or the driver's own: minikube.",
            rich_help_panel=_WHAT,
        ),
    ] = "built-in",
    port: Annotated[
        str, typer.Option("--port", "-p", metavar="PORT", help="Local port (default 0: any free).", rich_help_panel=_WHAT)
    ] = "0",
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Show the cluster live in the browser, until Ctrl-C.

    The page is served on this host's loopback only, to who has the address with its token, and shows without changing anything.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, quiet=quiet, verbose=verbose, formats=_FORMATS)
    number = parse_port(port, "--port")
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(session.cluster.dashboard(ui=ui, port=number))
        content = document("Dashboard", {"cluster": session.name, "url": address})
        show(session.format, table=address, content=content, names=[address])
        if not url and session.format is Format.TABLE:
            why = stack.enter_context(opened(session, address))
            sys.stderr.write(f"Open it in a browser ({why}).\n" if why else "It is in your browser.\n")
            sys.stderr.write("Ctrl-C ends it.\n")
            sys.stderr.flush()
        return until_interrupted(session)


@contextlib.contextmanager
def opened(session: Session, address: str) -> Iterator[str]:
    """Open a browser, by a file that only this user can read and that is gone after the block; yields why there is none."""
    kernel = os.uname().release if hasattr(os, "uname") else ""
    user = owner()
    seen = session.environment if user is None else Environment(variables_of(user, session.environment.variables))
    why = why_not_open(seen, sys.platform, root=is_root() and user is None, kernel=kernel)
    if why:
        yield why
        return
    from urllib.parse import urlsplit

    from localk8s.helpers.dashboard_web import entry_page
    from localk8s.system.files import write_atomic

    entry = session.installation.layout.dashboard_entry(session.name, urlsplit(address).port or 0)
    try:
        write_atomic(entry, entry_page(address), mode=0o600)
        yield "" if open_browser(entry.as_uri(), user, session.environment.variables) else "no browser was found"
    finally:
        entry.unlink(missing_ok=True)
