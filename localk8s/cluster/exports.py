"""What leads out of localk8s, as methods of ``Cluster``: the machines as files for others. Prints nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localk8s.cluster.wish import Wish, new_spec
from localk8s.drivers.base import Driver
from localk8s.drivers.machines import SupportsInventory, SupportsRender
from localk8s.model.errors import Localk8sError, NotSupportedError, UsageError
from localk8s.model.hints import command, host_command

if TYPE_CHECKING:
    from localk8s.model.spec import ClusterSpec
    from localk8s.wiring import Installation


class Exports:
    """Part of ``Cluster``; see there."""

    name: str
    _installation: Installation
    if TYPE_CHECKING:

        @property
        def spec(self) -> ClusterSpec: ...  # noqa: D102
        def exists(self) -> bool: ...  # noqa: D102
        @property
        def _driver(self) -> Driver: ...

    def render(self, wish: Wish | None = None) -> str:
        """The Vagrantfile of its machines, or of those that ``start`` would make; changes nothing.

        Args:
            wish: what ``start`` would be asked for; not for a cluster that exists.

        Raises:
            NotSupportedError: its driver has no such file.
            UsageError: it exists, and is what it is.
            WrongStateError: what the file would name has to be made first.
        """
        wish = wish or Wish()
        if self.exists():
            if wish != Wish():
                raise UsageError(
                    f'Cluster "{self.name}" exists: its Vagrantfile is as it was made.',
                    hint=command("render", cluster=self.name),
                )
            return _renders(self._driver).render(self.spec)
        driver = self._renderer(wish)
        config, host = self._installation.config, self._installation.host
        spec = new_spec(self.name, driver.info.name, wish, config.defaults, host.facts().cpus)
        return _renders(driver).render(driver.complete(spec))

    def _renderer(self, wish: Wish) -> Driver:
        """The driver that was asked for, else the first that renders."""
        if wish.driver is not None:
            return self._installation.driver(wish.driver)
        for name in self._installation.registry.names():
            try:
                driver = self._installation.driver(name)
            except Localk8sError:
                continue  # doctor tells about a driver that is broken
            if isinstance(driver, SupportsRender):
                return driver
        raise NotSupportedError("No driver here describes its machines in a file.", hint=host_command("doctor"))

    def inventory(self) -> str:
        """Its machines as an Ansible inventory (YAML) with kubespray's group names.

        Raises:
            NotFoundError: there is no such cluster.
            NotSupportedError: its driver has no machines of which Ansible could make use.
        """
        driver, spec = self._driver, self.spec
        if not isinstance(driver, SupportsInventory):
            raise NotSupportedError(
                f"The {spec.driver} driver has no machines for an Ansible inventory.",
                hint=command("start", "--driver", "vagrant", "--nodes", "3", cluster="machines"),
            )
        return driver.inventory(spec)


def _renders(driver: Driver) -> SupportsRender:
    if not isinstance(driver, SupportsRender):
        raise NotSupportedError(
            f"The {driver.info.name} driver has no Vagrantfile: its machines are not made by Vagrant.",
            hint=command("render", "--driver", "vagrant", cluster="machines"),
        )
    return driver
