"""``Boxes``: what machines are made from, on this host. Prints nothing."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from localk8s.cluster.recipe import clear_errors
from localk8s.cluster.wish import parse_wish
from localk8s.drivers.machines import MachineBox, SupportsBoxes
from localk8s.model.errors import Localk8sError, NotSupportedError
from localk8s.model.hints import host_command
from localk8s.model.progress import Reporter, SilentReporter
from localk8s.wiring import Installation


class Boxes:
    """The boxes of one installation.

    Args:
        installation: where and with what; this user's own when None.
        report: told about progress; nobody when None.
    """

    def __init__(self, installation: Installation | None = None, *, report: Reporter | None = None) -> None:
        self._installation = installation or Installation()
        self._report: Reporter = report or SilentReporter()

    def list(self) -> tuple[MachineBox, ...]:
        """All boxes on this host, by name."""
        return self._driver.boxes()

    def build(
        self, provider: str | None = None, *, kubernetes_version: str | None = None, artifacts: str | Path | None = None
    ) -> MachineBox:
        """Have a box; one of the same content is not built again.

        Args:
            provider: ``lxc`` or ``libvirt``; the one of this host when None.
            kubernetes_version: such as ``"1.36.3"``; the newest that a source can give when None.
            artifacts: a directory or bundle with the Kubernetes programs, searched first.

        Raises:
            UsageError, NotSupportedError: there is no such version or provider.
            PrerequisiteError: this process may not, or a program is missing.
            ArtifactError, CommandError: something of it cannot be had, or a command failed.
        """
        wish = parse_wish(kubernetes_version=kubernetes_version, artifacts=artifacts)
        with clear_errors():
            return self._driver.build_box(provider, wish.kubernetes_version, wish.artifacts, self._report)

    def delete(self, *names: str) -> None:
        """Remove boxes; all, and what they share, when no name is given. Clusters made from them go on.

        Raises:
            NotFoundError: there is none of that name; nothing was removed.
        """
        with clear_errors():
            self._driver.delete_boxes(names)

    @cached_property
    def _driver(self) -> SupportsBoxes:
        for name in self._installation.registry.names():
            try:
                driver = self._installation.driver(name)
            except Localk8sError:
                continue  # doctor tells about a driver that is broken
            if isinstance(driver, SupportsBoxes):
                return driver
        raise NotSupportedError("No driver here makes machines from boxes.", hint=host_command("doctor"))
