"""``start``, ``stop``, ``delete``: options in, one call of the library, one sentence out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localk8s.cli.commands import GENERAL
from localk8s.cli.narrators import EventNarrator
from localk8s.cli.options import ClusterName, Events, Quiet, Verbose, Yes
from localk8s.cli.output import Format, document, write, write_line
from localk8s.cli.session import Session
from localk8s.cli.start_options import (
    ArtifactsPath,
    Cni,
    ControlPlanes,
    Cpus,
    DiskSize,
    DriverName,
    DriverOption,
    DryRun,
    KeepOnFailure,
    Memory,
    Merge,
    MinikubeArg,
    Nodes,
    Provider,
    Version,
    VmDriver,
    Wait,
)
from localk8s.model.errors import ConfigError, NotFoundError, UsageError
from localk8s.model.hints import host_command, instead

if TYPE_CHECKING:
    from localk8s.cluster.plan import Plan
    from localk8s.cluster.recipe import StartOptions
    from localk8s.cluster.wish import Wish


def start(
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
    vm_driver: VmDriver = None,
    minikube_arg: MinikubeArg = None,
    provider: Provider = None,
    cni: Cni = None,
    driver_option: DriverOption = None,
    wait: Wait = True,
    dry_run: DryRun = False,
    keep_on_failure: KeepOnFailure = False,
    merge: Merge = True,
    output: Events = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Create the cluster, or bring it to Running again.

    What is left out stays as it was created. What cannot be changed on a cluster that exists is refused with the
    command that recreates it.
    """
    session: Session = ctx.obj
    formats = (Format.TABLE, Format.JSON)
    session.begin(cluster=cluster, output=output, quiet=quiet, verbose=verbose, formats=formats, events=True, verb="start")
    given = ctx.params
    wish, options = wish_of(given), _how(session, given)
    plan = session.cluster.start_as(wish, options, announce=lambda plan: announce(session, plan, dry_run=dry_run))
    _tell_started(session, plan, options)
    return 0


def wish_of(given: Mapping[str, Any]) -> Wish:
    """What the options of ``start`` (or those of them that a command has) ask for."""
    from localk8s.cluster.wish import parse_wish

    return parse_wish(
        nodes=count(given["nodes"], "--nodes"),
        control_planes=count(given["control_planes"], "--control-planes"),
        options=_options(given),
        **{name: given[name] for name in ("driver", "cpus", "memory", "disk_size", "kubernetes_version", "artifacts")},
    )


_ONE_DRIVERS = ("vm_driver", "provider", "cni")


def _how(session: Session, given: Mapping[str, Any]) -> StartOptions:
    from localk8s.cluster.recipe import StartOptions

    keep = given["keep_on_failure"] or session.environment.flag("LOCALK8S_KEEP_ON_FAILURE")
    return StartOptions(keep_on_failure=keep, merge=given["merge"], wait=given["wait"], dry_run=given["dry_run"])


def count(text: str | None, option: str) -> int | None:
    """The number of nodes that an option gives; None when it was not given."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise UsageError(f"{option} {text!r} is no number of nodes.", hint=instead(option, "3"))
    return int(text)


def _options(given: Mapping[str, Any]) -> dict[str, str]:
    import shlex

    options = {name.replace("_", "-"): given[name] for name in _ONE_DRIVERS if given.get(name) is not None}
    if given.get("minikube_arg"):
        options["minikube-arg"] = shlex.join(given["minikube_arg"])
    for pair in given["driver_option"] or ():
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise UsageError(f"--driver-option {pair!r} is no KEY=VALUE.", hint=host_command("start", "--help"))
        options[key] = value
    return options


def announce(session: Session, plan: Plan, *, dry_run: bool = False) -> None:
    """Tell what a start is going to do, before it is done."""
    from localk8s.cli.documents import plan_content
    from localk8s.cluster.plan import Action

    if isinstance(session.narrator, EventNarrator):
        session.narrator.event("plan", **plan_content(plan))
    elif plan.action is not Action.NOTHING and not dry_run:
        version = str(plan.spec.kubernetes_version or "").removeprefix("v")
        parts = [f'cluster "{plan.spec.name}"', f"{plan.spec.driver} driver ({_briefly(plan.driver.source)})"]
        if version:
            parts.append(f"Kubernetes {version}")
        session.narrator.say(f"localk8s: {' · '.join(parts)}")


def _briefly(source: str) -> str:
    return "fits this host" if source.startswith("this host") else source


def _tell_started(session: Session, plan: Plan, options: StartOptions) -> None:
    from localk8s.cli.documents import cluster_content, plan_table
    from localk8s.cluster.plan import Action

    if session.format is Format.JSON:
        if not options.dry_run:
            content = cluster_content(session.cluster.status(), session.cluster.choice())
            write_line(document("Event", {"type": "finished", "action": str(plan.action), "cluster": content}))
    elif options.dry_run:
        write(plan_table(plan))
    elif plan.action is Action.NOTHING:
        write(f'Cluster "{session.name}" is already running.')
    else:
        _tell_running(plan, options)
        if plan.action is Action.CREATE:
            _tell_what_next(session.name, merged=options.merge)


def _tell_running(plan: Plan, options: StartOptions) -> None:
    from localk8s.model.names import context_name

    name, count_ = plan.spec.name, plan.spec.nodes
    nodes = "1 node" if count_ == 1 else f"{count_} nodes"
    state = "is running" if options.wait else "is starting"
    context = f", context {context_name(name)} is current" if options.merge else ""
    write(f'Cluster "{name}" {state}: {nodes}{context}.')
    for change in plan.changes:
        write(f"  changed  {change.field} from {change.recorded} to {change.wanted}")


def _tell_what_next(name: str, *, merged: bool) -> None:
    from localk8s.model.hints import command

    by_hand = ("kubectl get nodes", "your kubeconfig has it already")
    if not merged:
        by_hand = (command("kubectl", "get", "nodes", cluster=name), "")
    demo = command("demo", cluster=name)
    width = max(len(demo), len(by_hand[0]))
    write(f"  try   {demo:{width}}  an echo server, deployed and asked")
    write(f"        {by_hand[0]:{width}}  {by_hand[1]}".rstrip())


def stop(ctx: typer.Context, cluster: ClusterName = None, quiet: Quiet = False, verbose: Verbose = 0) -> int:
    """Switch the machines off and keep their data.

    start brings the same cluster back.
    """
    session: Session = ctx.obj
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose, verb="stop")
    session.cluster.stop()
    return 0


def delete(
    ctx: typer.Context,
    cluster: ClusterName = None,
    every: Annotated[bool, typer.Option("--all", help="Delete every cluster.", rich_help_panel=GENERAL)] = False,
    yes: Yes = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Remove the cluster and every trace of it.

    Its data is lost. Deleting what is not there, or half there, works too.
    """
    session: Session = ctx.obj
    if every and cluster is not None:
        raise UsageError("--all and --cluster cannot go together.", hint=host_command("delete", "--all"))
    session.begin(cluster=cluster, quiet=quiet, verbose=verbose, verb="delete")
    for name in session.clusters.names() if every else (session.name,):
        session.name = name
        if not _delete_one(session, yes=yes):
            return 1
    return 0


def _delete_one(session: Session, *, yes: bool) -> bool:
    cluster, name = session.cluster, session.name
    if cluster.exists() and not yes:
        question = f'Deleting cluster "{name}"{_describe(session)}: its data is lost. Go on?'
        if not session.confirm(question, refusal=f'Refusing to delete cluster "{name}" and its data without confirmation.'):
            write("Nothing was deleted.")
            return False
    if not cluster.delete():
        write(f'There is no cluster "{name}": nothing to delete.')
    return True


def _describe(session: Session) -> str:
    from localk8s.store.records import CorruptRecordError

    try:
        spec = session.cluster.spec
    except (CorruptRecordError, NotFoundError, ConfigError):
        return ""
    return f" ({spec.driver}, {spec.nodes} node{'' if spec.nodes == 1 else 's'})"
