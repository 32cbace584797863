"""What a ``start`` is going to do: which driver and why, which spec, which changes. Looks, changes nothing.

Must not run any step of it; ``recipe`` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from localk8s.cluster.choosing import choose_driver, fresh_spec, refuse_errors
from localk8s.cluster.wish import Choice, Wish, amended, start_command, with_unclaimed
from localk8s.drivers.base import Change, Driver, Feature
from localk8s.model.errors import Localk8sError, NotFoundError, UsageError, WrongStateError
from localk8s.model.hints import command, host_command
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import ClusterState, Finding, NodeRole
from localk8s.store.records import Record
from localk8s.wiring import Installation


class Action(StrEnum):
    """What a start comes to."""

    CREATE = "create"
    FINISH = "finish"
    """Creating was interrupted; it goes on."""
    START = "start"
    CHANGE = "change"
    """It runs, and something of it is changed."""
    NOTHING = "nothing"
    """It runs as it should."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a start would do."""

    action: Action
    spec: ClusterSpec
    driver: Choice
    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()
    """What the driver found on this host; without errors, which refuse the start."""


def plan_new(installation: Installation, name: str, wish: Wish) -> tuple[Plan, Driver]:
    """What creating the cluster ``name`` comes to.

    Raises:
        UsageError, ArtifactError, ConfigError: what is asked for cannot be had.
        PrerequisiteError: this host cannot run it.
    """
    choice = choose_driver(installation, name, wish)
    driver = installation.driver(choice.value)
    spec = fresh_spec(installation, name, choice.value, wish)
    _refuse_unknown_options(wish, driver)
    findings = driver.check(spec)
    refuse_errors(findings, choice.value)
    return Plan(Action.CREATE, driver.complete(spec), choice, findings=findings), driver


def _refuse_unknown_options(wish: Wish, driver: Driver) -> None:
    """Before the host is looked at, so that it is the same error everywhere; a driver that declares none refuses by itself."""
    known = driver.info.options
    if known and (unknown := sorted(wish.options.keys() - known)):
        raise UsageError(
            f"The {driver.info.name} driver has no option {unknown[0]}: it has {', '.join(sorted(known))}.",
            hint=host_command("start", "--help"),
        )


def plan_existing(record: Record, wish: Wish, driver: Driver) -> Plan:
    """What starting a recorded cluster comes to.

    Raises:
        WrongStateError: something is asked for that only recreating it can give; the message has the command.
        UsageError: an option that the driver does not have.
    """
    recorded = record.spec
    _refuse_other_driver(recorded, wish)
    wanted = amended(recorded, wish)
    changes: tuple[Change, ...] = ()
    if wanted != recorded:
        wanted = driver.complete(wanted)
        changes = with_unclaimed(driver.changes(recorded, wanted), recorded, wanted)
        if hint := _deletions(recorded, wanted, changes, driver):
            raise WrongStateError(f'Cluster "{recorded.name}" has {recorded.nodes} nodes: choose which to delete.', hint=hint)
        refuse_dead_changes(recorded, wanted, changes)
    choice = Choice(recorded.driver, record.driver_source or "recorded")
    if not record.created:
        return Plan(Action.FINISH, wanted, choice, changes)
    if changes:
        return Plan(Action.CHANGE, wanted, choice, changes)
    return Plan(Action.NOTHING if _runs_whole(driver, recorded) else Action.START, wanted, choice)


def _runs_whole(driver: Driver, spec: ClusterSpec) -> bool:
    """Whether it runs with all nodes that are recorded: one may have been asked for by a run that was killed."""
    try:
        status = driver.inspect(spec)
    except NotFoundError:
        return False
    return status.state is ClusterState.RUNNING and len(status.nodes) >= spec.nodes


def _refuse_other_driver(recorded: ClusterSpec, wish: Wish) -> None:
    if wish.driver not in (None, recorded.driver):
        fresh = start_command(replace(amended(recorded, wish), driver=str(wish.driver), options=wish.options))
        raise WrongStateError(
            f'Cluster "{recorded.name}" was created with the {recorded.driver} driver; asked for {wish.driver}.',
            hint=f"{command('delete', cluster=recorded.name)} && {fresh}",
        )


def _deletions(recorded: ClusterSpec, wanted: ClusterSpec, changes: Sequence[Change], driver: Driver) -> str:
    """The commands that delete as many nodes as are too many; empty where that is not all, or cannot be done."""
    surplus = recorded.nodes - wanted.nodes
    fields = [change.field for change in changes if not change.live]
    if fields != ["nodes"] or surplus < 1 or Feature.NODE_DELETE not in driver.info.features:
        return ""
    try:
        workers = [node.name for node in driver.nodes(recorded) if node.role is NodeRole.WORKER]
    except Localk8sError:
        return ""
    if len(workers) < surplus:
        return ""
    return " && ".join(command("node delete", name, cluster=recorded.name) for name in workers[: -surplus - 1 : -1])


def refuse_dead_changes(recorded: ClusterSpec, wanted: ClusterSpec, changes: Sequence[Change]) -> None:
    """Raise WrongStateError when only a new cluster can be as ``wanted``."""
    dead = [change for change in changes if not change.live]
    if not dead:
        return
    was = ", ".join(f"--{change.field} {change.recorded}" for change in dead)
    wish = ", ".join(change.wanted + (f" ({change.reason})" if change.reason else "") for change in dead)
    raise WrongStateError(
        f'Cluster "{recorded.name}" was created with {was}; {wish} takes a new cluster.',
        hint=f"{command('delete', cluster=recorded.name)} && {start_command(wanted)}",
    )
