"""``image load|save|ls|rm|pull|build|tag``: what is on the nodes, and getting it there."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localk8s.cli.commands import Command, Group
from localk8s.cli.options import ClusterName, Output, Quiet, Verbose
from localk8s.cli.output import Format, columns, document, show, write
from localk8s.cli.session import Session
from localk8s.model.errors import UsageError
from localk8s.model.hints import command

if TYPE_CHECKING:
    from localk8s.helpers.images import ClusterImage, LoadedImage

_WHERE = "Where to"
_FORMATS = (Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
_ID = len("sha256:") + 12

Nodes = Annotated[
    list[str] | None,
    typer.Option("--node", metavar="NODE", help="Only this node; can be given again.", rich_help_panel=_WHERE),
]


def image_app() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(
        cls=Group,
        help="Load, save, list, remove, pull, build and tag images on the nodes.",
        epilog="localk8s image load app.tar",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.callback()(_image)
    for name, function, example in _COMMANDS:
        app.command(name, cls=Command, epilog=example)(function)
    return app


def _image() -> None:
    """Load, save, list, remove, pull, build and tag images on the nodes."""


def load(
    ctx: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE…", help="Archive files, - for standard input, or images of this host's docker or podman."
        ),
    ],
    cluster: ClusterName = None,
    node: Nodes = None,
    name: Annotated[
        str, typer.Option("--name", metavar="IMAGE", help="Instead of the name in the archive.", rich_help_panel=_WHERE)
    ] = "",
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Bring images onto the nodes, only the layers they lack.

    Takes what docker, podman, buildah, skopeo and ctr save, packed with gzip, bzip2 or xz or not. Ends well only when every
    node has it.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, quiet=quiet, verbose=verbose, formats=_FORMATS)
    if name and len(sources) > 1:
        raise UsageError(
            "--name goes with one archive.", hint=command("image load", "app.tar", "--name", "app:1", cluster=session.name)
        )
    loaded: list[LoadedImage] = []
    for source in sources:
        stream = sys.stdin.buffer if source == "-" else source
        loaded += session.cluster.load_image(stream, nodes=node or (), name=name)
    items = [{"name": each.name, "id": each.id, "nodes": list(each.nodes), "sentBytes": each.sent} for each in loaded]
    table = "".join(f"{each.name} is on {', '.join(each.nodes)}.\n" for each in loaded)
    _show(session, table, items, [each.name for each in loaded])
    return 0


def save(
    ctx: typer.Context,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE… FILE", help="Images, then a file, or - for standard output.")],
    cluster: ClusterName = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Write images of a node into an archive.

    Docker, podman and image load take it.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose)
    *names, target = images
    if not names:
        raise UsageError("It takes an image and a file.", hint=command("image save", target, "image.tar", cluster=session.name))
    if target != "-":
        path = Path(target)
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise UsageError(f"{target} cannot be written: it is a directory, or there is none for it.")
        session.cluster.images.save(names, path.absolute())
        return 0
    if sys.stdout.isatty():
        raise UsageError(
            "An archive is nothing for a terminal.", hint=command("image save", names[0], "image.tar", cluster=session.name)
        )
    with tempfile.TemporaryDirectory(prefix="localk8s-image-") as directory:
        file = Path(directory) / "archive.tar"
        session.cluster.images.save(names, file)
        with file.open("rb") as archive:
            shutil.copyfileobj(archive, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    return 0


def ls(ctx: typer.Context, cluster: ClusterName = None, output: Output = None, verbose: Verbose = 0) -> int:
    """List the images on the nodes."""
    session: Session = ctx.obj
    session.begin(cluster=cluster, output=output, verbose=verbose, formats=_FORMATS)
    owner = session.cluster
    found, nodes = owner.images.all(), [node.name for node in owner.nodes()]
    rows = [("IMAGE", "ID", "SIZE", "NODES")]
    rows += [(each.name, each.id[:_ID] or "-", each.size, _where(each, nodes)) for each in found]
    items = [{"name": each.name, "id": each.id, "size": each.size, "nodes": list(each.nodes)} for each in found]
    _show(session, columns(rows), items, [each.name for each in found])
    return 0


def _where(image: ClusterImage, nodes: list[str]) -> str:
    return "all" if list(image.nodes) == nodes else " ".join(image.nodes) or "-"


def rm(
    ctx: typer.Context,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…")],
    cluster: ClusterName = None,
    verbose: Verbose = 0,
) -> int:
    """Remove images from all nodes.

    Containers that run of them go on.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, verbose=verbose)
    write("".join(f"{name} is removed.\n" for name in session.cluster.images.remove(images)))
    return 0


def pull(
    ctx: typer.Context,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…")],
    cluster: ClusterName = None,
    node: Nodes = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Let the nodes fetch images from a registry, or from its mirrors.

    Mirrors stand in the configuration file.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose)
    for image in images:
        write(f"{session.cluster.pull_image(image, nodes=node or ())} is there.")
    return 0


def tag(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="IMAGE")],
    target: Annotated[str, typer.Argument(metavar="NAME", help="May be another image's so far.")],
    cluster: ClusterName = None,
    verbose: Verbose = 0,
) -> int:
    """Give an image another name, on every node that has it."""
    session: Session = ctx.obj
    session.begin(cluster=cluster, verbose=verbose)
    write(f"{session.cluster.images.tag(source, target)} is there.")
    return 0


def build(
    ctx: typer.Context,
    context: Annotated[str, typer.Argument(metavar="DIRECTORY", help="With a Dockerfile in it.")] = ".",
    cluster: ClusterName = None,
    name: Annotated[str, typer.Option("--tag", "-t", metavar="IMAGE", help="Its name.", rich_help_panel="What to build")] = "",
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="FILE", help="Another Dockerfile.", rich_help_panel="What to build")
    ] = "",
    build_arg: Annotated[
        list[str] | None,
        typer.Option("--build-arg", metavar="NAME=VALUE", help="Can be given again.", rich_help_panel="What to build"),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Build an image in the cluster.

    As docker build after docker-env: it is on every node a moment later. Ends with docker's exit code.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose)
    if not name:
        raise UsageError("An image needs a name.", hint=command("image build", "-t", "app", ".", cluster=session.name))
    if not Path(context).is_dir():
        raise UsageError(f"{context!r} is no directory.", hint=command("image build", "-t", name, ".", cluster=session.name))
    from localk8s.drivers.image_tool import ImageBuild

    wanted = ImageBuild(Path(context), name, file, tuple(build_arg or ()))
    return session.cluster.build_image(wanted, quiet=quiet)


def _show(session: Session, table: str, items: list[dict[str, Any]], names: list[str]) -> None:
    show(session.format, table=table, content=document("ImageList", {"items": items}), names=names)


_COMMANDS: tuple[tuple[str, Any, str], ...] = (
    ("load", load, "docker save app | localk8s image load -"),
    ("save", save, "localk8s image save app app.tar"),
    ("ls", ls, "localk8s image ls -o name"),
    ("rm", rm, "localk8s image rm app:1"),
    ("pull", pull, "localk8s image pull registry.k8s.io/pause:3.10"),
    ("build", build, "localk8s image build -t app ."),
    ("tag", tag, "localk8s image tag app:1 app:latest"),
)
COMMAND_NAMES = tuple(f"image {name}" for name, *_ in _COMMANDS)
"""Every command, as it is typed."""
