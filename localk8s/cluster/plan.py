"""What a ``start`` is going to do: which driver and why, which spec, which changes. Looks, changes nothing.

Must not run any step of it; ``recipe`` does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from localk8s.cluster.wish import Choice, Wish, amended, new_spec, start_command, with_unclaimed
from localk8s.drivers.base import Change, Driver
from localk8s.model.errors import Localk8sError, NotFoundError, PrerequisiteError, WrongStateError
from localk8s.model.hints import command, host_command
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import ClusterState, Finding, Severity
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


def choose_driver(installation: Installation, name: str, wish: Wish) -> Choice:
    """The driver for a cluster that is not there yet.

    Raises:
        PrerequisiteError: nobody chose one, and this host can run none.
        ConfigError: the configuration file is unusable.
    """
    if wish.driver is not None:
        return Choice(wish.driver, "--driver")
    if chosen := installation.environment.text("LOCALK8S_DRIVER"):
        return Choice(chosen, "LOCALK8S_DRIVER")
    if installation.config.driver:
        return Choice(installation.config.driver, f"driver in {installation.config_file}")
    return _fitting_driver(installation, name, wish)


def _fitting_driver(installation: Installation, name: str, wish: Wish) -> Choice:
    reasons: list[str] = []
    hint = ""
    for candidate in installation.registry.names():
        spec = _fresh_spec(installation, name, candidate, wish)
        try:
            driver = installation.driver(candidate)
            findings = driver.check(spec) if sys.platform in driver.info.platforms else None
        except Localk8sError as exc:
            reasons.append(f"{candidate}: {exc.message}")
            continue
        if findings is None:
            reasons.append(f"{candidate}: not on {sys.platform}.")
        elif bad := first_error(findings):
            reasons.append(f"{candidate}: {bad.message}")
            hint = hint or bad.fix
        else:
            return Choice(candidate, "this host can run it; --driver to choose")
    raise PrerequisiteError(f"This host cannot run a cluster yet. {' '.join(reasons)}", hint=hint or host_command("doctor"))


def _fresh_spec(installation: Installation, name: str, driver: str, wish: Wish) -> ClusterSpec:
    return new_spec(name, driver, wish, installation.config.defaults, installation.host.facts().cpus)


def first_error(findings: Sequence[Finding]) -> Finding | None:
    """The first finding that keeps a start from working; None when there is none."""
    return next((finding for finding in findings if finding.severity is Severity.ERROR), None)


def plan_new(installation: Installation, name: str, wish: Wish) -> tuple[Plan, Driver]:
    """What creating the cluster ``name`` comes to.

    Raises:
        UsageError, ArtifactError, ConfigError: what is asked for cannot be had.
        PrerequisiteError: this host cannot run it.
    """
    choice = choose_driver(installation, name, wish)
    driver = installation.driver(choice.value)
    spec = _fresh_spec(installation, name, choice.value, wish)
    findings = driver.check(spec)
    refuse_errors(findings, choice.value)
    return Plan(Action.CREATE, driver.complete(spec), choice, findings=findings), driver


def refuse_errors(findings: Sequence[Finding], driver: str) -> None:
    """Raise PrerequisiteError when ``findings`` hold an error."""
    if bad := first_error(findings):
        more = sum(finding.severity is Severity.ERROR for finding in findings) - 1
        rest = f" ({more} more: {host_command('doctor', '--driver', driver)})" if more else ""
        raise PrerequisiteError(f"{bad.message.rstrip('.')}{rest}.", hint=bad.fix)


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
        fresh = start_command(replace(recorded, driver=str(wish.driver), options={}))
        raise WrongStateError(
            f'Cluster "{recorded.name}" was created with the {recorded.driver} driver; asked for {wish.driver}.',
            hint=f"{command('delete', cluster=recorded.name)} && {fresh}",
        )


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
