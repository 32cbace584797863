"""Which driver a new cluster gets, and why. Looks at this host where nothing else decides; changes nothing.

``--driver`` decides, then an option that only one driver has, then ``LOCALK8S_DRIVER``, then the configuration file, then
what this host can run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from localk8s.cluster.wish import Choice, Wish, new_spec
from localk8s.model.errors import ConfigError, Localk8sError, PrerequisiteError, UsageError
from localk8s.model.hints import host_command
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import Finding, Severity
from localk8s.wiring import Installation

_OWN_OPTIONS = ("vm-driver", "provider", "cni", "minikube-arg")
"""Those of one driver that ``start`` has under their own names."""


def choose_driver(installation: Installation, name: str, wish: Wish) -> Choice:
    """The driver for a cluster that is not there yet.

    Raises:
        PrerequisiteError: none was chosen, and this host can run none.
        ConfigError: the configuration file or LOCALK8S_DRIVER is unusable.
    """
    if wish.driver is not None:
        return Choice(wish.driver, "--driver")
    owners = owners_of(installation, wish)
    set_ = _set_driver(installation)
    if set_ is not None and (not owners or set_.value in owners):
        return set_
    if len(owners) == 1:
        return Choice(owners[0], _spelled(wish))
    return _fitting_driver(installation, name, wish, owners or installation.registry.names())


def owners_of(installation: Installation, wish: Wish) -> tuple[str, ...]:
    """The drivers that have every option of ``wish`` which not all have; none when it has no such option."""
    if not wish.options:
        return ()
    found = []
    for name in installation.registry.names():
        try:
            options = installation.driver(name).info.options
        except Localk8sError:
            continue  # doctor tells about a driver that is broken
        if wish.options.keys() <= options:
            found.append(name)
    return tuple(found)


def with_implied_driver(installation: Installation, wish: Wish, recorded: str) -> Wish:
    """``wish`` for a cluster that exists, with the driver that its options mean, if that is another one.

    Raises:
        UsageError: there is no driver of the name asked for.
    """
    if wish.driver not in (None, recorded, *installation.registry.names()):
        installation.driver(str(wish.driver))  # says which there are
    owners = owners_of(installation, wish) if wish.driver is None else ()
    return replace(wish, driver=owners[0]) if len(owners) == 1 else wish


def _set_driver(installation: Installation) -> Choice | None:
    """The driver that is set for new clusters."""
    if chosen := installation.environment.text("LOCALK8S_DRIVER"):
        _check(installation, chosen, "LOCALK8S_DRIVER", "unset LOCALK8S_DRIVER")
        return Choice(chosen, "LOCALK8S_DRIVER")
    if chosen := installation.config.driver:
        _check(installation, chosen, f"driver in {installation.config_file}", host_command("config view"))
        return Choice(chosen, f"driver in {installation.config_file}")
    return None


def _check(installation: Installation, driver: str, where: str, hint: str) -> None:
    try:
        installation.driver(driver)
    except UsageError as exc:
        raise ConfigError(f"{where}: {exc.message}", hint=hint) from exc


def _spelled(wish: Wish) -> str:
    return ", ".join(f"--{key}" if key in _OWN_OPTIONS else f"--driver-option {key}" for key in sorted(wish.options))


def _fitting_driver(installation: Installation, name: str, wish: Wish, candidates: Sequence[str]) -> Choice:
    """The first that this host can run; else the refusal of the first, which is the likeliest to be meant."""
    refusal: Localk8sError | None = None
    for candidate in candidates:
        try:
            driver = installation.driver(candidate)
            if sys.platform not in driver.info.platforms:
                continue
            refuse_errors(driver.check(fresh_spec(installation, name, candidate, wish)), candidate)
        except Localk8sError as exc:
            refusal = refusal or exc
            continue
        return Choice(candidate, "this host can run it; --driver to choose")
    if refusal is None:
        raise PrerequisiteError(f"No driver works on {sys.platform}.", hint=host_command("doctor"))
    raise PrerequisiteError(refusal.message, hint=refusal.hint or host_command("doctor"))


def fresh_spec(installation: Installation, name: str, driver: str, wish: Wish) -> ClusterSpec:
    """What a new cluster would be created from, before its driver completes it."""
    return new_spec(name, driver, wish, installation.config.defaults, installation.host.facts().cpus)


def first_error(findings: Sequence[Finding]) -> Finding | None:
    """The first finding that keeps a start from working; None when there is none."""
    return next((finding for finding in findings if finding.severity is Severity.ERROR), None)


def refuse_errors(findings: Sequence[Finding], driver: str) -> None:
    """Raise PrerequisiteError when ``findings`` hold an error."""
    if bad := first_error(findings):
        more = sum(finding.severity is Severity.ERROR for finding in findings) - 1
        rest = f" ({more} more: {host_command('doctor', '--driver', driver)})" if more else ""
        raise PrerequisiteError(f"{bad.message.rstrip('.')}{rest}.", hint=bad.fix)
