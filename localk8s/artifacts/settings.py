"""What a user can set about artifacts. Pure data; read from the configuration by the composition root."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ArtifactSettings:
    """Sources beside the cache, named directories and Debian.

    The official site is asked only when its address is given: nothing is sent to the internet by default.
    """

    mirror: str | None = None
    """Base URL of a mirror in the official layout: ``URL/release/v1.36.3/bin/linux/amd64/kubelet`` with ``.sha256``."""
    official: str | None = None
    """Base URL of the official release site, asked after the mirror; None leaves it alone."""
    debian_suite: str | None = None
    """The Debian suite that a native node's root is made of; None for the one that localk8s was tried with."""
    offline: bool = False
    """True: nothing is asked over a network at all, only the cache and named directories serve."""
