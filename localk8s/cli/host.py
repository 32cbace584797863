"""``doctor`` and ``setup``: what this host has, lacks, and gets."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from localk8s.cli.options import Output, Quiet, Verbose, Yes, complete_driver
from localk8s.cli.output import document, line_width, show, write
from localk8s.cli.session import Session
from localk8s.model.errors import PrerequisiteError

_FOR = "For what"
Driver = Annotated[
    str | None,
    typer.Option(
        "--driver", metavar="NAME", help="native, minikube or vagrant.", autocompletion=complete_driver, rich_help_panel=_FOR
    ),
]


def doctor(
    ctx: typer.Context,
    driver: Driver = None,
    nodes: Annotated[
        str | None, typer.Option(metavar="N", help="Whether so many nodes would fit (default 1).", rich_help_panel=_FOR)
    ] = None,
    cpus: Annotated[str | None, typer.Option(metavar="N", help="With so many processors each.", rich_help_panel=_FOR)] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="With so much memory each.", rich_help_panel=_FOR)] = None,
    disk_size: Annotated[str | None, typer.Option(metavar="SIZE", help="With so much disk each.", rich_help_panel=_FOR)] = None,
    vm_driver: Annotated[
        str | None, typer.Option(metavar="NAME", help="minikube: what minikube runs its nodes with.", rich_help_panel=_FOR)
    ] = None,
    output: Output = None,
    verbose: Verbose = 0,
) -> int:
    """Look what this host has and lacks for running clusters.

    Also finds what was left behind. Changes nothing.

    Exits with 0 when a driver could start a cluster (with --driver: that one), otherwise 5.
    """
    from localk8s.cli.documents import finding_content, findings_table
    from localk8s.cli.lifecycle import count
    from localk8s.cluster.doctor import diagnose
    from localk8s.cluster.wish import parse_wish

    session: Session = ctx.obj
    session.begin(output=output, verbose=verbose)
    options = {"vm-driver": vm_driver} if vm_driver else {}
    driver = driver or ("minikube" if vm_driver else None)
    wish = parse_wish(
        driver=driver, nodes=count(nodes, "--nodes"), cpus=cpus, memory=memory, disk_size=disk_size, options=options
    )
    found = diagnose(session.installation, wish)
    items = [{"group": group, **finding_content(each)} for group, findings in found.groups.items() for each in findings]
    content = document("FindingList", {"usableDrivers": list(found.usable), "items": items})
    show(session.format, table=findings_table(found.groups, line_width()), content=content, names=list(found.usable))
    return 0 if found.usable else PrerequisiteError.exit_code


def setup(ctx: typer.Context, driver: Driver = None, yes: Yes = False, quiet: Quiet = False, verbose: Verbose = 0) -> int:
    """Install what a driver needs on this host.

    Also fetches and builds what clusters are made of. Shows the exact commands first, and asks. Afterwards a start
    needs no network.
    """
    from localk8s.cluster.doctor import plan_setup, run_setup

    session: Session = ctx.obj
    session.begin(quiet=quiet, verbose=verbose)
    planned = plan_setup(session.installation, driver)
    if planned.commands:
        session.narrator.say(f"The {planned.driver} driver needs this to be run:")
        for command in planned.commands:
            session.narrator.say(f"  {shlex.join(command)}")
        refusal = f"Refusing to install what the {planned.driver} driver needs without confirmation."
        if not yes and not session.confirm("Run it?", refusal=refusal):
            write("Nothing was installed.")
            return 1
    run_setup(session.installation, planned, session.narrator, lambda command: _run(session, command))
    write(f"The {planned.driver} driver has what it needs.")
    return 0


def _run(session: Session, command: Sequence[str]) -> int:
    """Run a command; on a terminal in the open, because sudo may ask for a password."""
    if command[0] == "sudo" and sys.stdin is not None and sys.stdin.isatty():
        return session.installation.runner().foreground(command)
    argv = ["sudo", "-n", *command[1:]] if command[0] == "sudo" else list(command)
    with session.narrator.step("install", shlex.join(command)) as step:
        session.installation.runner().run(
            argv,
            env={"DEBIAN_FRONTEND": "noninteractive"},
            timeout=1800,
            on_line=lambda line: step.progress(0, None, line.strip()[:60]),
        )
        step.finish_as(shlex.join(command))
    return 0
