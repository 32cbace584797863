"""``kubeconfig``, ``kubectl``, ``ssh``: getting at a cluster and into its nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from localk8s.cli.options import ClusterName, NodeName, Quiet, Verbose
from localk8s.cli.output import write
from localk8s.cli.session import Session
from localk8s.model.errors import UsageError
from localk8s.model.hints import command


def kubeconfig(
    ctx: typer.Context,
    cluster: ClusterName = None,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge", help="Merge it into your kubeconfig and make it current.", rich_help_panel="What to do with it"
        ),
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take it out of your kubeconfig.", rich_help_panel="What to do with it")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Print the cluster's kubeconfig, merge it, or remove it.

    Your kubeconfig is what kubectl uses: the files of KUBECONFIG, else ~/.kube/config.
    """
    from localk8s.model.names import context_name

    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose)
    if merge and remove:
        raise UsageError(
            "--merge and --remove cannot go together.", hint=command("kubeconfig", "--merge", cluster=session.name)
        )
    if merge:
        session.cluster.merge_kubeconfig()
        write(f"Context {context_name(session.name)} is current.")
    elif remove:
        session.cluster.remove_kubeconfig()
        write(f"Context {context_name(session.name)} is not in your kubeconfig.")
    else:
        write(session.cluster.kubeconfig())
    return 0


def kubectl(ctx: typer.Context, cluster: ClusterName = None, verbose: Verbose = 0) -> int:
    """Run kubectl against the cluster.

    Ends with kubectl's exit code. Everything behind localk8s's own options is kubectl's. Your kubeconfig is not needed for it.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, verbose=verbose)
    return session.cluster.kubectl(list(session.rest or ()))


def ssh(ctx: typer.Context, node: NodeName = None, cluster: ClusterName = None, verbose: Verbose = 0) -> int:
    """Open a shell on a node, or run a command there.

    The command stands behind two dashes; its exit code is that of ssh.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, verbose=verbose)
    if session.rest is not None and not session.rest:
        raise UsageError(
            "There is no command behind the two dashes.", hint=command("ssh", "--", "hostname", cluster=session.name)
        )
    return session.cluster.node(node or "").shell(list(session.rest or ()))
