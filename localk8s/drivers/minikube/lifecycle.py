"""The recipes of start, stop and delete on a minikube profile. Each is safe to run again after it was killed anywhere.

Must not build command lines, parse output or decide what is drift: the modules beside this one do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from localk8s.artifacts.base import Artifacts
from localk8s.drivers.minikube import arguments, drift, leftovers, prefill
from localk8s.drivers.minikube.claim import Ownership
from localk8s.drivers.minikube.errors import last_log
from localk8s.drivers.minikube.kubeconfig import read_kubeconfig
from localk8s.drivers.minikube.options import Options
from localk8s.drivers.minikube.profile import ProfileConfig, current_profile
from localk8s.drivers.minikube.readiness import DEFAULT_LIMITS, Limits, wait_ready
from localk8s.drivers.minikube.session import Session, refuse_foreign, refuse_machine_names, refuse_replaced, replaced
from localk8s.drivers.minikube.status import Answer, cluster_state
from localk8s.drivers.minikube.tool import end_orphans
from localk8s.drivers.minikube.vm_drivers import Kind, VmDriver, refuse_nodes, vm_driver
from localk8s.model.errors import CommandError, Localk8sError, WaitTimeoutError
from localk8s.model.node import Completed
from localk8s.model.progress import Reporter
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import ClusterState

_DELETE, _PAUSE, _NODE = 300.0, 120.0, 900.0
"""Seconds for deleting, for pausing, for adding or removing one node."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a start is to bring about."""

    spec: ClusterSpec
    options: Options
    driver: VmDriver
    wait: bool = True
    architecture: str = "amd64"
    limits: Limits = DEFAULT_LIMITS


def start(session: Session, wanted: Wanted, artifacts: Artifacts, report: Reporter) -> None:
    """Bring the cluster to Running, from whatever is there.

    Raises:
        WrongStateError: what is there is something else than what is asked for, or another's.
        Localk8sError: minikube failed; see ``errors``.
        WaitTimeoutError: it did not come to an end, or did not become ready.
    """
    with report.step("profile", "looking at minikube's profile") as step:
        config, half_made = _prepare(session, wanted)
        step.finish_as(f"minikube {session.tool.version}, {wanted.driver.name} driver, profile {session.profile}")
    if half_made:
        report.warn(f"The first start of minikube's profile {session.profile} did not finish: it is created again.")
        delete(session, report)
        config = None
    if config is not None and _runs(session, config, wanted):
        _add_missing(session, wanted, report)
    else:
        prefill.fill(session, wanted.spec, wanted.options, wanted.driver, artifacts, report, wanted.architecture)
        _start_profile(session, wanted, config, report)
        _add_missing(session, wanted, report)
    _mend_kubeconfig(session)
    _wait(session, wanted, report)
    prefill.give_echo(session, wanted.spec, wanted.options, wanted.driver, artifacts, report, wanted.architecture)
    session.claims.note(session.cluster, stopped=False)


def _prepare(session: Session, wanted: Wanted) -> tuple[ProfileConfig | None, bool]:
    """Refuse what cannot be; returns the profile if it is there, and whether it is only half made.

    Half made is what no ``minikube start`` ever came to the end of. minikube may call it Running all the same, while
    kube-proxy and DNS are missing; its own next start does not install them.
    """
    refuse_nodes(wanted.driver, wanted.spec.nodes, wanted.spec.control_planes, session.cluster)
    end_orphans(session.profile, session.kubeconfig, keep_serving=True)
    refuse_foreign(session)
    refuse_machine_names(session, wanted.spec.nodes)
    claim, config = session.claims.load(session.cluster), session.config()
    half_made = config is not None and not (claim and claim.started)
    if config is not None and not half_made:
        changes = drift.profile_changes(config, wanted.spec, sizes=len(config.nodes) == 1)
        drift.refuse(changes, session.cluster, drift.start_command(wanted.spec))
    return config, half_made


def _runs(session: Session, config: ProfileConfig, wanted: Wanted) -> bool:
    """Whether nothing is to be started; resumes what is paused."""
    try:
        state, _ = cluster_state(session.status(), wanted.driver.kind)
    except CommandError:
        return False
    if state is ClusterState.PAUSED:
        session.plain(arguments.unpause(session.profile), doing="resume the cluster", timeout=_PAUSE)
        return True
    return state is ClusterState.RUNNING and config.has_started


def _start_profile(session: Session, wanted: Wanted, config: ProfileConfig | None, report: Reporter) -> None:
    """Run minikube's start on a profile that bears our mark, and note that it came to its end."""
    session.claims.take(session.cluster, session.profile, session.home, wanted.driver.name)
    request = arguments.StartRequest(
        profile=session.profile,
        spec=wanted.spec,
        options=wanted.options,
        driver=wanted.driver,
        existing=config is not None,
    )
    session.follow(
        arguments.start(request),
        report,
        doing="start the cluster",
        timeout=wanted.options.start_timeout,
        setting="start-timeout",
    )
    session.claims.note(session.cluster, started=True)


def _add_missing(session: Session, wanted: Wanted, report: Reporter) -> None:
    """Add workers until there are as many nodes as asked for; a driver with one node was refused long before."""
    have = len(session.existing().nodes)
    while have < wanted.spec.nodes:
        add_node(session, wanted.driver, report)
        now = len(session.existing().nodes)
        if now <= have:
            raise Localk8sError(
                f"minikube says that it added a node, but there are still {have}.", hint=session.command("status")
            )
        have = now


def add_node(session: Session, driver: VmDriver, report: Reporter) -> None:
    """Add one worker.

    Raises:
        NotSupportedError: the driver has one node; minikube would say so too, go on, and destroy the cluster.
        Localk8sError: minikube failed.
    """
    count = len(session.existing().nodes) + 1
    refuse_nodes(driver, count, 1, session.cluster)
    refuse_machine_names(session, count)
    with report.step("node", f"adding node {count}") as step:
        session.plain(arguments.node_add(session.profile), doing="add a node", timeout=_NODE)
        step.finish_as(f"added node {count}")


def delete_node(session: Session, machine: str, report: Reporter) -> None:
    """Drain and remove one worker.

    Args:
        machine: its name, as ``nodes`` gives it.

    Raises:
        Localk8sError: minikube failed, or the node is still recorded afterwards.
    """
    config = session.existing()
    node = next(node for node in config.nodes if config.machine_name(node) == machine)
    with report.step("node", f"removing {machine}") as step:
        session.plain(arguments.node_delete(session.profile, node.name), doing=f"remove node {machine}", timeout=_NODE)
        if machine in session.existing().machine_names:
            raise Localk8sError(
                f"minikube says that it removed {machine}, but it is still there.", hint=session.command("status")
            )
        step.finish_as(f"removed {machine}")


def _mend_kubeconfig(session: Session) -> None:
    """Have minikube write the API server's address again when its own kubeconfig points elsewhere or is unusable."""
    try:
        read_kubeconfig(session.kubeconfig, session.profile, session.cluster)
        stale = session.status().kubeconfig_stale
    except (Localk8sError, OSError):
        with contextlib.suppress(OSError):
            session.kubeconfig.unlink()  # minikube refuses to edit what it cannot parse
        stale = True
    if stale:
        session.plain(arguments.update_context(session.profile), doing="write its kubeconfig", timeout=_PAUSE)


def _wait(session: Session, wanted: Wanted, report: Reporter) -> None:
    from localk8s.kube.rest import RestClient

    if not wanted.wait:
        return
    config = session.existing()
    with report.step("ready", "waiting for the API, the nodes and DNS") as step:
        text = read_kubeconfig(session.kubeconfig, session.profile, session.cluster)
        here = wanted.driver.host_is_in_cluster
        with contextlib.closing(RestClient.from_kubeconfig(text)) as client:
            wait_ready(client, session.nodes(config), step, wanted.limits, on_this_host=here, hint=last_log(session.cluster))


def stop(session: Session, options: Options, report: Reporter) -> None:
    """Switch the machines off; stopping what is stopped, or is not there, succeeds.

    Raises:
        WaitTimeoutError: it did not end in time; the message names what hangs.
        Localk8sError: minikube failed and something still runs.
    """
    end_orphans(session.profile, session.kubeconfig)
    refuse_replaced(session)
    if session.config() is None:
        return
    if not _is_off(session):
        _switch_off(session, options, report)
    session.claims.note(session.cluster, stopped=True)


def _switch_off(session: Session, options: Options, report: Reporter) -> None:
    try:
        session.follow(
            arguments.stop(session.profile),
            report,
            doing="stop the cluster",
            timeout=options.stop_timeout,
            setting="stop-timeout",
        )
    except WaitTimeoutError:
        raise
    except Localk8sError:
        if not _is_off(session):
            raise
    if not _is_off(session):
        raise Localk8sError(
            "minikube says that the cluster is stopped, but something of it still runs.",
            hint=session.command("status"),
        )


def _is_off(session: Session) -> bool:
    try:
        report = session.status()
    except CommandError:
        return False
    if report.answer is Answer.NOT_FOUND:
        return True
    kind = vm_driver(session.vm).kind if session.vm else None
    return cluster_state(report, kind)[0] is ClusterState.STOPPED


def pause(session: Session, *, resume: bool = False) -> None:
    """Freeze the cluster's containers, or let them go on."""
    session.existing()
    argv = arguments.unpause(session.profile) if resume else arguments.pause(session.profile)
    session.plain(argv, doing="resume the cluster" if resume else "pause the cluster", timeout=_PAUSE)


def delete(session: Session, report: Reporter) -> None:
    """Remove the profile and all that is left of it, then the claim; a profile that is another's stays as it is.

    Raises:
        PrerequisiteError: there is a profile, and no minikube that could delete it.
        Localk8sError: something is still there; the message lists it.
    """
    with contextlib.suppress(Localk8sError):
        end_orphans(session.profile, session.kubeconfig)
    ownership, claim = session.ownership, session.claims.load(session.cluster)
    if ownership is Ownership.FOREIGN and claim is not None:
        report.warn(replaced(session))
    if ownership is Ownership.FOREIGN or (ownership is Ownership.ABSENT and claim is None):
        session.claims.drop(session.cluster)
        return
    machines, vm = _remembered(session)
    kind = vm_driver(vm).kind if vm else None
    if leftovers.folders(session.home, session.profile, machines) or kind is Kind.CONTAINER:
        chosen = current_profile(session.home)
        done = _delete_profile(session, report)
        _restore_current(session, chosen)
        _clear(session, machines, kind, vm, done, report)
    session.claims.drop(session.cluster)
    if kind is Kind.NONE and (traces := leftovers.host_traces(session.runner, leftovers.HOST)):
        report.warn(f"minikube's delete left on this host: {', '.join(traces)}. localk8s does not touch them.")


def _remembered(session: Session) -> tuple[Sequence[str], str]:
    """The machines and the driver of the profile, as far as anything still says so."""
    try:
        config = session.config()
    except Localk8sError:
        config = None
    if config is not None:
        return config.machine_names, config.driver or session.vm
    claim = session.claims.load(session.cluster)
    return (session.profile,), claim.vm_driver if claim else session.vm


def _delete_profile(session: Session, report: Reporter) -> Completed | None:
    """Run minikube's delete, whatever comes of it: what counts is what is there afterwards.

    Raises:
        PrerequisiteError: there is no minikube to run.
    """
    _ = session.tool.version
    try:
        session.follow(
            arguments.delete(session.profile), report, doing="delete the cluster", timeout=_DELETE, setting="stop-timeout"
        )
    except CommandError as exc:
        return Completed(exc.argv, exc.returncode or -1, exc.stdout, exc.stderr)
    except Localk8sError as exc:
        return Completed((), 1, "", exc.message)
    return None


def _restore_current(session: Session, chosen: str) -> None:
    """A delete forgets which profile the user's own minikube commands mean, even when that was another one."""
    lost = chosen not in ("", session.profile, current_profile(session.home))
    if lost and session.home.profile(chosen).is_dir():
        session.tool.run(arguments.set_current_profile(chosen), timeout=_PAUSE)


def _clear(
    session: Session, machines: Sequence[str], kind: Kind | None, vm: str, failed: Completed | None, report: Reporter
) -> None:
    """Remove what minikube's delete left, where that is safe; list what has to be looked at."""
    left = _left(session, machines, kind, vm)
    safe = kind in (Kind.NONE, Kind.SSH, Kind.CONTAINER) or not any(session.home.machine(name).exists() for name in machines)
    if left and safe:
        report.warn(f"minikube's own delete left {_listed(left)} behind: removed.")
        leftovers.remove(session.runner, vm, left)
        left = _left(session, machines, kind, vm)
    if not left and session.listed():
        left = (leftovers.Leftover("profile", session.profile),)
    if left:
        why = f" ({failed.stderr.strip().splitlines()[-1]})" if failed and failed.stderr.strip() else ""
        are = "is" if len(left) == 1 else "are"
        raise Localk8sError(
            f'Cluster "{session.cluster}" could not be removed whole: {_listed(left)} {are} left{why}.',
            hint=session.command("delete"),
            details=failed.stdout if failed else "",
        )


def _left(session: Session, machines: Sequence[str], kind: Kind | None, vm: str) -> tuple[leftovers.Leftover, ...]:
    found = leftovers.folders(session.home, session.profile, machines)
    if kind is Kind.CONTAINER:
        found = (*found, *leftovers.engine_things(session.runner, vm, session.profile))
    return found


def _listed(things: Sequence[leftovers.Leftover]) -> str:
    return ", ".join(str(thing) for thing in things)
