"""The minikube driver: clusters on a user's own minikube. Loaded when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localk8s.drivers.base import DriverContext
    from localk8s.drivers.minikube.driver import MinikubeDriver


def build(context: DriverContext) -> MinikubeDriver:
    """The driver, as the registry builds it. No I/O."""
    from localk8s.drivers.minikube.driver import MinikubeDriver

    return MinikubeDriver(context)
