"""The outer recipe of ``start``, ``stop`` and ``delete``: what is true of every driver.

Owns the order of record, driver and kubeconfig, so that whatever kills it leaves something that the next ``start``
finishes or ``delete`` clears. Must not know what a driver does.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from localk8s.cluster.choosing import with_implied_driver
from localk8s.cluster.leaving import try_to_finish_leaving
from localk8s.cluster.plan import Action, Plan, plan_existing, plan_new
from localk8s.cluster.user_kubeconfig import publish, withdraw
from localk8s.cluster.wish import Choice, Wish
from localk8s.drivers.base import Driver, Feature, SupportsLogs, SupportsPrivileges
from localk8s.model.errors import (
    InterruptedByUser,
    Localk8sError,
    NotFoundError,
    NotSupportedError,
    PrerequisiteError,
    WrongStateError,
)
from localk8s.model.hints import command, host_command
from localk8s.model.progress import Reporter, SilentReporter, Step
from localk8s.model.quantities import MIB
from localk8s.model.status import Severity
from localk8s.store.records import CorruptRecordError, Record
from localk8s.system.disk_space import disk_full, full_disk_behind, is_about_space, room_at
from localk8s.system.owner import hand_over, make_owned
from localk8s.system.wait import unless
from localk8s.wiring import Installation

LOCK_WAIT = 600.0
"""Seconds that a command waits for another one that works on the same cluster."""
_LOG_LIMIT = 8 * MIB


@dataclass(frozen=True, slots=True)
class StartOptions:
    """How to start, beside what."""

    keep_on_failure: bool = False
    """Keep what a failed create made, to look at it."""
    merge: bool = True
    """Merge the context into the user's kubeconfig and make it current."""
    wait: bool = True
    """End only when the cluster is ready."""
    dry_run: bool = False
    """Plan and change nothing."""


class Watched:
    """A reporter that hands everything on and remembers the step that is running.

    Args:
        inner: who is told.
    """

    def __init__(self, inner: Reporter) -> None:
        self._inner = inner
        self.current = ""

    @contextlib.contextmanager
    def step(self, key: str, title: str) -> Iterator[Step]:
        """Hand on, and remember the title until the step has ended well."""
        self.current = title
        with self._inner.step(key, title) as step:
            yield step
        self.current = ""

    def warn(self, message: str) -> None:
        """Hand on."""
        self._inner.warn(message)

    def command(self, line: str) -> None:
        """Hand on."""
        self._inner.command(line)


def start(
    installation: Installation,
    name: str,
    wish: Wish,
    options: StartOptions,
    report: Reporter,
    announce: Callable[[Plan], None],
) -> Plan:
    """Bring the cluster ``name`` to Running as ``wish`` has it; see ``Cluster.start``."""
    watched = Watched(report)
    with clear_errors(), interruptible(watched, name, "start"):
        if options.dry_run:
            plan, _ = _plan(installation, name, wish, watched)
            announce(plan)
            return plan
        with held(installation, name, watched):
            _finish_deleting(installation, name, watched)
            owed = _finish_leaving(installation, name, watched)
            plan, _ = _plan(installation, name, wish, watched)
            announce(plan)
            if plan.action is not Action.NOTHING:
                _carry_out(installation, plan, options, watched)
            if owed:
                _finish_leaving(installation, name, watched)
            publish(installation, plan.spec, driver_of(installation, plan.spec.driver, name), merge=options.merge)
            return plan


def _plan(installation: Installation, name: str, wish: Wish, report: Reporter) -> tuple[Plan, Driver]:
    try:
        record = _standing(installation, name)
    except NotFoundError:
        with report.step("check", "checking this host") as step:
            plan, driver = plan_new(installation, name, wish)
            step.finish_as("")  # the plan itself is told next
        return plan, driver
    driver = driver_of(installation, record.spec.driver, name)
    return plan_existing(record, with_implied_driver(installation, wish, record.spec.driver), driver), driver


def _standing(installation: Installation, name: str) -> Record:
    """The record of ``name``.

    Raises:
        NotFoundError: there is none, or what it is about is being deleted.
    """
    record = installation.records.load(name)
    if record.deleting:
        raise NotFoundError(f'Cluster "{name}" is being deleted.', hint=command("delete", "--yes", cluster=name))
    return record


def _finish_deleting(installation: Installation, name: str, report: Reporter) -> None:
    """Go on with deleting the cluster, where that was interrupted: a start makes a whole one, not one out of half of it."""
    with contextlib.suppress(NotFoundError):
        if installation.records.load(name).deleting:
            _delete(installation, name, report)


def _finish_leaving(installation: Installation, name: str, report: Reporter) -> bool:
    """Go on with deleting a node, where that was interrupted; returns whether that has to wait until the cluster runs."""
    try:
        record = installation.records.load(name)
    except NotFoundError:
        return False
    if not record.leaving:
        return False
    driver = driver_of(installation, record.spec.driver, name)
    return try_to_finish_leaving(installation.records, name, driver, report)


def begin_log(installation: Installation, name: str, verb: str) -> None:
    """Head a new run in the cluster's log; a log beyond its limit is begun anew."""
    path = installation.layout.log(name)
    make_owned(path.parent, 0o700)
    mode = "w" if path.exists() and path.stat().st_size > _LOG_LIMIT else "a"
    try:
        with path.open(mode, encoding="utf-8") as log:
            log.write(f"=== {time.strftime('%Y-%m-%d %H:%M:%S')} localk8s {verb}\n")
        path.chmod(0o600)
        hand_over(path)
    except OSError as exc:
        if not is_about_space(exc):  # what stops or deletes must work on a full disk
            raise


def driver_of(installation: Installation, driver: str, name: str, *, wait: bool = True) -> Driver:
    """The driver called ``driver``, which writes what it runs into the log of the cluster ``name``."""
    return installation.driver(driver, installation.runner(installation.layout.log(name)), wait=wait)


def _carry_out(installation: Installation, plan: Plan, options: StartOptions, report: Reporter) -> None:
    spec = plan.spec
    for finding in plan.findings:
        if finding.severity is Severity.WARNING:
            report.warn(finding.message)
    if spec.kubernetes_version and spec.kubernetes_version.past_support:
        report.warn(f"Kubernetes {spec.kubernetes_version} is past its support: nobody mends it any more.")
    _refuse_full_disk(installation)
    begin_log(installation, spec.name, "start")
    driver = driver_of(installation, spec.driver, spec.name, wait=options.wait)
    if not options.wait and Feature.NO_WAIT not in driver.info.features:
        raise NotSupportedError(
            f"The {spec.driver} driver always waits until the cluster is ready.", hint=command("start", cluster=spec.name)
        )
    if plan.action in (Action.CREATE, Action.FINISH):
        _create(installation, plan, driver, options, report)
    else:
        with naming_full_disk(installation):
            _remember_growth(installation, plan)
            driver.start(spec, report)
        _record(installation, plan, created=True)


def _record(installation: Installation, plan: Plan, *, created: bool) -> None:
    """Record the cluster as it is planned; a node that is still to leave stays one."""
    try:
        leaving = installation.records.load(plan.spec.name).leaving
    except NotFoundError:
        leaving = ""
    installation.records.save(Record(plan.spec, created, _source(plan.driver), leaving))


def _remember_growth(installation: Installation, plan: Plan) -> None:
    """Record more nodes before they are made: what a killed run made of them is finished by the next one."""
    record = installation.records.load(plan.spec.name)
    if plan.spec.nodes > record.spec.nodes:
        installation.records.save(replace(record, spec=replace(record.spec, nodes=plan.spec.nodes)))


def _create(installation: Installation, plan: Plan, driver: Driver, options: StartOptions, report: Reporter) -> None:
    """Create with the record written first; take it back on failure, but not when it was interrupted or can go on."""
    spec = plan.spec
    _record(installation, plan, created=False)
    try:
        with naming_full_disk(installation):
            driver.create(spec, report)
    except InterruptedByUser:
        raise
    except (Localk8sError, OSError) as exc:
        if isinstance(exc, Localk8sError) and exc.resumable:
            exc.hint = exc.hint or command("start", cluster=spec.name)
            raise
        if options.keep_on_failure:
            report.warn(f"What was made of it is kept; to clear it: {command('delete', cluster=spec.name)}")
        else:
            _take_back(installation, plan, driver, report, exc)
        raise
    _record(installation, plan, created=True)


def _take_back(installation: Installation, plan: Plan, driver: Driver, report: Reporter, cause: Exception) -> None:
    name = plan.spec.name
    try:
        with report.step("take-back", "taking back what was made") as step:
            _let_components_speak(plan, driver)
            driver.delete(name, SilentReporter())
            step.finish_as("took back what was made")
    except (Localk8sError, OSError) as exc:
        report.warn(f"It could not be taken back ({exc}): {command('delete', cluster=name)}")
        return
    installation.records.forget(name)
    if isinstance(cause, Localk8sError) and not cause.hint:
        cause.hint = command("logs", "--run", "last", cluster=name)


def _let_components_speak(plan: Plan, driver: Driver) -> None:
    """Ask for the components' last lines before they are gone: what the driver runs goes into the run's log, answers too."""
    if isinstance(driver, SupportsLogs):
        with contextlib.suppress(Localk8sError, OSError):
            for node in driver.nodes(plan.spec):
                with contextlib.suppress(Localk8sError, OSError):  # one that is off says nothing
                    driver.logs(plan.spec, node.name, 100)


def _source(choice: Choice) -> str:
    return choice.source.partition(";")[0]


def stop(installation: Installation, name: str, report: Reporter) -> bool:
    """Switch the machines of ``name`` off; returns False when there was nothing to switch off."""
    watched = Watched(report)
    with clear_errors(), interruptible(watched, name, "stop"), held(installation, name, watched):
        record = installation.records.load(name)
        begin_log(installation, name, "stop")
        driver_of(installation, record.spec.driver, name).stop(record.spec, watched)
        return record.created


def delete(installation: Installation, name: str, report: Reporter) -> bool:
    """Remove every trace of ``name``, also without a readable record; returns whether there was a record."""
    watched = Watched(report)
    with clear_errors(), interruptible(watched, name, "delete"), held(installation, name, watched):
        return _delete(installation, name, watched)


def _delete(installation: Installation, name: str, report: Reporter) -> bool:
    """As ``delete``, where the lock is held. What a kill leaves of it is known by the record for what it is."""
    known = name in installation.records.names()
    drivers = tuple(_concerned(installation, name, known=known))
    with contextlib.suppress(Localk8sError, OSError):  # an unreadable record, a full disk: neither is in the way of a delete
        installation.records.save(replace(installation.records.load(name), deleting=True))
    for driver in drivers:
        driver.delete(name, report if known else SilentReporter())
    _withdraw_entries(installation, name, report)
    installation.records.remove(name)
    return known


def _withdraw_entries(installation: Installation, name: str, report: Reporter) -> None:
    """Take its entries out of the user's kubeconfig. Its machines are gone, so that a file is unusable is only a warning."""
    try:
        with clear_errors():
            withdraw(installation, name)
    except Localk8sError as exc:
        later = command("kubeconfig", "--remove", cluster=name)
        report.warn(f"Entries of the cluster remain in your kubeconfig: {exc.message} Once it is usable: {later}")


def _concerned(installation: Installation, name: str, *, known: bool) -> Iterator[Driver]:
    """The recorded driver; every driver that works here when the record is gone or cannot be read."""
    if known:
        try:
            yield driver_of(installation, installation.records.load(name).spec.driver, name)
            return
        except CorruptRecordError:
            pass
    for candidate in installation.registry.names():
        if known or installation.layout.driver_data(candidate).is_dir():
            with contextlib.suppress(PrerequisiteError):
                yield driver_of(installation, candidate, name)


@contextlib.contextmanager
def held(installation: Installation, name: str, report: Reporter) -> Iterator[None]:
    """Hold the cluster's lock for a block; waits for another holder, and says so.

    Raises:
        PrerequisiteError: this user may not change it.
        WrongStateError: the other one did not end within ``LOCK_WAIT``; the message names its process.
    """
    _check_privileges(installation, name)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(installation.records.locked(name))
        except WrongStateError as busy:
            with report.step("lock", f"waiting: {busy.message[:1].lower()}{busy.message[1:].rstrip('.')}") as step:
                stack.enter_context(_patient(installation, name))
                step.finish_as("waited for another localk8s")
        try:
            yield
        finally:
            if not installation.layout.record(name).exists():
                installation.layout.lock(name).unlink(missing_ok=True)  # who waits for it notices, and makes a new one


def _check_privileges(installation: Installation, name: str) -> None:
    """Before a cluster is recorded as changing: half a change by who may not do the rest would be worse than none."""
    try:
        driver = installation.driver(installation.records.load(name).spec.driver)
    except (NotFoundError, CorruptRecordError):
        return
    if isinstance(driver, SupportsPrivileges):
        driver.check_privileges(name)


def _patient(installation: Installation, name: str) -> AbstractContextManager[None]:
    return installation.records.locked(name, timeout=LOCK_WAIT)


@contextlib.contextmanager
def interruptible(report: Watched, name: str, verb: str) -> Iterator[None]:
    """Say at Ctrl-C where it was, and that the command ``verb`` goes on."""
    try:
        yield
    except KeyboardInterrupt as exc:
        raise interrupted(report.current, name, verb) from exc


def interrupted(step: str, name: str, verb: str) -> InterruptedByUser:
    """What Ctrl-C at ``step`` comes to; the command ``verb`` goes on, if there is one."""
    where = f' at "{step}"' if step else ""
    if not verb:
        return InterruptedByUser(f"interrupted{where}.")
    go_on = command(verb, cluster=name)
    rest = f", {command('delete', cluster=name)} takes it away" if verb == "start" else ""
    return InterruptedByUser(f"interrupted{where}; nothing is lost: {go_on} goes on{rest}.")


def places(installation: Installation) -> dict[Path, str]:
    """Where a full disk is looked for, and what is kept there."""
    layout = installation.layout
    return {layout.roots.data: "the clusters", layout.roots.state: "their records", layout.artifacts: "the artifact cache"}


def _refuse_full_disk(installation: Installation) -> None:
    for path, what in places(installation).items():
        if what != "the artifact cache" and room_at(path).is_full:  # a cluster that is there needs no cache
            raise disk_full(path, what)


@contextlib.contextmanager
def naming_full_disk(installation: Installation) -> Iterator[None]:
    """Name the full disk behind an error, while it is full; what waits then waits no longer.

    Raises:
        DiskFullError: instead of the error.
    """
    try:
        with unless(lambda: _refuse_full_disk(installation)):
            yield
    except InterruptedByUser:
        raise
    except (Localk8sError, OSError) as exc:
        if (full := full_disk_behind(exc, places(installation))) and full is not exc:
            full.details = getattr(exc, "details", "") or str(exc)
            raise full from exc
        raise


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Turn errors of the file system into sentences."""
    try:
        yield
    except OSError as exc:
        raise file_trouble(exc) from exc


def file_trouble(exc: OSError) -> Localk8sError:
    """The sentence for an error of the file system."""
    where = f" {exc.filename}" if exc.filename else ""
    why = (exc.strerror or str(exc) or type(exc).__name__).lower()
    if is_about_space(exc):
        return disk_full(Path(exc.filename or "."), "what is written")
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT):
        return PrerequisiteError(
            f"localk8s cannot use{where or ' its files'}: {why}.", hint="export LOCALK8S_HOME=$HOME/localk8s"
        )
    return Localk8sError(f"localk8s failed with{where or ' a file'}: {why}.", hint=host_command("doctor"))
