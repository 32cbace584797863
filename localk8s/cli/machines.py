"""``render``, ``inventory``, ``box build|list|delete``: machines as files for others, and what they are made from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localk8s.cli.commands import GENERAL, Command, Group
from localk8s.cli.options import ClusterName, Output, Quiet, Verbose, Yes
from localk8s.cli.output import Format, columns, document, show, write
from localk8s.cli.session import Session
from localk8s.cli.start_options import (
    ArtifactsPath,
    Cni,
    ControlPlanes,
    Cpus,
    DiskSize,
    DriverName,
    DriverOption,
    Memory,
    Nodes,
    Provider,
    Version,
    complete_provider,
)
from localk8s.model.errors import UsageError
from localk8s.model.hints import host_command

if TYPE_CHECKING:
    from localk8s.cluster.boxes import Boxes
    from localk8s.drivers.machines import MachineBox

_FORMATS = (Format.TABLE, Format.JSON, Format.YAML, Format.NAME)


def render(
    ctx: typer.Context,
    cluster: ClusterName = None,
    driver: DriverName = None,
    nodes: Nodes = None,
    control_planes: ControlPlanes = None,
    kubernetes_version: Version = None,
    artifacts: ArtifactsPath = None,
    cpus: Cpus = None,
    memory: Memory = None,
    disk_size: DiskSize = None,
    provider: Provider = None,
    cni: Cni = None,
    driver_option: DriverOption = None,
    verbose: Verbose = 0,
) -> int:
    """Print the Vagrantfile of the cluster, or of the one that start would make.

    It describes the machines; what makes Kubernetes of them is start, or kubespray with the inventory. The options are those
    of start, for a cluster that does not exist yet. Nothing is changed.
    """
    from localk8s.cli.lifecycle import wish_of

    session: Session = ctx.obj
    session.begin(cluster=cluster, verbose=verbose)
    write(session.cluster.render(wish_of(ctx.params)))
    return 0


def inventory(ctx: typer.Context, cluster: ClusterName = None, output: Output = None, verbose: Verbose = 0) -> int:
    """Print the machines as an Ansible inventory.

    With kubespray's group names: kube_control_plane, etcd, kube_node. YAML, or JSON with -o json.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, verbose=verbose, formats=(Format.YAML, Format.JSON))
    text = session.cluster.inventory()
    if session.format is Format.JSON:
        import yaml

        text = json.dumps(yaml.safe_load(text), indent=2)
    write(text)
    return 0


def box_app() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(
        cls=Group,
        help="Build, list and delete what machines are made from.",
        epilog="localk8s box list",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.callback()(_box)
    for name, function, example in _COMMANDS:
        app.command(name, cls=Command, epilog=example)(function)
    return app


def _box() -> None:
    """Build, list and delete what machines are made from."""


def build(
    ctx: typer.Context,
    provider: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="lxc or libvirt; else the one of this host.",
            autocompletion=complete_provider,
            rich_help_panel="What to build",
        ),
    ] = None,
    kubernetes_version: Version = None,
    artifacts: ArtifactsPath = None,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Build a box from Debian's packages, with everything a node needs inside.

    start does that too when it needs one. The same content is not built again.
    """
    session: Session = ctx.obj
    session.begin(output=output, quiet=quiet, verbose=verbose, formats=_FORMATS)
    box = _boxes(session).build(provider, kubernetes_version=kubernetes_version, artifacts=artifacts)
    content = document("Box", _content(box))
    show(session.format, table=f"{box.name}  {box.directory}\n", content=content, names=[box.name])
    return 0


def list_(ctx: typer.Context, output: Output = None, verbose: Verbose = 0) -> int:
    """List the boxes on this host."""
    from localk8s.cli.documents import listing
    from localk8s.model.quantities import format_size

    session: Session = ctx.obj
    session.begin(output=output, verbose=verbose, formats=_FORMATS)
    found = _boxes(session).list()
    rows = [("BOX", "PROVIDER", "KUBERNETES", "SIZE", "DIRECTORY")]
    for box in found:
        version = str(box.kubernetes_version or "-").removeprefix("v")
        rows.append((box.name, box.provider, version, format_size(box.size), str(box.directory)))
    table = columns(rows) if found else f"No boxes. {host_command('box build')} makes one.\n"
    show(
        session.format, table=table, content=listing("Box", [_content(box) for box in found]), names=[box.name for box in found]
    )
    return 0


def complete_box(incomplete: str) -> list[str]:
    """Names of boxes for the shell."""
    from localk8s.cluster.boxes import Boxes

    return [box.name for box in Boxes().list() if box.name.startswith(incomplete)]


def delete(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="BOX…", autocompletion=complete_box)] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All of them, and the packages that they share.", rich_help_panel=GENERAL)
    ] = False,
    yes: Yes = False,
    verbose: Verbose = 0,
) -> int:
    """Delete boxes from this host.

    Clusters made from them go on.
    """
    session: Session = ctx.obj
    session.begin(verbose=verbose)
    if every == bool(names):
        raise UsageError("It takes names of boxes, or --all.", hint=host_command("box list"))
    if every and not yes:
        refusal = "Refusing to delete all boxes without confirmation."
        if not session.confirm("Deleting all boxes. Go on?", refusal=refusal):
            write("Nothing was deleted.")
            return 1
    _boxes(session).delete(*names or ())
    write("".join(f"{name} is deleted.\n" for name in names or ()) or "All boxes are deleted.")
    return 0


def _boxes(session: Session) -> Boxes:
    from localk8s.cluster.boxes import Boxes

    return Boxes(session.installation, report=session.narrator)


def _content(box: MachineBox) -> dict[str, Any]:
    return {
        "name": box.name,
        "provider": box.provider,
        "kubernetesVersion": str(box.kubernetes_version) if box.kubernetes_version else None,
        "directory": str(box.directory),
        "sizeBytes": box.size,
    }


_COMMANDS: tuple[tuple[str, Any, str], ...] = (
    ("build", build, "localk8s box build --provider lxc"),
    ("list", list_, "localk8s box list -o name"),
    ("delete", delete, "localk8s box delete --all --yes"),
)
COMMAND_NAMES = tuple(f"box {name}" for name, *_ in _COMMANDS)
"""Every command, as it is typed."""
