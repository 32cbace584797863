"""Kubernetes versions: parsed, ordered, and whether a version is still supported by its project. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from localk8s.model.errors import UsageError
from localk8s.model.hints import instead

OLDEST_MINOR, NEWEST_MINOR = 20, 36
"""The minors of Kubernetes 1 that localk8s renders configuration for."""

OLDEST_SUPPORTED_MINOR = 34
"""The oldest minor that its project still supports as of November 2026 (three minors, 14 months each)."""


@dataclass(frozen=True, order=True, slots=True)
class Release:
    """A released version of a program, ``v1.36.3``; versions of one program are ordered."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}"


class KubernetesVersion(Release):
    """A released version of Kubernetes."""

    __slots__ = ()

    @property
    def past_support(self) -> bool:
        """True when the Kubernetes project no longer mends it."""
        return self.minor < OLDEST_SUPPORTED_MINOR


def parse_kubernetes_version(text: str) -> KubernetesVersion:
    """The version meant by ``v1.36.3`` or ``1.36.3``.

    Raises:
        UsageError: it is no version, or one that localk8s has no data for.
    """
    match = re.fullmatch(r"v?(\d{1,3})\.(\d{1,3})\.(\d{1,4})", text.strip(), re.ASCII)
    if not match:
        raise UsageError(f"{text!r} is no Kubernetes version.", hint=instead("--kubernetes-version", "1.36.3"))
    version = KubernetesVersion(*(int(part) for part in match.groups()))
    if version.major != 1 or not OLDEST_MINOR <= version.minor <= NEWEST_MINOR:
        raise UsageError(
            f"Kubernetes {version} is not known to this localk8s: it knows 1.{OLDEST_MINOR} to 1.{NEWEST_MINOR}.",
            hint=instead("--kubernetes-version", f"1.{NEWEST_MINOR}.0"),
        )
    return version
