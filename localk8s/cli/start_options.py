"""The options of ``start``, in the groups in which its help shows them. Must not do anything but declare."""

from __future__ import annotations

from typing import Annotated

import typer

from localk8s.cli.options import complete_driver


def complete_provider(incomplete: str) -> list[str]:
    """Vagrant's providers for the shell."""
    from localk8s.drivers.vagrant.providers import PROVIDERS

    return [name for name in PROVIDERS if name.startswith(incomplete)]


def complete_cni(incomplete: str) -> list[str]:
    """Pod networks for the shell."""
    return [name for name in ("bridge", "flannel", "calico", "none") if name.startswith(incomplete)]


_WHAT, _SIZE, _ONE, _HOW = "What to start", "Size of each node", "Only one driver", "How"

DriverName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="native, minikube or vagrant; else LOCALK8S_DRIVER, else the configuration, else what this host can run.",
        autocompletion=complete_driver,
        rich_help_panel=_WHAT,
    ),
]
Nodes = Annotated[
    str | None, typer.Option(metavar="N", help="How many nodes, control plane included (default 1).", rich_help_panel=_WHAT)
]
ControlPlanes = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="How many of them carry the control plane (default 1); 3 survive the loss of one.",
        rich_help_panel=_WHAT,
    ),
]
Version = Annotated[
    str | None,
    typer.Option(metavar="VERSION", help="Such as 1.36.3; else the newest that a source can give.", rich_help_panel=_WHAT),
]
ArtifactsPath = Annotated[
    str | None,
    typer.Option(
        metavar="DIR", help="A directory or bundle with the Kubernetes programs, searched first.", rich_help_panel=_WHAT
    ),
]
Cpus = Annotated[str | None, typer.Option(metavar="N", help="Processors, such as 2 or 0.5 (default 2).", rich_help_panel=_SIZE)]
Memory = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Such as 4g or 512m; a bare number is MiB (default 2g).", rich_help_panel=_SIZE),
]
DiskSize = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Such as 20g, taken as it fills (default 20g).", rich_help_panel=_SIZE)
]
VmDriver = Annotated[
    str | None, typer.Option(metavar="NAME", help="minikube: what minikube runs its nodes with.", rich_help_panel=_ONE)
]
MinikubeArg = Annotated[
    list[str] | None,
    typer.Option(metavar="ARG", help="minikube: handed on to minikube start; may be repeated.", rich_help_panel=_ONE),
]
Provider = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="vagrant: what makes the machines: libvirt, lxc, virtualbox, vmware_desktop, parallels, hyperv.",
        autocompletion=complete_provider,
        rich_help_panel=_ONE,
    ),
]
Cni = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="vagrant, minikube: who connects pods: bridge, flannel, calico; vagrant: or none. flannel and calico on "
        "vagrant need a network and --driver-option cni-manifest=FILE.",
        autocompletion=complete_cni,
        rich_help_panel=_ONE,
    ),
]
DriverOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Any other option that only one driver has; may be repeated.", rich_help_panel=_ONE),
]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait/--no-wait", help="Wait until API, nodes and DNS are ready, or only for the API.", rich_help_panel=_HOW
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.", rich_help_panel=_HOW)]
KeepOnFailure = Annotated[
    bool, typer.Option("--keep-on-failure", help="Keep what a failed start made, to look at it.", rich_help_panel=_HOW)
]
Merge = Annotated[
    bool,
    typer.Option(
        "--kubeconfig/--no-kubeconfig",
        help="Make the cluster the current context of your kubeconfig, or leave that alone.",
        rich_help_panel=_HOW,
    ),
]
