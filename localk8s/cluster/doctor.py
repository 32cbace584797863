"""What this host has and lacks for running clusters, and what has to be installed. Looks; ``run_setup`` alone changes.

Prints nothing. A driver that cannot be loaded is a finding, never a failure.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from localk8s.cluster import host_names
from localk8s.cluster.choosing import choose_driver, first_error
from localk8s.cluster.wish import Wish, new_spec
from localk8s.drivers.base import Driver, SupportsInstall, SupportsPrepare, SupportsSetup
from localk8s.model.errors import CommandError, Localk8sError, PrerequisiteError
from localk8s.model.hints import command, completed, host_command
from localk8s.model.names import DEFAULT_CLUSTER
from localk8s.model.progress import Reporter
from localk8s.model.quantities import format_size
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import Finding, Severity
from localk8s.store.records import CorruptRecordError
from localk8s.system.host import is_root
from localk8s.wiring import Installation


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Findings under the names of those who found them, the host first."""

    groups: dict[str, tuple[Finding, ...]]
    usable: tuple[str, ...]
    """Drivers that could start a cluster now."""


def diagnose(installation: Installation, wish: Wish) -> Diagnosis:
    """Look at the host, every driver (or the one that ``wish`` names), and what was left behind.

    Raises:
        ConfigError: the configuration file is unusable.
        UsageError: there is no such driver, or the size makes no sense.
    """
    names = (wish.driver,) if wish.driver else installation.registry.names()
    groups = {"host": _host(installation)}
    usable = []
    for name in names:
        findings = _driver_findings(installation, name, wish)
        groups[name] = findings
        if not first_error(findings):
            usable.append(name)
    return Diagnosis(groups, tuple(usable))


def _host(installation: Installation) -> tuple[Finding, ...]:
    facts = installation.host.facts()
    memory = f"{format_size(facts.memory_available)} of {format_size(facts.memory_total)} memory free"
    cpus = "1 CPU" if facts.cpus == 1 else f"{facts.cpus} CPUs"
    message = f"{cpus}, {memory}, {format_size(facts.disk_free)} disk free ({facts.platform}, {facts.architecture})."
    return (Finding(Severity.OK, "host", message), *_records(installation), *host_names.leftovers(installation))


def _records(installation: Installation) -> tuple[Finding, ...]:
    found = []
    for name in installation.records.names():
        try:
            record = installation.records.load(name)
        except CorruptRecordError as exc:
            found.append(Finding(Severity.WARNING, "records", exc.message, exc.hint))
            continue
        except Localk8sError:
            continue  # deleted meanwhile
        if not record.created:
            message = f'Cluster "{name}" was not made to its end.'
            found.append(Finding(Severity.WARNING, "records", message, command("start", cluster=name)))
    return tuple(found)


def _driver_findings(installation: Installation, name: str, wish: Wish) -> tuple[Finding, ...]:
    spec = _spec(installation, name, wish)
    try:
        driver = installation.driver(name)
        if sys.platform not in driver.info.platforms:
            return (Finding(Severity.ERROR, name, f"The {name} driver does not work on {sys.platform}."),)
        found = (*driver.check(spec), *driver.leftovers(installation.records.names()))
        return tuple(replace(each, fix=completed(each.fix, "start", "--driver", name, cluster=spec.name)) for each in found)
    except Localk8sError as exc:
        if wish.driver and name not in installation.registry.names():
            raise
        return (Finding(Severity.ERROR, name, exc.message, exc.hint if exc.hint != host_command("doctor") else ""),)


def _spec(installation: Installation, driver: str, wish: Wish) -> ClusterSpec:
    return new_spec(DEFAULT_CLUSTER, driver, wish, installation.config.defaults, installation.host.facts().cpus)


@dataclass(frozen=True, slots=True)
class Setup:
    """What has to be done so that a driver works."""

    driver: str
    commands: tuple[tuple[str, ...], ...]
    """To run in order, ``sudo`` in front where this is not root."""
    prepares: bool
    """Whether the driver can fetch and build beforehand what clusters are made of."""


def plan_setup(installation: Installation, driver: str | None) -> Setup:
    """What ``setup`` would do.

    Args:
        installation: this one.
        driver: its name; the one that a start would choose, or else the first one, when None.

    Raises:
        UsageError: there is no such driver.
        PrerequisiteError: something has to be installed as root, and there is no way to become root; says what to run.
    """
    name = driver or _likely_driver(installation)
    made = installation.driver(name)
    commands = made.setup_commands() if isinstance(made, SupportsSetup) else ()
    return Setup(name, as_root(commands), isinstance(made, SupportsPrepare))


def _likely_driver(installation: Installation) -> str:
    try:
        return choose_driver(installation, DEFAULT_CLUSTER, Wish()).value
    except PrerequisiteError:
        return installation.registry.names()[0]


def as_root(commands: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """``commands`` with ``sudo`` in front, unless this is root.

    Raises:
        PrerequisiteError: this is not root and there is no sudo; the hint is what root has to run.
    """
    if is_root() or not commands:
        return tuple(tuple(command) for command in commands)
    if shutil.which("sudo") is None:
        import shlex

        lines = " && ".join(shlex.join(command) for command in commands)
        raise PrerequisiteError("This needs root, and there is no sudo.", hint=f"as root: {lines}")
    return tuple(("sudo", *command) for command in commands)


def run_setup(installation: Installation, setup: Setup, report: Reporter, run: Callable[[Sequence[str]], int]) -> None:
    """Run the commands, then fetch and build what clusters are made of.

    Args:
        installation: this one.
        setup: from ``plan_setup``.
        report: told about the steps.
        run: runs a command where the user can answer it (sudo may ask for a password); returns its exit code.

    Raises:
        CommandError: one of the commands failed.
        ArtifactError: something cannot be had.
    """
    for argv in setup.commands:
        if code := run(argv):
            raise CommandError(argv, code)
    driver: Driver = installation.driver(setup.driver)
    if isinstance(driver, SupportsInstall):
        driver.install(report)
    if isinstance(driver, SupportsPrepare):
        driver.prepare(driver.complete(_spec(installation, setup.driver, Wish())), report)
